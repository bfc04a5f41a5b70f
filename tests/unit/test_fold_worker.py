"""The runner's rules for a Fold: the same decisions however the log is cut, wherever it was restarted."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.bus import Message
from stream.codec import decode, encode
from stream.errors import DiskFull, NewerSchema, Unavailable
from stream.fold_memory import Memory, restored
from stream.records import SCHEMA, Kept, Record, Seed, StateChange
from stream.retry import Gate
from stream.stage import Decision, Outcome
from stream.topics import DEAD
from tests.fold_stages import Bad, Sum, numbered, running_sum, told, undisturbed
from tests.stage_runs import (
    INPUT,
    all_of,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    send,
    settled,
    spec,
)
from tests.stream_fakes import MemoryBus
from tests.tries import tries

pytestmark = pytest.mark.virtual_time

STATE = "typed.state"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


numbers = st.lists(st.integers(0, 20), max_size=30)
cuts = st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=30)
"""How many records a call is given, and whether the process is restarted after it."""


@given(numbers, cuts)
def test_however_the_log_is_cut_and_wherever_it_is_restarted_the_decisions_are_the_same(
    log: list[int], pieces: list[tuple[int, bool]]
) -> None:
    records = numbered(log)
    fold = running_sum()
    memory, entries, outcomes = Memory(fold), list[Kept](), list[Outcome[Seed]]()
    rest = records
    while rest:
        for size, restart in pieces:
            batch, rest = rest[:size], rest[size:]
            decisions = memory.decide(batch)
            assert len(decisions) == len(batch)
            for record, decision in zip(batch, decisions, strict=True):
                outcomes.append(decision.outcome)
                if decision.outcome.emitted:
                    entries.append(Kept(0, record.key, decision.change))
            if restart:
                memory = Memory(fold)
                half = len(entries) // 2  # a state log is read in pieces, too
                memory.restore(entries[:half])
                memory.restore(entries[half:])
    assert told(outcomes) == told(undisturbed(records))


@tries(30)
@given(numbers, st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=5), st.integers(1, 9))
@example([1, 1, 2, 3, 5, 8, 13, 1], [(3, True), (5, False)], 2)
def test_stopped_or_killed_anywhere_its_output_is_that_of_an_undisturbed_run(
    log: list[int], turns: list[tuple[int, bool]], batch: int
) -> None:
    async def scenario() -> None:
        stage = spec(running_sum(batch=batch))
        bus = await memory_bus(stage, numbered(log))
        for ticks, crash in turns:
            async with running(bus, stage) as run:
                for _ in range(ticks):
                    await asyncio.sleep(0)
                if crash:
                    bus.crash()
                    run.task.cancel()
                    await asyncio.wait({run.task})
        before = (await bus.progress("typed", INPUT.name))[0].watermark
        async with running(bus, stage) as run:
            await run.finished(len(log) - before)
        expected = undisturbed(numbered(log))
        out = [decode(stored.value, Seed) for stored in await all_of(bus, "typed")]
        assert out == [record for outcome in expected for record in outcome.emitted]
        assert [reject.evidence for reject in await rejects(bus)] == [
            reject.evidence for outcome in expected for reject in outcome.rejected
        ]
        await check_conserved(bus, stage)
        kept = [entry for s in await all_of(bus, STATE) for entry in decode(s.value, StateChange).entries]
        assert [entry.offset for entry in kept] == [k for k, outcome in enumerate(expected) if outcome.emitted]

    asyncio.run(scenario())


async def test_records_are_decided_in_the_order_of_the_log() -> None:
    asked: list[str] = []
    fold = running_sum(batch=4)

    def decide(state: Sum, records: Sequence[Seed]) -> Sequence[Decision[Seed]]:
        asked.extend(record.name for record in records)
        return fold.decide(state, records)

    stage = spec(replace(fold, decide=decide))
    bus = await memory_bus(stage, seeds(30))
    async with running(bus, stage) as run:
        await run.finished(30)
    assert asked == [str(k) for k in range(30)]
    assert await emitted(bus) == sorted(await emitted(bus))
    assert (run.stats.read, run.stats.in_flight) == (30, 0)


async def test_a_known_id_is_rejected_before_the_fold_sees_it_also_in_one_batch_and_after_a_restart() -> None:
    stage = spec(running_sum())
    bus = await memory_bus(stage, numbered([1, 4, 1]))
    async with running(bus, stage) as run:
        await run.finished(3)
    await send(bus, numbered([4, 8]))
    async with running(bus, stage) as run:
        await run.finished(2)
        await send(bus, numbered([8]))
        await run.finished(3)
    assert await emitted(bus) == [1, 4, 8]
    found = await rejects(bus)
    assert [(reject.reason, reject.record_id) for reject in found] == [
        ("already_kept", numbered([number])[0].key) for number in (1, 4, 8)
    ]
    await check_conserved(bus, stage)


async def test_an_id_that_was_turned_down_is_decided_anew() -> None:
    stage = spec(running_sum())
    bus = await memory_bus(stage, numbered([3, 1, 3]))  # 3 is turned down at the sum 0, and kept at the sum 1
    async with running(bus, stage) as run:
        await run.finished(3)
    assert await emitted(bus) == [1, 3]


@pytest.mark.parametrize("bad", ["0", "4", "9"])
@pytest.mark.parametrize("batch", [1, 3, 256])
async def test_a_record_that_makes_it_raise_is_dead_and_the_others_are_decided_as_if_it_had_not_been_there(
    bad: str, batch: int
) -> None:
    stage = spec(running_sum(Bad(bad, ZeroDivisionError("by it")), batch))
    bus = await memory_bus(stage, seeds(10))
    async with running(bus, stage) as run:
        await run.finished(10)
    [letter] = await dead(bus)
    assert (letter.offset, letter.record_id) == (int(bad), seeds(10)[int(bad)].key)
    assert letter.error.startswith("ZeroDivisionError: by it")
    others = undisturbed([record for record in seeds(10) if record.name != bad])
    out = [decode(stored.value, Seed) for stored in await all_of(bus, "typed")]
    assert out == [record for outcome in others for record in outcome.emitted]
    await check_conserved(bus, stage)


async def test_the_records_of_a_batch_that_is_taken_apart_are_finished_one_by_one() -> None:
    stage = spec(running_sum(Bad("2", ZeroDivisionError("by it"))))
    bus = await memory_bus(stage, seeds(5))
    watermarks: list[int] = []
    bus.told_fault = lambda: watermarks.append(bus.disk.progress["main.typed", INPUT.name, 0].watermark)
    async with running(bus, stage) as run:
        await run.finished(5)
    assert watermarks == [1, 2, 3, 4, 5]


async def test_two_records_that_make_it_raise_are_both_found() -> None:
    fold = running_sum()

    def decide(state: Sum, records: Sequence[Seed]) -> Sequence[Decision[Seed]]:
        if any(record.name in {"2", "5"} for record in records):
            raise ValueError
        return fold.decide(state, records)

    stage = spec(replace(fold, decide=decide))
    bus = await memory_bus(stage, seeds(8))
    async with running(bus, stage) as run:
        await run.finished(8)
    assert [letter.offset for letter in await dead(bus)] == [2, 5]
    others = undisturbed([record for record in seeds(8) if record.name not in {"2", "5"}])
    assert await emitted(bus) == [int(record.name) for outcome in others for record in outcome.emitted]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda decisions: decisions[:-1],
        lambda decisions: [*decisions, decisions[0]],
        lambda decisions: [replace(d, change="\ud800") if d.outcome.emitted else d for d in decisions],
    ],
    ids=["one too few", "one too many", "a change that is no text"],
)
async def test_decisions_that_cannot_be_written_make_dead_letters_and_never_stop_the_stream(
    spoil: Callable[[Sequence[Decision[Seed]]], Sequence[Decision[Seed]]],
) -> None:
    fold = running_sum()

    def decide(state: Sum, records: Sequence[Seed]) -> Sequence[Decision[Seed]]:
        decisions = fold.decide(state, records)
        return spoil(decisions) if any(record.name == "1" for record in records) else decisions

    stage = spec(replace(fold, decide=decide))
    bus = await memory_bus(stage, seeds(5))
    async with running(bus, stage) as run:
        await run.finished(5)
    assert [letter.offset for letter in await dead(bus)] == [1]
    others = undisturbed([record for record in seeds(5) if record.name != "1"])
    assert await emitted(bus) == [int(record.name) for outcome in others for record in outcome.emitted]
    await check_conserved(bus, stage)


async def test_an_undecodable_record_is_dead_and_a_newer_one_is_fatal_after_what_came_before() -> None:
    stage = spec(running_sum(batch=2))
    bus = await memory_bus(stage, seeds(2))
    async with bus.appender("source") as appender:
        await appender.append([Message(INPUT.name, "bad", b"garbage")])
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(1, first=2)])
        await appender.append([Message(INPUT.name, "new", orjson.dumps({"schema": SCHEMA + 1, "record": {}}))])
    async with running(bus, stage) as run:
        with pytest.raises(NewerSchema):
            await run.task
    assert [(letter.offset, letter.record_id) for letter in await dead(bus)] == [(2, "bad")]
    assert (await bus.progress("typed", INPUT.name))[0].watermark == 4
    assert await emitted(bus) == [1]  # 0 and, after it, 2 make a multiple of 3


async def test_a_full_disk_is_waited_for_and_nothing_is_decided_twice() -> None:
    stage = spec(running_sum(batch=3))
    bus = await memory_bus(stage, seeds(9))
    full = True

    def fault() -> None:
        if full:
            raise DiskFull("full")

    bus.commit_fault = fault
    async with running(bus, stage) as run:
        await run.until(lambda: run.stats.waiting == "full")
        await settled(lambda: bus.fetches)
        assert run.stats.in_flight == 3
        assert await emitted(bus) == []
        full = False
        await run.finished(9)
        assert run.stats.waiting is None
    assert await emitted(bus) == [int(record.name) for outcome in undisturbed(seeds(9)) for record in outcome.emitted]
    await check_conserved(bus, stage)


async def test_a_state_log_that_cannot_be_read_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = spec(running_sum())
    bus = await memory_bus(stage, seeds(4))
    failures = iter([Unavailable("broker away")] * 3)
    read = MemoryBus.read

    def failing(self: MemoryBus, topic: str, start: Mapping[int, int] | None = None):
        for error in failures:
            raise error
        return read(self, topic, start)

    monkeypatch.setattr(MemoryBus, "read", failing)
    async with running(bus, stage) as run:
        await run.finished(4)
    assert next(failures, None) is None


async def test_told_to_stop_it_commits_what_it_has_decided_and_fetches_no_more() -> None:
    stage = spec(running_sum(batch=2))
    bus = await memory_bus(stage, seeds(10))
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def before_commit() -> None:
        reached.set()
        await go_on.wait()

    bus.before_commit = before_commit
    async with running(bus, stage) as run:
        await reached.wait()
        run.stop.set()
        await settled(lambda: run.task.done())
        assert not run.task.done()
        go_on.set()
        await run.task
    assert (await bus.progress("typed", INPUT.name))[0].watermark == 2
    assert bus.fetches == 1


async def test_the_partitions_of_a_fold_share_a_state_log_and_nothing_else() -> None:
    stage = spec(running_sum(batch=2))
    bus = await memory_bus(stage, seeds(30), partitions=3)

    def done() -> int:
        return sum(at.watermark for at in bus.disk.progress.values())

    for _ in range(2):
        async with running(bus, stage) as run:
            await run.until(lambda: run.stats.commits > 3 or done() == 30)
    async with running(bus, stage) as run:
        await run.until(lambda: done() == 30)
    for partition in range(3):
        log = [decode(s.value, Seed) for s in await all_of(bus, INPUT.name) if s.partition == partition]
        expected = [record for outcome in undisturbed(log) for record in outcome.emitted]
        found = [s for s in await all_of(bus, "typed") if s.cause and s.cause.partition == partition]
        assert [
            decode(s.value, Seed) for s in sorted(found, key=lambda s: s.cause.offset if s.cause else 0)
        ] == expected
        memory = await restored(bus, "typed", running_sum(), INPUT.name, partition)
        assert memory.decide(numbered([1]))  # what it was restored from is its own partition's
    await check_conserved(bus, stage)
    assert await all_of(bus, DEAD.name) == []


def test_a_memory_that_was_restored_knows_what_was_kept() -> None:
    records: list[Record] = [*seeds(3)]
    memory = Memory(running_sum())
    memory.restore([Kept(0, records[1].key, "1")])
    first, second = memory.decide([records[1], records[2]])
    assert [reject.reason for reject in first.outcome.rejected] == ["already_kept"]
    assert second.outcome.rejected[0].evidence == "sum 1"
