"""The proof of conservation: it holds for a stream left alone, and names stage and position when one record is not."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.audit import REPLAY, audit
from stream.bus import Bus, Cause, Message, Stored
from stream.codec import decode, encode
from stream.embedded import Embedded
from stream.errors import NewerSchema
from stream.progress import Progress
from stream.records import Rejected, StateChange
from stream.replay import Selection, replay
from stream.topics import RECIPE
from tests.audited import SPECS, Tampering, feed, prepare, run_all
from tests.stage_runs import seeds
from tests.stream_fakes import Disk, MemoryBus
from tests.tries import tries

Place = tuple[str, str, int, int]  # stage, topic, partition, offset


async def holes(bus: Bus) -> list[Place]:
    return [(hole.stage, hole.topic, hole.partition, hole.offset) for hole in await audit(bus, SPECS)]


class Pipeline:
    """A finished stream on disk, with what stands in it, and a copy to tamper with."""

    def __init__(self, finished: Path, copy: Path) -> None:
        self.finished = finished
        self.copy = copy
        self.records = Tampering(finished).records()

    @contextlib.contextmanager
    def tampered(self) -> Iterator[Tampering]:
        shutil.copytree(self.finished, self.copy)
        try:
            yield Tampering(self.copy)
        finally:
            shutil.rmtree(self.copy)

    def holes(self) -> list[Place]:
        async def found() -> list[Place]:
            async with Embedded.open(self.copy, partitions=2, create=False) as bus:
                return await holes(bus)

        return asyncio.run(found())


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    place = tmp_path_factory.mktemp("audited")

    async def run() -> None:
        async with Embedded.open(place / "finished", partitions=2) as bus:
            await prepare(bus)
            await feed(bus)
            await run_all(bus)
            assert await replay(bus, SPECS[0], Selection(dead=True)) > 0
            assert await replay(bus, SPECS[1], Selection(reason="already_kept")) > 0
            assert await replay(bus, SPECS[3], Selection(reason="already_kept")) > 0
            await run_all(bus)
            assert await audit(bus, SPECS) == []

    asyncio.run(run())
    pipeline = Pipeline(place / "finished", place / "copy")
    assert {topic for topic, _ in pipeline.records} == {
        "files", "functions", "typed", "unique", "seeds", "rejects", "dead", "files.state", "unique.state", "recipe",
    }  # fmt: skip
    causes = [stored.cause for _, stored in pipeline.records if stored.cause]
    assert {"files", "functions", "typed", "unique", "seeds", REPLAY} == {cause.stage for cause in causes}
    assert max(cause.n for cause in causes) == 4
    return pipeline


def made_at(topic: str, stored: Stored) -> Place:
    """The stage and the input position that a record is an outcome of: what is wrong when it is not as it was."""
    if stored.cause is None:
        assert topic == RECIPE.name
        return ("recipe", RECIPE.name, 0, 0)
    return stored.cause.stage, *stored.cause.position


def entries_of(topic: str, stored: Stored) -> set[Place]:
    """As `made_at`; a record of a state log stands for several inputs."""
    if not topic.endswith(".state") or stored.cause is None:
        return {made_at(topic, stored)}
    entries = decode(stored.value, StateChange).entries
    return {(stored.cause.stage, stored.cause.topic, stored.cause.partition, entry.offset) for entry in entries}


def readers(topic: str, stored: Stored) -> set[Place]:
    """The stages that have worked on a record, and where it stood."""
    return {(spec.name, topic, stored.partition, stored.offset) for spec in SPECS if spec.input.name == topic}


pick = st.integers(0, 2**32)
tampering = settings(tries(60), suppress_health_check=[HealthCheck.function_scoped_fixture])


@tampering
@given(pick)
def test_a_record_that_is_taken_away_is_missed_where_it_was_made_and_where_it_was_read(
    pipeline: Pipeline, at: int
) -> None:
    topic, stored = pipeline.records[at % len(pipeline.records)]
    expected = readers(topic, stored)
    if not (stored.cause and stored.cause.stage == REPLAY):  # an input appended again is no outcome of a stage
        expected |= entries_of(topic, stored)
    here = Cause(REPLAY, topic, stored.partition, stored.offset, 0, 1)
    if any(other.cause == here for _, other in pipeline.records):  # it was appended again: where from?
        expected.add((here.stage, *here.position))
    with pipeline.tampered() as tampering:
        tampering.delete(topic, stored)
        assert set(pipeline.holes()) == expected


@tampering
@given(pick)
def test_a_record_that_stands_twice_is_named_where_it_was_made(pipeline: Pipeline, at: int) -> None:
    topic, stored = pipeline.records[at % len(pipeline.records)]
    with pipeline.tampered() as tampering:
        tampering.duplicate(topic, stored)
        assert set(pipeline.holes()) == entries_of(topic, stored)


@tampering
@given(pick, st.text(max_size=10))
def test_a_record_under_another_key_is_named_where_it_was_made(pipeline: Pipeline, at: int, key: str) -> None:
    topic, stored = pipeline.records[at % len(pipeline.records)]
    key = key if key != stored.key else key + "x"
    with pipeline.tampered() as tampering:
        tampering.rekey(topic, stored, key)
        assert pipeline.holes() == [made_at(topic, stored)]


def test_each_kind_of_record_that_is_taken_away_is_missed(pipeline: Pipeline) -> None:
    """One of every topic and maker, whatever the dice above pick; of several siblings the first and the last."""
    chosen: dict[tuple[str, str, bool, bool], tuple[str, Stored]] = {}
    for topic, stored in pipeline.records:
        cause = stored.cause or Cause("", "", 0, 0, 0, 1)
        chosen[topic, cause.stage, cause.i == 0, cause.i == cause.n - 1] = (topic, stored)
    assert len(chosen) > 20
    for topic, stored in chosen.values():
        with pipeline.tampered() as tampering:
            tampering.delete(topic, stored)
            found = set(pipeline.holes())
            if not (stored.cause and stored.cause.stage == REPLAY):
                assert entries_of(topic, stored) <= found
            assert readers(topic, stored) <= found


# --- what no tampering with one record shows


@dataclass(frozen=True, slots=True)
class Small:
    """A finished stream in memory, to be tampered with by hand."""

    bus: MemoryBus

    def append(self, topic: str, key: str, value: bytes, cause: Cause | None) -> None:
        self.bus.write([Message(topic, key, value, cause)], None)


@pytest.fixture
async def small() -> Small:
    bus = MemoryBus(Disk())
    await prepare(bus)
    await feed(bus, count=5)
    await run_all(bus)
    assert await audit(bus, SPECS) == []
    return Small(bus)


def rejected(**changes: object) -> bytes:
    return encode(replace(Rejected("r", "functions", "x", "y"), **changes))


async def test_an_outcome_of_an_input_that_is_not_there_is_a_hole(small: Small) -> None:
    small.append("rejects", "r", rejected(), Cause("functions", "files", 0, 77, 0, 1))
    small.append("rejects", "r", rejected(), Cause("functions", "typed", 0, 0, 0, 1))
    assert await holes(small.bus) == [("functions", "files", 0, 77), ("functions", "typed", 0, 0)]


async def test_an_outcome_of_an_input_that_is_not_finished_is_a_hole(small: Small) -> None:
    await feed(small.bus, first=100, count=1)
    offset = (await small.bus.ends("files"))[0] - 1
    assert await holes(small.bus) == []  # pending
    small.append("rejects", "r", rejected(), Cause("functions", "files", 0, offset, 0, 1))
    assert await holes(small.bus) == [("functions", "files", 0, offset)]


async def test_an_input_that_was_passed_over_is_a_hole(small: Small) -> None:
    await feed(small.bus, first=100, count=1)
    end = (await small.bus.ends("files"))[0]
    small.bus.write([], ("functions", "files", 0, Progress(end)))
    assert await holes(small.bus) == [("functions", "files", 0, end - 1)]


async def test_outcomes_that_cannot_be_one_set_are_a_hole(small: Small) -> None:
    for cause in (
        Cause("functions", "files", 0, 0, 1, 5),
        Cause("functions", "files", 0, 1, 9, 2),
        Cause("functions", "files", 0, 1, -1, 2),
        Cause("functions", "files", 0, 1, 2**60, 2),
    ):
        small.append("rejects", "r", rejected(), cause)
    assert {place[3] for place in await holes(small.bus)} <= {0, 1}
    assert [hole.what for hole in await audit(small.bus, SPECS) if "disagree" in hole.what]


async def test_a_record_that_cannot_be_read_is_a_hole_and_still_counts(small: Small) -> None:
    log = small.bus.log("functions")[0]
    log[0] = msgspec.structs.replace(log[0], value=b"garbage")
    assert log[0].cause
    [hole] = await audit(small.bus, SPECS)
    assert str(hole).startswith(f"functions: files[0]@{log[0].cause.offset}: what stands at functions[0]@0 cannot be")


async def test_a_record_without_a_cause_is_a_hole(small: Small) -> None:
    [record] = seeds(1)
    small.append("seeds", record.key, encode(record), None)
    end = (await small.bus.ends("seeds"))[0]
    assert await holes(small.bus) == [("seeds", "seeds", 0, end - 1)]


async def test_an_outcome_of_a_stage_that_the_recipe_does_not_have_is_a_hole(small: Small) -> None:
    small.append("rejects", "r", rejected(stage="guess"), Cause("guess", "files", 0, 0, 0, 1))
    assert await holes(small.bus) == [("guess", "files", 0, 0)]


async def test_an_entry_of_a_state_log_that_nothing_was_emitted_for_is_a_hole(small: Small) -> None:
    log = small.bus.log("unique.state")[0]
    rejects_of_unique = [s.cause.offset for s in small.bus.log("rejects")[0] if s.cause and s.cause.stage == "unique"]
    dead_of_unique = [s.cause.offset for s in small.bus.log("dead")[0] if s.cause and s.cause.stage == "unique"]
    turned_down = (rejects_of_unique + dead_of_unique)[0]
    for offset in (turned_down, 999):
        change = decode(log[0].value, StateChange)
        change = replace(change, entries=(replace(change.entries[0], offset=offset),))
        small.append("unique.state", "-", encode(change), Cause("unique", "typed", 0, offset, 0, 1))
    assert sorted(await holes(small.bus)) == [("unique", "typed", 0, turned_down), ("unique", "typed", 0, 999)]


async def test_an_input_that_is_replayed_from_nowhere_is_a_hole(small: Small) -> None:
    [stored, *_] = small.bus.log("files")[0]
    small.append("files", stored.key, stored.value, Cause(REPLAY, "files", 0, 999, 0, 1))
    assert await holes(small.bus) == [(REPLAY, "files", 0, 999)]


async def test_a_newer_record_is_told_and_not_taken_for_a_hole(small: Small) -> None:
    small.append("rejects", "r", b'{"schema":99}', Cause("functions", "files", 0, 0, 0, 1))
    with pytest.raises(NewerSchema):
        await audit(small.bus, SPECS)


async def test_a_hole_says_in_one_line_where_it_is(small: Small) -> None:
    small.append("rejects", "r", rejected(), Cause("functions", "files", 0, 77, 0, 1))
    assert [str(hole) for hole in await audit(small.bus, SPECS)] == [
        "functions: files[0]@77: an outcome without its input"
    ]


# --- while it runs


@pytest.mark.parametrize("where", ["file", "memory"])
async def test_on_a_running_stream_there_is_never_a_false_hole(where: str, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as opened:
        bus: Bus = MemoryBus(Disk(), partitions=2)
        if where == "file":
            bus = await opened.enter_async_context(Embedded.open(tmp_path, partitions=2))
        await prepare(bus)
        fed = asyncio.Event()
        audits = 0

        async def source() -> None:
            for first in range(0, 150, 6):
                await feed(bus, first, 6)
                if first % 60 == 0:
                    await replay(bus, SPECS[0], Selection(dead=True))
                    await replay(bus, SPECS[3], Selection(reason="already_kept"))
            fed.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(source())
            running = group.create_task(run_all(bus, beside=fed))
            while not running.done():
                assert await audit(bus, SPECS) == []
                audits += 1
        assert audits > 5
        assert await audit(bus, SPECS) == []


async def test_a_bus_that_holds_nothing_has_no_hole_but_the_recipe() -> None:
    bus = MemoryBus(Disk())
    await bus.create([topic for spec in SPECS for topic in spec.topics()])
    assert await audit(bus, SPECS) == []
    await bus.create([RECIPE])
    assert await holes(bus) == [("recipe", "recipe", 0, 0)]
