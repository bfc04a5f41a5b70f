"""The runner's rules for a Map whose partitions are wanted back, lost, and given again: each input has one outcome, and
no call is made twice while its partition stays with us."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.errors import LeaseLost, Unavailable
from stream.idle import lag
from stream.records import Seed
from stream.retry import Gate
from stream.stage import Map, Outcome
from tests.map_stages import Doors
from tests.stage_runs import (
    INPUT,
    check_conserved,
    emitted,
    memory_bus,
    running,
    seeds,
    spec,
    until,
)
from tests.stream_fakes import MemoryBus

STAGE, TOPIC = "typed", INPUT.name


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def everything(_: int) -> bool:
    return True


def once(what: Callable[[], None]) -> Callable[[], None]:
    """A fault that strikes once."""
    struck = False

    def fault() -> None:
        nonlocal struck
        if not struck:
            struck = True
            what()

    return fault


def away() -> None:
    raise Unavailable("the broker is away")


Action = tuple[str, Any]
actions: st.SearchStrategy[list[Action]] = st.lists(
    st.one_of(
        st.tuples(st.just("ticks"), st.integers(0, 40)),
        st.tuples(st.just("finish"), st.lists(st.integers(0, 9), max_size=6)),
        st.tuples(st.sampled_from(["want", "lose", "turn", "unwritten", "written", "away", "unknown"]), st.none()),
        st.tuples(st.just("slow"), st.integers(0, 20)),
    ),
    max_size=14,
)


class Scene:
    """Members of one group at work, each with a Map of its own, and what may happen to them."""

    def __init__(self, first: MemoryBus, members: int) -> None:
        self.buses = [first, *(MemoryBus(first.disk, partitions=first.partitions) for _ in range(members - 1))]
        self.doors = [Doors() for _ in self.buses]
        self.group = first.group(STAGE, TOPIC)
        self.turned = 0

    def lost(self) -> None:
        self.group.rebalance(lost=everything)
        raise LeaseLost("taken over in the middle of a commit")

    async def act(self, action: str, value: Any) -> None:
        match action:
            case "ticks":
                await ticks(value)
            case "finish":
                for doors in self.doors:
                    waiting = sorted(doors.waiting)
                    doors.open(*{waiting[pick % len(waiting)] for pick in value if waiting})
            case "want":
                self.group.rebalance()
            case "lose":
                self.group.rebalance(lost=everything)
            case "turn":
                self.turned += 1
                self.group.turn += 1
                self.group.rebalance()
            case "slow":
                for bus in self.buses:
                    bus.before_commit = lambda: ticks(value)
            case "unwritten" | "away":
                for bus in self.buses:
                    bus.commit_fault = once(self.lost if action == "unwritten" else away)
            case "written" | "unknown":
                for bus in self.buses:
                    bus.told_fault = once(self.lost if action == "written" else away)
            case _:
                raise AssertionError(action)
        await ticks(1)


def batches(doors: Doors, size: int) -> Map[Seed, Seed]:
    """A Map of so many records a call, each of which waits for its door."""

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return await asyncio.gather(*(doors.call(record) for record in records))

    return Map(call, batch=size, concurrency=max(2, 12 // size))


@hypothesis_settings(max_examples=60, deadline=None)
@given(actions, st.sampled_from([1, 3]), st.sampled_from([1, 2]), st.sampled_from([1, 4]))
@example([("ticks", 40), ("want", None), ("finish", [0, 1, 2]), ("ticks", 40), ("lose", None)], 1, 1, 1)
@example([("ticks", 40), ("finish", [1, 3]), ("written", None), ("ticks", 40), ("finish", [0])], 1, 1, 4)
@example([("ticks", 40), ("finish", [1, 3]), ("unwritten", None), ("ticks", 40), ("turn", None)], 3, 2, 4)
def test_whatever_happens_to_leases_each_input_has_one_outcome_and_one_call_unless_its_partition_was_gone(
    script: list[Action], partitions: int, members: int, batch: int
) -> None:
    async def scenario() -> None:
        stage = spec(Map.single(Doors().call))
        bus = await memory_bus(stage, seeds(40), partitions, shared=True)
        scene = Scene(bus, members)
        stages = [replace(stage, shape=batches(doors, batch)) for doors in scene.doors]
        async with contextlib.AsyncExitStack() as running_stages:
            runs = [
                await running_stages.enter_async_context(running(*at)) for at in zip(scene.buses, stages, strict=True)
            ]
            for action, value in script:
                await scene.act(action, value)
            while await lag(bus, stage):
                assert not any(run.task.done() for run in runs)
                for doors in scene.doors:
                    doors.open(*doors.waiting)
                await asyncio.sleep(0.0005)
            await until(lambda: [run.stats.in_flight for run in runs] == [0] * members)
        assert sorted(await emitted(bus)) == list(range(40))
        await check_conserved(bus, stage)
        called = sum((doors.called for doors in scene.doors), Counter[int]())
        assert max(called.values()) <= 1 + (members - 1) * (1 + scene.turned)

    asyncio.run(scenario())
