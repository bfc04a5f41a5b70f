"""Running one stage on a bus in memory, in milliseconds."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream.bus import Bus, Message, Stored
from stream.codec import decode, encode
from stream.flood_gate import PAUSE, OnFlood
from stream.idle import lag
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import DeadLetter, File, Record, Rejected, Seed, SourceFile, digest, file_id
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Fold, Map
from stream.topics import DEAD, REJECTS, TOPICS
from tests.patience import PATIENCE_S
from tests.records import seed
from tests.stream_fakes import Disk, MemoryBus
from tests.virtual_time import VirtualLoop

FAST = Settings(
    commit_interval_s=0.001, commit_records=20, attempts=3, retry_base_s=0.0, retry_cap_s=0.001, drain_s=10.0
)
WHILE_S = 500 * FAST.commit_interval_s  # all that such a stage does by itself, it does many times in it
INPUT, OUTPUT = TOPICS["functions"], TOPICS["typed"]


def seeds(count: int, first: int = 0) -> list[Seed]:
    """Seeds with ids of their own; `name` is their number."""
    return [replace(seed(), seed_id=digest(k), name=str(k)) for k in range(first, first + count)]


def source_file(path: str, source: str = "src", text: str = "x = 1\n") -> SourceFile:
    """A file of a source."""
    where = File(file_id(source, path, text.encode()), source, path, "python", None, None, "MIT")
    return SourceFile(where, text)


def spec(shape: Map[Any, Any] | Fold[Any, Any, Any], name: str = "typed") -> StageSpec:
    return StageSpec(name, INPUT, OUTPUT, shape)


async def memory_bus(
    stage: StageSpec, records: Sequence[Record] = (), partitions: int = 1, *, shared: bool = False
) -> MemoryBus:
    """A bus with the topics of a stage, and its input; `shared` as a broker is."""
    bus = MemoryBus(Disk(shared), partitions=partitions)
    await bus.create(stage.topics())
    await send(bus, records, stage.input.name)
    return bus


async def send(bus: Bus, records: Sequence[Record], topic: str = INPUT.name) -> None:
    async with bus.appender("source") as appender:
        await appender.append([Message(topic, record.key, encode(record)) for record in records])


@dataclass(slots=True)
class Run:
    """A stage at work."""

    stats: StageStats
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; what ends the stage before is raised."""
        await until(lambda: condition() or self.task.done())
        if self.task.done() and not self.task.cancelled():
            self.task.result()
        assert condition()

    async def finished(self, inputs: int) -> None:
        """Wait until so many inputs have committed outcomes."""
        await self.until(lambda: self.stats.read >= inputs)

    async def end(self) -> None:
        """Stop in good order."""
        self.stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


@contextlib.asynccontextmanager
async def running(
    bus: Bus, stage: StageSpec, settings: Settings = FAST, on_flood: OnFlood = PAUSE
) -> AsyncIterator[Run]:
    """Run a stage inside; it is stopped in good order, unless it has ended before."""
    stats, stop = StageStats(stage.name), asyncio.Event()
    run = Run(stats, stop, asyncio.create_task(run_stage(bus, stage, settings, stats, stop, None, on_flood)))
    try:
        yield run
        if not run.task.done():
            await run.end()
    finally:
        run.task.cancel()
        await asyncio.wait({run.task})


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, for at least one turn of the loop."""
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.sleep(0)
        while not condition():
            await asyncio.sleep(0.0005)


async def settled(look: Callable[[], object]) -> None:
    """Let everything happen that can within a while of virtual time, then check that `look` no longer changes."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    await asyncio.sleep(WHILE_S)
    before = look()
    await asyncio.sleep(WHILE_S)
    assert look() == before


async def all_of(bus: Bus, topic: str) -> list[Stored]:
    return [stored async for batch in bus.read(topic) for stored in batch]


async def emitted(bus: Bus, topic: str = OUTPUT.name) -> list[int]:
    """The numbers of the seeds in a topic, in its order."""
    return [int(decode(stored.value, Seed).name) for stored in await all_of(bus, topic)]


async def dead(bus: Bus) -> list[DeadLetter]:
    return [decode(stored.value, DeadLetter) for stored in await all_of(bus, DEAD.name)]


async def rejects(bus: Bus) -> list[Rejected]:
    return [decode(stored.value, Rejected) for stored in await all_of(bus, REJECTS.name)]


async def caught_up(bus: Bus, stage: StageSpec, patience_s: float = PATIENCE_S) -> None:
    """Wait until nothing is left, the offsets at the end that hold no record included."""
    async with asyncio.timeout(patience_s):
        while await lag(bus, stage):
            await asyncio.sleep(0.0005)


async def check_conserved(bus: Bus, stage: StageSpec) -> None:
    """Check that every input is finished and has all of its outcomes, once."""
    found: dict[tuple[int, int], list[int]] = {}
    n: dict[tuple[int, int], int] = {}
    for topic in (stage.output, REJECTS, DEAD):
        for stored in await all_of(bus, topic.name):
            assert stored.cause is not None
            assert stored.cause.stage == stage.name
            assert stored.cause.topic == stage.input.name
            found.setdefault(stored.cause.position[1:], []).append(stored.cause.i)
            n[stored.cause.position[1:]] = stored.cause.n
    inputs = {(stored.partition, stored.offset) for stored in await all_of(bus, stage.input.name)}
    assert {position: sorted(indexes) for position, indexes in found.items()} == {
        position: list(range(n[position])) for position in inputs
    }
    progress = await bus.progress(stage.name, stage.input.name)
    assert {partition: at.watermark for partition, at in progress.items()} == await bus.ends(stage.input.name)
