"""The runner's rules for a Map: what becomes of every record, whatever a stage returns or raises."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from stream.bus import Message
from stream.codec import encode
from stream.errors import DiskFull, EndpointDown, Fatal, NewerSchema, Permanent, RequestTimedOut, WrongConfig
from stream.progress import Progress
from stream.records import SCHEMA, Seed
from stream.retry import Gate
from stream.stage import Map, Outcome, Reason, Reject
from stream.topics import DEAD
from tests.stage_runs import (
    FAST,
    INPUT,
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


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


async def same(record: Seed) -> Outcome[Seed]:
    return Outcome((record,))


def failing_on(name: str, error: BaseException) -> Callable[[Seed], Awaitable[Outcome[Seed]]]:
    async def call(record: Seed) -> Outcome[Seed]:
        if record.name == name:
            raise error
        return Outcome((record,))

    return call


class Doors:
    """A stage whose calls each wait until they are let through."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Event] = {}
        self.called: Counter[int] = Counter()

    async def call(self, record: Seed) -> Outcome[Seed]:
        number = int(record.name)
        self.called[number] += 1
        door = self.waiting[number] = asyncio.Event()
        try:
            await door.wait()
        finally:
            self.waiting.pop(number, None)
        return Outcome((record,))

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.waiting.pop(number).set()


# --- order and exactly once


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


@hypothesis_settings(max_examples=25, deadline=None)
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
        async with running(bus, stage) as run:
            before = len(await emitted(bus))
            while run.stats.read < 40 - before:
                await run.until(lambda: bool(doors.waiting) or run.stats.read == 40 - before)
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
    assert causes == [("typed", "functions", 0, 0, i, 4) for i in range(4)]
    assert [reject.record_id for reject in await rejects(bus)] == ["part", seeds(1)[0].key]
    assert (run.stats.emitted, run.stats.rejected) == (2, Counter({"already_kept": 2}))


# --- the four classes of error


async def test_while_a_dependency_is_away_intake_waits_nothing_is_counted_and_then_it_goes_on() -> None:
    away, called = True, Counter[str]()

    async def call(record: Seed) -> Outcome[Seed]:
        called[record.name] += 1
        if away:
            raise EndpointDown("http://llm refuses connections")
        return Outcome((record,))

    stage = spec(Map.single(call, concurrency=2))
    bus = await memory_bus(stage, seeds(30))
    async with running(bus, stage) as run:
        await run.until(lambda: called["0"] > 20)  # far more than `attempts`
        assert run.stats.waiting == "http://llm refuses connections"
        assert set(called) == {"0", "1"}
        assert (run.stats.retried, run.stats.dead, run.stats.read) == (0, 0, 0)
        away = False
        await run.finished(30)
        assert run.stats.waiting is None
    assert sorted(await emitted(bus)) == list(range(30))
    assert await dead(bus) == []


async def test_a_commit_that_goes_through_does_not_say_that_the_model_answers() -> None:
    away = True

    async def call(record: Seed) -> Outcome[Seed]:
        if away and record.name != "0":
            raise EndpointDown("away")
        return Outcome((record,))

    stage = spec(Map.single(call, concurrency=3))
    bus = await memory_bus(stage, seeds(30))
    async with running(bus, stage) as run:
        await run.finished(1)
        await run.until(lambda: run.stats.waiting is not None)
        fetches = bus.fetches
        for _ in range(100):
            assert run.stats.waiting == "away"
            await asyncio.sleep(0)
        assert bus.fetches == fetches
        away = False
        await run.finished(30)


async def test_a_full_disk_pauses_intake_although_the_model_answers_and_nothing_is_lost() -> None:
    stage = spec(Map.single(same, concurrency=4))
    bus = await memory_bus(stage, seeds(300))
    full = True

    def fault() -> None:
        if full:
            raise DiskFull("/bus.sqlite: the disk is full")

    bus.commit_fault = fault
    async with running(bus, stage) as run:
        await run.until(lambda: run.stats.waiting is not None)
        in_flight = run.stats.in_flight
        for _ in range(100):
            assert run.stats.waiting == "/bus.sqlite: the disk is full"
            await asyncio.sleep(0)
        assert in_flight == run.stats.in_flight < 300
        assert await emitted(bus) == []
        full = False
        await run.finished(300)
    assert sorted(await emitted(bus)) == list(range(300))
    await check_conserved(bus, stage)


async def test_a_bus_that_cannot_be_read_is_waited_for() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(3))
    failures = iter([EndpointDown("broker away")] * 5)

    def fault() -> None:
        for error in failures:
            raise error

    bus.fetch_fault = fault
    async with running(bus, stage) as run:
        await run.finished(3)
    assert sorted(await emitted(bus)) == [0, 1, 2]


async def test_a_transient_is_tried_again_and_then_succeeds() -> None:
    called = Counter[str]()

    async def call(record: Seed) -> Outcome[Seed]:
        called[record.name] += 1
        if called[record.name] < FAST.attempts:
            raise RequestTimedOut("slow")
        return Outcome((record,))

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(4))
    async with running(bus, stage) as run:
        await run.finished(4)
    assert set(called.values()) == {FAST.attempts}
    assert run.stats.retried == 4 * (FAST.attempts - 1)
    assert sorted(await emitted(bus)) == [0, 1, 2, 3]


async def test_a_transient_that_stays_is_dead_after_its_attempts_and_the_others_flow() -> None:
    stage = spec(Map.single(failing_on("1", RequestTimedOut("still slow"))))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    [letter] = await dead(bus)
    assert letter.error.startswith("RequestTimedOut: still slow\n")
    assert run.stats.retried == FAST.attempts - 1
    assert sorted(await emitted(bus)) == [0, 2]
    await check_conserved(bus, stage)


@pytest.mark.parametrize("error", [Permanent("cannot"), KeyError("cannot"), TimeoutError("its own: cannot")])
async def test_a_defect_is_dead_at_once_with_its_position_and_head_and_the_others_flow(error: Exception) -> None:
    stage = spec(Map.single(failing_on("1", error)))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    [letter] = await dead(bus)
    assert (letter.stage, letter.topic, letter.partition, letter.offset) == ("typed", "functions", 0, 1)
    assert letter.record_id == seeds(2)[1].key
    assert letter.head == encode(seeds(2)[1]).decode()
    assert letter.error.startswith(f"{type(error).__name__}: ")
    assert "cannot" in letter.error
    assert "raise error" in letter.error  # where it came from
    assert run.stats.retried == 0
    assert sorted(await emitted(bus)) == [0, 2]
    await check_conserved(bus, stage)


async def test_what_is_fatal_commits_what_is_finished_and_stops() -> None:
    doors = Doors()

    async def call(record: Seed) -> Outcome[Seed]:
        await doors.call(record)
        if record.name == "2":
            raise WrongConfig("no such model")
        return Outcome((record,))

    stage = spec(Map.single(call, concurrency=4))
    bus = await memory_bus(stage, seeds(10))
    slow = replace(FAST, commit_interval_s=3_600.0)  # nothing is committed before it stops
    async with running(bus, stage, slow) as run:
        await run.until(lambda: len(doors.waiting) == 4)
        doors.open(1, 3)
        await run.until(lambda: 5 in doors.waiting)
        doors.open(2)
        with pytest.raises(WrongConfig, match="no such model"):
            await run.task
    assert run.stop.is_set()
    assert sorted(await emitted(bus)) == [1, 3]
    assert await dead(bus) == []
    assert bus.disk.progress["main.typed", "functions", 0] == Progress(0, frozenset({1, 3}))


async def test_an_undecodable_record_is_dead_and_its_neighbours_flow() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(1))
    async with bus.appender("source") as appender:
        await appender.append([Message(INPUT.name, "bad", b"\xff{" + b"x" * 100_000)])
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(1, first=1)])
    async with running(bus, stage) as run:
        await run.finished(3)
    [letter] = await dead(bus)
    assert (letter.record_id, letter.offset) == ("bad", 1)
    assert letter.error.startswith("BadRecord: expected a Seed")
    assert letter.head == "\\xff{" + "x" * (64 * 1024 - 2)
    assert sorted(await emitted(bus)) == [0, 1]
    await check_conserved(bus, stage)


async def test_a_record_of_a_newer_schema_is_fatal_and_never_dead() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(2))
    async with bus.appender("source") as appender:
        await appender.append([Message(INPUT.name, "new", orjson.dumps({"schema": SCHEMA + 1, "record": {}}))])
    async with running(bus, stage) as run:
        with pytest.raises(NewerSchema):
            await run.task
    assert await all_of(bus, DEAD.name) == []
    assert 2 not in (await bus.progress("typed", INPUT.name))[0]


# --- batches


async def test_of_a_batch_that_fails_the_one_to_blame_stands_alone_and_the_others_are_emitted() -> None:
    sizes: list[int] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        sizes.append(len(records))
        if any(record.name == "5" for record in records):
            raise ValueError("5 is not to my liking")
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=8))
    bus = await memory_bus(stage, seeds(8))
    async with running(bus, stage) as run:
        await run.finished(8)
    assert sizes == [8, 4, 4, 2, 1, 1, 2]
    assert [letter.offset for letter in await dead(bus)] == [5]
    assert sorted(await emitted(bus)) == [0, 1, 2, 3, 4, 6, 7]
    await check_conserved(bus, stage)


async def test_a_batch_is_halved_at_its_first_transient_and_a_lone_record_is_given_its_attempts() -> None:
    calls: list[list[str]] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        calls.append([record.name for record in records])
        if any(record.name == "0" for record in records):
            raise RequestTimedOut("slow")
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=4))
    bus = await memory_bus(stage, seeds(4))
    async with running(bus, stage) as run:
        await run.finished(4)
    assert calls == [["0", "1", "2", "3"], ["0", "1"], ["0"], ["0"], ["0"], ["1"], ["2", "3"]]
    assert [letter.offset for letter in await dead(bus)] == [0]


@pytest.mark.parametrize("surplus", [-1, 1])
async def test_the_wrong_number_of_outcomes_is_a_defect_and_never_taken_for_an_outcome(surplus: int) -> None:
    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return [Outcome((records[0],))] * (len(records) + surplus)

    stage = spec(Map(call, batch=3))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert await emitted(bus) == []
    letters = await dead(bus)
    assert [letter.offset for letter in letters] == [0, 1, 2]
    assert f"stage typed gave {1 + surplus} outcomes for 1 records" in letters[0].error
    await check_conserved(bus, stage)


async def test_an_empty_outcome_is_dead() -> None:
    async def call(record: Seed) -> Outcome[Seed]:
        return Outcome()

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage) as run:
        await run.finished(1)
    [letter] = await dead(bus)
    assert letter.error.startswith("Permanent: an outcome is never empty")


async def test_what_is_no_outcome_at_all_is_dead() -> None:
    async def call(records: Sequence[Seed]) -> list[None]:
        return [None] * len(records)

    stage = spec(Map(call, batch=2))  # type: ignore[arg-type]
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert len(await dead(bus)) == 3


async def test_an_incomplete_batch_waits_for_more_records_but_not_for_ever() -> None:
    sizes: list[int] = []

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        sizes.append(len(records))
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=10, linger_s=0.05))
    bus = await memory_bus(stage)
    async with running(bus, stage) as run, bus.appender("source") as appender:
        for record in seeds(10):
            await appender.append([Message(INPUT.name, record.key, encode(record))])
        await run.finished(10)
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(3, first=10)])
        await run.finished(13)
    assert sizes == [10, 3]


async def test_an_incomplete_batch_waits_from_its_first_record_on_however_many_trickle_in() -> None:
    started_s: list[float] = []
    clock = asyncio.get_running_loop()

    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        started_s.append(clock.time())
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=1_000_000, linger_s=0.05))
    bus = await memory_bus(stage)
    async with running(bus, stage) as run, bus.appender("source") as appender:
        first_s = clock.time()
        number = 0
        while not started_s:  # a record every few milliseconds: more often than it lingers
            [record] = seeds(1, first=number)
            await appender.append([Message(INPUT.name, record.key, encode(record))])
            number += 1
            await asyncio.sleep(0.002)
            assert clock.time() - first_s < 5
        await run.finished(number)


async def test_without_linger_an_incomplete_batch_goes_at_once() -> None:
    stage = spec(Map(_copy, batch=1_000))
    bus = await memory_bus(stage, seeds(3))
    async with running(bus, stage) as run:
        await run.finished(3)
    assert sorted(await emitted(bus)) == [0, 1, 2]


async def _copy(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    return [Outcome((record,)) for record in records]


# --- time


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


# --- bounds


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
            await until(lambda: len(bus.disk.progress["main.typed", "functions", 0].done) == 63)
            await settled(lambda: (run.stats.in_flight, bus.fetches))
            assert run.stats.in_flight == 1
    progress = bus.disk.progress["main.typed", "functions", 0]
    assert progress == Progress(0, frozenset(range(1, 64)))
    async with running(bus, stage) as run:
        door.set()
        await run.finished(300 - 63)
    assert sorted(await emitted(bus)) == list(range(300))
    await check_conserved(bus, stage)


async def test_what_is_held_is_bounded_while_commits_cannot_keep_up() -> None:
    stage = spec(Map(_copy, batch=10, concurrency=3))
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
    stage = spec(Map(_copy, batch=10))
    bus = await memory_bus(stage, seeds(200))
    async with running(bus, stage, replace(FAST, commit_interval_s=3_600.0, commit_records=100)) as run:
        await run.finished(200)
    assert bus.commits <= 2


# --- text that is none


async def test_a_lone_surrogate_in_an_emitted_record_is_dead_and_in_evidence_it_is_shown() -> None:
    async def call(record: Seed) -> Outcome[Seed]:
        if record.name == "0":
            return Outcome((replace(record, code="\ud800"),))
        return Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "a\udfffb", "id\ud800"),))

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(2))
    async with running(bus, stage) as run:
        await run.finished(2)
    [letter] = await dead(bus)
    assert letter.offset == 0
    assert letter.error.startswith("BadRecord: Seed ")
    [reject] = await rejects(bus)
    assert (reject.evidence, reject.record_id) == ("a\\udfffb", "id\\ud800")
    await check_conserved(bus, stage)


async def test_a_lone_surrogate_in_an_error_is_shown() -> None:
    stage = spec(Map.single(failing_on("0", ValueError("\ud800 is no text"))))
    bus = await memory_bus(stage, seeds(1))
    async with running(bus, stage) as run:
        await run.finished(1)
    [letter] = await dead(bus)
    assert letter.error.startswith("ValueError: \\ud800 is no text")


async def test_a_fatal_of_the_bus_ends_the_stage() -> None:
    stage = spec(Map.single(same))
    bus = await memory_bus(stage, seeds(3))

    def fault() -> None:
        raise Fatal("the lease is no longer ours")

    bus.commit_fault = fault
    async with running(bus, stage) as run:
        with pytest.raises(Fatal, match="no longer ours"):
            await run.task
    assert await emitted(bus) == []
