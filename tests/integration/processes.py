"""Starting `seedstream` as a user does: a process of its own."""

import asyncio
import sys
from pathlib import Path

from tests.patience import LONG_S

SEEDSTREAM = str(Path(sys.executable).with_name("seedstream"))


async def seedstream(*arguments: str, limit_s: float = LONG_S) -> tuple[int, str, str]:
    """Run a command to its end; return exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        SEEDSTREAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), limit_s)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
