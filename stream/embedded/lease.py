"""What an owner of the embedded bus has in hand: a lease on one partition, or the right to append."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream.bus import Message, Stored
from stream.embedded.locks import Lock
from stream.errors import LeaseLost
from stream.progress import Progress

if TYPE_CHECKING:
    from stream.embedded.bus import Embedded

POLL_S = 0.25  # how soon records appended by another process are seen; our own are seen at once

MAX_RECORD_BYTES = 900_000_000
"""Of a record's value. SQLite takes no row above 1,000,000,000 bytes, and other records may share the batch."""


class EmbeddedLease:
    """`stream.bus.Lease` on one partition of the file."""

    def __init__(self, bus: "Embedded", lock: Lock, stage: str, topic: str, partition: int, progress: Progress) -> None:
        self._bus = bus
        self._lock = lock
        self._stage = stage
        self._topic = topic
        self.partition = partition
        self.progress = progress
        self.wanted = asyncio.Event()  # for ever unset: nobody else can join
        self._buffer: Sequence[Stored] = ()  # of one stored batch, not yet handed out
        self._taken = 0
        self._next = progress.watermark  # where the batch after the buffer begins
        self._told = self._next  # the position when a fetch last returned
        self._reach = progress.reach
        self._committed = asyncio.Event()  # something, since a fetch last looked
        self._released = False

    @property
    def position(self) -> int:
        return self._buffer[self._taken].offset if self._taken < len(self._buffer) else self._next

    async def fetch(self, limit: int) -> Sequence[Stored]:
        while True:
            self._check_held()
            records = self._within_reach(limit)
            if records or self.position > self._told:
                self._taken += len(records)
                self._told = self.position
                return records
            if self._taken < len(self._buffer):
                self._committed.clear()
                await self._committed.wait()
            else:
                await self._load()

    def _check_held(self) -> None:
        if self._released:
            raise LeaseLost(f"partition {self.partition} of {self._topic} was released")

    def _within_reach(self, limit: int) -> Sequence[Stored]:
        records = self._buffer[self._taken : self._taken + limit]
        if records and records[-1].offset > self._reach:
            return [record for record in records if record.offset <= self._reach]
        return records

    async def _load(self) -> None:
        """Fill the buffer from the next batch. At the end of the log, wait a while for one."""
        arrived = self._bus.arrival(self._topic)  # before looking, so that what comes after the look wakes us
        batch, end = await self._bus.after(self._topic, self.partition, self._next)
        if end > self._next:
            self._buffer = [record for record in batch if record.offset not in self.progress]
            self._taken, self._next = 0, end
            return
        # Not wait_for: before Python 3.12 it can swallow a cancellation that comes together with an arrival.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await arrived.wait()

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        self._check_held()
        await self._bus.write(self._lock, messages, (self._stage, self._topic, self.partition, progress))
        self._reach = progress.reach
        self._committed.set()

    def refusal(self, message: Message) -> str | None:
        return refusal(message)

    def release(self) -> None:
        self._released = True


class EmbeddedAppender:
    """`stream.bus.Appender` on the file."""

    def __init__(self, bus: "Embedded", lock: Lock) -> None:
        self._bus = bus
        self._lock = lock

    async def append(self, messages: Sequence[Message]) -> None:
        await self._bus.write(self._lock, messages, None)

    def refusal(self, message: Message) -> str | None:
        return refusal(message)


def refusal(message: Message) -> str | None:
    """Return why the file could not hold a message."""
    size_bytes = len(message.value)
    if size_bytes <= MAX_RECORD_BYTES:
        return None
    return f"a record of {size_bytes:,} bytes: topic {message.topic} takes {MAX_RECORD_BYTES:,}"
