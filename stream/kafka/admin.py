"""What is asked of a cluster beside records: topics, their configs and ends, the progress of groups."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import aiokafka.errors as kafka
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream.errors import BrokerDown, WrongConfig
from stream.kafka.cluster import Cluster
from stream.kafka.errors import ACLS, CREATE, translated, translation
from stream.kafka.stable_offsets import StableOffsets, committed

T = TypeVar("T")

PATIENCE_S = 10.0
"""One question, with all its tries: one of several brokers may be away, and a coordinator may be moving."""

PENDING_S = 30.0
"""The same where a transaction may be under way: that of a dead owner lasts for `owner.TRANSACTION_MS`, 15 s, and until
its coordinator looks, every 10 s (transaction.abort.timed.out.transaction.cleanup.interval.ms)."""

PAUSE_S = 0.05

NO_SUCH = (kafka.UnknownTopicOrPartitionError, kafka.InvalidTopicError)


class Described(NamedTuple):
    """A topic as it stands."""

    partitions: int
    replication: int  # copies of the partition that has the fewest


class Admin:
    """Questions to `cluster`. Each raises BrokerDown when no broker has answered it, WrongConfig when not allowed."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client = AIOKafkaAdminClient(**cluster.client)
        # What the end of a partition is depends on who asks: the high watermark is behind every open transaction, the
        # last stable offset before the first.
        self._high = AIOKafkaConsumer(isolation_level="read_uncommitted", enable_auto_commit=False, **cluster.client)
        self._stable = AIOKafkaConsumer(isolation_level="read_committed", enable_auto_commit=False, **cluster.client)

    async def start(self) -> None:
        """Connect."""
        with translated(self._cluster.url):
            await self._client.start()
            await self._high.start()
            await self._stable.start()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()
        await self._high.stop()
        await self._stable.stop()

    async def _ask(self, question: Callable[[], Awaitable[T]], patience_s: float = PATIENCE_S) -> T:
        """Ask until it is answered."""
        end_s = time.monotonic() + patience_s
        while True:
            try:
                with translated(self._cluster.url):
                    async with asyncio.timeout(patience_s):
                        return await question()
            except BrokerDown:
                if time.monotonic() + PAUSE_S > end_s:
                    raise
                await asyncio.sleep(PAUSE_S)

    # --- topics

    async def topics(self, prefix: str) -> dict[str, Described]:
        """Return the topics whose name begins so, by name."""
        found = await self._ask(lambda: self._client.describe_topics(None))
        return {
            topic["topic"]: Described(
                len(topic["partitions"]), min(len(partition["replicas"]) for partition in topic["partitions"])
            )
            for topic in found
            if topic["topic"].startswith(prefix) and topic["partitions"]
        }

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has now; 0 where it is not there."""
        # Of this topic alone: a cluster may have thousands. Unless told not to, a broker may make what it is asked for.
        request = MetadataRequest([topic], allow_auto_topic_creation=False)

        async def question() -> int:
            answer: Any = await self._client._send_request(request)  # pyright: ignore[reportPrivateUsage]
            [(code, *_, partitions)] = answer.topics
            if code and kafka.for_code(code) not in NO_SUCH:
                raise kafka.for_code(code)(topic)
            return len(partitions)

        return await self._ask(question)

    async def brokers(self, patience_s: float = PATIENCE_S) -> list[int]:
        """Return the ids of the brokers."""
        cluster = await self._ask(self._client.describe_cluster, patience_s)
        return sorted(broker["node_id"] for broker in cluster["brokers"])

    async def create(self, name: str, described: Described, configs: Mapping[str, str]) -> bool:
        """Create a topic; return False when it is there already.

        Raises:  also WrongConfig when the cluster refuses it.
        """
        new = NewTopic(name, described.partitions, described.replication, topic_configs=configs)
        answer = await self._ask(lambda: self._client.create_topics([new]))
        code, said = answer.topic_errors[0][1], " ".join(str(part) for part in answer.topic_errors[0][2:] if part)
        error = kafka.for_code(code)
        if not code or error is kafka.TopicAlreadyExistsError:
            return not code
        if error is kafka.TopicAuthorizationFailedError:
            raise WrongConfig(f"topic {name} cannot be created: this user needs {CREATE}")
        refused = translation(error(), f"topic {name} cannot be created")
        if isinstance(refused, BrokerDown) and not error.retriable:
            raise WrongConfig(f"topic {name} cannot be created: {error.__name__} {said}")
        raise refused

    async def check_visible(self, topic: str) -> None:
        """Ask whether the user may see a topic of this name, be it there or not: a listing leaves out without a word
        what he may not.

        Raises:  WrongConfig when not.
        """
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        for answer in await self._ask(lambda: self._client.describe_configs([resource])):
            for code, *_ in answer.resources:
                if (error := kafka.for_code(code)) in ACLS:
                    raise translation(error(), f"topic {topic} cannot be seen")

    async def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the configs of topics, by topic."""
        return await self._describe(ConfigResourceType.TOPIC, topics)

    async def broker_config(self) -> dict[str, str]:
        """Return the configs of one of the brokers; none where that is not allowed."""
        broker = str((await self.brokers())[0])
        try:
            return (await self._describe(ConfigResourceType.BROKER, [broker]))[broker]
        except WrongConfig:
            return {}

    async def _describe(self, kind: ConfigResourceType, names: Collection[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(kind, name) for name in names]

        async def question() -> dict[str, dict[str, str]]:
            found: dict[str, dict[str, str]] = {}
            for answer in await self._client.describe_configs(resources):
                for code, _, _, name, entries, *_ in answer.resources:
                    if code:  # also of a topic just made, which the broker that was asked does not know yet
                        raise translation(kafka.for_code(code)(name), f"the configs of {name} cannot be read")
                    found[name] = {entry[0]: entry[1] for entry in entries}
            return found

        return await self._ask(question)

    # --- offsets

    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the high watermark of each partition."""
        return await self._bounds(self._high, self._high.end_offsets, topic, partitions)

    async def stable_ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the last stable offset of each partition: as far as committed records are to be had."""
        return await self._bounds(self._stable, self._stable.end_offsets, topic, partitions)

    async def starts(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first offset that is still there, of each partition."""
        return await self._bounds(self._high, self._high.beginning_offsets, topic, partitions)

    async def _bounds(
        self, consumer: AIOKafkaConsumer, ask: Any, topic: str, partitions: Iterable[int]
    ) -> dict[int, int]:
        wanted = [TopicPartition(topic, partition) for partition in partitions]

        found = await self._ask(lambda: self._asked(consumer, ask, wanted))
        return {tp.partition: found[tp] for tp in wanted}

    async def _asked(
        self, consumer: AIOKafkaConsumer, ask: Any, wanted: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        for topic in {tp.topic for tp in wanted}:
            # Of a topic that it does not know, aiokafka asks a tenth of a second later.
            await consumer._client.add_topic(topic)  # pyright: ignore[reportPrivateUsage]
        return await ask(wanted)

    async def held_back(self, prefixes: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the last stable offset of each partition in which a transaction is open, of the topics whose name
        begins with one of the prefixes."""
        topics = [topic for prefix in prefixes for topic in (await self.topics(prefix)).items()]
        wanted = [TopicPartition(name, number) for name, topic in topics for number in range(topic.partitions)]
        stable = await self._ask(lambda: self._asked(self._stable, self._stable.end_offsets, wanted))
        high = await self._ask(lambda: self._asked(self._high, self._high.end_offsets, wanted))
        return {tp: stable[tp] for tp in wanted if stable[tp] < high[tp]}

    async def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, OffsetAndMetadata | None]:
        """Return what a group has committed on each of the partitions; None where it has nothing. What a transaction
        is about to commit is waited for."""
        found = await self.committed_at(group, [TopicPartition(topic, partition) for partition in partitions])
        return {tp.partition: at for tp, at in found.items()}

    async def committed_at(
        self, group: str, wanted: Sequence[TopicPartition], *, stable: bool = True
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """As `committed`, of several topics; with `stable` not set, what is committed by now."""

        async def question() -> dict[TopicPartition, OffsetAndMetadata]:
            coordinator = await self._client.find_coordinator(group)
            request = StableOffsets(group, wanted, stable=stable)
            answer = await self._client._send_request(request, coordinator)  # pyright: ignore[reportPrivateUsage]
            return committed(answer)

        found = await self._ask(question, PENDING_S if stable else PATIENCE_S)
        return {tp: found[tp] if found[tp].offset >= 0 else None for tp in wanted}

    # --- transactions

    async def leaders(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the node that leads each of the partitions that have a leader."""
        found = await self._ask(lambda: self._client.describe_topics(None))
        led = {
            TopicPartition(topic["topic"], partition["partition"]): partition["leader"]
            for topic in found
            for partition in topic["partitions"]
        }
        return {tp: led[tp] for tp in partitions if led.get(tp, -1) >= 0}

    async def ask_about(self, request: Any, node: int, read: Callable[[Any], T]) -> T:
        """Return the answer of a node as `read` reads it, which raises the errors in it."""

        async def question() -> T:
            return read(await self._client._send_request(request, node))  # pyright: ignore[reportPrivateUsage]

        return await self._ask(question)

    # --- groups

    async def members(self, groups: Collection[str]) -> dict[str, list[list[int]]]:
        """Return, by group, the partitions that each member has; of what is joining none are known yet."""
        return dict(zip(groups, await asyncio.gather(*map(self._members, groups)), strict=True))

    async def _members(self, group: str) -> list[list[int]]:
        async def question() -> list[list[int]]:
            # One group at a time: aiokafka 0.14 reads answers of several as of an older version, and all but the first
            # wrong.
            [answer] = await self._client.describe_consumer_groups([group])
            code, _, _, _, _, members, *_ = answer.groups[0]
            if code:
                raise kafka.for_code(code)(group)
            return [_partitions(assignment) for *_, assignment in members]

        return await self._ask(question)

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Delete the records below the offsets, for good."""
        wanted = {TopicPartition(topic, p): RecordsToDelete(offset) for p, offset in offsets.items()}
        await self._ask(lambda: self._client.delete_records(wanted))


def _partitions(assignment: bytes) -> list[int]:
    """Return the partitions in what a group's leader has assigned to a member; nothing was, while it joins."""
    if not assignment:
        return []
    return sorted(tp.partition for tp in ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions())
