"""A topic -> Parquet, JSONL and a card that describes them. Equal content gives equal bytes.

Rows are sorted by key; of a key that stands in the topic more than once the last record counts (`rejects` and `dead`
hold a record for each outcome and keep them all). SQLite sorts, on disk: memory is one row group, whatever the topic,
and what a split needs to know of each row.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from consumers.llm.endpoint import Endpoint
from deploy.dataset import funnel_picture
from deploy.dataset.card import FUNNEL, Contents, FileLine, card
from deploy.dataset.columns import Column, Form, columns_of, has_row
from deploy.dataset.folder import CARD, TEST, TRAIN, clear, names_of, publish, scratch
from deploy.dataset.parquet import Writer, writer
from deploy.dataset.rebuild import Generation, generations
from deploy.dataset.split import Split, split
from deploy.dataset.tally import Tally
from deploy.streams.record_parts import texts_of
from deploy.streams.story import Story, story
from deploy.streams.where import Where
from stream.bus import Bus
from stream.codec import decode
from stream.config import suggestion
from stream.errors import WrongConfig
from stream.records import Record
from stream.topics import DEAD, REJECTS, TOPICS, Topic

ROW_GROUP_ROWS = 5_000

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a topic is exported."""

    form: Form = "columns"
    test_share: float = 0.0  # of the rows; 0 for one split
    prices: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])  # by model

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1:
            raise WrongConfig(f"--test-share {self.test_share:g}: expected a share from 0 to below 1")

    def __str__(self) -> str:
        """As options of the command line."""
        form = f" --format {self.form}" if self.form != "columns" else ""
        return form + (f" --test-share {self.test_share:g}" if self.test_share else "")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    splits: Mapping[str, int]  # rows of each
    files: tuple[Path, ...]

    @property
    def rows(self) -> int:
        return sum(self.splits.values())


async def export_from(where: Where, topic: str, into: Path, wanted: Wanted) -> Exported:
    """Export a topic of a stream, with the stream's story on the card.

    Raises:  as `export`; BusMissing; WrongConfig for an unknown topic.
    """
    if topic not in TOPICS:
        raise WrongConfig(f"there is no topic {topic}; {suggestion(topic, list(TOPICS))}")
    async with where.open() as bus:
        return await export(bus, TOPICS[topic], into, wanted, await story(bus))


async def export(
    bus: Bus, topic: Topic, directory: Path, wanted: Wanted | None = None, told: Story | None = None
) -> Exported:
    """Write `topic` into `directory` as TOPIC.parquet, TOPIC.jsonl (or both for each split) and README.md. Each file
    of an earlier export is replaced whole.

    Raises:  WrongConfig when the directory cannot be made or holds files of others, or the topic cannot be had as
             wanted; ExportFailed; BadRecord and NewerSchema from the records.
    """
    wanted = wanted or Wanted()
    columns = columns_of(topic, wanted.form)
    line = await generations(bus) if told else []
    with scratch(directory, names_of(topic.name)) as work, closing(sqlite3.connect(work / "sorted")) as db:
        # A scratch file: a crash leaves nothing to recover.
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        unique = "" if topic in (REJECTS, DEAD) else "UNIQUE"
        db.execute(f"CREATE TABLE record (key TEXT {unique}, value BLOB)")
        async for batch in bus.read(topic.name):
            db.executemany("INSERT OR REPLACE INTO record VALUES (?, ?)", [(s.key, s.value) for s in batch])
        return _write(_Export(db, topic, columns, work, wanted, told, line), directory)


@dataclass(frozen=True, slots=True)
class _Export:
    """One export under way."""

    db: sqlite3.Connection
    topic: Topic
    columns: Sequence[Column[Any]]
    work: Path  # where files are made, before they are put in their place
    wanted: Wanted
    told: Story | None
    line: Sequence[Generation]

    def path(self, split: str, suffix: str) -> Path:
        name = f"{self.topic.name}-{split}" if self.wanted.test_share else self.topic.name
        return self.work / f"{name}.{suffix}"

    def groups(self) -> Iterator[list[tuple[str, Record]]]:
        """Yield the sorted records, each with its key."""
        ordered = self.db.execute("SELECT key, value FROM record ORDER BY key, value")
        while found := ordered.fetchmany(ROW_GROUP_ROWS):
            decoded = [(key, decode(value, self.topic.record)) for key, value in found]
            yield [(key, record) for key, record in decoded if has_row(record, self.wanted.form)]


def _write(export: _Export, directory: Path) -> Exported:
    share = export.wanted.test_share
    keyed = ((key, texts_of(record)) for group in export.groups() for key, record in group)
    drawn = split(keyed, share) if share else None
    splits = (TRAIN, TEST) if drawn else (TRAIN,)
    tally = _write_rows(export, splits, drawn)
    data = [export.path(name, suffix) for name in splits for suffix in ("parquet", "jsonl")]
    picture = export.told is not None and funnel_picture.draw(export.told.counts, export.work / FUNNEL)
    contents = Contents(
        export.topic,
        export.columns,
        [FileLine(path.name, path.stat().st_size, _sha256(path)) for path in data],
        {name: export.path(name, "parquet").name for name in splits},
        tally,
        drawn,
        export.told,
        export.line,
        picture,
        export.wanted.prices,
        str(export.wanted),
    )
    (export.work / CARD).write_text(card(contents), encoding="utf-8")
    made = [*data, *([export.work / FUNNEL] if picture else []), export.work / CARD]
    published = publish(made, directory)
    clear(directory, names_of(export.topic.name), made)
    return Exported({name: tally.rows[name] for name in splits}, published)


def _write_rows(export: _Export, splits: Sequence[str], drawn: Split | None) -> Tally:
    tally = Tally()
    with ExitStack() as opened:
        types = {column.name: column.type for column in export.columns}
        files: dict[str, tuple[Writer, BinaryIO]] = {
            name: (
                opened.enter_context(writer(export.path(name, "parquet"), types)),
                opened.enter_context(export.path(name, "jsonl").open("wb")),
            )
            for name in splits
        }
        for group in export.groups():
            rows: dict[str, list[Row]] = {name: [] for name in splits}
            for key, record in group:
                name = TEST if drawn and key in drawn.test else TRAIN
                row = {column.name: column.value(record) for column in export.columns}
                rows[name].append(row)
                tally.add(name, record, row)
            for name, (write, lines) in files.items():
                if rows[name]:
                    write(rows[name])
                    lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows[name])
    return tally


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
