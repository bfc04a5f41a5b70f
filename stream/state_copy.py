"""A copy of a Fold's state log on this machine, so that a restart reads only the log's tail from the bus.

It may lag behind the log and never leads: only what was read from the log is copied. It is trusted as far as its lines
are whole, and while it begins with the log's own first record; else it is dropped, and the log is read as if there had
been none. So it is where this machine cannot keep one, its disk being full or not ours to write.
"""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import zlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from stream.bus import Bus, Stored

CHUNK = 2_000  # lines read at once
logger = logging.getLogger(__name__)


class Line(NamedTuple):
    """One record of the log, as far as restoring needs it."""

    offset: int
    at_s: float
    topic: str  # of the input, whose state it is
    partition: int
    value: bytes


class Log(NamedTuple):
    """A state log, and the folder for its copy; None: there is no copy."""

    bus: Bus
    topic: str
    folder: Path | None


async def read(log: Log) -> AsyncGenerator[Sequence[Line]]:
    """Yield the log from its beginning to its end at the time of the call."""
    copy = await asyncio.to_thread(_opened, log)
    try:
        next_offset = 0
        if copy is not None and not await _is_of(log, copy):
            copy.truncate(0)
        if copy is not None:
            copy.seek(0)
            end = (await log.bus.ends(log.topic))[0]
            while lines := await asyncio.to_thread(_take, copy, CHUNK, end):
                next_offset = lines[-1].offset + 1
                yield lines
            copy.truncate(copy.tell())  # a line that was cut short by a kill, and what the log has lost since
        async for batch in log.bus.read(log.topic, {0: next_offset}):
            lines = [line for stored in batch if (line := _line(stored)) is not None]
            if copy is not None and not await asyncio.to_thread(_copied, copy, lines):
                copy = None
            yield lines
    finally:
        if copy is not None:
            copy.close()


def _opened(log: Log) -> BinaryIO | None:
    """Open the copy; None where there is to be none, none can be, or another process has it."""
    if log.folder is None:
        return None
    path = log.folder / f"{log.bus.namespace}.{log.topic}.copy"
    try:
        log.folder.mkdir(parents=True, exist_ok=True)
        copy = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
    except OSError as err:
        logger.warning("%s: no copy of %s is kept: %s", path, log.topic, err.strerror)
        return None
    try:
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        copy.close()
        return None
    return copy


def _copied(copy: BinaryIO, lines: Sequence[Line]) -> bool:
    """Add lines to a copy; where that fails close it: it ends in a whole line, or in one that is never believed."""
    try:
        copy.writelines(_packed(line) for line in lines)
        copy.flush()
    except OSError as err:
        logger.warning("%s: the copy of a log grows no more: %s", copy.name, err.strerror)
        with contextlib.suppress(OSError):  # closing writes what is left, in vain
            copy.close()
        return False
    return True


async def _is_of(log: Log, copy: BinaryIO) -> bool:
    """Tell whether a copy is of this log, and not of one that stood under its name before."""
    copied = _unpacked(copy.readline())
    if copied is None:
        return False
    async with contextlib.aclosing(log.bus.read(log.topic)) as batches:
        async for batch in batches:
            return bool(batch) and _line(batch[0]) == copied
    return False


def _take(copy: BinaryIO, count: int, end: int) -> list[Line]:
    return list(itertools.islice(_lines(copy, end), count))


def _lines(copy: BinaryIO, end: int) -> Iterator[Line]:
    """Yield whole lines of offsets below `end`, leaving the file behind the last of them."""
    while True:
        start = copy.tell()
        line = _unpacked(copy.readline())
        if line is None or line.offset >= end:
            copy.seek(start)
            return
        yield line


def _packed(line: Line) -> bytes:
    r"""Return a line of the file: a checksum, where the record stands, and its value, which is JSON on one line.

    >>> _unpacked(_packed(Line(7, 1.5, "typed", 0, b"{}")))
    Line(offset=7, at_s=1.5, topic='typed', partition=0, value=b'{}')
    >>> _unpacked(_packed(Line(7, 1.5, "typed", 0, b"{}"))[:-2])
    """
    body = orjson.dumps(line[:-1]) + b"\t" + line.value
    return b"%08x\t%s\n" % (zlib.crc32(body), body)


def _unpacked(raw: bytes) -> Line | None:
    checksum, _, body = raw.rstrip(b"\n").partition(b"\t")
    if not raw.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    where, _, value = body.partition(b"\t")
    offset, at_s, topic, partition = orjson.loads(where)
    return Line(offset, at_s, topic, partition, value)


def _line(stored: Stored) -> Line | None:
    cause = stored.cause
    if cause is None:
        return None
    return Line(stored.offset, stored.at_s, cause.topic, cause.partition, stored.value)
