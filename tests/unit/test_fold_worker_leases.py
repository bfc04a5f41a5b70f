"""The runner's rules for a Fold between leases."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import pytest

from stream.bus import Stored
from stream.records import Seed
from stream.retry import Gate
from stream.stage import Decision
from tests.fold_stages import Sum, running_sum
from tests.memory_disk import Group
from tests.patience import PATIENCE_S
from tests.stage_runs import (
    FAST,
    INPUT,
    caught_up,
    check_conserved,
    emitted,
    memory_bus,
    running,
    seeds,
    send,
    settled,
    spec,
    until,
)
from tests.stream_fakes import MemoryBus

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


def group_of(bus: MemoryBus) -> Group:
    return bus.group("typed", INPUT.name)


async def test_a_step_under_way_is_committed_before_a_wanted_partition_is_released() -> None:
    stage = spec(running_sum(batch=4))
    bus = await memory_bus(stage, seeds(10), shared=True)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def before_commit() -> None:
        reached.set()
        await go_on.wait()

    bus.before_commit = before_commit
    async with running(bus, stage) as run:
        await reached.wait()
        [share] = group_of(bus).shares()
        group_of(bus).rebalance()
        await settled(lambda: share.released)
        assert not share.released
        go_on.set()
        await until(lambda: share.released)
        assert bus.disk.progress["main.typed", "functions", 0].watermark >= 4  # the next lease may have gone on
        await run.finished(10)
        await caught_up(bus, stage)
    await check_conserved(bus, stage)


@pytest.mark.virtual_time(False)
async def test_a_step_that_does_not_end_holds_a_wanted_partition_no_longer_than_it_drains() -> None:
    fold, hanging, go_on = running_sum(batch=4), threading.Event(), threading.Event()

    def decide(state: Sum, records: Sequence[Seed]) -> Sequence[Decision[Seed]]:
        if not hanging.is_set():
            hanging.set()
            go_on.wait(PATIENCE_S)
        return fold.decide(state, records)

    stage = spec(replace(fold, decide=decide))
    bus = await memory_bus(stage, seeds(10), shared=True)
    async with running(bus, stage, replace(FAST, drain_s=0.01)) as run:
        await run.until(hanging.is_set)
        group_of(bus).rebalance()
        await run.finished(10)
        await caught_up(bus, stage)
        go_on.set()  # what it then decides is nobody's
    assert (run.stats.read, run.stats.in_flight) == (10, 0)
    await check_conserved(bus, stage)


async def test_a_partition_wanted_while_the_memory_is_restored_is_released_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = spec(running_sum())
    bus = await memory_bus(stage, seeds(10), shared=True)
    read, restoring = MemoryBus.read, asyncio.Event()

    async def slow(
        self: MemoryBus, topic: str, start: Mapping[int, int] | None = None
    ) -> AsyncIterator[Sequence[Stored]]:
        if topic == "typed.state" and not restoring.is_set():
            restoring.set()
            await asyncio.Event().wait()
        async for batch in read(self, topic, start):
            yield batch

    monkeypatch.setattr(MemoryBus, "read", slow)
    async with running(bus, stage, replace(FAST, drain_s=3_600.0)) as run:
        await restoring.wait()
        group_of(bus).rebalance()
        await run.finished(10)
        await caught_up(bus, stage)
    await check_conserved(bus, stage)


async def test_the_watermark_goes_over_marks_that_hold_no_record_and_then_no_commit_is_made_for_nothing() -> None:
    stage = spec(running_sum())
    bus = await memory_bus(stage, seeds(5), shared=True)
    async with running(bus, stage) as run:
        await run.finished(5)
        await caught_up(bus, stage)
        bus.log(INPUT.name)[0].end += 1
        bus.disk.wake()
        await caught_up(bus, stage)
        await settled(lambda: bus.commits)
        assert bus.commits <= 3
        await send(bus, seeds(3, first=5))
        await run.finished(8)
        await caught_up(bus, stage)
    assert len(await emitted(bus)) == run.stats.emitted
    await check_conserved(bus, stage)
