"""What `seedstream exec` does: a sandbox built from flags, between stdin and stdout."""

import os
import sys

from deploy.exec import execute
from deploy.output import failure
from sandbox import Limits, Sandbox, SandboxBroken, SandboxRefused
from stream.errors import DependencyDown, PipelineError, WrongConfig


async def execute_stdin(slots: int | None, cpu_s: float, memory_mib: int) -> int:
    """Run the programs on stdin and return how many lines could not be read.

    Raises:  WrongConfig for limits that no sandbox takes; DependencyDown when none starts on this machine; as
             `deploy.output.failure`.
    """
    try:
        limits = Limits(cpu_s=cpu_s, address_space_bytes=memory_mib << 20)
    except ValueError as err:
        raise WrongConfig(f"--cpu-s {cpu_s:g} --memory-mib {memory_mib}: {err}") from err
    try:
        async with Sandbox(slots or os.cpu_count() or 1, limits) as box:
            _, bad = await execute(sys.stdin.buffer, sys.stdout.buffer, box)
    except OSError as err:
        raise failure(err) from err
    except SandboxRefused as err:
        raise DependencyDown(f"no program can be run: {err}; see `seedstream doctor`") from err
    except SandboxBroken as err:
        raise PipelineError(f"the sandbox failed twice: {err}") from err
    return bad
