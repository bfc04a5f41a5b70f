"""A message of ours as a Kafka record and back. Pure.

The key is the record's key in UTF-8; the header `cause`, a JSON array, tells what the record was made from.
"""

import zlib
from collections.abc import Sequence

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.bus import Cause, Message, Stored
from stream.codec import UNREADABLE

CAUSE = "cause"

_ENCODER = msgspec.json.Encoder()
_CAUSES = msgspec.json.Decoder(Cause)

Headers = list[tuple[str, bytes]]

OVERHEAD_BYTES = 100
"""What a batch and a record in it take beside key, value and headers, at most (KIP-98: 61 for the batch, the rest are
varints)."""


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: the same on every bus.

    >>> [partition_of(b"a", n) for n in (1, 6)]
    [0, 3]
    """
    return zlib.crc32(key) % partitions if partitions > 1 else 0


def headers(cause: Cause | None) -> Headers:
    """Return a message's headers.

    >>> headers(Cause("typed", "functions", 0, 12, 0, 1))
    [('cause', b'["typed","functions",0,12,0,1]')]
    """
    return [] if cause is None else [(CAUSE, _ENCODER.encode(cause))]


def size_bytes(message: Message) -> int:
    """Return what a message takes on the wire, uncompressed, at most."""
    return (
        OVERHEAD_BYTES
        + len(message.key.encode())
        + len(message.value)
        + sum(len(name) + len(value) for name, value in headers(message.cause))
    )


def at_most_bytes(message: Message) -> int:
    """Return a number that `size_bytes` does not exceed, without making what is measured: a character takes 4 bytes at
    most, and 6 in JSON.

    >>> message = Message("typed", "é", b"value", Cause("typed", "functions", 0, 12, 0, 1))
    >>> size_bytes(message), at_most_bytes(message)
    (142, 393)
    """
    key, value, cause = message.key, message.value, message.cause
    header = 200 + 6 * (len(cause.stage) + len(cause.topic)) if cause is not None else 0
    return OVERHEAD_BYTES + 4 * len(key) + len(value) + header


def stored(record: ConsumerRecord) -> Stored:
    """Return a record as it stands in its topic."""
    key = record.key.decode("utf-8", "backslashreplace") if record.key is not None else ""
    at_s = record.timestamp / 1000
    return Stored(record.partition, record.offset, key, record.value or b"", _cause(record.headers), at_s)


def _cause(found: Sequence[tuple[str, bytes]]) -> Cause | None:
    """Return the cause among a record's headers. A foreign header of that name is none: the audit names the record."""
    for name, value in found:
        if name == CAUSE:
            try:
                return _CAUSES.decode(value or b"")  # aiokafka gives None for a header without a value
            except UNREADABLE:
                return None
    return None
