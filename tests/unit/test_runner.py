"""A stage as a whole: its partitions, its end, and the owner that it must be."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from stream.embedded import Embedded
from stream.errors import InUse, WrongConfig
from stream.idle import lag
from stream.metrics import StageStats
from stream.records import Seed
from stream.runner import run_stage
from stream.stage import Map, Outcome
from tests.stage_runs import FAST, check_conserved, emitted, memory_bus, running, seeds, send, spec
from tests.stream_fakes import Disk, MemoryBus


async def same(record: Seed) -> Outcome[Seed]:
    return Outcome((record,))


async def test_every_partition_is_worked_on() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(60), partitions=5)
    async with running(bus, stage) as run:
        await run.finished(60)
        await send(bus, seeds(60, first=60))
        await run.finished(120)
    assert sorted(await emitted(bus)) == list(range(120))
    await check_conserved(bus, stage)


async def test_a_partition_added_to_an_input_whose_order_is_the_logs_ends_the_stage() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(10), partitions=2)
    ordered = replace(stage, input=replace(stage.input, partitions=1))
    async with running(bus, ordered) as run:
        with pytest.raises(WrongConfig, match=r"functions has a partition 1, 1 expected.*in a new namespace"):
            await run.task


async def test_a_second_owner_of_a_stage_is_refused_and_the_first_goes_on() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(3))
    second = MemoryBus(bus.disk)
    async with running(bus, stage) as run:
        await run.finished(3)
        async with running(second, stage) as refused:
            with pytest.raises(InUse):
                await refused.task
        await send(bus, seeds(3, first=3))
        await run.finished(6)
    assert not bus.disk.owners


async def test_a_stage_whose_input_is_not_there_says_so() -> None:
    with pytest.raises(WrongConfig, match=r"no topic main\.functions"):
        await run_stage(MemoryBus(Disk()), spec(Map.single(same)), FAST, StageStats("typed"), asyncio.Event())


async def test_when_one_partition_fails_the_others_commit_what_they_have_finished() -> None:
    called = Counter[str]()

    async def call(record: Seed) -> Outcome[Seed]:
        called[record.name] += 1
        if record.name == "59":
            while called.total() < 60:
                await asyncio.sleep(0)
            raise WrongConfig("59")
        return Outcome((record,))

    stage = spec(Map.single(call, concurrency=100))
    bus = await memory_bus(stage, seeds(60), partitions=3)
    async with running(bus, stage) as run:
        with pytest.raises(WrongConfig, match="59"):
            await run.task
    assert sorted(await emitted(bus)) == list(range(59))
    assert not bus.disk.owners


async def test_told_to_stop_before_it_begins_it_does_nothing() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(3))
    stop = asyncio.Event()
    stop.set()
    await run_stage(bus, stage, FAST, StageStats("typed"), stop)
    assert not bus.disk.owners
    before = len(await emitted(bus))
    async with running(bus, stage) as run:
        await run.finished(3 - before)
    assert sorted(await emitted(bus)) == [0, 1, 2]


async def test_cancelled_at_any_moment_and_begun_again_each_input_has_one_outcome(tmp_path: Path) -> None:
    """On the real file, where a commit can be on its way to the disk when its owner is cancelled."""
    dice = random.Random(11)
    stage = spec(Map.single(same, concurrency=4))
    async with Embedded.open(tmp_path, partitions=2) as bus:
        await bus.create(stage.topics())
        await send(bus, seeds(400))
        for _ in range(60):
            work = asyncio.create_task(run_stage(bus, stage, FAST, StageStats("typed"), asyncio.Event()))
            for _ in range(dice.randrange(120)):
                await asyncio.sleep(0)
            work.cancel()
            await asyncio.wait({work})
        left = await lag(bus, stage)
        async with running(bus, stage) as run:
            await run.finished(left)
        assert sorted(await emitted(bus)) == list(range(400))
        await check_conserved(bus, stage)
