"""The runner's rules for a Map: each input once, in bounded memory, and a good end."""

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.bus import Cause
from stream.errors import DiskFull
from stream.idle import lag
from stream.progress import Progress
from stream.records import Seed
from stream.retry import Gate
from stream.stage import Map, Outcome, Reason, Reject
from tests.map_stages import Doors, same, same_batch
from tests.stage_runs import (
    FAST,
    OUTPUT,
    all_of,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    settled,
    spec,
    until,
)
from tests.tries import tries

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def test_calls_finish_in_any_order_and_every_input_comes_out_once() -> None:
    doors, dice = Doors(), random.Random(7)
    stage = spec(Map.single(doors.call, concurrency=8))
    bus = await memory_bus(stage, seeds(60), partitions=3)
    async with running(bus, stage) as run:
        while run.stats.read < 60:
            await run.until(lambda: bool(doors.waiting) or run.stats.read == 60)
            if doors.waiting:
                doors.open(dice.choice(list(doors.waiting)))
    order = await emitted(bus)
    assert sorted(order) == list(range(60))
    assert order != sorted(order)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)
    assert (run.stats.read, run.stats.emitted, run.stats.in_flight, run.stats.dead) == (60, 60, 0, 0)


@tries(25)
@given(st.lists(st.tuples(st.integers(0, 25), st.lists(st.integers(0, 9)), st.booleans()), max_size=6))
def test_whenever_it_is_stopped_cancelled_or_crashes_each_input_has_one_outcome_in_the_end(
    turns: list[tuple[int, list[int], bool]],
) -> None:
    async def scenario() -> None:
        doors = Doors()
        stage = spec(Map.single(doors.call, concurrency=10))
        bus = await memory_bus(stage, seeds(40))
        for ticks, picks, crash in turns:
            async with running(bus, stage, replace(FAST, drain_s=0.0)) as run:
                for _ in range(ticks):
                    await asyncio.sleep(0)
                waiting = sorted(doors.waiting)
                doors.open(*{waiting[pick % len(waiting)] for pick in picks if waiting})
                for _ in range(ticks):
                    await asyncio.sleep(0)
                if crash:
                    bus.crash()
                    run.task.cancel()
                    await asyncio.wait({run.task})
        left = await lag(bus, stage)
        async with running(bus, stage) as run:
            while run.stats.read < left:
                await run.until(lambda: bool(doors.waiting) or run.stats.read == left)
                doors.open(*doors.waiting)
        assert sorted(await emitted(bus)) == list(range(40))
        await check_conserved(bus, stage)

    asyncio.run(scenario())


async def test_the_parts_of_an_outcome_are_numbered_emitted_first() -> None:
    async def parts(record: Seed) -> Outcome[Seed]:
        return Outcome((record, record), (Reject(Reason.ALREADY_KEPT, "why", "part"), Reject(Reason.ALREADY_KEPT, "")))

    stage = spec(Map.single(parts))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage) as run:
        await run.finished(1)
    causes = [stored.cause for topic in (OUTPUT.name, "rejects") for stored in await all_of(bus, topic)]
    assert causes == [Cause("typed", "functions", 0, 0, i, 4) for i in range(4)]
    assert [reject.record_id for reject in await rejects(bus)] == ["part", seeds(1)[0].key]
    assert (run.stats.emitted, run.stats.rejected) == (2, Counter({"already_kept": 2}))


async def test_told_to_stop_it_lets_what_is_in_flight_finish_and_commits_it() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=3))
    bus = await memory_bus(stage, seeds(10))
    async with running(bus, stage, replace(FAST, commit_interval_s=3_600.0)) as run:
        await run.until(lambda: len(doors.waiting) == 3)
        run.stop.set()
        await settled(lambda: set(doors.waiting))
        assert not run.task.done()
        doors.open(0, 1, 2)
        await run.task
    assert sorted(await emitted(bus)) == [0, 1, 2]
    assert sum(doors.called.values()) == 3  # no new ones
    assert (run.stats.read, run.stats.in_flight) == (3, 0)


async def test_what_does_not_finish_in_time_is_cancelled_and_done_by_the_next_run() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=3))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage, replace(FAST, drain_s=0.01)) as run:
        await run.until(lambda: len(doors.waiting) == 3)
        doors.open(1)
        await run.finished(1)
        await run.end()
    assert await emitted(bus) == [1]
    assert doors.waiting == {}
    async with running(bus, stage) as run:
        await run.until(lambda: set(doors.waiting) == {0, 2})
        doors.open(0, 2)
        await run.finished(2)
    assert sorted(await emitted(bus)) == [0, 1, 2]
    await check_conserved(bus, stage)


async def test_a_bus_that_is_away_at_the_end_does_not_hold_the_process_for_longer_than_it_drains() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(3))

    def fault() -> None:
        raise DiskFull("full")

    bus.commit_fault = fault
    async with running(bus, stage, replace(FAST, drain_s=0.01)) as run:
        await run.until(lambda: run.stats.waiting == "full")
        await run.end()
    assert await emitted(bus) == []


async def test_a_call_past_its_deadline_is_cancelled_and_counts_as_a_transient() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage, replace(FAST, call_deadline_s=0.01)) as run:
        await run.finished(1)
    assert doors.called[0] == FAST.attempts
    [letter] = await dead(bus)
    assert letter.error.startswith("RequestTimedOut: stage typed took longer than 0.01 s")


async def test_a_call_whose_own_task_was_cancelled_counts_as_a_transient_and_no_record_is_lost() -> None:
    called = Counter[str]()

    async def call(record: Seed) -> Outcome[Seed]:
        called[record.name] += 1
        if called[record.name] == 1:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()  # as a pool does with what it has not begun
            await future
        return Outcome((record,))

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(5))
    async with running(bus, stage) as run:
        await run.finished(5)
    assert run.stats.retried == 5
    assert sorted(await emitted(bus)) == list(range(5))


async def test_a_record_that_hangs_at_the_watermark_stops_intake_at_the_span_and_then_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.progress.MAX_SPAN", 64)
    door = asyncio.Event()

    async def call(record: Seed) -> Outcome[Seed]:
        if record.name == "0":
            await door.wait()
        return Outcome((record,))

    stage = spec(Map.single(call, concurrency=7))
    bus = await memory_bus(stage, seeds(300))
    for _ in range(3):  # over restarts, too: what is done above the watermark takes room
        async with running(bus, stage, replace(FAST, drain_s=0.0)) as run:
            await run.until(lambda: ("main.typed", "functions", 0) in bus.disk.progress)
            await until(lambda: len(bus.disk.progress["main.typed", "functions", 0].done) == 64)
            await settled(lambda: (run.stats.in_flight, bus.fetches))
            assert run.stats.in_flight == 1
    progress = bus.disk.progress["main.typed", "functions", 0]
    assert progress == Progress(0, frozenset(range(1, 65)))
    async with running(bus, stage) as run:
        door.set()
        await run.finished(300 - 64)
    assert sorted(await emitted(bus)) == list(range(300))
    await check_conserved(bus, stage)


async def test_what_is_held_is_bounded_while_commits_cannot_keep_up() -> None:
    stage = spec(Map(same_batch, batch=10, concurrency=3))
    bus = await memory_bus(stage, seeds(2_000))
    hold = asyncio.Event()
    bus.before_commit = hold.wait
    async with running(bus, stage, replace(FAST, commit_records=50)) as run:
        await run.until(lambda: run.stats.in_flight >= 100)
        await settled(lambda: (run.stats.in_flight, bus.fetches))
        # one step on its way, twice a step waiting, and the calls that were under way when that was reached
        assert run.stats.in_flight <= 50 + 2 * 50 + 3 * 10 + 50
        hold.set()
        await run.finished(2_000)
    await check_conserved(bus, stage)


async def test_no_more_calls_are_in_flight_than_allowed() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=5))
    bus = await memory_bus(stage, seeds(20))
    async with running(bus, stage) as run:
        for done in range(20):
            await run.until(lambda: len(doors.waiting) == min(5, 20 - done))  # noqa: B023 - awaited here
            await settled(lambda: (len(doors.waiting), run.stats.in_flight))
            assert len(doors.waiting) <= 5
            assert run.stats.in_flight <= 5
            doors.open(min(doors.waiting))
            await run.finished(done + 1)


async def test_finished_records_share_a_commit() -> None:
    stage = spec(Map(same_batch, batch=10))
    bus = await memory_bus(stage, seeds(200))
    async with running(bus, stage, replace(FAST, commit_interval_s=3_600.0, commit_records=100)) as run:
        await run.finished(200)
    assert bus.commits <= 2
