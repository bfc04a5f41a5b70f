# What seedstream uses of aiokafka 0.14.
import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.client import AIOKafkaClient
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, RecordMetadata, TopicPartition

class MessageAccumulator:
    def fail_all(self, exception: Exception) -> None: ...

class AIOKafkaProducer:
    client: AIOKafkaClient
    _sender: Sender
    _message_accumulator: MessageAccumulator
    def __init__(
        self,
        *,
        bootstrap_servers: Sequence[str],
        transactional_id: str | None = ...,
        transaction_timeout_ms: int = ...,
        max_batch_size: int = ...,
        max_request_size: int = ...,
        compression_type: str | None = ...,
        request_timeout_ms: int = ...,
        **connection: Any,
    ) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def create_batch(self) -> BatchBuilder: ...
    async def send_batch(
        self, batch: BatchBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[RecordMetadata]: ...
    async def begin_transaction(self) -> None: ...
    async def commit_transaction(self) -> None: ...
    async def send_offsets_to_transaction(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group_id: str
    ) -> None: ...

class GroupCoordinator:
    def check_errors(self) -> None: ...

class AIOKafkaConsumer:
    _client: AIOKafkaClient
    _coordinator: GroupCoordinator
    def __init__(
        self,
        *topics: str,
        bootstrap_servers: Sequence[str],
        group_id: str | None = ...,
        enable_auto_commit: bool = ...,
        auto_offset_reset: str = ...,
        isolation_level: str = ...,
        partition_assignment_strategy: Sequence[type] = ...,
        session_timeout_ms: int = ...,
        heartbeat_interval_ms: int = ...,
        rebalance_timeout_ms: int | None = ...,
        metadata_max_age_ms: int = ...,
        max_poll_interval_ms: int = ...,
        max_partition_fetch_bytes: int = ...,
        fetch_max_wait_ms: int = ...,
        request_timeout_ms: int = ...,
        **connection: Any,
    ) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def subscribe(
        self, topics: Sequence[str] = ..., pattern: str | None = ..., listener: ConsumerRebalanceListener | None = ...
    ) -> None: ...
    def assign(self, partitions: Iterable[TopicPartition]) -> None: ...
    def assignment(self) -> set[TopicPartition]: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = ..., max_records: int | None = ...
    ) -> dict[TopicPartition, list[ConsumerRecord]]: ...
    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
