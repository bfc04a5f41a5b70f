"""Creating what a namespace needs: topics, and the progress of every group. And what is wrong with what stands."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence

from aiokafka.structs import TopicPartition

from stream.errors import BrokerDown, LeaseLost, WrongConfig
from stream.kafka.admin import Described
from stream.kafka.beginning import begin, has_outcomes
from stream.kafka.layout import YEAR_MINUTES, configs, wrong_configs
from stream.kafka.lease import decoded, lost
from stream.kafka.place import Place
from stream.kafka.security import KafkaConfig
from stream.retry import backoff_s
from stream.topics import Topic

SEEN_S = 10.0
"""How long a new topic may take to be known by the brokers."""

BEGUN_S = 30.0
"""How long several who create the same topics may take a partition from each other before one has begun it."""

BROKERS_OWN = ("__consumer_offsets", "__transaction_state")


class Founding:
    """`Bus.create` and `Bus.differences` on Kafka."""

    def __init__(self, place: Place, config: KafkaConfig) -> None:
        self._place = place
        self._config = config

    async def create(self, topics: Sequence[Topic], readers: Mapping[str, str]) -> None:
        """See `Bus.create`."""
        place = self._place
        standing = await place.admin.topics(place.full(""))
        missing = [topic for topic in topics if place.full(topic.name) not in standing]
        made: set[str] = set()  # by us: nobody else can have a progress on them
        if missing:
            replication = await self._replication()

            async def create_one(topic: Topic) -> None:
                described = Described(topic.partitions or self._config.partitions, replication)
                if await place.admin.create(place.full(topic.name), described, configs(topic, replication)):
                    made.add(topic.name)

            await asyncio.gather(*(create_one(topic) for topic in missing))
        await self._seen([place.full(topic.name) for topic in topics])
        for topic in topics:
            found = place.partitions[place.full(topic.name)]
            if topic.partitions is not None and found != topic.partitions:
                raise WrongConfig(f"topic {place.full(topic.name)} has {found} partitions, {topic.partitions} expected")
        await asyncio.gather(*(self._begin(stage, topic, topic in made) for stage, topic in readers.items()))

    async def _replication(self) -> int:
        return self._config.replication or min(3, len(await self._place.admin.brokers()))

    async def _seen(self, names: Sequence[str]) -> None:
        """Wait until the brokers know the topics."""
        end_s = time.monotonic() + SEEN_S
        while True:
            await self._place.load(names)
            unseen = [name for name in names if name not in self._place.limits]
            if not unseen:
                return
            if time.monotonic() > end_s:
                raise BrokerDown(f"{self._place.cluster.url}: topic {unseen[0]} was created, but no broker knows it")
            await asyncio.sleep(0.1)

    # --- progress

    async def _begin(self, stage: str, topic: str, new: bool) -> None:
        """Give a stage its first progress: before any record that is there.

        Raises:  ProgressLost when it must have had one: what was done would be done again.
        """
        place, name = self._place, self._place.full(topic)
        group = place.group(stage)
        count = await place.count(topic)
        found = await place.admin.committed(group, name, range(count))
        without = [partition for partition, at in found.items() if at is None]
        if not without:
            return
        if not new and await has_outcomes(place, stage, topic, without):
            raise lost(place, group, f"{name}{without}")
        await asyncio.gather(*(self._begin_one(stage, topic, partition) for partition in without))

    async def _begin_one(self, stage: str, topic: str, partition: int) -> None:
        """As its owner: so a worker that began in the meantime is not set back. Whoever loses the partition to another
        looks again whether that one has begun it.

        Raises:  LeaseLost when that is so for BEGUN_S; BrokerDown.
        """
        place = self._place
        end_s, failures = time.monotonic() + BEGUN_S, 0
        while True:
            owner = place.owner(stage, topic, str(partition))
            try:
                await owner.begin()
                if await self._is_without(stage, topic, partition):
                    await begin(place, owner, stage, topic, partition)
                return
            except LeaseLost:
                failures += 1
                if time.monotonic() > end_s:
                    raise
            finally:
                await owner.close()
            await asyncio.sleep(backoff_s(failures, 0.05, 1.0, random.random()))
            if not await self._is_without(stage, topic, partition):
                return  # without beginning, which would take it from its owner

    async def _is_without(self, stage: str, topic: str, partition: int) -> bool:
        """Tell whether a stage has no progress on a partition."""
        place = self._place
        found = await place.admin.committed(place.group(stage), place.full(topic), [partition])
        return found[partition] is None

    # --- differences

    async def differences(self, topics: Sequence[Topic], readers: Mapping[str, str]) -> list[str]:
        """See `Bus.differences`."""
        place = self._place
        standing = await place.admin.topics(place.full(""))
        names = {place.full(topic.name): topic for topic in topics}
        found = await place.admin.configs([name for name in names if name in standing])
        copies = await self._replication()
        lines: list[str] = []
        for name, topic in names.items():
            at = standing.get(name)
            if at is None:
                lines.append(f"topic {name} is missing: seedstream topics create makes it")
                continue
            if topic.partitions is not None and at.partitions != topic.partitions:
                lines.append(
                    f"topic {name} has {at.partitions} partitions, {topic.partitions} expected: its order is "
                    "the log's. A topic cannot shrink: run in a new namespace"
                )
            if at.replication < copies:
                lines.append(_copies_line(name, at.replication, copies))
            for wrong in wrong_configs(topic, found[name], copies):
                setting, _, rest = wrong.partition(" ")
                expected = configs(topic, copies)[setting]
                alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {name}"
                lines.append(f"topic {name}: {setting} {rest}; mend it: {alter} --add-config {setting}={expected}")
        for stage, topic in readers.items():
            lines += await self._progress_lines(stage, topic)
        return lines + await self._broker_copies_lines(min(3, copies)) + await self._broker_lines()

    async def _progress_lines(self, stage: str, topic: str) -> list[str]:
        place, name, group = self._place, self._place.full(topic), self._place.group(stage)
        try:
            count = await place.count(topic)
        except WrongConfig:
            return []  # the topic itself is named as missing
        found = await place.admin.committed(group, name, range(count))
        without = [partition for partition, at in found.items() if at is None]
        lines = [str(lost(place, group, f"{name}{without}"))] if without else []
        for partition, at in found.items():
            try:
                if at is not None:
                    decoded(place, group, TopicPartition(name, partition), at)
            except WrongConfig as err:
                lines.append(str(err))
        return lines

    async def _broker_copies_lines(self, copies: int) -> list[str]:
        """Progress and transactions are no safer than the topics in which the brokers keep them."""
        standing = await self._place.admin.topics("__")
        own = [(name, standing[name].replication) for name in BROKERS_OWN if name in standing]
        return [_copies_line(name, found, copies) for name, found in own if found < copies]

    async def _broker_lines(self) -> list[str]:
        """What is wrong with the brokers' own config, where it may be read."""
        found = (await self._place.admin.broker_config()).get("offsets.retention.minutes")
        if found is None or int(found) >= YEAR_MINUTES:
            return []
        return [
            f"brokers: offsets.retention.minutes is {found}, {YEAR_MINUTES} (a year) expected: the progress of a stage "
            "is dropped so long after its last worker has left"
        ]


def _copies_line(name: str, found: int, expected: int) -> str:
    return (
        f"topic {name} has {found} {'copy' if found == 1 else 'copies'}, {expected} expected: records are lost with "
        "the brokers that hold them; mend it: kafka-reassign-partitions.sh, and only then raise min.insync.replicas "
        "(fewer are well where replication in [kafka] says so)"
    )
