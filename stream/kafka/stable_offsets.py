"""What a group has committed, and surely so: OffsetFetch of version 7, which aiokafka does not have yet.

A transaction becomes visible partition by partition, within milliseconds, and the group's offset is one of these
partitions. With `require_stable` (KIP-447) the coordinator refuses while the offset of a transaction is pending. Asking
until it does not, and reading topics to their high watermark, is what makes a step visible as a whole.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

import aiokafka.errors as kafka
from aiokafka.protocol.api import Request, RequestStruct, Response, Struct
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream.kafka.transactions import NO_TAGS, PARTITIONS, TEXT, by_topic

UNSTABLE_OFFSET_COMMIT = 88


class OffsetFetchResponse_v7(Response):  # noqa: N801 - as aiokafka names them
    API_KEY: ClassVar[int] = 9
    API_VERSION: ClassVar[int] = 7
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
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", TEXT),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequest_v7(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 9
    API_VERSION: ClassVar[int] = 7
    RESPONSE_TYPE: ClassVar[type[Response]] = OffsetFetchResponse_v7
    SCHEMA: ClassVar[Schema] = Schema(
        ("group", TEXT),
        ("topics", PARTITIONS),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffsets(Request[OffsetFetchRequest_v7]):
    """Ask for what `group` has committed on partitions. Where a transaction is about to commit more, that is said; with
    `stable` not set, what stood before is answered."""

    API_KEY: ClassVar[int] = 9

    def __init__(self, group: str, partitions: Iterable[TopicPartition], *, stable: bool = True) -> None:
        self._group = group
        self._stable = stable
        self._topics = by_topic(partitions)

    def build(self, request_struct_class: type[OffsetFetchRequest_v7]) -> OffsetFetchRequest_v7:
        return request_struct_class(self._group, self._topics, self._stable, NO_TAGS)


def committed(answer: Struct) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return the answer by partition; an offset of -1 says that nothing is committed.

    Raises:  KafkaError: of the whole answer, or of a partition; a RequestTimedOutError while one is pending.
    """
    said: Any = answer
    found: dict[TopicPartition, OffsetAndMetadata] = {}
    codes = [said.error_code]
    for topic, partitions, _ in said.topics:
        for partition, offset, _, metadata, code, _ in partitions:
            codes.append(code)
            found[TopicPartition(topic, partition)] = OffsetAndMetadata(offset, metadata or "")
    for code in codes:
        if code == UNSTABLE_OFFSET_COMMIT:
            raise kafka.RequestTimedOutError("a transaction with this offset is under way")
        if code:
            raise kafka.for_code(code)()
    return found
