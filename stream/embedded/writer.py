"""The embedded bus's one writer: steps queue up while a commit reaches the disk, and the next commit takes them all."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from stream.bus import Message
from stream.embedded.batches import pack, split
from stream.embedded.file import connect, translated

TopicId = NewType("TopicId", int)
ProgressRow = tuple[str, TopicId, int, int, str]  # stage with namespace, topic, partition, watermark, bitmap


@dataclass(frozen=True, slots=True)
class Write:
    """One atomic step on its way to the disk."""

    appended: dict[tuple[TopicId, int], list[Message]]  # by topic and partition, in order
    progress: ProgressRow | None
    topics: frozenset[str]  # names of the topics appended to
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Writer:
    """A thread with the only writing connection of this process. `wake` is called in the loop after each commit."""

    def __init__(self, path: Path, wake: Callable[[frozenset[str]], None]) -> None:
        self._path = path
        self._wake = wake
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="bus-writer", daemon=True)
        self._thread.start()

    def put(self, write: Write) -> None:
        """Queue a step; its future is resolved once it is durable, or has failed and left no trace."""
        self._queue.put(write)

    async def close(self) -> None:
        """Write what is queued, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        open_for_more = True
        while open_for_more:
            group, open_for_more = self._take()
            if not group:
                continue
            error: Exception | None = None
            try:
                with translated(self._path):
                    if db is None:
                        db = connect(self._path)
                    commit(db, group)
            except Exception as err:  # noqa: BLE001 - whatever it is, those who wait for the commit must hear of it
                error = err
            self._report(group, error)
        if db is not None:
            db.close()

    def _take(self) -> tuple[list[Write], bool]:
        """Wait for a step, and take all that are queued behind it."""
        group: list[Write] = []
        write = self._queue.get()
        while write is not None:
            group.append(write)
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _report(self, group: Sequence[Write], error: Exception | None) -> None:
        def resolve() -> None:
            for write in group:
                if write.done.cancelled():
                    continue
                if error is None:
                    write.done.set_result(None)
                    self._wake(write.topics)
                else:
                    write.done.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            group[0].loop.call_soon_threadsafe(resolve)


def commit(db: sqlite3.Connection, group: Sequence[Write]) -> None:
    """Write the steps of a group in one transaction: all of them or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        insert(db, group)
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.OperationalError):  # a full disk has rolled it back by itself
            db.execute("ROLLBACK")
        raise


def insert(db: sqlite3.Connection, group: Sequence[Write]) -> None:
    """Append the messages of a group, step by step in its order, and store its progress."""
    now_s = time.time()
    logs: dict[tuple[TopicId, int], list[Message]] = {}
    for write in group:
        for log, messages in write.appended.items():
            logs.setdefault(log, []).extend(messages)
    for (topic, partition), messages in logs.items():
        row = db.execute("SELECT next FROM head WHERE topic = ? AND partition = ?", (topic, partition)).fetchone()
        base: int = row[0] if row else 0
        for part in split(messages):
            end = base + len(part)
            db.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", (topic, partition, end, base, now_s, pack(part)))
            base = end
        db.execute("INSERT OR REPLACE INTO head VALUES (?, ?, ?)", (topic, partition, base))
    db.executemany(
        "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?)",
        [write.progress for write in group if write.progress is not None],
    )
