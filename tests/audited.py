"""A small stream with every kind of ending, and a way to tamper with any record of it."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from stream.bus import Bus, Message, Stored
from stream.codec import encode
from stream.embedded.batches import pack_gapped, unpack
from stream.embedded.file import FILE_NAME
from stream.errors import Permanent
from stream.idle import lag
from stream.ingest import ingest
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import FileId, RecipeText, Seed, SourceFile, seed_id
from stream.runner import run_stage
from stream.stage import Decision, Fold, Map, Outcome, Reason, Reject
from stream.topics import RECIPE, TOPICS, state_topic
from tests.patience import PATIENCE_S
from tests.records import seed
from tests.stage_runs import FAST, source_file

FILES = 24


@dataclass(frozen=True, slots=True)
class Item:
    file_id: FileId
    outcome: Outcome[SourceFile]


@dataclass(frozen=True, slots=True)
class Numbered:
    """A source of files of one number each; every seventh is turned down."""

    name: str
    first: int
    count: int

    def found(self, known: Collection[FileId]) -> Iterator[Item]:
        for number in range(self.first, self.first + self.count):
            record = source_file(f"{number}.py", self.name, text=str(number))
            outcome: Outcome[SourceFile] = Outcome((record,))
            if number % 7 == 3:
                outcome = Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "turned down", record.key),))
            if record.file.file_id not in known:
                yield Item(record.file.file_id, outcome)


async def cut(record: SourceFile) -> Outcome[Seed]:
    """Cut a file into up to three seeds and a reject; some files are a defect of ours."""
    number = int(record.text)
    if number % 8 == 6:
        raise Permanent("a defect")
    cuts = [
        replace(seed(), seed_id=seed_id(record.file.file_id, k), index=k, name=str(number), code=str(number * 3 + k))
        for k in range(number % 4)
    ]
    odd = [Reject(Reason.ALREADY_KEPT, "no more")] if number % 4 != 2 else []
    return Outcome.of(*cuts, *odd)


async def check(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    """In batches, as a type checker; one record makes its whole batch fail."""
    if len(records) > 1 and any(int(record.code) % 11 == 5 for record in records):
        raise RuntimeError("the batch died")
    return [
        Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "an error"),))
        if int(record.code) % 5 == 4
        else Outcome((record,))
        for record in records
    ]


def decide(state: list[int], records: Sequence[Seed]) -> Sequence[Decision[Seed]]:
    """Keep what differs by more than one from everything kept; one record is a defect of ours."""
    decisions: list[Decision[Seed]] = []
    for record in records:
        code = int(record.code)
        if code % 17 == 13:
            raise ValueError("a defect")
        if any(abs(code - kept) <= 1 for kept in state):
            decisions.append(Decision(Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "near"),))))
            continue
        state.append(code)
        decisions.append(Decision(Outcome((record,)), str(code)))
    return decisions


async def judge(record: Seed) -> Outcome[Seed]:
    return Outcome((record,)) if int(record.code) % 3 else Outcome(rejected=(Reject(Reason.ALREADY_KEPT, "no"),))


SPECS = (
    StageSpec("functions", TOPICS["files"], TOPICS["functions"], Map.single(cut, concurrency=4)),
    StageSpec("typed", TOPICS["functions"], TOPICS["typed"], Map(check, batch=6)),
    StageSpec(
        "unique",
        TOPICS["typed"],
        TOPICS["unique"],
        Fold(list[int], decide, lambda state, changes: state.extend(int(change) for change in changes), batch=5),
    ),
    StageSpec("seeds", TOPICS["unique"], TOPICS["seeds"], Map.single(judge)),
)


async def prepare(bus: Bus) -> None:
    """Make the topics, and write down the recipe."""
    await bus.create([topic for spec in SPECS for topic in spec.topics()])
    await bus.create([RECIPE, state_topic("files")])
    recipe = RecipeText("test", "{}", None)
    async with bus.appender("recipe") as appender:
        await appender.append([Message(RECIPE.name, recipe.key, encode(recipe))])


async def feed(bus: Bus, first: int = 0, count: int = FILES) -> None:
    await ingest(bus, TOPICS["files"], [Numbered("src", first, count)], StageStats("files"), asyncio.Event())


async def run_all(bus: Bus, *, beside: asyncio.Event | None = None, specs: Sequence[StageSpec] = SPECS) -> None:
    """Run every stage until nothing is left, and `beside` is set."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group, asyncio.timeout(PATIENCE_S):
        for spec in specs:
            group.create_task(run_stage(bus, spec, FAST, StageStats(spec.name), stop))
        if beside is not None:
            await beside.wait()
        while True:
            for spec in specs:
                if await lag(bus, spec):
                    break
            else:
                break
            await asyncio.sleep(0.001)
        stop.set()


# --- tampering


@dataclass(slots=True)
class Shelf:
    """The records of one partition as they are stored, batch by batch."""

    name: str
    topic: int
    partition: int
    batches: list[list[Stored]]


class Tampering:
    """A bus file whose batches are rewritten behind the bus's back."""

    def __init__(self, directory: Path, namespace: str = "main") -> None:
        self._path = directory / FILE_NAME
        self._prefix = f"{namespace}."

    def records(self) -> list[tuple[str, Stored]]:
        """Every record, with its topic."""
        return [(shelf.name, stored) for shelf in self._shelves() for batch in shelf.batches for stored in batch]

    def _shelves(self) -> list[Shelf]:
        with closing(sqlite3.connect(self._path)) as db:
            names: Mapping[int, str] = dict(db.execute("SELECT id, name FROM topic").fetchall())
            shelves: dict[tuple[int, int], Shelf] = {}
            rows = db.execute("SELECT topic, partition, base, at, body FROM batch ORDER BY topic, partition, next")
            for topic, partition, base, at_s, body in rows:
                name = names[topic].removeprefix(self._prefix)
                shelf = shelves.setdefault((topic, partition), Shelf(name, topic, partition, []))
                shelf.batches.append(unpack(body, partition, base, at_s))
            return list(shelves.values())

    def delete(self, topic: str, stored: Stored, *, keep_batch: bool = False) -> None:
        """Take a record away; its offset stays empty. A batch without any record left goes too, unless `keep_batch`."""
        rest = lambda batch: [record for record in batch if record.offset != stored.offset]  # noqa: E731
        self._rewrite(topic, stored, rest, keep_batch=keep_batch)

    def rekey(self, topic: str, stored: Stored, key: str) -> None:
        self._rewrite(
            topic,
            stored,
            lambda batch: [msgspec.structs.replace(r, key=key) if r.offset == stored.offset else r for r in batch],
        )

    def duplicate(self, topic: str, stored: Stored) -> None:
        """Append a record a second time."""
        with closing(sqlite3.connect(self._path)) as db, db:
            number = self._number(db, topic)
            (end,) = db.execute(
                "SELECT next FROM head WHERE topic = ? AND partition = ?", (number, stored.partition)
            ).fetchone()
            body = pack_gapped([0], [Message(topic, stored.key, stored.value, stored.cause)])
            db.execute(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", (number, stored.partition, end + 1, end, 0.0, body)
            )
            db.execute("UPDATE head SET next = next + 1 WHERE topic = ? AND partition = ?", (number, stored.partition))

    def _number(self, db: sqlite3.Connection, topic: str) -> int:
        (number,) = db.execute("SELECT id FROM topic WHERE name = ?", (self._prefix + topic,)).fetchone()
        return number

    def _rewrite(
        self,
        topic: str,
        stored: Stored,
        change: Callable[[list[Stored]], list[Stored]],
        *,
        keep_batch: bool = True,
    ) -> None:
        with closing(sqlite3.connect(self._path)) as db, db:
            where = (self._number(db, topic), stored.partition, stored.offset, stored.offset)
            rowid, base, at_s, body = db.execute(
                "SELECT rowid, base, at, body FROM batch WHERE topic = ? AND partition = ? AND base <= ? AND next > ?",
                where,
            ).fetchone()
            batch = change(unpack(body, stored.partition, base, at_s))
            if not batch and not keep_batch:
                db.execute("DELETE FROM batch WHERE rowid = ?", (rowid,))
                return
            messages = [Message(topic, record.key, record.value, record.cause) for record in batch]
            packed = pack_gapped([record.offset - base for record in batch], messages)
            db.execute("UPDATE batch SET body = ? WHERE rowid = ?", (packed, rowid))
