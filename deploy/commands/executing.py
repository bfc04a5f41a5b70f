"""What `seedstream exec` does: a sandbox built from flags, between stdin and stdout."""

import os
import sys

from deploy.exec import execute
from sandbox import Limits, Sandbox, SandboxBroken, SandboxRefused
from stream.errors import DependencyDown, PipelineError


async def execute_stdin(slots: int | None, cpu_s: float, memory_mib: int) -> int:
    """Run the programs on stdin and return how many lines could not be read.

    Raises:  DependencyDown when no sandbox starts on this machine.
    """
    limits = Limits(cpu_s=cpu_s, address_space_bytes=memory_mib << 20)
    try:
        async with Sandbox(slots or os.cpu_count() or 1, limits) as box:
            _, bad = await execute(sys.stdin.buffer, sys.stdout.buffer, box)
    except SandboxRefused as err:
        raise DependencyDown(f"no program can be run: {err}; see `seedstream doctor`") from err
    except SandboxBroken as err:
        raise PipelineError(f"the sandbox failed twice: {err}") from err
    return bad
