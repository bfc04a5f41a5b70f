"""Record batches: the unit in which the embedded bus stores a log. Pure.

One row per record would cost a call into SQLite, with the interpreter lock handed over and back, for each of them; a
batch is one row, one call. Layout, little endian: count, then (delta, key, cause, value lengths) per record, then the
bytes themselves. `delta` is the offset minus the batch's base, so that a batch can have gaps.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

import msgspec

from stream.bus import Cause, Message, Stored

_ENCODER = msgspec.json.Encoder()
_CAUSES = msgspec.json.Decoder(Cause)

MAX_BATCH_BYTES = 1_000_000
"""A batch is closed once it holds this much, so a reader never holds more than this or one record."""


def pack(messages: Sequence[Message]) -> bytes:
    """Return the body of a batch whose records have consecutive offsets."""
    return pack_gapped(range(len(messages)), messages)


def pack_gapped(deltas: Sequence[int], messages: Sequence[Message]) -> bytes:
    """Return the body of a batch; `deltas[k]` is the offset of record k minus the base, rising."""
    parts: list[bytes] = []
    for message in messages:
        parts.append(message.key.encode())
        parts.append(b"" if message.cause is None else _ENCODER.encode(message.cause))
        parts.append(message.value)
    lengths = [len(part) for part in parts]
    index = chain.from_iterable((delta, *lengths[3 * k : 3 * k + 3]) for k, delta in enumerate(deltas))
    return struct.pack(f"<{1 + 4 * len(messages)}I", len(messages), *index) + b"".join(parts)


def unpack(body: bytes, partition: int, base: int, at_s: float, start: int = 0) -> list[Stored]:
    """Return the records of a batch from offset `start` on, in order."""
    (count,) = struct.unpack_from("<I", body)
    index = struct.unpack_from(f"<{4 * count}I", body, 4)
    ends = list(
        accumulate(chain.from_iterable(index[4 * k + 1 : 4 * k + 4] for k in range(count)), initial=4 + 16 * count)
    )
    records: list[Stored] = []
    for k in range(count):
        offset = base + index[4 * k]
        if offset < start:
            continue
        a, b, c, d = ends[3 * k : 3 * k + 4]
        cause = _CAUSES.decode(body[b:c]) if c > b else None
        records.append(Stored(partition, offset, body[a:b].decode(), body[c:d], cause, at_s))
    return records


def split(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into batches of about MAX_BATCH_BYTES.

    >>> [len(part) for part in split([Message("t", "k", b"x" * 600_000)] * 3)]
    [2, 1]
    """
    first, size = 0, 0
    for k, message in enumerate(messages):
        size += len(message.value)
        if size >= MAX_BATCH_BYTES:
            yield messages[first : k + 1]
            first, size = k + 1, 0
    if first < len(messages):
        yield messages[first:]
