"""Requests about the transactions of a cluster, which aiokafka does not have: KIP-664, and the markers of KIP-98.

Of each the lowest version that Apache Kafka 4 takes.
"""

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, NamedTuple

import aiokafka.errors as kafka
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import TopicPartition

TEXT = CompactString("utf-8")
NO_TAGS: dict[int, bytes] = {}
TAGS = ("tags", TaggedFields)
PARTITIONS = CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)


class Transaction(NamedTuple):
    """The last transaction of a transactional id, as its coordinator has it."""

    transactional_id: str
    state: str  # Ongoing, CompleteCommit, …; Empty where none was begun under the epoch
    producer_id: int
    epoch: int


class Open(NamedTuple):
    """A transaction that is open in a partition, as the partition's leader has it."""

    partition: TopicPartition
    producer_id: int
    epoch: int
    coordinator_epoch: int  # of the last marker of this producer; -1 when it has none
    start: int  # offset of its first record


def _raise(code: int, what: object) -> None:
    if code:
        raise kafka.for_code(code)(what)


class DescribeTransactionsResponse_v0(Response):  # noqa: N801 - as aiokafka names them
    API_KEY: ClassVar[int] = 65
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        (
            "transactions",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", TEXT),
                ("state", TEXT),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", PARTITIONS),
                TAGS,
            ),
        ),
        TAGS,
    )


class DescribeTransactionsRequest_v0(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 65
    API_VERSION: ClassVar[int] = 0
    RESPONSE_TYPE: ClassVar[type[Response]] = DescribeTransactionsResponse_v0
    SCHEMA: ClassVar[Schema] = Schema(("transactional_ids", CompactArray(TEXT)), TAGS)


class DescribeTransactions(Request[DescribeTransactionsRequest_v0]):
    """Ask the coordinator of these transactional ids for their transactions."""

    API_KEY = 65

    def __init__(self, transactional_ids: Collection[str]) -> None:
        self._ids = list(transactional_ids)

    def build(self, request_struct_class: type[DescribeTransactionsRequest_v0]) -> DescribeTransactionsRequest_v0:
        return request_struct_class(self._ids, NO_TAGS)


def described(answer: Any) -> list[Transaction]:
    """Return the answer to `DescribeTransactions`.

    Raises:  KafkaError.
    """
    found: list[Transaction] = []
    for code, name, state, _, _, producer_id, epoch, *_ in answer.transactions:
        _raise(code, name)
        found.append(Transaction(name, state, producer_id, epoch))
    return found


class ListTransactionsResponse_v0(Response):  # noqa: N801
    API_KEY: ClassVar[int] = 66
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(TEXT)),
        ("transactions", CompactArray(("transactional_id", TEXT), ("producer_id", Int64), ("state", TEXT), TAGS)),
        TAGS,
    )


class ListTransactionsRequest_v0(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 66
    API_VERSION: ClassVar[int] = 0
    RESPONSE_TYPE: ClassVar[type[Response]] = ListTransactionsResponse_v0
    SCHEMA: ClassVar[Schema] = Schema(
        ("state_filters", CompactArray(TEXT)), ("producer_id_filters", CompactArray(Int64)), TAGS
    )


class ListTransactions(Request[ListTransactionsRequest_v0]):
    """Ask a broker which transactional ids these producer ids have. It answers for those that it coordinates."""

    API_KEY = 66

    def __init__(self, producer_ids: Collection[int]) -> None:
        self._ids = list(producer_ids)

    def build(self, request_struct_class: type[ListTransactionsRequest_v0]) -> ListTransactionsRequest_v0:
        return request_struct_class([], self._ids, NO_TAGS)


def listed(answer: Any) -> list[str]:
    """Return the transactional ids of an answer to `ListTransactions`.

    Raises:  KafkaError.
    """
    _raise(answer.error_code, "ListTransactions")
    return [name for name, *_ in answer.transactions]


class DescribeProducersResponse_v0(Response):  # noqa: N801
    API_KEY: ClassVar[int] = 61
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", TEXT),
                        (
                            "producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp_ms", Int64),
                                ("coordinator_epoch", Int32),
                                ("start", Int64),
                                TAGS,
                            ),
                        ),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class DescribeProducersRequest_v0(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 61
    API_VERSION: ClassVar[int] = 0
    RESPONSE_TYPE: ClassVar[type[Response]] = DescribeProducersResponse_v0
    SCHEMA: ClassVar[Schema] = Schema(("topics", PARTITIONS), TAGS)


class DescribeProducers(Request[DescribeProducersRequest_v0]):
    """Ask the leader of these partitions who writes to them."""

    API_KEY = 61

    def __init__(self, partitions: Iterable[TopicPartition]) -> None:
        self._topics = by_topic(partitions)

    def build(self, request_struct_class: type[DescribeProducersRequest_v0]) -> DescribeProducersRequest_v0:
        return request_struct_class(self._topics, NO_TAGS)


def opened(answer: Any) -> list[Open]:
    """Return the transactions that are open in the partitions of an answer to `DescribeProducers`.

    Raises:  KafkaError.
    """
    found: list[Open] = []
    for topic, partitions, _ in answer.topics:
        for partition, code, _, producers, _ in partitions:
            _raise(code, topic)
            for producer_id, epoch, _, _, coordinator_epoch, start, _ in producers:
                if start >= 0:
                    found.append(Open(TopicPartition(topic, partition), producer_id, epoch, coordinator_epoch, start))
    return found


class WriteTxnMarkersResponse_v1(Response):  # noqa: N801
    API_KEY: ClassVar[int] = 27
    API_VERSION: ClassVar[int] = 1
    SCHEMA: ClassVar[Schema] = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                (
                    "topics",
                    CompactArray(
                        ("topic", TEXT),
                        ("partitions", CompactArray(("partition", Int32), ("error_code", Int16), TAGS)),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    )


class WriteTxnMarkersRequest_v1(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 27
    API_VERSION: ClassVar[int] = 1
    RESPONSE_TYPE: ClassVar[type[Response]] = WriteTxnMarkersResponse_v1
    SCHEMA: ClassVar[Schema] = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("commit", Boolean),
                ("topics", PARTITIONS),
                ("coordinator_epoch", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class WriteTxnMarkers(Request[WriteTxnMarkersRequest_v1]):
    """Tell the leader of a partition how a transaction that is open in it has ended."""

    API_KEY = 27

    def __init__(self, transaction: Open, *, commit: bool) -> None:
        tp, coordinator_epoch = transaction.partition, max(0, transaction.coordinator_epoch)
        self._marker = (
            transaction.producer_id, transaction.epoch, commit, by_topic([tp]), coordinator_epoch, NO_TAGS,
        )  # fmt: skip

    def build(self, request_struct_class: type[WriteTxnMarkersRequest_v1]) -> WriteTxnMarkersRequest_v1:
        return request_struct_class([self._marker], NO_TAGS)


def check_written(answer: Any) -> None:
    """Check the answer to `WriteTxnMarkers`.

    Raises:  KafkaError.
    """
    for _, topics, _ in answer.markers:
        for topic, partitions, _ in topics:
            for _, code, _ in partitions:
                _raise(code, topic)


def by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int], dict[int, bytes]]]:
    """Return partitions as a request has them (`PARTITIONS`)."""
    found: dict[str, list[int]] = {}
    for tp in partitions:
        found.setdefault(tp.topic, []).append(tp.partition)
    return [(topic, numbers, NO_TAGS) for topic, numbers in found.items()]
