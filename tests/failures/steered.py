"""Workers that a test steers call by call and commit by commit: starting them, and hearing what they tell. (Those of
`crew` run by themselves, while they are hurt.)"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path
from typing import Any

from stream.bus import Bus
from stream.idle import lag
from tests.failures.steered_stage import LOOKED_AT, PATIENCE_S, until, until_true
from tests.failures.steered_worker import Plan

Event = dict[str, Any]


class Worker:
    """A process that runs `tests.failures.steered_worker`. `events` is all that it has told."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self.events: list[Event] = []
        self._process = process
        self._log = log
        self._hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] not in {"called", "answered"}:
                print(f"{self.name}: {line.decode().rstrip()}")

    def all(self, event: str, **what: Any) -> list[Event]:
        """The events of a kind, with these values."""
        return [e for e in self.events if e["event"] == event and e.items() >= what.items()]

    def names(self, event: str) -> list[str]:
        """The records that were called or answered."""
        return [e["name"] for e in self.all(event)]

    async def told(self, event: str, count: int = 1, **what: Any) -> list[Event]:
        """Wait until it has told so many events of a kind."""
        await self.until(lambda: len(self.all(event, **what)) >= count)
        return self.all(event, **what)

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(
            lambda: condition() or self._hearing.done(),
            lambda: f"{self.name} told {self.events[-20:]}, and {self.log}",
        )
        assert condition(), f"{self.name} has ended: {self.log}"

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text(encoding="utf-8")

    def check_well(self) -> None:
        """Check that it has not failed: who was killed has not."""
        code = self._process.returncode
        assert code is None or code <= 0, f"{self.name} has failed: {self.log}"

    def order(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        print(f"{self.name}: {number.name}")
        os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """SIGKILL, also of one that is stopped. What it told before is heard."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._hearing

    async def stop(self) -> None:
        """End it in good order."""
        self.order("stop")
        async with asyncio.timeout(PATIENCE_S):
            code = await self._process.wait()
            await self._hearing
        assert code == 0, self.log


class Crew:
    """Workers of one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Worker] = []

    async def start(self, name: str, plan: Plan) -> Worker:
        log = self._folder / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.failures.steered_worker", plan.json(), stdin=PIPE, stdout=PIPE, stderr=file
            )
        worker = Worker(name, process, log)
        self._workers.append(worker)
        return worker

    async def done(self, bus: Bus) -> None:
        """Wait until every input is finished."""

        async def without_lag() -> bool:
            for worker in self._workers:
                worker.check_well()
            return await lag(bus, LOOKED_AT) == 0

        await until_true(without_lag)

    async def end(self) -> None:
        for worker in self._workers:
            await worker.kill()


@contextlib.asynccontextmanager
async def crew(folder: Path) -> AsyncGenerator[Crew]:
    """Workers are killed at the end, unless they have ended."""
    found = Crew(folder)
    try:
        yield found
    finally:
        await found.end()


def calls(workers: Iterable[Worker]) -> Counter[str]:
    """How many calls were made, by record."""
    return Counter(name for worker in workers for name in worker.names("called"))
