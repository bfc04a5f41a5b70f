"""Pruning: only what all have passed and is proven goes; what went makes no proof complain, and hides no loss."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.audit import REPLAY, audit
from stream.bus import Stored
from stream.errors import InUse
from stream.ledger import ledger
from stream.outcomes import StageSpec
from stream.progress import Progress
from stream.prune import Part, Pruned, prune
from stream.replay import Selection, replay
from stream.topics import AUDIT, TOPICS, foreign
from tests.audited import SPECS, feed, prepare, run_all
from tests.stream_fakes import Disk, MemoryBus
from tests.tries import tries

DATA = ("files", "functions", "typed", "unique", "rejects", "dead")  # pruned; `seeds` is the end: nobody has taken it
CHILD = (replace(SPECS[1], input=foreign(SPECS[1].input, "main")), *SPECS[2:])  # branched at `typed`


@dataclass(slots=True)
class Clock:
    """Every record that is appended gets the next second."""

    now_s: float = 0.0

    def time(self) -> float:
        self.now_s += 1
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tests.memory_disk.time", clock)
    return clock


async def finished(shared: bool = False, partitions: int = 2) -> MemoryBus:
    """A stream that has done all its work, with replays."""
    bus = MemoryBus(Disk(shared=shared), partitions=partitions)
    await prepare(bus)
    await feed(bus)
    await run_all(bus)
    for spec, selection in ((SPECS[0], Selection(dead=True)), (SPECS[1], Selection(reason="already_kept"))):
        assert await replay(bus, spec, selection) > 0
    await run_all(bus)
    assert await audit(bus, SPECS) == []
    return bus


async def pruned(bus: MemoryBus, before_s: float, *children: Part, specs: Sequence[StageSpec] = SPECS) -> Pruned:
    found = await prune(Part(bus, specs), children, before_s)
    assert found.holes == ()
    return found


def standing(bus: MemoryBus, topics: Iterable[str] = DATA) -> list[tuple[str, Stored]]:
    return [(topic, stored) for topic in topics for log in bus.log(topic) for stored in log]


async def test_what_is_passed_and_old_goes_and_the_rest_stays(clock: Clock) -> None:
    bus = await finished()
    before = {topic: len(standing(bus, [topic])) for topic in (*DATA, "seeds", "unique.state", "files.state", "recipe")}
    middle_s = clock.now_s / 2
    found = await pruned(bus, middle_s)
    assert 0 < sum(found.records.values()) < sum(before[topic] for topic in DATA)
    for topic, count in found.records.items():
        assert len(standing(bus, [topic])) == before[topic] - count
    assert await audit(bus, SPECS) == []
    rest = await pruned(bus, clock.now_s + 1)
    assert standing(bus) == []
    for topic in ("seeds", "unique.state", "files.state", "recipe"):
        assert len(standing(bus, [topic])) == before[topic]
        assert topic not in {**found.records, **rest.records}
    assert {t: found.records[t] + rest.records[t] for t in DATA} == {t: before[t] for t in DATA}
    assert await audit(bus, SPECS) == []


async def test_what_is_not_passed_by_every_stage_stays(clock: Clock) -> None:
    bus = MemoryBus(Disk(), partitions=2)
    await prepare(bus)
    await feed(bus)
    found = await pruned(bus, clock.now_s + 1)
    assert sum(found.records.values()) == found.records["rejects"] > 0  # of the source: its items are done
    assert len(standing(bus, ["files"])) > 0
    await run_all(bus)
    assert await audit(bus, SPECS) == []


async def test_a_partition_that_was_added_in_the_middle_of_it_stays(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await finished()
    whole, asked = MemoryBus.progress, iter(range(len(SPECS)))

    async def at_first_without_it(self: MemoryBus, stage: str, topic: str) -> Mapping[int, Progress]:
        found = await whole(self, stage, topic)
        return found if next(asked, None) is None else {0: found[0]}

    monkeypatch.setattr(MemoryBus, "progress", at_first_without_it)
    before = [len(log) for log in bus.log("functions")]
    await pruned(bus, clock.now_s + 1)
    after = [len(log) for log in bus.log("functions")]
    assert after[0] < before[0] and after[1] == before[1] > 0
    assert await audit(bus, SPECS) == []


async def test_a_dry_run_counts_the_same_and_changes_nothing(clock: Clock) -> None:
    bus = await finished()
    before = standing(bus)
    found = await prune(Part(bus, SPECS), (), clock.now_s + 1, dry_run=True)
    assert standing(bus) == before and AUDIT.name not in await bus.topics()
    assert found == await pruned(bus, clock.now_s + 1)
    assert sum(found.records.values()) == len(before)


async def test_the_ledger_has_what_was_proven_and_what_is_gone(clock: Clock) -> None:
    bus = await finished()
    inputs = len(standing(bus, ["functions"]))
    outcomes = [s for t, s in standing(bus, ("typed", "rejects", "dead")) if s.cause and s.cause.stage == "typed"]
    await pruned(bus, clock.now_s + 1)
    book = await ledger(bus)
    entries = [entry for entry in book.entries.values() if entry.stage == "typed"]
    assert sum(entry.inputs for entry in entries) == inputs
    for counts in (lambda e: e.made, lambda e: e.gone):
        found = [counts(entry) for entry in entries]
        assert sum(c.emitted + c.dead + sum(n for _, n in c.rejected) for c in found) == len(outcomes)
    (fold,) = [entry for entry in book.entries.values() if entry.stage == "unique"]
    assert (
        fold.emitting
        == fold.made.emitted
        == len(standing(bus, ["seeds"]))
        + sum(n for entry in book.entries.values() if entry.stage == "seeds" for _, n in entry.made.rejected)
    )


async def test_a_second_prune_at_once_is_refused() -> None:
    bus = await finished()
    async with bus.appender(AUDIT.name):
        with pytest.raises(InUse):
            await pruned(bus, 1)


async def test_an_earlier_prune_that_was_killed_before_it_deleted_is_finished_by_the_next(clock: Clock) -> None:
    bus = await finished()

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    bus.delete_before = killed
    with contextlib.suppress(asyncio.CancelledError):
        await pruned(bus, clock.now_s / 2)
    del bus.delete_before
    assert standing(bus) and await audit(bus, SPECS) == []  # what stands counts as gone already
    await pruned(bus, 0)
    deleted = {t: (await ledger(bus)).deleted(t) for t in DATA}
    assert any(deleted.values())
    for topic, stored in standing(bus):
        assert stored.offset >= deleted[topic].get(stored.partition, 0)
    assert await audit(bus, SPECS) == []


async def test_a_replay_after_a_prune_takes_only_what_was_turned_down_whole(clock: Clock) -> None:
    bus = await finished()
    both: set[tuple[int, int]] = set()  # files with a part emitted and a part rejected
    causes = [s.cause for _, s in standing(bus, ("functions",)) if s.cause and s.cause.stage == "functions"]
    both = {(c.partition, c.offset) for c in causes}
    for fraction in (0.2, 0.5, 0.8, 1.1):
        await pruned(bus, clock.now_s * fraction)
        await replay(bus, SPECS[0], Selection(dead=True, reason="already_kept"))
        again = [s.cause for _, s in standing(bus, ("files",)) if s.cause and s.cause.stage == REPLAY]
        assert not {(c.partition, c.offset) for c in again} & both
    await run_all(bus)
    assert await audit(bus, SPECS) == []


# --- children


async def child_of(bus: MemoryBus) -> MemoryBus:
    """A namespace branched at `typed`: it reads the functions of main."""
    child = MemoryBus(bus.disk, "v2", bus.partitions)
    topics = [topic for spec in CHILD for topic in spec.topics() if "/" not in topic.name]
    await child.create([*topics, TOPICS["recipe"]], {spec.name: spec.input.name for spec in CHILD})
    await prepare_recipe(child)
    return child


async def prepare_recipe(bus: MemoryBus) -> None:
    from stream.bus import Message
    from stream.codec import encode
    from stream.records import RecipeText

    record = RecipeText("test", "{}", "main", "typed", "main/functions")
    async with bus.appender("recipe") as appender:
        await appender.append([Message("recipe", record.key, encode(record))])


async def test_what_a_child_has_not_passed_stays(clock: Clock) -> None:
    bus = await finished()
    child = await child_of(bus)
    functions = len(standing(bus, ["functions"]))
    await pruned(bus, clock.now_s + 1, Part(child, CHILD))
    assert len(standing(bus, ["functions"])) == functions and not standing(bus, ["files"])
    await run_all(child, specs=CHILD)
    assert await audit(child, CHILD) == []
    await pruned(bus, clock.now_s + 1, Part(child, CHILD))
    assert standing(bus) == []
    assert await audit(bus, SPECS) == [] and await audit(child, CHILD) == []
    await pruned(child, clock.now_s + 1, specs=CHILD)
    assert standing(child, ("typed", "unique", "rejects", "dead")) == []
    assert await audit(child, CHILD) == []


async def test_a_loss_in_a_child_keeps_its_parent_whole(clock: Clock) -> None:
    bus = await finished()
    child = await child_of(bus)
    await run_all(child, specs=CHILD)
    log = next(log for log in child.log("typed") if log)
    lost = log.pop()
    found = await prune(Part(bus, SPECS), [Part(child, CHILD)], clock.now_s + 1)
    assert {(name, hole.offset) for name, hole in found.holes} >= {("v2", lost.cause.offset if lost.cause else -1)}
    assert found.records == {} and standing(bus)


# --- at random


@settings(tries(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.floats(0, 1.2), st.booleans()), max_size=4), st.booleans(), st.integers(1, 3), st.integers(0)
)
def test_prunes_at_any_point_of_a_stream_never_make_the_proof_complain(
    clock: Clock, prunes: list[tuple[float, bool]], shared: bool, partitions: int, pick: int
) -> None:
    """Files come, stages run and are pruned in between; after it all a record that is lost is found."""

    async def history() -> None:
        clock.now_s = 0
        bus = MemoryBus(Disk(shared=shared), partitions=partitions)
        await prepare(bus)
        for turn, (fraction, works) in enumerate([*prunes, (0.5, True)]):
            await feed(bus, turn * 8, 8)
            if works:
                await run_all(bus)
                await replay(bus, SPECS[0], Selection(dead=True, reason="already_kept"))
            await pruned(bus, clock.now_s * fraction)
            assert await audit(bus, SPECS) == []
        await run_all(bus)
        assert await audit(bus, SPECS) == []
        await lose_one(bus)

    async def lose_one(bus: MemoryBus) -> None:
        there = standing(bus, (*DATA, "seeds", "unique.state", "files.state"))
        topic, lost = there[pick % len(there)]
        if lost.cause is not None and lost.cause.stage == REPLAY:
            return  # a replayed input that no stage has taken yet leaves no trace
        bus.log(topic)[lost.partition].remove(lost)
        before = standing(bus)
        found = await prune(Part(bus, SPECS), (), clock.now_s + 1)
        assert found.holes
        assert standing(bus) == before and await audit(bus, SPECS)

    asyncio.run(history())
