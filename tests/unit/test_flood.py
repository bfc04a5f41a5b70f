"""A flood of dead letters: what one is, and what the runner does in one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from stream import flood_gate
from stream.bus import Message
from stream.codec import encode
from stream.errors import EndpointDown, Flooded, Permanent, RequestTimedOut
from stream.flood import Flood, FloodDetector, first_line, kind_of
from stream.flood_gate import OnFlood
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.replay import Selection, replay
from stream.retry import Gate
from stream.stage import Decision, Fold, Map, Outcome, Reason, Reject
from stream.topics import foreign
from tests.map_stages import Doors
from tests.stage_runs import (
    FAST,
    INPUT,
    OUTPUT,
    Run,
    all_of,
    check_conserved,
    dead,
    emitted,
    memory_bus,
    rejects,
    running,
    seeds,
    send,
    spec,
)
from tests.stream_fakes import MemoryBus

ENDS = OnFlood(ends=True, flags="--dir run")
FIVE = replace(FAST, flood_in_a_row=5, attempts=2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)
    monkeypatch.setattr(flood_gate, "LOOK_S", 0.001)


class Looks:
    """Counts how often paused stages have looked for replayed inputs: what happens while they pause is to be seen by
    then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        ends = MemoryBus.ends

        async def counted(bus: MemoryBus, topic: str) -> Mapping[int, int]:
            self.count += 1
            return await ends(bus, topic)

        monkeypatch.setattr(MemoryBus, "ends", counted)

    async def some(self, run: Run) -> None:
        """Wait for some more looks."""
        enough = self.count + 20
        await run.until(lambda: self.count >= enough)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


# --- what a flood is


@dataclass(frozen=True, slots=True)
class Case:
    what: str
    outcomes: Sequence[str | None]
    flood: Flood | None
    in_a_row: int = 3
    share: float = 0.5
    window: int = 8


CASES = [
    Case("so many in a row", ["a", "a", "a"], Flood(3, 3, "a", 3)),
    Case("one fewer", ["a", "a"], None),
    Case("another outcome in between", ["a", "a", None, "a", "a"], Flood(4, 5, "a", 4)),
    Case("another outcome in between, without the share", ["a", "a", None, "a", "a"], None, share=0),
    Case("the share of a window that is not full yet", ["a", None, "a", None, "b", None, "a"], Flood(4, 7, "a", 3)),
    Case("fewer than the share of a full window", ["a", None, None, None] * 20, None),
    Case("what left the window does not count", [*["a", None] * 3, *[None] * 8, "a", None, "a", None, "a"], None),
    Case("rule 1 off", ["a"] * 3, None, in_a_row=0),
    Case("rule 1 off, and the share reached", ["a"] * 4, Flood(4, 4, "a", 4), in_a_row=0),
    Case("both rules off", ["a"] * 300, None, in_a_row=0, share=0),
    Case("the whole window", ["a", None, *["a"] * 7], None, in_a_row=0, share=1),
    Case("the whole window, dead", ["a"] * 8, Flood(8, 8, "a", 8), in_a_row=0, share=1),
    Case("a row longer than the window", ["a"] * 5, Flood(5, 5, "a", 5), in_a_row=5, share=0, window=2),
    Case(
        "ids and numbers do not split the count",
        ["E: seed 7f3a of 12", "F: other", "E: seed 99bc of 3"],
        Flood(3, 3, "E: seed 99bc of 3", 2),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_what_is_a_flood(case: Case) -> None:
    detector = FloodDetector(case.in_a_row, case.share, case.window)
    found = [detector.finished(outcome) for outcome in case.outcomes]
    assert found == [None] * (len(case.outcomes) - 1) + [case.flood]


def test_after_a_restart_it_counts_from_zero() -> None:
    detector = FloodDetector(in_a_row=3, share=0.5, window=8)
    assert [bool(detector.finished("a")) for _ in range(3)] == [False, False, True]
    detector.restart()
    assert [bool(detector.finished("a")) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("record 12 of 99", "record 7 of 3", True),
        ("id 0a1b2c3d-4e5f-6789-abcd-ef0123456789", "id 1a1b2c3d-4e5f-6789-abcd-ef0123456780", True),
        ("request req_011CSab failed", "request req_9zZ failed", True),
        ("http://a/v1 answers 418: no", "http://a/v1 answers 400: no", False),
        ("HTTP 500", "HTTP 502", False),
        ("KeyError: 'tests'", "KeyError: 'code'", False),
    ],
)
def test_errors_are_equal_that_differ_in_ids_and_numbers_alone(one: str, other: str, equal: bool) -> None:
    assert (kind_of(one) == kind_of(other)) == equal


def test_an_error_of_any_length_and_form_is_one_short_line() -> None:
    assert first_line(ValueError("")) == "ValueError"
    assert first_line(ValueError("\n\n  a\nb")) == "ValueError: a"
    long = first_line(ValueError("x" * 1_000_000))
    assert len(long) == 300 and kind_of(long) == long


# --- a Map, to its end


@dataclass(slots=True)
class Ill:
    """A stage that fails on some records until it is cured."""

    error: Callable[[int], Exception] = lambda number: Permanent(f"record {number} is refused")
    well: set[int] = field(default_factory=set[int])
    cured: bool = False
    calls: int = 0
    failed: int = 0  # of the calls

    def _fail(self, record: Seed) -> None:
        if not self.cured and int(record.name) not in self.well:
            self.failed += 1
            raise self.error(int(record.name))

    async def call(self, record: Seed) -> Outcome[Seed]:
        self.calls += 1
        await asyncio.sleep(0)
        self._fail(record)
        return Outcome((record,))

    def decide(self, state: list[str], records: Sequence[Seed]) -> list[Decision[Seed]]:
        self.calls += 1
        for record in records:
            self._fail(record)
        state += [record.name for record in records]
        return [Decision(Outcome((record,)), record.name) for record in records]

    def shape(self, kind: str) -> Map[Any, Any] | Fold[Any, Any, Any]:
        if kind == "fold":
            return Fold(list[str], self.decide, lambda state, changes: state.extend(changes), batch=4)
        return Map.single(self.call, concurrency=64)


FAILED = {"map": 64, "fold": 8}
"""Calls that fail before the stage has paused: those in flight; or a batch, its four records, a batch, and two."""

both = pytest.mark.parametrize("kind", ["map", "fold"])


@both
async def test_a_run_until_idle_ends_with_the_error_after_so_many_and_buries_no_more(kind: str) -> None:
    ill = Ill()
    stage = spec(ill.shape(kind))
    bus = await memory_bus(stage, seeds(300))
    async with running(bus, stage, FIVE, ENDS) as run:
        with pytest.raises(Flooded) as raised:
            await run.task
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith("stage typed stopped: 5 dead letters in a row; most frequent error (5 of 5): Permanent: rec")
    assert "`seedstream dead --stage typed --dir run`" in said
    assert "`seedstream replay typed --dead --dir run`" in said
    assert raised.value.exit_code == 1
    assert len(await dead(bus)) == 5
    assert await emitted(bus) == []

    ill.cured = True
    assert await replay(bus, stage, Selection(dead=True)) == 5
    async with running(bus, stage, FIVE, ENDS) as run:
        await run.finished(300)
    assert sorted(await emitted(bus)) == list(range(300))
    await check_conserved_and_replayed(bus, stage, 305)


async def check_conserved_and_replayed(bus: MemoryBus, stage: StageSpec, inputs: int) -> None:
    assert len(await all_of(bus, INPUT.name)) == inputs
    await check_conserved(bus, stage)


async def test_what_is_in_flight_and_ends_well_is_committed_and_what_fails_is_left_unfinished() -> None:
    doors = Doors()
    ill = Ill(well=set(range(0, 640, 2)))

    async def call(record: Seed) -> Outcome[Seed]:
        await doors.call(record)
        return await ill.call(record)

    stage = spec(Map.single(call, concurrency=640))
    bus = await memory_bus(stage, seeds(640))
    async with running(bus, stage, replace(FIVE, commit_records=2_000), ENDS) as run:
        await run.until(lambda: len(doors.waiting) == 640)
        doors.open(1, 3, 5, 7, 9)
        await run.until(run.stop.is_set)
        doors.open(*doors.waiting)
        with pytest.raises(Flooded):
            await run.task
    assert sorted(await emitted(bus)) == list(range(0, 640, 2))
    assert sorted(letter.offset for letter in await dead(bus)) == [1, 3, 5, 7, 9]
    progress = (await bus.progress("typed", INPUT.name))[0]
    assert [k for k in range(640) if k not in progress] == list(range(11, 640, 2))


async def test_it_counts_over_all_partitions_of_a_stage() -> None:
    ill = Ill()
    stage = spec(ill.shape("map"))
    bus = await memory_bus(stage, seeds(60), partitions=6)
    async with running(bus, stage, replace(FIVE, flood_in_a_row=20), ENDS) as run:
        with pytest.raises(Flooded, match="20 dead letters in a row"):
            await run.task
    assert len(await dead(bus)) == 20
    assert len({letter.partition for letter in await dead(bus)}) > 1


async def test_rejects_are_data_and_no_flood() -> None:
    async def call(_: Seed) -> Outcome[Seed]:
        return Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "no"),))

    stage = spec(Map.single(call))
    bus = await memory_bus(stage, seeds(500))
    async with running(bus, stage, FIVE, ENDS) as run:
        await run.finished(500)
    assert len(await rejects(bus)) == 500


async def test_with_other_outcomes_in_between_the_share_decides() -> None:
    ill = Ill(well=set(range(0, 1_000, 4)))
    stage = spec(Map.single(ill.call, concurrency=1))
    bus = await memory_bus(stage, seeds(1_000))
    async with running(bus, stage, replace(FAST, flood_window=100), ENDS) as run:
        with pytest.raises(Flooded, match=r"50 of the last 67 records .* \(50 of 50\)"):
            await run.task
    assert len(await dead(bus)) == 50


@both
async def test_switched_off_everything_is_buried(kind: str) -> None:
    ill = Ill()
    stage = spec(ill.shape(kind))
    bus = await memory_bus(stage, seeds(250))
    async with running(bus, stage, replace(FIVE, flood_in_a_row=0, flood_share=0.0), ENDS) as run:
        await run.finished(250)
    assert len(await dead(bus)) == 250


async def test_a_dependency_that_is_away_is_no_flood() -> None:
    ill = Ill(error=lambda _: EndpointDown("away"))
    stage = spec(ill.shape("map"))
    bus = await memory_bus(stage, seeds(20))
    async with running(bus, stage, FIVE, ENDS) as run:
        await run.until(lambda: ill.calls > 500)
        ill.cured = True
        await run.finished(20)
    assert await dead(bus) == []


@pytest.mark.parametrize("known", [True, False], ids=["known", "found out"])
@both
async def test_outcomes_that_the_bus_would_not_take_are_counted_too(kind: str, known: bool) -> None:
    def grown(record: Seed) -> Seed:
        return replace(record, code="x" * 5_000)

    async def grow(record: Seed) -> Outcome[Seed]:
        return Outcome((grown(record),))

    def grow_all(_: None, records: Sequence[Seed]) -> list[Decision[Seed]]:
        return [Decision(Outcome((grown(record),))) for record in records]

    shape = Map.single(grow) if kind == "map" else Fold(lambda: None, grow_all, lambda *_: None)
    stage = spec(shape)
    bus = await memory_bus(stage, seeds(100))
    bus.limit(OUTPUT.name, 2_000, known=known)
    async with running(bus, stage, FIVE, ENDS) as run:
        with pytest.raises(Flooded, match="TooLarge: a record of"):
            await run.task
    assert len(await dead(bus)) == 5
    progress = (await bus.progress("typed", INPUT.name))[0]
    assert sum(offset in progress for offset in range(100)) == 5


@both
async def test_records_that_cannot_be_read_are_counted_too(kind: str) -> None:
    ill = Ill(cured=True)
    stage = spec(ill.shape(kind))
    bus = await memory_bus(stage, seeds(3))
    async with bus.appender("source") as appender:
        await appender.append([Message(INPUT.name, f"bad {k}", b"garbage") for k in range(30)])
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(3, first=3)])
    async with running(bus, stage, FIVE, ENDS) as run:
        with pytest.raises(Flooded, match="BadRecord: expected a Seed"):
            await run.task
    assert len(await dead(bus)) == 5


# --- paused


@asynccontextmanager
async def paused(kind: str, ill: Ill, inputs: int = 100) -> AsyncIterator[tuple[MemoryBus, StageSpec, Run]]:
    """A stage that has paused after five dead letters."""
    stage = spec(ill.shape(kind))
    bus = await memory_bus(stage, seeds(inputs))
    async with running(bus, stage, FIVE) as run:
        await run.until(lambda: run.stats.waiting is not None and run.stats.dead == 5)
        yield bus, stage, run


@both
async def test_without_an_end_the_stage_pauses_says_so_and_asks_nothing(
    kind: str, caplog: pytest.LogCaptureFixture, looks: Looks
) -> None:
    ill = Ill()
    async with paused(kind, ill) as (bus, stage, run):
        assert run.stats.waiting is not None
        assert run.stats.waiting.startswith("5 dead letters in a row; most frequent error (5 of 5): Permanent: record ")
        assert "`seedstream replay typed --dead`" in run.stats.waiting
        [line] = [message for message in caplog.messages if message.startswith("stage typed paused: ")]
        assert "`seedstream dead --stage typed …`" in line and line.endswith("and it resumes")
        await run.until(lambda: ill.failed == FAILED[kind])
        await looks.some(run)
        assert run.stats.waiting is not None and len(await dead(bus)) == 5
        ill.cured = True
        await looks.some(run)
        assert run.stats.waiting is not None and await emitted(bus) == []
        await replay(bus, stage, Selection(dead=True))
        await run.finished(105)
    assert ill.failed == FAILED[kind]


@both
async def test_inputs_that_are_no_replay_do_not_resume_it(kind: str, looks: Looks) -> None:
    ill = Ill()
    async with paused(kind, ill) as (bus, _, run):
        await send(bus, seeds(50, first=100))
        await looks.some(run)
        assert run.stats.waiting is not None and run.stats.dead == 5


@both
async def test_a_replay_after_the_cure_resumes_it_and_every_input_gets_its_outcome(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    ill = Ill()
    async with paused(kind, ill) as (bus, stage, run):
        ill.cured = True
        assert await replay(bus, stage, Selection(dead=True)) == 5
        await run.finished(105)
        assert run.stats.waiting is None
    assert sorted(await emitted(bus)) == list(range(100))
    assert any(message.startswith("stage typed resumed after ") for message in caplog.messages)
    await check_conserved_and_replayed(bus, stage, 105)


@both
async def test_where_the_cure_is_none_it_pauses_again_after_as_many(kind: str, looks: Looks) -> None:
    ill = Ill()
    async with paused(kind, ill) as (bus, stage, run):
        for times in (2, 3):
            assert await replay(bus, stage, Selection(dead=True)) == 5
            await run.until(lambda: run.stats.dead == 5 * times and run.stats.waiting is not None)  # noqa: B023
            await looks.some(run)
            assert len(await dead(bus)) == 5 * times
        ill.cured = True
        assert await replay(bus, stage, Selection(dead=True)) == 5
        await run.finished(115)
    assert sorted(await emitted(bus)) == list(range(100))
    await check_conserved_and_replayed(bus, stage, 115)


@both
async def test_told_to_stop_while_it_is_paused_it_ends_at_once_and_the_rest_is_left(kind: str) -> None:
    ill = Ill()
    async with paused(kind, ill) as (bus, stage, run):
        async with asyncio.timeout(FIVE.drain_s / 2):
            await run.end()
    ill.cured = True
    async with running(bus, stage, FIVE) as run:  # started again, it does not wait for a replay
        await run.finished(95)
    assert len(await emitted(bus)) == 95 and len(await dead(bus)) == 5
    await check_conserved(bus, stage)


async def test_a_record_that_was_retried_when_the_flood_began_is_not_tried_again_before_its_end(looks: Looks) -> None:
    ill = Ill(error=lambda number: Permanent("refused") if number < 5 else RequestTimedOut(f"slow {number}"))
    async with paused("map", ill) as (bus, stage, run):
        await run.until(lambda: ill.failed == 64)  # each of those in flight, once
        await looks.some(run)
        assert ill.failed == 64
        ill.cured = True
        await replay(bus, stage, Selection(dead=True))
        await run.finished(105)
    await check_conserved(bus, stage)


async def test_unreadable_inputs_of_a_map_in_a_batch_wait_and_their_neighbours_flow_after_the_flood() -> None:
    async def call(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        return [Outcome((record,)) for record in records]

    stage = spec(Map(call, batch=40))
    bus = await memory_bus(stage)
    async with bus.appender("source") as appender:
        await appender.append([Message(INPUT.name, f"bad {k}", b"garbage") for k in range(8)])
        await appender.append([Message(INPUT.name, s.key, encode(s)) for s in seeds(6)])
    async with running(bus, stage, FIVE) as run:
        await run.until(lambda: run.stats.waiting is not None and run.stats.read == 5 + 6)
        assert await replay(bus, stage, Selection(dead=True)) == 5
        await run.until(lambda: run.stats.dead == 10)
    assert sorted(await emitted(bus)) == list(range(6))


async def test_a_partition_that_comes_and_goes_meanwhile_changes_nothing(looks: Looks) -> None:
    ill = Ill()
    stage = spec(ill.shape("map"))
    bus = await memory_bus(stage, seeds(100), shared=True, partitions=2)
    async with running(bus, stage, FIVE) as run:
        await run.until(lambda: run.stats.dead == 5)
        for turn in range(4):
            bus.group("typed", INPUT.name).turn = turn
            bus.group("typed", INPUT.name).rebalance(lost=lambda partition, turn=turn: partition == turn % 2)
            await looks.some(run)
        assert run.stats.waiting is not None and len(await dead(bus)) == 5
        ill.cured = True
        await replay(bus, stage, Selection(dead=True))
        await run.until(lambda: run.stats.read >= 105)
    assert sorted(await emitted(bus)) == list(range(100))


async def test_a_stage_that_reads_another_namespace_is_told_to_be_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ill = Ill()
    bus = await memory_bus(spec(ill.shape("map")), seeds(20))
    stage = StageSpec("typed", foreign(INPUT, "main"), OUTPUT, ill.shape("map"))
    other = MemoryBus(bus.disk, "v2")
    await other.create([topic for topic in stage.topics() if "/" not in topic.name])
    async with running(other, stage, FIVE) as run:
        await run.until(lambda: run.stats.waiting is not None)
    [line] = [message for message in caplog.messages if message.startswith("stage typed paused: ")]
    assert line.endswith("remove the cause, and start it again") and "replay" not in line
