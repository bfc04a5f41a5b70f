"""A worker of one stage on Kafka, steered by its test: `python -m tests.failures.steered_worker PLAN`.

What happens to it is told on stdout, a JSON line each. A line on stdin is an order: `calls 5` lets the calls of the
records below number 5 end, `calls all` every one, `commits open` lets commits through, `commits shut` holds them,
`stop` ends it in good order.
"""

import asyncio
import contextlib
import json
import logging
import math
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stream.bus import Gone, Lease, Message, Stored
from stream.errors import LeaseLost, TooLarge, Unavailable
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.metrics import StageStats
from stream.progress import Progress
from stream.records import Seed
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Map, Outcome
from tests.failures.steered_stage import spec


@dataclass(frozen=True, slots=True)
class Plan:
    """How it works."""

    bus: str  # kafka://host:port
    namespace: str
    calls: int | None = None  # those of records below this number may end before it is told more; None: all
    commits: bool = True  # whether commits go through before it is told so
    commit_interval_s: float = 0.05
    commit_records: int = 2_000
    session_s: float = 6.0  # what a busy machine does not exceed; less where a death is to be noticed soon
    concurrency: int = 1_000

    def json(self) -> str:
        return json.dumps(asdict(self))


def tell(event: str, **what: Any) -> None:
    print(json.dumps({"event": event, **what}), flush=True)


class Doors:
    """Where calls and commits wait until they are let through."""

    def __init__(self, plan: Plan) -> None:
        self._below = math.inf if plan.calls is None else plan.calls
        self._commits = plan.commits
        self._changed = asyncio.Condition()

    async def obey(self, order: str) -> None:
        what, _, argument = order.partition(" ")
        async with self._changed:
            if what == "calls":
                self._below = math.inf if argument == "all" else int(argument)
            else:
                self._commits = argument == "open"
            self._changed.notify_all()

    async def call(self, record: Seed) -> Outcome[Seed]:
        """The stage: lets everything through, once it is let."""
        tell("called", name=record.name)
        async with self._changed:
            await self._changed.wait_for(lambda: int(record.name) < self._below)
        tell("answered", name=record.name)
        return Outcome((record,))

    async def commit(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._commits)


class ToldLease:
    """A lease that tells what becomes of its commits."""

    def __init__(self, lease: Lease, doors: Doors) -> None:
        self._lease = lease
        self._doors = doors
        self.partition = lease.partition
        self.progress = lease.progress
        self.wanted = lease.wanted
        self._watch = asyncio.create_task(self._wanted())

    async def _wanted(self) -> None:
        await self.wanted.wait()
        tell("wanted", partition=self.partition)

    @property
    def position(self) -> int:
        return self._lease.position

    async def fetch(self, limit: int) -> Sequence[Stored]:
        return await self._lease.fetch(limit)

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        what = {"partition": self.partition, "messages": len(messages), "watermark": progress.watermark}
        tell("committing", **what)
        await self._doors.commit()
        try:
            await self._lease.commit(messages, progress)
        except LeaseLost as err:
            tell("lost", **what, error=str(err))
            raise
        except TooLarge as err:
            tell("refused", **what, error=str(err))
            raise
        except Unavailable as err:
            tell("unknown", **what, error=str(err))
            raise
        tell("committed", **what)

    def refusal(self, message: Message) -> str | None:
        return self._lease.refusal(message)

    def release(self) -> None:
        self._lease.release()


class ToldBus:
    """A bus whose leases tell."""

    def __init__(self, bus: Kafka, doors: Doors) -> None:
        self._bus = bus
        self._doors = doors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        leases: Any = self._bus.leases(stage, topic)
        async with contextlib.aclosing(leases) as changes:
            async for change in changes:
                if isinstance(change, Gone):
                    tell("gone", partition=change.partition)
                    yield change
                else:
                    tell("leased", partition=change.partition, watermark=change.progress.watermark)
                    yield ToldLease(change, self._doors)


async def orders(doors: Doors, stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        if line == "stop":
            stop.set()
        else:
            await doors.obey(line)


async def main(plan: Plan) -> None:
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    doors, stop = Doors(plan), asyncio.Event()
    settings = Settings(commit_interval_s=plan.commit_interval_s, commit_records=plan.commit_records)
    stage = spec(Map.single(doors.call, concurrency=plan.concurrency))
    async with Kafka.open(plan.bus, plan.namespace, config=KafkaConfig(session_s=plan.session_s)) as bus:
        told = asyncio.create_task(orders(doors, stop))
        await run_stage(ToldBus(bus, doors), stage, settings, StageStats(stage.name), stop)  # type: ignore[arg-type]
        told.cancel()
    tell("ended")


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.loads(sys.argv[1]))))
