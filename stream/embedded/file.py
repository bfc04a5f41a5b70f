"""The bus file: its tables, its connections, and SQLite's errors translated at the border."""

import contextlib
import sqlite3
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from stream.errors import BusMissing, DiskFull, Fatal, NewerSchema, Unavailable, WrongConfig

FILE_NAME = "bus.sqlite"
FILE_SCHEMA = 1
BUSY_S = 60.0  # another process may hold the write lock for one group commit


TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS topic (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS head (topic INTEGER, partition INTEGER, next INTEGER NOT NULL,
                                 PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (topic INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
                                  base INTEGER NOT NULL, at REAL NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS batch_next ON batch (topic, partition, next);
CREATE TABLE IF NOT EXISTS progress (stage TEXT, topic INTEGER, partition INTEGER, watermark INTEGER NOT NULL,
                                     bitmap TEXT NOT NULL, PRIMARY KEY (stage, topic, partition)) WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection that other threads may close. Transactions are explicit."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


class BusBusy(Unavailable):
    """Another process holds the bus file's write lock for too long."""


class BusBroken(Fatal):
    """The bus file is damaged or the disk fails: nothing we can wait for."""


@contextlib.contextmanager
def translated(path: Path) -> Generator[None]:
    """Raise sqlite3's errors as ours, with the file's name."""
    try:
        yield
    except sqlite3.Error as err:
        extended: int = getattr(err, "sqlite_errorcode", 0)  # 0: of Python's own making, not the library's
        code = extended & 0xFF
        if code == sqlite3.SQLITE_FULL or extended in {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}:
            raise DiskFull(f"{path}: the disk is full ({err})") from err
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise BusBusy(f"{path}: another process holds it locked") from err
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOTADB}:
            raise WrongConfig(f"{path}: cannot be opened as a bus: {err}") from err
        raise BusBroken(f"{path}: {err}") from err


def prepare(path: Path, create: bool) -> None:
    """Make or check the file at `path`. Raises as `Embedded.open`."""
    try:
        there = path.exists()
        in_the_way = None if there else next(filter(Path.is_file, path.parents), None)
    except OSError as err:  # a folder that may not be looked into, a name that is too long
        raise WrongConfig(f"{path.parent}: cannot be read: {err.strerror}") from err
    if in_the_way is not None:
        raise WrongConfig(f"{in_the_way} is a file: expected the folder of a stream, which holds {path.name}")
    if not there:
        if not create:
            raise BusMissing(f"{path.parent}: there is no bus here; `seedstream up --dir {path.parent}` makes one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise WrongConfig(f"{path.parent}: cannot be made: {err.strerror}") from err
    with translated(path), contextlib.closing(connect(path)) as db:
        known = db.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchone()
        if known:
            found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
            if found is None:
                raise WrongConfig(f"{path}: cannot be opened as a bus: some other program's table `meta` is in it")
            if found[0] > FILE_SCHEMA:
                raise NewerSchema(f"the bus file {path}", found[0], FILE_SCHEMA)
            return
        _write_ahead(db)
        # One transaction: whoever finds the table `meta` finds the schema number in it, also after a kill.
        db.executescript(f"BEGIN IMMEDIATE; {TABLES}")
        db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (FILE_SCHEMA,))
        db.execute("COMMIT")


def _write_ahead(db: sqlite3.Connection) -> None:
    """Put the file into WAL mode. Who loses the race for a new file is told BUSY without having waited: switching the
    journal wants two locks, and SQLite calls no busy handler where waiting could be a deadlock."""
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= give_up:
                raise
            time.sleep(0.005)
        else:
            return


def begin(db: sqlite3.Connection, topics: Sequence[tuple[str, int]], readers: Sequence[tuple[str, str]]) -> None:
    """Make the topics that are not there, by name and partitions; and let the progress of readers, each with the topic
    that it reads, begin at the first record that stands there, where it has not begun and something was deleted."""
    db.execute("BEGIN IMMEDIATE")
    db.executemany("INSERT OR IGNORE INTO topic (name, partitions) VALUES (?, ?)", topics)
    db.executemany(
        """
        INSERT OR IGNORE INTO progress
        SELECT ?, topic.id, head.partition, coalesce(min(batch.base), head.next), ''
        FROM topic JOIN head ON head.topic = topic.id
        LEFT JOIN batch ON batch.topic = head.topic AND batch.partition = head.partition
        AND batch.next = (SELECT min(next) FROM batch WHERE topic = head.topic AND partition = head.partition)
        WHERE topic.name = ? GROUP BY head.partition HAVING coalesce(min(batch.base), head.next) > 0
        """,
        readers,
    )
    db.execute("COMMIT")
