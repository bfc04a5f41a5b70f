"""The runner's rules for a Map between leases: what goes on, what is kept, what is dropped, what is committed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest

from stream.bus import Cause, Gone, Message
from stream.codec import encode
from stream.ending import Ending
from stream.errors import LeaseLost, Unavailable, WrongConfig
from stream.flood_gate import PAUSE, FloodGate
from stream.map_calls import Job
from stream.map_worker import MapWorker
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.progress import Progress
from stream.records import Seed
from stream.retry import Gate, Gates
from stream.stage import Map, Outcome
from tests.map_stages import Doors, same, same_batch
from tests.memory_disk import Group
from tests.stage_runs import (
    FAST,
    INPUT,
    OUTPUT,
    Run,
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

STAGE = "typed"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


def group_of(bus: MemoryBus) -> Group:
    return bus.group(STAGE, INPUT.name)


def away() -> None:
    raise Unavailable("the broker is away")


def there() -> None:
    """The broker is there."""


@contextlib.asynccontextmanager
async def another_member(bus: MemoryBus, *, releases: bool = True) -> AsyncGenerator[None]:
    """Inside, another process is in the group. It does nothing, and lets go of what it is given, or holds it."""

    async def take() -> None:
        async for event in MemoryBus(bus.disk, partitions=bus.partitions).leases(STAGE, INPUT.name):
            if not isinstance(event, Gone) and releases:
                event.release()

    member = asyncio.create_task(take())
    try:
        yield
    finally:
        member.cancel()
        await asyncio.wait({member})


def commit_elsewhere(bus: MemoryBus, offsets: Sequence[int], progress: Progress) -> None:
    """What another owner of partition 0 would have committed, before the partition comes back to us."""
    records = seeds(max(offsets) + 1)
    messages = [
        Message(OUTPUT.name, records[k].key, encode(records[k]), Cause(STAGE, INPUT.name, 0, k, 0, 1)) for k in offsets
    ]
    bus.write(messages, (STAGE, INPUT.name, 0, progress))
    group_of(bus).rebalance(lost=lambda _: True)


async def let_all_through(doors: Doors, run: Run, inputs: int) -> None:
    while run.stats.read < inputs:
        await run.until(lambda: bool(doors.waiting) or run.stats.read >= inputs)
        doors.open(*doors.waiting)


# --- calls


async def test_a_call_goes_on_while_its_partition_is_wanted_back_and_its_result_is_used_when_it_comes_again() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=3))
    bus = await memory_bus(stage, seeds(9), shared=True)
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 3)
        for _ in range(3):
            group_of(bus).rebalance()
            await settled(lambda: (set(doors.waiting), run.stats.in_flight))
            assert set(doors.waiting) == {0, 1, 2}  # they count against the concurrency of every lease
            assert run.stats.in_flight == 3
        await let_all_through(doors, run, 9)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


async def test_a_result_waits_for_its_offset_to_be_delivered_over_any_number_of_leases() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=4))
    bus = await memory_bus(stage, seeds(4), shared=True)
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 4)
        bus.fetch_fault = away
        for number in (0, 2, 3):
            group_of(bus).rebalance()
            await settled(lambda: run.stats.commits)
            doors.open(number)
            await settled(lambda: (run.stats.commits, run.stats.in_flight))
            assert (run.stats.commits, run.stats.in_flight) == (0, 4)  # not delivered by this lease: not committed
        bus.fetch_fault = there
        await run.finished(3)
        doors.open(1)
        await run.finished(4)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


async def test_what_finishes_while_there_is_no_lease_is_used_under_the_next_one() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call))
    bus = await memory_bus(stage, seeds(12), partitions=2, shared=True)
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 12)
        async with another_member(bus, releases=False):
            await run.until(lambda: len(doors.waiting) < 12)
            ours = set(doors.waiting)
            group_of(bus).rebalance()  # the other one does not let go: the group stands still
            await settled(lambda: set(doors.waiting))
            doors.open(*ours)
            await settled(lambda: (run.stats.in_flight, run.stats.commits))
            assert (run.stats.in_flight, run.stats.commits) == (len(ours), 0)
        await run.finished(len(ours))
        await let_all_through(doors, run, 12)
        await caught_up(bus, stage)
    assert {number for number, calls in doors.called.items() if calls == 1} == ours
    await check_conserved(bus, stage)


async def test_a_result_is_committed_although_every_call_is_taken() -> None:
    doors, hold = Doors(), asyncio.Event()

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        if len(records) > 1:
            raise ValueError("each for itself")  # so that one of a batch is finished before the other
        return [await doors.call(records[0])]

    stage = spec(Map(call, batch=2, concurrency=1))
    bus = await memory_bus(stage, seeds(2), shared=True)
    bus.before_commit = hold.wait
    async with running(bus, stage, replace(FAST, drain_s=0.0)) as run:
        await run.until(lambda: set(doors.waiting) == {0})
        doors.open(0)
        await run.until(lambda: set(doors.waiting) == {1})
        group_of(bus).rebalance()
        await settled(lambda: set(doors.waiting))
        hold.set()
        await run.finished(1)
        doors.open(1)
        await run.finished(2)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


async def test_a_record_that_was_in_no_call_yet_is_fetched_again_and_joins_others() -> None:
    sizes: list[int] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        sizes.append(len(records))
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=5, linger_s=3_600.0))
    bus = await memory_bus(stage, seeds(3), shared=True)
    async with running(bus, stage) as run:
        await run.until(lambda: run.stats.in_flight == 3)
        group_of(bus).rebalance()
        await send(bus, seeds(2, first=3))
        await run.finished(5)
        await caught_up(bus, stage)
    assert sizes == [5]
    await check_conserved(bus, stage)


async def test_a_partition_that_is_gone_takes_its_calls_with_it_and_comes_back_as_new() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=20))
    bus = await memory_bus(stage, seeds(12), partitions=2, shared=True)
    here = {int(number) for number in await emitted(bus, INPUT.name)}
    async with running(bus, stage) as run:
        await run.until(lambda: set(doors.waiting) == here)
        async with another_member(bus):
            await run.until(lambda: 0 < len(doors.waiting) < 12)
            kept = set(doors.waiting)
            await run.until(lambda: run.stats.in_flight == len(kept))
        await run.until(lambda: set(doors.waiting) == here)
        await let_all_through(doors, run, 12)
        await caught_up(bus, stage)
    assert {number for number, calls in doors.called.items() if calls == 1} == kept
    await check_conserved(bus, stage)


@pytest.mark.parametrize("batch", [1, 4])
async def test_what_another_owner_has_finished_in_between_is_dropped_and_the_rest_of_a_batch_is_used(
    batch: int,
) -> None:
    doors = Doors()

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return await asyncio.gather(*(doors.call(record) for record in records))

    stage = spec(Map(call, batch=batch, concurrency=8 // batch))
    bus = await memory_bus(stage, seeds(8), shared=True)
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 8)
        commit_elsewhere(bus, [1, 4, 5, 6, 7], Progress(0, frozenset({1, 4, 5, 6, 7})))
        cancelled = {1, 4, 5, 6, 7} if batch == 1 else {4, 5, 6, 7}
        await run.until(lambda: set(doors.waiting) == set(range(8)) - cancelled)
        await run.until(lambda: run.stats.in_flight == 3)
        doors.open(*doors.waiting)
        await run.finished(3)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


@contextlib.asynccontextmanager
async def between_leases(bus: MemoryBus, run: Run, doors: Doors, calls: int) -> AsyncGenerator[None]:
    """Inside, partition 0 has been taken back and not been given out again: another member holds on to its own."""
    group = group_of(bus)
    await run.until(lambda: len(group.shares()) == 2)
    async with another_member(bus, releases=False):
        await run.until(lambda: len({share.owner.by for share in group.shares()}) == 2 and len(doors.waiting) == calls)
        group.rebalance()
        await run.until(lambda: sorted(share.released for share in group.shares()) == [False, True])
        yield


async def halves(doors: Doors) -> tuple[StageSpec, MemoryBus]:
    """A stage of three calls at a time on two partitions, of which partition 0 holds at least four inputs."""
    stage = spec(Map.single(doors.call, concurrency=3))
    return stage, await memory_bus(stage, seeds(20), partitions=2, shared=True)


async def test_told_to_stop_between_leases_it_commits_with_the_next_one_what_was_in_flight() -> None:
    doors = Doors()
    stage, bus = await halves(doors)
    async with running(bus, stage) as run:
        async with between_leases(bus, run, doors, calls=3):
            in_flight = set(doors.waiting)
            run.stop.set()
            doors.open(*list(doors.waiting)[:2])
            await settled(lambda: (run.task.done(), run.stats.in_flight))
            assert not run.task.done() and run.stats.in_flight == 3
        await settled(lambda: (run.task.done(), run.stats.in_flight))  # the lease is there, and one call still runs
        assert not run.task.done()
        doors.open(*doors.waiting)
        await run.end()
    assert set(await emitted(bus)) == in_flight  # no new ones
    assert {doors.called[number] for number in in_flight} == {1}
    assert run.stats.in_flight == 0


async def test_told_to_stop_between_leases_it_waits_for_no_longer_than_it_drains() -> None:
    doors = Doors()
    stage, bus = await halves(doors)
    async with running(bus, stage, replace(FAST, drain_s=0.05)) as run, between_leases(bus, run, doors, calls=3):
        await run.end()
    assert doors.waiting == {} and await emitted(bus) == []


async def test_told_to_stop_between_leases_with_nothing_in_flight_it_ends_at_once() -> None:
    doors = Doors()
    stage, bus = await halves(doors)
    async with running(bus, stage, replace(FAST, drain_s=3_600.0)) as run:
        while run.stats.read < 20:
            await run.until(lambda: bool(doors.waiting) or run.stats.read == 20)
            doors.open(*doors.waiting)
        async with between_leases(bus, run, doors, calls=0):
            await run.end()


async def test_what_is_fatal_between_two_leases_ends_the_next_one() -> None:
    doors = Doors()

    async def call(record: Seed) -> Outcome[Seed]:
        await doors.call(record)
        raise WrongConfig("no such model")

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(1), shared=True)
    stats = StageStats(STAGE)
    flood = FloodGate(stage, FAST, stats, PAUSE, lambda _: None)
    worker = MapWorker(Job(stage, Map.single(call), FAST, stats, Gates(stats), flood))
    async with contextlib.aclosing(bus.leases(STAGE, INPUT.name)) as leases:
        under_way = asyncio.create_task(worker.run(await anext(leases), Ending(asyncio.Event(), FAST.drain_s)))
        await until(lambda: bool(doors.waiting))
        group_of(bus).rebalance()
        await under_way
        doors.open(0)
        await until(lambda: not stats.in_flight)
        with pytest.raises(WrongConfig, match="no such model"):
            await worker.run(await anext(leases), Ending(asyncio.Event(), FAST.drain_s))
    await worker.close()


# --- commits


@pytest.mark.parametrize("written", [False, True])
async def test_what_became_of_a_commit_in_which_the_lease_was_lost_the_next_lease_tells(written: bool) -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call, concurrency=4))
    bus = await memory_bus(stage, seeds(4), shared=True)

    def lose() -> None:
        bus.commit_fault = bus.told_fault = there
        group_of(bus).rebalance(lost=lambda _: True)
        raise LeaseLost("taken over")

    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 4)
        if written:
            bus.told_fault = lose
        else:
            bus.commit_fault = lose
        doors.open(1, 3)
        await run.until(lambda: bus.log(OUTPUT.name)[0] != [])
        await run.until(lambda: run.stats.in_flight == 2)
        doors.open(0, 2)
        await until(lambda: len(bus.log(OUTPUT.name)[0]) == 4)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


async def test_a_commit_that_nobody_knows_of_is_made_again_as_it_was_and_nothing_else_is_committed_before() -> None:
    doors, asked = Doors(), 0

    def unknown() -> None:
        nonlocal asked
        asked += 1
        if asked < 5:
            doors.open(*doors.waiting)  # more has finished since: it must wait
            raise Unavailable("no answer to the commit")

    stage = spec(Map.single(doors.call, concurrency=4))
    bus = await memory_bus(stage, seeds(4), shared=True)
    bus.told_fault = unknown
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 4)
        doors.open(2)
        await run.finished(4)
        await caught_up(bus, stage)
    assert asked > 5
    await check_conserved(bus, stage)


async def test_a_commit_that_does_not_end_holds_a_wanted_partition_no_longer_than_it_drains() -> None:
    doors, hanging = Doors(), asyncio.Event()

    async def before_commit() -> None:
        if not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()

    stage = spec(Map.single(doors.call, concurrency=3))
    bus = await memory_bus(stage, seeds(3), shared=True)
    bus.before_commit = before_commit
    async with running(bus, stage, replace(FAST, drain_s=0.01)) as run:
        await run.until(lambda: len(doors.waiting) == 3)
        doors.open(0, 1)
        await run.until(hanging.is_set)
        group_of(bus).rebalance()
        await run.finished(2)
        doors.open(2)
        await run.finished(3)
        await caught_up(bus, stage)
    assert set(doors.called.values()) == {1}
    await check_conserved(bus, stage)


async def test_the_watermark_goes_over_marks_that_hold_no_record_and_then_no_commit_is_made_for_nothing() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(5), partitions=2, shared=True)
    async with running(bus, stage) as run:
        for count in (5, 6):
            await caught_up(bus, stage)
            assert run.stats.read == count
            await settled(lambda: bus.commits)
            before = bus.commits
            await send(bus, seeds(1, first=count))
        await run.until(lambda: run.stats.read == 7)
        await caught_up(bus, stage)
        assert bus.commits <= before + 2  # one for the record, one for its mark
        for log in bus.log(INPUT.name):
            log.end += 1
        bus.disk.wake()
        await caught_up(bus, stage)
        assert bus.commits <= before + 4
        assert run.stats.in_flight == 0
        await caught_up(bus, stage)
    await check_conserved(bus, stage)


async def test_while_a_record_is_in_flight_no_commit_is_made_for_a_position_that_moves_on_its_own() -> None:
    doors = Doors()
    stage = spec(Map.single(doors.call))
    bus = await memory_bus(stage, seeds(1), shared=True)
    log = bus.log(INPUT.name)[0]
    async with running(bus, stage) as run:
        await run.until(lambda: len(doors.waiting) == 1)
        for _ in range(10):
            log.end += 1
            bus.disk.wake()
            await settled(lambda: bus.commits)
        assert bus.commits == 0
        doors.open(0)
        await run.finished(1)
        assert bus.disk.progress["main.typed", "functions", 0] == Progress(log.end)
        assert bus.commits == 1


async def test_a_gap_wider_than_progress_can_tell_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.progress.MAX_SPAN", 64)
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(5), shared=True)
    log = bus.log(INPUT.name)[0]
    log.end += 1_000
    await send(bus, seeds(100, first=5))
    async with running(bus, stage) as run:
        await run.finished(105)
        await caught_up(bus, stage)
        await caught_up(bus, stage)
    await check_conserved(bus, stage)


async def test_what_is_held_is_bounded_over_any_number_of_leases_while_no_commit_ends() -> None:
    stage = spec(Map(same_batch, batch=10, concurrency=3))
    bus = await memory_bus(stage, seeds(2_000), shared=True)
    hold = asyncio.Event()
    bus.before_commit = hold.wait
    async with running(bus, stage, replace(FAST, commit_records=50, drain_s=0.0)) as run:
        for _ in range(10):
            await run.until(lambda: run.stats.in_flight >= 100)
            await settled(lambda: run.stats.in_flight)
            # a step on its way and one that waits, each of at most twice `commit_records`, and the calls
            assert run.stats.in_flight <= 2 * (2 * 50 + 3 * 10)
            group_of(bus).rebalance()
            await settled(lambda: run.stats.commits)
        hold.set()
        await run.finished(2_000)
        await caught_up(bus, stage)
    await check_conserved(bus, stage)
