"""A snapshot: the rows that a checkpoint is trained on, as a file that can be named and built again.

A manifest names it: the end offsets of the topic, and the hash of the file. Beside the file stands the list of its keys
with the hash of each row, so that what was retracted since can be named when the same file is built again. Of a key
that stands in the topic more than once the last record below the end offsets counts, as compaction has it. Rows are
sorted by key; SQLite sorts, on disk, so memory does not grow with the topic.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import orjson

from stream.bus import Bus, Stored
from stream.codec import decode
from stream.errors import Fatal, WrongConfig
from stream.records import Example, Executions, Manifest, RecipeText
from trainer import preferences
from trainer.files import sync, writing

ROWS, KEYS, LICENCES = "rows.jsonl", "keys.txt", "licences.json"

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Retracted:
    """A row of a manifest that cannot be built again."""

    key: str
    what: Literal["gone", "changed"]  # pruned from the topic; another record of this key came since

    def __str__(self) -> str:
        return f"{self.key} ({self.what})"


def row_of(example: Example) -> Row:
    """Return what is trained on of an example, and whose it is."""
    return {
        "id": example.key,
        "instruction": example.instruction.text,
        "response": example.response.text,
        "licence": example.instruction.concepts.seed.file.licence,
    }


def _from_example(value: bytes) -> Row | None:
    return row_of(decode(value, Example))


def _from_executions(value: bytes) -> Row | None:
    found = preferences.pair(decode(value, Executions))
    return found.row() if found else None


SOURCES: Mapping[str, Callable[[bytes], Row | None]] = {"examples": _from_example, "executions": _from_executions}
"""The topics that can be trained on: examples as they are, executions as preference pairs."""


async def take(bus: Bus, topic: str, recipe: RecipeText | None, folder: Path) -> Manifest:
    """Write the rows of `topic` as it stands now into `folder`, and return their manifest.

    Raises:  WrongConfig when the namespace has no such topic; CannotWrite; BadRecord and NewerSchema from the records.
    """
    if topic not in await bus.topics():
        raise WrongConfig(f"namespace {bus.namespace} has no topic {topic}: `seedstream up` makes examples")
    ends = await bus.ends(topic)
    with _table(folder) as table:
        async for batch in bus.read(topic):
            table.put(_row(topic, stored) for stored in batch if _inside(stored, ends))
        keys, sha256 = table.write(folder)
    text = recipe.text if recipe else ""
    counted = tuple(ends[partition] for partition in range(len(ends)))
    return Manifest(bus.namespace, topic, counted, keys, sha256, text, _sha256(text.encode()))


async def rebuild(bus: Bus, manifest: Manifest, keys: Path, folder: Path) -> tuple[Manifest, list[Retracted]]:
    """Write the rows of a manifest into `folder` once more; `keys` is the list that was written beside the first ones.
    Return the manifest of what could be written, and what was retracted: without any, both are equal byte for byte.

    Raises:  as `take`; Fatal when the list of keys is of another snapshot.
    """
    if manifest.namespace != bus.namespace or manifest.source not in SOURCES:
        raise WrongConfig(
            f"the manifest is of {manifest.source} of namespace {manifest.namespace}, not of a topic of {bus.namespace}"
        )
    then = read_keys(keys)
    newest: dict[str, str] = {}
    with _table(folder) as table:
        async for batch in bus.read(manifest.source):
            for stored in batch:
                if stored.key not in then or (row := _row(manifest.source, stored)[1]) is None:
                    continue
                newest[stored.key] = _sha256(row)
                if newest[stored.key] == then[stored.key]:
                    table.put([(stored.key, row)])
        retracted = [
            Retracted(key, "changed" if key in newest else "gone")
            for key, sha256 in then.items()
            if newest.get(key) != sha256
        ]
        table.drop(gone.key for gone in retracted)
        count, sha256 = table.write(folder)
    if not retracted and sha256 != manifest.sha256:
        raise Fatal(f"{keys} does not belong to the manifest: its rows have another hash")
    return replace(manifest, keys=count, sha256=sha256), retracted


def from_file(path: Path, namespace: str, folder: Path) -> Manifest:
    """Write the preference pairs of a user's file into `folder`, and return their manifest.

    Raises:  WrongConfig naming the line of what is no pair; CannotWrite.
    """
    with _table(folder) as table:
        for pair in preferences.read(path):
            table.put([(pair.pair_id, _line(pair.row()))])
        keys, sha256 = table.write(folder)
    return Manifest(namespace, path.name, (), keys, sha256, "", _sha256(b""))


def read_keys(path: Path) -> dict[str, str]:
    """Return the keys of a snapshot with the hash of each row.

    Raises:  WrongConfig when the file is not there, or naming the line that holds something else.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as err:
        raise WrongConfig(f"{path} cannot be read: {err.strerror}") from err
    return dict(_key(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


_EXPECTED = "expected a hash, two blanks and a key, in UTF-8"


def _key(line: bytes, where: str) -> tuple[str, str]:
    try:
        sha256, _, key = line.decode().partition("  ")
    except UnicodeDecodeError as err:
        raise WrongConfig(f"{where}: {_EXPECTED}: {err}") from err
    if len(sha256) != 64 or not key:
        raise WrongConfig(f"{where}: {_EXPECTED}")
    return key, sha256


def licences(folder: Path) -> dict[str, int]:
    """Return how many rows of a snapshot come from files of each licence, the most frequent first."""
    return orjson.loads((folder / LICENCES).read_bytes())


def _inside(stored: Stored, ends: Mapping[int, int]) -> bool:
    return stored.offset < ends.get(stored.partition, 0)


def _row(topic: str, stored: Stored) -> tuple[str, bytes | None]:
    row = SOURCES[topic](stored.value)
    return stored.key, _line(row) if row else None


def _line(row: Row) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class _Table:
    """Rows by key, in a scratch file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")  # a crash leaves nothing to recover
        db.execute("CREATE TABLE row (key TEXT PRIMARY KEY, line BLOB) WITHOUT ROWID")

    def put(self, rows: Iterable[tuple[str, bytes | None]]) -> None:
        """Add rows, the later one of a key in place of the earlier; None takes its row away."""
        self._db.executemany("INSERT OR REPLACE INTO row VALUES (?, ?)", rows)

    def drop(self, keys: Iterable[str]) -> None:
        self._db.executemany("DELETE FROM row WHERE key = ?", ((key,) for key in keys))

    def write(self, folder: Path) -> tuple[int, str]:
        """Write the rows and their keys; return how many there are, and the hash of the rows."""
        whole, count, of_licence = hashlib.sha256(), 0, dict[str, int]()
        with (folder / ROWS).open("wb") as rows, (folder / KEYS).open("w", encoding="utf-8") as keys:
            for key, line in self._db.execute("SELECT key, line FROM row WHERE line IS NOT NULL ORDER BY key"):
                rows.write(line)
                keys.write(f"{_sha256(line)}  {key}\n")
                whole.update(line)
                count += 1
                licence = orjson.loads(line)["licence"]
                of_licence[licence] = of_licence.get(licence, 0) + 1
        ordered = sorted(of_licence.items(), key=lambda item: (-item[1], item[0]))
        (folder / LICENCES).write_bytes(orjson.dumps(dict(ordered)))
        sync(folder)
        return count, whole.hexdigest()


@contextmanager
def _table(folder: Path) -> Generator[_Table]:
    scratch = folder / "sorted.sqlite"
    with writing(folder):
        scratch.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(scratch)) as db:
                yield _Table(db)
        finally:
            scratch.unlink(missing_ok=True)


def first(retracted: Sequence[Retracted], most: int = 5) -> str:
    """Name the first of what was retracted.

    >>> first([Retracted("a", "gone"), Retracted("b", "changed")], most=1)
    'a (gone) and 1 more'
    """
    more = f" and {len(retracted) - most:,} more" if len(retracted) > most else ""
    return ", ".join(map(str, retracted[:most])) + more
