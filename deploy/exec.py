"""`seedstream exec < programs > verdicts`: the sandbox alone, JSON lines in and out.

{"id", "program"}  ->  {"id", "verdict", "cpu_s", "wall_s", "stdout", "stderr", "detail"}
"""

import asyncio
import sys
from collections.abc import Iterable
from typing import BinaryIO, Protocol

import msgspec

from sandbox import Result
from stream.codec import UNREADABLE

WAITING = 32
"""Programs that are running or wait for an earlier one to be written. Bounds the memory, whatever the input."""


class Line(msgspec.Struct, frozen=True):
    """A line of input. Other fields are ignored, so a data set can be piped in as it is."""

    id: str | int
    program: str


class Box(Protocol):
    """A sandbox: see `sandbox.Sandbox`."""

    async def run(self, program: str | bytes) -> Result:
        """Raises:  SandboxBroken."""
        ...


async def execute(lines: Iterable[bytes], out: BinaryIO, box: Box) -> tuple[int, int]:
    """Run the program of each line, as many at once as the sandbox has slots, and write verdicts in input order.

    A line that cannot be read is named on stderr by its number, counted from 1, and ends nothing. `lines` is read in
    a thread, so a slow writer at the other end of a pipe holds up no program that is here already.

    Returns the numbers of good and of bad lines. Raises SandboxBroken.
    """
    running: asyncio.Queue[tuple[Line, asyncio.Task[Result]] | None] = asyncio.Queue(WAITING)
    good = bad = 0
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_write(running, out))
            rest = enumerate(lines, start=1)
            while (numbered := await asyncio.to_thread(next, rest, None)) is not None:
                number, raw = numbered
                if not raw.strip():
                    continue
                line = _read(number, raw)
                if line is None:
                    bad += 1
                    continue
                good += 1
                await running.put((line, group.create_task(box.run(line.program))))
            await running.put(None)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return good, bad


def _read(number: int, raw: bytes) -> Line | None:
    try:
        return msgspec.json.decode(raw, type=Line)
    except UNREADABLE as error:
        print(f'line {number}: {error}; expected {{"id": …, "program": "…"}}', file=sys.stderr)
        return None


async def _write(running: asyncio.Queue[tuple[Line, asyncio.Task[Result]] | None], out: BinaryIO) -> None:
    while (item := await running.get()) is not None:
        line, task = item
        result = await task
        out.write(msgspec.json.encode(_verdict(line, result)) + b"\n")
        out.flush()


def _verdict(line: Line, result: Result) -> dict[str, str | int | float]:
    return {
        "id": line.id,
        "verdict": result.verdict.value,
        "cpu_s": round(result.cpu_s, 6),
        "wall_s": round(result.wall_s, 6),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "detail": result.detail,
    }
