"""The runner's rules for a Map: what becomes of a record that fails, and of all that cannot be written."""

import asyncio
from collections import Counter
from dataclasses import replace

import orjson
import pytest

from stream.bus import Message
from stream.codec import encode
from stream.errors import DiskFull, EndpointDown, Fatal, NewerSchema, Permanent, RequestTimedOut, WrongConfig
from stream.progress import Progress
from stream.records import SCHEMA, Seed
from stream.retry import Gate
from stream.stage import Map, Outcome, Reason, Reject
from stream.topics import DEAD
from tests.map_stages import Doors, failing_on, same
from tests.stage_runs import (
    FAST,
    INPUT,
    all_of,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    spec,
)

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


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
            await asyncio.sleep(FAST.commit_interval_s)
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
            await asyncio.sleep(FAST.commit_interval_s)
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
