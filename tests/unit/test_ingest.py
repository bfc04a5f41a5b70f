"""From a source into a topic: every item once, across crashes, runs and faults."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from stream.bus import Cause
from stream.codec import decode
from stream.errors import DiskFull, Fatal, InUse, TooLarge, WrongConfig
from stream.ingest import CHUNK, ingest, sent
from stream.metrics import StageStats
from stream.records import DeadLetter, FileId, SourceFile, StateChange
from stream.retry import Gate
from stream.stage import Outcome, Reason, Reject
from stream.topics import DEAD, REJECTS, TOPICS, state_topic
from tests.stage_runs import all_of, rejects, source_file, until
from tests.stream_fakes import Disk, MemoryBus

FILES = TOPICS["files"]
STATE = state_topic("files")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "BASE_S", 0.0001)
    monkeypatch.setattr(Gate, "CAP_S", 0.001)


@dataclass(frozen=True, slots=True)
class Found:
    file_id: FileId
    outcome: Outcome[SourceFile]


@dataclass(frozen=True, slots=True)
class Folder:
    """A source of numbered files; those in `refused` are turned down."""

    name: str
    numbers: Sequence[int]
    refused: Collection[int] = ()

    def found(self, known: Collection[FileId]) -> Iterator[Found]:
        for number in self.numbers:
            record = source_file(f"{number}.py", source=self.name)
            outcome: Outcome[SourceFile] = Outcome((record,))
            if number in self.refused:
                outcome = Outcome(rejected=(Reject(Reason.ALREADY_KEPT, f"file {number}", record.key),))
            if record.file.file_id not in known:
                yield Found(record.file.file_id, outcome)


async def files_bus(disk: Disk | None = None) -> MemoryBus:
    bus = MemoryBus(disk or Disk())
    await bus.create([FILES, STATE, REJECTS, DEAD])
    return bus


async def run(bus: MemoryBus, *sources: Folder, limit: int | None = None) -> int:
    return await ingest(bus, FILES, sources, StageStats("files"), asyncio.Event(), limit)


async def paths(bus: MemoryBus) -> list[str]:
    return [decode(stored.value, SourceFile).file.path for stored in await all_of(bus, "files")]


async def check_sent(bus: MemoryBus) -> None:
    """Check that each item stands once in the state log, and once in a topic, under the same number."""
    entries = [
        (stored.cause.topic, entry.offset)
        for stored in await all_of(bus, STATE.name)
        if stored.cause
        for entry in decode(stored.value, StateChange).entries
    ]
    assert len(set(entries)) == len(entries)
    causes = [stored.cause for name in ("files", "rejects", "dead") for stored in await all_of(bus, name)]
    assert sorted((cause.topic, cause.offset) for cause in causes if cause) == sorted(entries)


async def test_everything_found_is_sent_once_with_its_number_as_its_cause() -> None:
    bus = await files_bus()
    stats = StageStats("files")
    source = Folder("a", range(3 * CHUNK + 1), refused={5, CHUNK})
    assert await ingest(bus, FILES, [source], stats, asyncio.Event()) == 3 * CHUNK - 1
    assert await paths(bus) == [f"{k}.py" for k in range(3 * CHUNK + 1) if k not in {5, CHUNK}]
    assert [stored.cause for stored in await all_of(bus, "files")][:2] == [
        Cause("files", "a", 0, 0, 0, 1),
        Cause("files", "a", 0, 1, 0, 1),
    ]
    assert [reject.evidence for reject in await rejects(bus)] == ["file 5", f"file {CHUNK}"]
    assert (stats.read, stats.emitted, stats.rejected.total(), stats.commits) == (3 * CHUNK + 1, 3 * CHUNK - 1, 2, 4)
    await check_sent(bus)


async def test_what_was_sent_in_an_earlier_run_is_not_sent_again_and_what_is_new_is() -> None:
    bus = await files_bus()
    assert await run(bus, Folder("a", range(100), refused={7})) == 99
    assert await run(bus, Folder("a", range(100), refused={7})) == 0
    assert await run(await files_bus(bus.disk), Folder("a", range(103), refused={7})) == 3
    assert await paths(bus) == [f"{k}.py" for k in range(103) if k != 7]
    assert len(await rejects(bus)) == 1
    await check_sent(bus)


async def test_sources_are_told_apart_by_name() -> None:
    bus = await files_bus()
    assert await run(bus, Folder("a", range(3)), Folder("b", range(2))) == 5
    before = await sent(bus, "files")
    assert {name: (len(of.ids), of.next) for name, of in before.items()} == {"a": (3, 3), "b": (2, 2)}
    assert await run(bus, Folder("b", range(4))) == 2
    await check_sent(bus)


async def test_a_source_given_twice_is_sent_once() -> None:
    bus = await files_bus()
    assert await run(bus, Folder("a", range(70)), Folder("a", range(75))) == 75
    assert len(await paths(bus)) == 75
    await check_sent(bus)


async def test_an_item_that_is_come_upon_twice_is_sent_once() -> None:
    bus = await files_bus()
    assert await run(bus, Folder("a", [1, 2, 1, *range(CHUNK), 2])) == CHUNK
    assert len(set(await paths(bus))) == len(await paths(bus))
    await check_sent(bus)


@pytest.mark.parametrize("limit", [0, 1, CHUNK, CHUNK + 1, 2 * CHUNK, 1_000])
async def test_no_more_new_records_are_sent_than_the_limit_and_the_next_run_goes_on_from_there(limit: int) -> None:
    bus = await files_bus()
    folders = (Folder("a", range(CHUNK + 10), refused={0, 1, 2}), Folder("b", range(50)))
    everything = CHUNK + 7 + 50
    assert await run(bus, *folders, limit=limit) == min(limit, everything)
    assert len(await paths(bus)) == min(limit, everything)
    assert await run(bus, *folders) == everything - min(limit, everything)
    await check_sent(bus)


async def test_cancelled_at_any_moment_nothing_is_sent_twice() -> None:
    folder = Folder("a", range(4 * CHUNK))
    for ticks in range(0, 60, 3):
        bus = await files_bus()
        work = asyncio.create_task(run(bus, folder))
        for _ in range(ticks):
            await asyncio.sleep(0.0002 if ticks % 2 else 0)
        work.cancel()
        await asyncio.wait({work})
        bus.crash()
        await run(bus, folder)
        assert sorted(await paths(bus)) == sorted(f"{k}.py" for k in range(4 * CHUNK))
        await check_sent(bus)


async def test_told_to_stop_it_ends_after_the_chunk_it_is_at() -> None:
    bus = await files_bus()
    stop = asyncio.Event()

    async def before_commit() -> None:
        stop.set()

    bus.before_commit = before_commit
    assert await ingest(bus, FILES, [Folder("a", range(1_000))], StageStats("files"), stop) == CHUNK


async def test_a_full_disk_is_waited_for_and_nothing_is_sent_twice() -> None:
    bus = await files_bus()
    stats = StageStats("files")
    full = True

    def fault() -> None:
        if full:
            raise DiskFull("full")

    bus.commit_fault = fault
    work = asyncio.create_task(ingest(bus, FILES, [Folder("a", range(100))], stats, asyncio.Event()))
    await until(lambda: stats.waiting == "full")
    full = False
    assert await work == 100
    assert stats.waiting is None
    assert len(await paths(bus)) == 100
    await check_sent(bus)


async def test_a_second_one_who_feeds_the_topic_is_refused() -> None:
    bus = await files_bus()
    async with bus.appender("files"):
        with pytest.raises(InUse):
            await run(MemoryBus(bus.disk), Folder("a", range(3)))


@pytest.mark.parametrize("known", [True, False], ids=["known", "found out"])
async def test_an_item_that_the_bus_would_not_take_is_dead_with_its_size_and_the_others_are_sent(known: bool) -> None:
    @dataclass(frozen=True, slots=True)
    class Large(Folder):
        def found(self, known: Collection[FileId]) -> Iterator[Found]:
            for found in Folder.found(self, known):
                [record] = found.outcome.emitted
                yield (
                    replace(found, outcome=Outcome((replace(record, text="x" * 5_000),)))
                    if (record.file.path == "3.py")
                    else found
                )

    bus = await files_bus()
    bus.limit("files", 1_000, known=known)
    stats = StageStats("files")
    assert await ingest(bus, FILES, [Large("a", range(9))], stats, asyncio.Event()) == 8
    assert (stats.read, stats.emitted, stats.dead) == (9, 8, 1)
    [letter] = [decode(stored.value, DeadLetter) for stored in await all_of(bus, "dead")]
    assert letter.error.startswith("TooLarge: a record of 5,")
    assert "bytes: topic files takes 1,000\n" in letter.error
    assert (letter.topic, letter.offset) == ("a", 3)
    assert letter.head.endswith("x" * 1_000 + '"}}')
    assert "3.py" not in await paths(bus)
    await check_sent(bus)


async def test_an_append_that_is_refused_without_an_item_to_blame_ends_it() -> None:
    bus = await files_bus()

    def refuse() -> None:
        raise TooLarge("a step of 3 records")

    bus.commit_fault = refuse
    with pytest.raises(Fatal, match="topic files: the bus refuses a step, and no item in it: a step of 3 records"):
        await run(bus, Folder("a", range(3)))
    assert await paths(bus) == []


async def test_an_item_that_cannot_be_written_is_dead_and_the_others_are_sent() -> None:
    bus = await files_bus()

    @dataclass(frozen=True, slots=True)
    class Odd:
        name: str = "a"

        def found(self, known: Collection[FileId]) -> Iterator[Found]:
            for item in Folder("a", range(3)).found(known):
                [record] = item.outcome.emitted
                odd = record.file.path == "1.py"
                yield replace(item, outcome=Outcome((replace(record, text="\ud800"),))) if odd else item

    stats = StageStats("files")
    assert await ingest(bus, FILES, [Odd()], stats, asyncio.Event()) == 2
    assert await paths(bus) == ["0.py", "2.py"]
    [stored] = await all_of(bus, "dead")
    letter = decode(stored.value, DeadLetter)
    assert (letter.stage, letter.topic, letter.offset) == ("files", "a", 1)
    assert letter.error.startswith("BadRecord: SourceFile ")
    assert stats.dead == 1
    assert await ingest(bus, FILES, [Odd()], stats, asyncio.Event()) == 0
    await check_sent(bus)


async def test_an_error_of_the_source_is_the_callers_to_know_and_what_was_sent_stays() -> None:
    @dataclass(frozen=True, slots=True)
    class Broken:
        name: str = "a"

        def found(self, known: Collection[FileId]) -> Iterator[Found]:
            yield from Folder("a", range(CHUNK)).found(known)
            raise WrongConfig("no permission")

    bus = await files_bus()
    with pytest.raises(WrongConfig, match="no permission"):
        await ingest(bus, FILES, [Broken()], StageStats("files"), asyncio.Event())
    assert len(await paths(bus)) == CHUNK
    assert not bus.disk.owners
    assert await run(bus, Folder("a", range(CHUNK))) == 0
