"""Whatever happens to leases: each input has one outcome, no call is made twice while its partition stays with us, and
a Fold decides as if nothing had happened."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.codec import decode
from stream.idle import lag
from stream.outcomes import StageSpec
from stream.records import Seed, StateChange
from stream.retry import Gate
from stream.stage import Map, Outcome
from tests.fold_stages import numbered, running_sum, undisturbed
from tests.map_stages import Doors
from tests.rebalances import Action, Group, happenings
from tests.stage_runs import (
    INPUT,
    Run,
    all_of,
    check_conserved,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    spec,
    until,
)
from tests.tries import tries

finishing: st.SearchStrategy[Action] = st.tuples(st.just("finish"), st.lists(st.integers(0, 9), max_size=6))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def at_work(stack: contextlib.AsyncExitStack, group: Group, stages: Sequence[StageSpec]) -> list[Run]:
    return [await stack.enter_async_context(running(*at)) for at in zip(group.buses, stages, strict=True)]


def batches(doors: Doors, size: int) -> Map[Seed, Seed]:
    """A Map of so many records a call, each of which waits for its door."""

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return await asyncio.gather(*(doors.call(record) for record in records))

    return Map(call, batch=size, concurrency=max(2, 12 // size))


@tries(60)
@given(
    st.lists(st.one_of(happenings, finishing), max_size=14),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from([1, 4]),
)
@example([("ticks", 40), ("want", None), ("finish", [0, 1, 2]), ("ticks", 40), ("lose", None)], 1, 1, 1)
@example([("ticks", 40), ("finish", [1, 3]), ("written", None), ("ticks", 40), ("finish", [0])], 1, 1, 4)
@example([("ticks", 40), ("finish", [1, 3]), ("unwritten", None), ("ticks", 40), ("turn", None)], 3, 2, 4)
def test_each_input_of_a_map_has_one_outcome_and_one_call_unless_its_partition_was_gone(
    script: list[Action], partitions: int, members: int, batch: int
) -> None:
    async def scenario() -> None:
        stage = spec(Map.single(Doors().call))
        bus = await memory_bus(stage, seeds(40), partitions, shared=True)
        group = Group(bus, stage.name, INPUT.name, members)
        doors = [Doors() for _ in group.buses]
        stages = [replace(stage, shape=batches(door, batch)) for door in doors]
        async with contextlib.AsyncExitStack() as stack:
            runs = await at_work(stack, group, stages)
            for action, value in script:
                if action == "finish":
                    for door in doors:
                        waiting = sorted(door.waiting)
                        door.open(*{waiting[pick % len(waiting)] for pick in value if waiting})
                else:
                    await group.happen(action, value)
            while await lag(bus, stage):
                assert not any(run.task.done() for run in runs)
                for door in doors:
                    door.open(*door.waiting)
                await asyncio.sleep(0.0005)
            await until(lambda: [run.stats.in_flight for run in runs] == [0] * members)
        assert sorted(await emitted(bus)) == list(range(40))
        await check_conserved(bus, stage)
        called = sum((door.called for door in doors), Counter[int]())
        assert max(called.values()) <= (1 if members == 1 else 1 + group.turned)

    asyncio.run(scenario())


@tries(60)
@given(st.lists(st.one_of(happenings, finishing), max_size=14), st.sampled_from([1, 3]), st.sampled_from([1, 4]))
@example([("ticks", 40), ("lose", None)], 1, 1)
@example([("ticks", 40), ("finish", [1, 3]), ("want", None)], 3, 4)
def test_told_to_stop_after_whatever_has_happened_a_stage_commits_all_that_it_has_called(
    script: list[Action], partitions: int, batch: int
) -> None:
    async def scenario() -> None:
        stage = spec(Map.single(Doors().call))
        bus = await memory_bus(stage, seeds(40), partitions, shared=True)
        group = Group(bus, stage.name, INPUT.name, 1)
        doors = Doors()
        stage = replace(stage, shape=batches(doors, batch))
        async with running(bus, stage) as run:
            for action, value in script:
                if action == "finish":
                    waiting = sorted(doors.waiting)
                    doors.open(*{waiting[pick % len(waiting)] for pick in value if waiting})
                else:
                    await group.happen(action, value)
            run.stop.set()
            while not run.task.done():
                doors.open(*doors.waiting)
                await asyncio.sleep(0.0005)
            await run.task
        assert sorted(await emitted(bus)) == sorted(doors.called)
        async with running(bus, stage) as run:
            while await lag(bus, stage):
                doors.open(*doors.waiting)
                await asyncio.sleep(0.0005)
        assert set(doors.called.values()) == {1}
        await check_conserved(bus, stage)

    asyncio.run(scenario())


@tries(60)
@given(
    st.lists(st.integers(0, 20), max_size=30),
    st.lists(happenings, max_size=14),
    st.sampled_from([1, 2]),
    st.integers(1, 9),
)
@example([1, 2, 4, 4, 8], [("written", None), ("ticks", 40), ("unwritten", None), ("ticks", 40)], 1, 2)
@example([1, 2, 4, 4, 8], [("ticks", 9), ("turn", None), ("ticks", 40), ("turn", None), ("unknown", None)], 2, 2)
def test_a_fold_decides_as_if_nothing_had_happened(
    log: list[int], script: list[Action], members: int, batch: int
) -> None:
    async def scenario() -> None:
        stage = spec(running_sum(batch=batch))
        bus = await memory_bus(stage, numbered(log), shared=True)
        group = Group(bus, stage.name, INPUT.name, members)
        async with contextlib.AsyncExitStack() as stack:
            runs = await at_work(stack, group, [stage] * members)
            for action, value in script:
                await group.happen(action, value)
            while await lag(bus, stage):
                assert not any(run.task.done() for run in runs)
                await asyncio.sleep(0.0005)
            await until(lambda: [run.stats.in_flight for run in runs] == [0] * members)
        expected = undisturbed(numbered(log))
        out = [decode(stored.value, Seed) for stored in await all_of(bus, "typed")]
        assert out == [record for outcome in expected for record in outcome.emitted]
        assert [reject.evidence for reject in await rejects(bus)] == [
            reject.evidence for outcome in expected for reject in outcome.rejected
        ]
        await check_conserved(bus, stage)
        kept = [entry for s in await all_of(bus, "typed.state") for entry in decode(s.value, StateChange).entries]
        offsets = [stored.offset for stored in await all_of(bus, INPUT.name)]
        assert [entry.offset for entry in kept] == [
            offset for offset, outcome in zip(offsets, expected, strict=True) if outcome.emitted
        ]

    asyncio.run(scenario())
