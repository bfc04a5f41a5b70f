"""When a stream is done: no quiet time, no stage forgotten."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stream import idle
from stream.idle import lag, wait_until_idle, watch_lag
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.progress import Progress
from stream.records import Seed
from stream.stage import Map, Outcome
from stream.topics import TOPICS
from tests.stage_runs import INPUT, emitted, memory_bus, running, seeds, send, spec, until

pytestmark = pytest.mark.virtual_time


LOOK_S = 0.0001


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "LOOK_S", LOOK_S)


async def same(record: Seed) -> Outcome[Seed]:
    return Outcome((record,))


FIRST = spec(Map.single(same))
SECOND = StageSpec("seeds", TOPICS["typed"], TOPICS["seeds"], Map.single(same))


async def test_lag_counts_what_is_not_finished_below_and_above_the_watermark() -> None:
    bus = await memory_bus(FIRST, seeds(30), partitions=3)
    assert await lag(bus, FIRST) == 30
    leases = bus.leases("typed", INPUT.name)
    first = await anext(leases)
    await first.commit([], Progress(2, frozenset({3, 5})))
    assert await lag(bus, FIRST) == 26
    await leases.aclose()


class Growing:
    """A bus whose topic is given more partitions while it is looked at, and new records at once."""

    def __init__(self) -> None:
        self.looks = 0

    async def progress(self, stage: str, topic: str) -> dict[int, Progress]:
        self.looks += 1
        return dict.fromkeys(range(1 if self.looks == 1 else 2), Progress(3))

    async def ends(self, topic: str) -> dict[int, int]:
        return {0: 4, 1: 10}


async def test_partitions_that_are_added_between_two_questions_are_no_failure_and_are_counted() -> None:
    bus: Any = Growing()
    assert await lag(bus, FIRST) == 8


async def test_a_stream_is_idle_once_its_sources_are_done_and_every_stage_has_passed_its_input() -> None:
    bus = await memory_bus(FIRST, seeds(50))
    await bus.create(SECOND.topics())
    sources_done = asyncio.Event()
    idle = asyncio.create_task(wait_until_idle(bus, [FIRST, SECOND], sources_done))
    async with running(bus, FIRST) as first, running(bus, SECOND) as second:
        await second.finished(50)
        await until(lambda: not first.stats.in_flight)
        await asyncio.sleep(100 * LOOK_S)
        assert not idle.done()  # the sources may send more
        await send(bus, seeds(5, first=50))
        sources_done.set()
        await idle
        assert sorted(await emitted(bus, "seeds")) == list(range(55))


async def test_a_stream_is_not_idle_while_any_stage_has_something_left() -> None:
    bus = await memory_bus(FIRST, seeds(3))
    await bus.create(SECOND.topics())
    sources_done = asyncio.Event()
    sources_done.set()
    idle = asyncio.create_task(wait_until_idle(bus, [FIRST, SECOND], sources_done))
    async with running(bus, FIRST) as first:
        await first.finished(3)
        for _ in range(20):
            assert not idle.done()  # the second one has not begun
            await asyncio.sleep(100 * LOOK_S)
        async with running(bus, SECOND):
            await idle


async def test_the_lag_is_kept_up_to_date() -> None:
    bus = await memory_bus(FIRST, seeds(3))
    stats = {"typed": StageStats("typed")}
    watching = asyncio.create_task(watch_lag(bus, [replace(FIRST)], stats, every_s=0.0001))
    await until(lambda: stats["typed"].lag == 3)
    async with running(bus, FIRST) as run:
        await run.finished(3)
        await until(lambda: stats["typed"].lag == 0)
    watching.cancel()
    await asyncio.wait({watching})
