"""Replay in place: what was turned down gets a second life, once, under its id at a new position."""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import pytest

from stream.audit import REPLAY, audit
from stream.bus import Cause
from stream.errors import InUse, Permanent, WrongConfig
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.replay import Fate, Selection, fates, replay
from stream.stage import Map, Outcome, Reject
from stream.stage import Reason as Runners
from stream.topics import foreign
from tests.audited import SPECS, feed, prepare, run_all
from tests.stage_runs import (
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
    spec,
)
from tests.stream_fakes import Disk, MemoryBus

REASON = Runners.ALREADY_KEPT


@dataclass(slots=True)
class Moody:
    """A stage whose behaviour is mended between two runs."""

    dead: set[int] = field(default_factory=set[int])
    rejected: set[int] = field(default_factory=set[int])
    mixed: set[int] = field(default_factory=set[int])  # one part emitted, one rejected

    async def call(self, record: Seed) -> Outcome[Seed]:
        number = int(record.name)
        if number in self.dead:
            raise Permanent("a defect")
        if number in self.rejected:
            return Outcome(rejected=(Reject(REASON, "no", "part 1"), Reject(REASON, "no", "part 2")))
        if number in self.mixed:
            return Outcome((record,), (Reject(REASON, "a part"),))
        return Outcome((record,))


@dataclass(frozen=True, slots=True)
class Stream:
    bus: MemoryBus
    mood: Moody
    stage: StageSpec

    async def run(self, inputs: int) -> None:
        async with running(self.bus, self.stage) as run:
            await run.finished(inputs)


@pytest.fixture
async def stream() -> Stream:
    """Ten inputs: 1 and 2 dead, 3 and 4 rejected in two parts, 5 mixed, the others emitted."""
    mood = Moody({1, 2}, {3, 4}, {5})
    stage = spec(Map.single(mood.call))
    bus = await memory_bus(stage, seeds(10))
    found = Stream(bus, mood, stage)
    await found.run(10)
    return found


def mend(mood: Moody) -> None:
    mood.dead.clear()
    mood.rejected.clear()


def key(number: int) -> str:
    return seeds(1, first=number)[0].key


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (Selection(dead=True), [1, 2]),
        (Selection(reason="already_kept"), [3, 4]),
        (Selection(reason="another"), []),
        (Selection(dead=True, reason="already_kept"), [1, 2, 3, 4]),
        (Selection(ids=[key(2), key(4)]), [2, 4]),
        (Selection(ids=["part 1"]), [3, 4]),
        (Selection(ids=[key(0), key(5)]), []),
        (Selection(dead=True, ids=[key(3)]), [1, 2, 3]),
    ],
    ids=lambda value: "" if isinstance(value, list) else repr(value),
)
async def test_what_is_selected_and_was_turned_down_whole_is_appended_again_under_its_id(
    stream: Stream, selection: Selection, numbers: list[int]
) -> None:
    before = await all_of(stream.bus, INPUT.name)
    assert await replay(stream.bus, stream.stage, selection) == len(numbers)
    again = (await all_of(stream.bus, INPUT.name))[len(before) :]
    assert [(stored.key, stored.value) for stored in again] == [
        (before[number].key, before[number].value) for number in numbers
    ]
    assert [stored.cause for stored in again] == [Cause(REPLAY, INPUT.name, 0, number, 0, 1) for number in numbers]


async def test_the_second_life_goes_through_the_stage_and_nothing_is_replayed_twice(stream: Stream) -> None:
    mend(stream.mood)
    everything = Selection(dead=True, reason="already_kept")
    assert await replay(stream.bus, stream.stage, everything) == 4
    assert await replay(stream.bus, stream.stage, everything) == 0  # not even before they are done
    await stream.run(4)
    assert await replay(stream.bus, stream.stage, everything) == 0
    assert sorted(await emitted(stream.bus)) == list(range(10))
    await check_conserved(stream.bus, stream.stage)


@pytest.mark.parametrize("unknown", [["zzz"], [key(1)[:12]], ["zzz", "yyy"]])
async def test_an_id_of_nothing_that_the_stage_has_seen_is_refused_and_nothing_is_appended(
    stream: Stream, unknown: list[str]
) -> None:
    with pytest.raises(WrongConfig, match=rf"the id {', '.join(unknown)}: expected whole ids"):
        await replay(stream.bus, stream.stage, Selection(dead=True, ids=[key(3), *unknown, "part 1"]))
    assert len(await all_of(stream.bus, INPUT.name)) == 10


async def test_an_id_that_has_nothing_left_to_replay_is_known_all_the_same(stream: Stream) -> None:
    assert await replay(stream.bus, stream.stage, Selection(ids=[key(1)])) == 1
    assert await replay(stream.bus, stream.stage, Selection(ids=[key(1)])) == 0


async def test_the_open_dead_letters_are_those_that_a_replay_would_take(stream: Stream) -> None:
    async def failed() -> dict[int, Fate]:
        positions = [(letter.topic, letter.partition, letter.offset) for letter in await dead(stream.bus)]
        return {offset: fate for (_, _, offset), fate in (await fates(stream.bus, stream.stage, positions)).items()}

    assert await failed() == {1: Fate.OPEN, 2: Fate.OPEN}
    assert await replay(stream.bus, stream.stage, Selection(ids=[key(1)])) == 1
    assert await failed() == {1: Fate.REPLAYED, 2: Fate.OPEN}
    await stream.run(1)  # it fails again, at its new position
    assert await failed() == {1: Fate.REPLAYED, 2: Fate.OPEN, 10: Fate.OPEN}
    assert await replay(stream.bus, stream.stage, Selection(dead=True)) == 2
    assert set((await failed()).values()) == {Fate.REPLAYED}


async def test_what_was_pruned_is_open_no_more_and_what_was_replayed_stays_so(stream: Stream) -> None:
    await replay(stream.bus, stream.stage, Selection(ids=[key(1)]))
    positions = [(INPUT.name, 0, 1), (INPUT.name, 0, 2)]
    await stream.bus.delete_before(INPUT.name, {0: 5})
    found = await fates(stream.bus, stream.stage, positions)
    assert [found[position] for position in positions] == [Fate.REPLAYED, Fate.INPUT_PRUNED]
    assert await replay(stream.bus, stream.stage, Selection(dead=True)) == 0


async def test_what_the_parent_has_replayed_lives_on_in_a_branch_that_reads_it_too(stream: Stream) -> None:
    branch, theirs = MemoryBus(stream.bus.disk, "v2"), foreign(INPUT, "main")
    stage = StageSpec(stream.stage.name, theirs, OUTPUT, stream.stage.shape)
    failed = [(theirs.name, 0, 1), (theirs.name, 0, 2)]
    await replay(stream.bus, stream.stage, Selection(ids=[key(1)]))
    found = await fates(branch, stage, failed)
    assert [found[position] for position in failed] == [Fate.REPLAYED, Fate.OPEN]


async def test_what_fails_again_can_be_replayed_again_from_its_new_position(stream: Stream) -> None:
    assert await replay(stream.bus, stream.stage, Selection(dead=True)) == 2
    await stream.run(2)
    assert len(await dead(stream.bus)) == 4
    mend(stream.mood)
    assert await replay(stream.bus, stream.stage, Selection(dead=True)) == 2
    await stream.run(2)
    causes = [stored.cause for stored in await all_of(stream.bus, INPUT.name)]
    assert [cause.offset for cause in causes if cause] == [1, 2, 10, 11]
    assert sorted(await emitted(stream.bus)) == [0, 1, 2, 5, 6, 7, 8, 9]


async def test_an_outcome_of_both_kinds_is_not_replayed(stream: Stream) -> None:
    assert [reject.evidence for reject in await rejects(stream.bus)].count("a part") == 1
    assert await replay(stream.bus, stream.stage, Selection(reason="already_kept", ids=[key(5)])) == 2
    again = [stored.key for stored in await all_of(stream.bus, INPUT.name)][10:]
    assert key(5) not in again


async def test_an_outcome_of_both_kinds_that_is_committed_meanwhile_is_not_replayed(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reject is seen and its output not: unless outputs are read after rejects."""
    fresh = await memory_bus(stream.stage, seeds(1, first=5))
    read, first = MemoryBus.read, True

    async def committed_meanwhile(bus: MemoryBus) -> None:
        async with running(bus, stream.stage) as run:
            await run.finished(1)

    async def reading(self: MemoryBus, topic: str):
        nonlocal first
        async for batch in read(self, topic):
            yield batch
        if first:  # after the first topic, whichever it is
            first = False
            await committed_meanwhile(self)

    monkeypatch.setattr(MemoryBus, "read", reading)
    assert await replay(fresh, stream.stage, Selection(reason="already_kept")) == 0


async def test_two_replays_of_one_stage_at_once_append_nothing_twice(stream: Stream) -> None:
    async def one() -> int:
        with contextlib.suppress(InUse):
            return await replay(MemoryBus(stream.bus.disk), stream.stage, Selection(dead=True))
        return 0

    assert sum(await asyncio.gather(*(one() for _ in range(5)))) == 2
    assert len(await all_of(stream.bus, INPUT.name)) == 12


async def test_other_stages_rejects_and_dead_letters_are_left_alone(stream: Stream) -> None:
    other = StageSpec("other", stream.stage.input, stream.stage.output, stream.stage.shape)
    assert await replay(stream.bus, other, Selection(dead=True, reason="already_kept")) == 0


async def test_a_stage_that_is_running_takes_up_what_is_replayed(stream: Stream) -> None:
    mend(stream.mood)
    async with running(stream.bus, stream.stage) as run:
        assert await replay(stream.bus, stream.stage, Selection(dead=True)) == 2
        await run.finished(2)
    assert {1, 2} <= set(await emitted(stream.bus))


@pytest.mark.parametrize("nothing", [dict[str, object](), {"reason": ""}, {"ids": []}, {"dead": False, "reason": None}])
def test_a_selection_selects_something(nothing: dict[str, object]) -> None:
    with pytest.raises(WrongConfig, match="say what to replay"):
        Selection(**nothing)


SELECTIONS: Collection[Callable[[], Selection]] = (
    lambda: Selection(dead=True),
    lambda: Selection(reason="already_kept"),
)


async def test_conservation_holds_after_replays_of_every_stage() -> None:
    bus = MemoryBus(Disk(), partitions=2)
    await prepare(bus)
    await feed(bus)
    await run_all(bus)
    replayed = 0
    for stage in SPECS:
        for selection in SELECTIONS:
            replayed += await replay(bus, stage, selection())
            assert await audit(bus, SPECS) == []  # pending
            await run_all(bus)
            assert await audit(bus, SPECS) == []
    assert replayed > 10
