"""The bus on Apache Kafka, with transactions (KIP-98): `stream.bus` says what it promises.

Each input partition of a stage has one transactional producer. A step is one transaction: outputs, rejects, dead
letters, state changes and the progress of the stage's consumer group, whose offset is the watermark and whose metadata
is the bitmap of what is finished above it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from types import MappingProxyType

from aiokafka.structs import TopicPartition

from stream.bus import Appender, Gone, Lease, Stored
from stream.errors import BrokerDown, Fatal, WrongConfig
from stream.kafka import reader
from stream.kafka.admin import Admin
from stream.kafka.appender import KafkaAppender
from stream.kafka.cluster import Cluster
from stream.kafka.founding import Founding
from stream.kafka.group import Group
from stream.kafka.hanging import HangingTransactions
from stream.kafka.lease import decoded, lost
from stream.kafka.place import Place
from stream.kafka.quiet import quiet
from stream.kafka.security import KafkaConfig
from stream.progress import Progress
from stream.tasks import cancelled
from stream.topics import RECIPE, Topic, checked_namespace, is_ours

HEALTH_S = 2.0
"""How often it is asked whether a broker is there, and how long an answer may take."""

NOBODY: Mapping[str, str] = MappingProxyType({})


class Kafka:
    """`stream.bus.Bus` on a cluster. Make it with `Kafka.open`."""

    def __init__(self, place: Place, config: KafkaConfig) -> None:
        self.namespace = place.namespace
        self.dense = False  # control records of transactions take offsets too
        self._place = place
        self._founding = Founding(place, config)
        self._appenders: set[KafkaAppender] = set()
        self._groups: set[Group] = set()
        self._closed = False

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(
        address: str, namespace: str = "main", *, config: KafkaConfig | None = None
    ) -> AsyncGenerator["Kafka"]:
        """Open the namespace on the cluster at `kafka://host:port[,host:port…]`.

        Raises:  WrongConfig for a wrong address or login; DependencyDown when nothing answers there.
        """
        config = config or KafkaConfig()
        cluster = Cluster.of(address, config)
        checked_namespace(namespace)
        quiet()
        await cluster.answers()
        admin = Admin(cluster)
        place = Place(cluster, admin, namespace, config.session_s)
        bus = Kafka(place, config)
        watches = [bus._watch_health(), HangingTransactions(admin, place.full("")).watch()]
        watching = [asyncio.create_task(watch) for watch in watches]
        try:
            await admin.start()
            await place.load([place.full(RECIPE.name)])
            if place.full(RECIPE.name) not in place.partitions:
                await admin.check_visible(place.full(RECIPE.name))
            yield bus
        finally:
            await cancelled(*watching)
            await bus.close()
            await admin.close()

    async def _watch_health(self) -> None:
        """Keep `down` up to date: aiokafka's consumer is silent while no broker answers."""
        while True:
            await asyncio.sleep(HEALTH_S)
            try:
                await self._place.admin.brokers(2 * HEALTH_S)
                self._place.down = None
            except BrokerDown as err:
                self._place.down = f"no broker answers ({err})"
            except WrongConfig as err:
                self._place.down = str(err)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for owned in (*self._appenders, *self._groups):
            await owned.close()

    # --- topics

    async def create(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOBODY) -> None:
        await self._founding.create(topics, readers)

    async def topics(self) -> Mapping[str, int]:
        prefix = self._place.full("")
        found = await self._place.admin.topics(prefix)
        named = {name.removeprefix(prefix): topic.partitions for name, topic in found.items()}
        return {name: partitions for name, partitions in named.items() if is_ours(name)}

    async def namespaces(self) -> Collection[str]:
        suffix = f".{RECIPE.name}"
        return sorted(name.removesuffix(suffix) for name in await self._place.admin.topics("") if name.endswith(suffix))

    async def differences(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOBODY) -> list[str]:
        return await self._founding.differences(topics, readers)

    # --- owners

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        if self._closed:
            raise Fatal(f"{self._place.cluster.url} was closed")
        group = Group(self._place, stage, topic)
        self._groups.add(group)
        try:
            async for change in group.changes():
                yield change
        finally:
            self._groups.discard(group)
            await group.close()

    @contextlib.asynccontextmanager
    async def appender(self, name: str) -> AsyncGenerator[Appender]:
        owner = self._place.owner("appender", name)
        appender = KafkaAppender(self._place, name, owner)
        self._appenders.add(appender)
        try:
            await appender.begin()
            yield appender
        finally:
            self._appenders.discard(appender)
            await appender.close()

    # --- reading

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        count, name, group = await self._place.count(topic), self._place.full(topic), self._place.group(stage)
        committed = await self._place.admin.committed(group, name, range(count))
        without = [partition for partition, at in committed.items() if at is None]
        if len(without) == count:
            raise lost(self._place, group, f"{name}{without}")
        # Partitions that were added, and that no worker has had yet, begin where their records do.
        starts = await self._place.admin.starts(name, without) if without else {}
        found = {partition: Progress(start) for partition, start in starts.items()}
        for partition, at in committed.items():
            if at is not None:
                found[partition] = decoded(self._place, group, TopicPartition(name, partition), at)
        return found

    async def workers(self, stages: Collection[str]) -> Mapping[str, Sequence[Collection[int]]]:
        groups = {stage: self._place.group(stage) for stage in stages}
        found = await self._place.admin.members(groups.values())
        return {stage: found[group] for stage, group in groups.items()}

    async def ends(self, topic: str) -> Mapping[int, int]:
        return await self._place.admin.ends(self._place.full(topic), range(await self._place.count(topic)))

    async def starts(self, topic: str) -> Mapping[int, int]:
        return await self._place.admin.starts(self._place.full(topic), range(await self._place.count(topic)))

    def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Sequence[Stored]]:
        return reader.read(self._place, topic, start)

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        if "/" in topic:
            raise WrongConfig(f"topic {topic} is another namespace's: it is only read")
        await self._place.count(topic)
        await self._place.admin.delete_before(self._place.full(topic), offsets)
