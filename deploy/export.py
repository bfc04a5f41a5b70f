"""A topic -> Parquet, JSONL and a card that describes them. Equal content gives equal bytes.

Rows are sorted by key; of a key that stands in the topic more than once the last record counts (`rejects` and `dead`
hold a record for each outcome and keep them all). SQLite sorts, on disk: memory is one row group, whatever the topic.
"""

import hashlib
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from deploy.card import COUNTED, FileLine, card
from deploy.columns import Column, columns_of
from deploy.effective import stored_recipe
from deploy.parquet import writer
from stream.bus import Bus
from stream.codec import decode
from stream.config import suggestion
from stream.embedded import Embedded
from stream.errors import Fatal, WrongConfig
from stream.topics import DEAD, REJECTS, TOPICS, Topic

ROW_GROUP_ROWS = 5_000
CARD = "README.md"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    rows: int
    files: tuple[Path, ...]


class ExportFailed(Fatal):
    """The disk would not take the export; the files of an earlier one are as they were."""


async def export_from(directory: Path, namespace: str, topic: str, into: Path) -> Exported:
    """Export a topic of the stream in `directory`, with the stream's recipe on the card.

    Raises:  as `export`; BusMissing; WrongConfig for an unknown topic.
    """
    if topic not in TOPICS:
        raise WrongConfig(f"there is no topic {topic}; {suggestion(topic, list(TOPICS))}")
    async with Embedded.open(directory, namespace, create=False) as bus:
        recipe = await stored_recipe(bus)
        return await export(bus, TOPICS[topic], into, recipe.text if recipe else None)


async def export(bus: Bus, topic: Topic, directory: Path, recipe: str | None = None) -> Exported:
    """Write `topic` into `directory` as TOPIC.parquet, TOPIC.jsonl and README.md. Each file is replaced whole.

    Raises:  WrongConfig when the directory cannot be made; ExportFailed; BadRecord and NewerSchema from the records.
    """
    with _scratch(directory) as work, closing(sqlite3.connect(work / "sorted")) as db:
        # A scratch file: a crash leaves nothing to recover.
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        unique = "" if topic in (REJECTS, DEAD) else "UNIQUE"
        db.execute(f"CREATE TABLE record (key TEXT {unique}, value BLOB)")
        async for batch in bus.read(topic.name):
            db.executemany("INSERT OR REPLACE INTO record VALUES (?, ?)", [(s.key, s.value) for s in batch])
        return _write(db, topic, work, directory, recipe)


@contextmanager
def _scratch(directory: Path) -> Generator[Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".export-", dir=directory)
    except OSError as err:
        raise WrongConfig(f"{err.filename or directory} cannot be written: {err.strerror}") from err
    with scratch as name:
        try:
            yield Path(name)
        except OSError as err:
            raise ExportFailed(f"{directory}: {err.strerror or err}") from err
        except sqlite3.OperationalError as err:
            raise ExportFailed(f"{directory}: {err}") from err


def _write(db: sqlite3.Connection, topic: Topic, work: Path, directory: Path, recipe: str | None) -> Exported:
    columns = columns_of(topic.record)
    tally = {c.name: Counter[str]() for c in columns if c.name in COUNTED}
    parquet, jsonl = work / f"{topic.name}.parquet", work / f"{topic.name}.jsonl"
    count = 0
    with jsonl.open("wb") as lines, writer(parquet, {c.name: c.type for c in columns}) as write:
        for rows in _groups(db, topic, columns):
            write(rows)
            lines.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
            for name, counter in tally.items():
                counter.update(str(row[name]) for row in rows)
            count += len(rows)
    files = [FileLine(path.name, path.stat().st_size, _sha256(path)) for path in (parquet, jsonl)]
    text = work / CARD
    text.write_text(card(topic, columns, count, tally, files, recipe), encoding="utf-8")
    return Exported(count, tuple(_publish(path, directory) for path in (parquet, jsonl, text)))


def _groups(db: sqlite3.Connection, topic: Topic, columns: Sequence[Column[Any]]) -> Iterator[list[Row]]:
    ordered = db.execute("SELECT value FROM record ORDER BY key, value")
    while found := ordered.fetchmany(ROW_GROUP_ROWS):
        records = [decode(value, topic.record) for (value,) in found]
        yield [{c.name: c.value(record) for c in columns} for record in records]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(path: Path, directory: Path) -> Path:
    """Put a finished file in its place, so that no reader and no crash ever sees half of one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.replace(directory / path.name)
