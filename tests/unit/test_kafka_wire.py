"""A message of ours as a Kafka record and back."""

from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from stream.bus import Cause, Message
from stream.kafka.wire import at_most_bytes, headers, partition_of, size_bytes, stored

NUMBERS = st.integers(0, 2**62)
NAMES = st.text(max_size=40)
CAUSES = st.builds(Cause, NAMES, NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
MESSAGES = st.builds(Message, st.just("files"), NAMES, st.binary(max_size=3_000), st.none() | CAUSES)


def record(key: bytes | None, value: bytes | None, found: Any = ()) -> ConsumerRecord[Any, Any]:
    """A record as the broker gives it."""
    return ConsumerRecord("t.files", 2, 7, 1_500, 0, key, value, None, len(key or b""), len(value or b""), found)


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    found = stored(record(message.key.encode(), message.value, headers(message.cause)))
    assert (found.key, found.value, found.cause) == (message.key, message.value, message.cause)
    assert (found.partition, found.offset, found.at_s) == (2, 7, 1.5)


@given(MESSAGES)
def test_no_message_takes_more_on_the_wire_than_is_said_before(message: Message) -> None:
    batch = _batch(2**31 - 1)
    assert _append(batch, message)
    assert len(batch.build()) <= size_bytes(message) <= at_most_bytes(message)


@given(MESSAGES)
def test_a_batch_takes_its_first_message_whatever_its_size(message: Message) -> None:
    assert _append(_batch(1), message)


def _batch(limit_bytes: int) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=1, producer_id=2**62, producer_epoch=2**14, base_sequence=2**30,
        batch_size=limit_bytes,
    )  # fmt: skip


def _append(batch: DefaultRecordBatchBuilder, message: Message) -> bool:
    key, value = message.key.encode(), message.value
    return batch.append(0, timestamp=2**41, key=key, value=value, headers=headers(message.cause)) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"", b"x", b"\xff", b"null", b"7", b'"abcdef"', b"{}", b"[]", b'["a","b",0,1,0]', b'["a","b",0,1,0,1,2]',
        b'["a","b",0,1,0,"1"]', b'["a","b",0,null,0,1]', b'["a",["b"],0,1,0,1]', b'["a","b",0,1.5,0,1]',
        b'["a","b",true,1,0,1]', b'{"stage":"a","topic":"b","partition":0,"offset":1,"i":0,"n":1}',
    ],
)  # fmt: skip
def test_a_foreign_header_that_is_called_cause_is_none(value: bytes) -> None:
    assert stored(record(b"k", b"v", [("cause", value)])).cause is None


def test_other_headers_are_left_alone() -> None:
    cause = Cause("a", "b", 0, 1, 0, 1)
    assert stored(record(b"k", b"v", [("trace", b"\xff"), *headers(cause), ("x", b"")])).cause == cause


def test_a_record_of_others_can_be_shown() -> None:
    nameless, odd = stored(record(None, None)), stored(record(b"\xffk", b""))
    assert (nameless.key, nameless.value) == ("", b"")
    assert (odd.key, odd.value) == ("\\xffk", b"")


@given(st.binary(max_size=80), st.integers(1, 50))
def test_a_key_has_one_partition_of_those_there_are(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)
