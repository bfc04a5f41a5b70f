"""Reading the bus file without blocking the event loop."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stream.bus import Stored
from stream.embedded.batches import unpack
from stream.embedded.file import connect, translated
from stream.embedded.writer import TopicId


class Reader:
    """One connection on one thread, so that a blocking read never blocks the event loop or another reader."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None

    async def all(self, sql: str, *args: object) -> list[tuple[object, ...]]:
        """Return all rows of a query."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._all, sql, args)

    def _all(self, sql: str, args: tuple[object, ...]) -> list[tuple[object, ...]]:
        with translated(self._path):
            if self._db is None:
                self._db = connect(self._path)
                self._db.execute("PRAGMA query_only = 1")
            return self._db.execute(sql, args).fetchall()

    async def batch(self, topic: TopicId, partition: int, position: int) -> tuple[list[Stored], int] | None:
        """Return the records from `position` on of the first batch that ends past it, and where that batch ends; None
        at the end of the log. A batch with gaps may have no record left."""
        rows = await self.all(
            "SELECT base, next, at, body FROM batch WHERE topic = ? AND partition = ? AND next > ? "
            "ORDER BY next LIMIT 1",
            topic, partition, position,
        )  # fmt: skip
        if not rows:
            return None
        base, end, at_s, body = rows[0]
        assert isinstance(base, int) and isinstance(end, int) and isinstance(at_s, float) and isinstance(body, bytes)
        return unpack(body, partition, base, at_s, position), end

    async def end(self, topic: TopicId, partition: int) -> int:
        """Return the end of a log."""
        rows = await self.all("SELECT next FROM head WHERE topic = ? AND partition = ?", topic, partition)
        end = rows[0][0] if rows else 0
        assert isinstance(end, int)
        return end

    async def start(self, topic: TopicId, partition: int, default: int) -> int:
        """Return where the first batch of a log begins; `default` when it has none."""
        rows = await self.all(
            "SELECT base FROM batch WHERE topic = ? AND partition = ? ORDER BY next LIMIT 1", topic, partition
        )
        base = rows[0][0] if rows else default
        assert isinstance(base, int)
        return base

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        self._pool.shutdown()
