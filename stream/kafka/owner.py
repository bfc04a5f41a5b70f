"""The one writer under a transactional id. Beginning fences whoever wrote under it before.

aiokafka's transactions have traps, which this file is there to know:
- A batch that fails for good does not abort: the transaction commits without it. So every future is awaited first.
- Idempotent batches never expire and `stop` waits for them. So each write has a deadline of ours, and a producer in
  doubt is thrown away, not stopped.
- The commit of offsets is not checked against the group's generation. So there is one id for each input partition,
  and only fencing tells the owner from a zombie.
- A producer that starts fences whoever owns the id, also a successor. So an owner in doubt resumes: it asks for the
  epoch after its own, and is refused when another has begun (`epochs.py`).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, KafkaConnectionError, KafkaError, UnknownError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream.bus import Message
from stream.kafka.cluster import Cluster
from stream.kafka.epochs import EpochHandler, Held, is_unclaimed
from stream.kafka.errors import FENCED, translated
from stream.kafka.wire import headers, partition_of

TRANSACTION_MS = 15_000
"""After this the coordinator aborts a transaction whose owner has died, and readers of committed records go on."""

WRITE_S = 12.0  # less: we give a transaction up before the coordinator does
BEGIN_S = 30.0  # it may have to wait for a transaction of a dead owner
STOP_S = 2.0

BATCH_BYTES = 512 << 10
"""Of one produce request to one partition; less where a topic takes less."""


class Mark(NamedTuple):
    """An offset to be committed together with messages: of a group's partition, with metadata."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str


class Owner:
    """A transactional producer on `cluster`. `partitions` are of each topic by its full name, `limits` the bytes that
    a message of it may have."""

    def __init__(
        self, cluster: Cluster, transactional_id: str, partitions: Mapping[str, int], limits: Mapping[str, int]
    ) -> None:
        self._cluster = cluster
        self._id = transactional_id
        self._partitions = partitions
        self._limits = limits
        self._producer: AIOKafkaProducer | None = None
        self._held: Held | None = None  # the last epoch that was ours
        self._discarded: set[asyncio.Task[None]] = set()

    @property
    def what(self) -> str:
        """Its name, for messages."""
        return f"{self._cluster.url}, transactional id {self._id}"

    async def begin(self) -> None:
        """Become the owner: fence the one before, and wait until its transaction has ended, one way or the other.

        Raises:  BrokerDown, WrongConfig when not allowed.
        """
        await self._start(None)

    async def resume(self) -> None:
        """Become the owner again after a step of unknown fate: what is open of it is aborted. Fences nobody else.

        Raises:  LeaseLost when another owner has begun; as `begin`.
        """
        if not await self._start(self._held):
            await self.begin()

    async def _start(self, held: Held | None) -> bool:
        """Start a producer with the epoch after the one held, or unconditionally. Return False when there is no such
        epoch to be had, though nobody has begun since.

        Raises:  LeaseLost when another owner has begun.
        """
        self.discard()
        producer = AIOKafkaProducer(
            transactional_id=self._id,
            transaction_timeout_ms=TRANSACTION_MS,
            compression_type="zstd",
            max_batch_size=min([BATCH_BYTES, *self._limits.values()]),
            max_request_size=max([BATCH_BYTES, *self._limits.values()]),
            **self._cluster.client,
        )
        sender = producer._sender  # pyright: ignore[reportPrivateUsage] - there is no public way
        sender._do_init_pid = EpochHandler(sender, held).do  # pyright: ignore[reportPrivateUsage]
        try:
            with translated(self.what):
                async with asyncio.timeout(BEGIN_S):
                    try:
                        await producer.start()
                    except (*FENCED, UnknownError):
                        if held is None or not await is_unclaimed(producer.client, self._id, held):
                            raise
                        self._throw_away(producer)
                        return False
        except BaseException:
            self._throw_away(producer)
            raise
        manager = sender._txn_manager  # pyright: ignore[reportPrivateUsage]
        self._held = Held(manager.producer_id, manager.producer_epoch)
        self._producer = producer
        return True

    async def write(self, messages: Sequence[Message], topics: Mapping[str, str], mark: Mark) -> None:
        """Write messages and a mark in one transaction; `topics` are the full names of the messages' topics.

        Raises:  LeaseLost when fenced; TooLarge; WrongConfig; BrokerDown when its fate is unknown. After any of them
                 `resume` or `begin` comes first.
        """
        producer = self._producer
        assert producer is not None
        self._producer = None  # until it is known to be well
        try:
            with translated(self.what):
                async with asyncio.timeout(WRITE_S):
                    await _transaction(producer, self._batches(producer, messages, topics), mark)
        except BaseException:
            self._throw_away(producer)
            raise
        self._producer = producer

    @property
    def well(self) -> bool:
        """Whether it can write as it is."""
        return self._producer is not None

    def _batches(
        self, producer: AIOKafkaProducer, messages: Sequence[Message], topics: Mapping[str, str]
    ) -> dict[TopicPartition, list[BatchBuilder]]:
        """Return the messages as record batches: a future for each record would cost more than all the rest."""
        found: dict[str, list[list[BatchBuilder]]] = {
            topic: [[] for _ in range(self._partitions[name])] for topic, name in topics.items()
        }
        for message in messages:
            key, head, of_topic = message.key.encode(), headers(message.cause), found[message.topic]
            batches = of_topic[partition_of(key, len(of_topic))]
            if batches and batches[-1].append(timestamp=None, key=key, value=message.value, headers=head) is not None:
                continue
            batches.append(producer.create_batch())
            batches[-1].append(timestamp=None, key=key, value=message.value, headers=head)  # the first always fits
        return {
            TopicPartition(topics[topic], partition): batches
            for topic, of_topic in found.items()
            for partition, batches in enumerate(of_topic)
            if batches
        }

    def discard(self) -> None:
        """Write no more."""
        if self._producer is not None:
            self._throw_away(self._producer)
            self._producer = None

    def _throw_away(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(_stopped(producer))
        self._discarded.add(task)
        task.add_done_callback(self._discarded.discard)

    async def close(self) -> None:
        """Write no more, and wait until nothing of it runs."""
        self.discard()
        if self._discarded:
            await asyncio.wait({*self._discarded})


async def _transaction(
    producer: AIOKafkaProducer, batches: Mapping[TopicPartition, Sequence[BatchBuilder]], mark: Mark
) -> None:
    at = {TopicPartition(mark.topic, mark.partition): OffsetAndMetadata(mark.offset, mark.metadata)}
    try:
        await producer.begin_transaction()
        async with asyncio.TaskGroup() as group:
            for tp, of_partition in batches.items():
                group.create_task(_delivered(producer, tp, of_partition))
            group.create_task(producer.send_offsets_to_transaction(at, mark.group))
        await producer.commit_transaction()
    except BaseExceptionGroup as group:
        raise _first(producer, group.exceptions) from None
    except (IllegalOperation, AssertionError) as err:
        raise _first(producer, [err]) from None


def _first(producer: AIOKafkaProducer, errors: Sequence[BaseException]) -> BaseException:
    """Return the error that came first. The first refusal makes others fail by having happened: what the broker said
    goes before what aiokafka says of its own state, and where only that was raised, its transaction knows the refusal.
    """
    ending = producer._sender._txn_manager.wait_for_transaction_end()  # pyright: ignore[reportPrivateUsage]
    refused = ending.exception() if ending is not None and ending.done() and not ending.cancelled() else None
    said = [err for err in (*errors, refused) if isinstance(err, KafkaError)]
    return said[0] if said else errors[0]


async def _delivered(producer: AIOKafkaProducer, tp: TopicPartition, batches: Sequence[BatchBuilder]) -> None:
    """Send the batches of a partition in their order, and wait until the broker has each of them."""
    sent = [await producer.send_batch(batch, tp.topic, partition=tp.partition) for batch in batches]
    for answer in asyncio.as_completed(sent):
        await answer


async def _stopped(producer: AIOKafkaProducer) -> None:
    """End a producer. What it could not deliver is of no interest: its transaction is aborted by the next owner."""
    with contextlib.suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(STOP_S):
            await producer.stop()
            return
    # It waits for batches that never expire. The sender's own end waits for requests under way: without connections
    # they fail, and what waits even then is cancelled by the second time.
    sender = producer._sender.sender_task  # pyright: ignore[reportPrivateUsage] - there is no public way
    for _ in range(2):
        if sender is not None and not sender.done():
            sender.cancel()
            await producer.client.close()
            await asyncio.wait({sender}, timeout=STOP_S)
    # Else `stop` itself, given up above, has a task left that waits for those batches.
    producer._message_accumulator.fail_all(KafkaConnectionError())  # pyright: ignore[reportPrivateUsage]
