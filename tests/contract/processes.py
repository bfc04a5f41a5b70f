"""Starting, telling and killing other processes on the bus under test."""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable

from tests.contract.buses import Address
from tests.patience import PATIENCE_S


class Child:
    """A process that runs `tests.contract.child`."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    async def says(self) -> str:
        """Return its next line."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            return (await self._process.stdout.readline()).decode().rstrip("\n")

    def tell(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def kill(self) -> None:
        """SIGKILL: it has no say in it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()


@contextlib.asynccontextmanager
async def child(
    address: Address, verb: str, argument: object = "", *, limit: Callable[[], None] | None = None
) -> AsyncIterator[Child]:
    """Run a verb in a process of its own; it is killed at the end. `limit` is called in it before it starts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.contract.child", address.json(), verb, str(argument),
        stdin=PIPE, stdout=PIPE, preexec_fn=limit,
    )  # fmt: skip
    other = Child(process)
    try:
        yield other
    finally:
        await other.kill()
