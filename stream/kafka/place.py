"""The namespace on its cluster: what all parts of the Kafka bus share."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from stream.bus import Message
from stream.errors import BrokerDown, WrongConfig
from stream.kafka.admin import Admin
from stream.kafka.cluster import Cluster
from stream.kafka.owner import Owner
from stream.kafka.wire import at_most_bytes, size_bytes
from stream.topics import full_name


@dataclass(slots=True)
class Place:
    """Names, partition counts and limits of the topics of one namespace, and of those it reads of another."""

    cluster: Cluster
    admin: Admin
    namespace: str
    session_s: float  # a member that is silent for so long is taken for dead
    partitions: dict[str, int] = field(default_factory=dict[str, int])  # by full name
    limits: dict[str, int] = field(default_factory=dict[str, int])  # bytes of a message, by full name
    least_limit: int = 0  # of these
    down: str | None = None  # why no broker answers, while none does

    def full(self, topic: str) -> str:
        """Return the broker's name of a topic."""
        return full_name(self.namespace, topic)

    def group(self, stage: str) -> str:
        """Return the consumer group of a stage."""
        return f"{self.namespace}.{stage}"

    async def count(self, topic: str) -> int:
        """Return the number of partitions of a topic as it is now: it may be given more at any time.

        Cost:    one request: not for each record.
        Raises:  WrongConfig when it is not there.
        """
        name = self.full(topic)
        # It never shrinks. A broker that says so has not heard yet what another one has told us.
        self.partitions[name] = max(await self.admin.partitions(name), self.partitions.get(name, 0))
        if not self.partitions[name]:
            del self.partitions[name]
            cure = f"seedstream topics create --bus {self.cluster.url} --namespace {name.partition('.')[0]}"
            raise WrongConfig(f"{self.cluster.url}: there is no topic {name}: {cure}")
        return self.partitions[name]

    async def load(self, names: Iterable[str]) -> None:
        """Take up the partitions and limits of the topics that are there."""
        wanted = set(names)
        prefixes = {name.partition(".")[0] + "." for name in wanted}
        for prefix in prefixes:
            found = await self.admin.topics(prefix)
            self.partitions |= {name: found[name].partitions for name in found}
        await self.load_limits(wanted & self.partitions.keys())

    async def load_limits(self, names: Collection[str]) -> None:
        """Take up what the topics take now: the limits may have been changed."""
        for name, configs in (await self.admin.configs(names)).items():
            self.limits[name] = int(configs["max.message.bytes"])
        self.least_limit = min(self.limits.values(), default=0)

    def refusal(self, message: Message) -> str | None:
        """See `Lease.refusal`."""
        at_most = at_most_bytes(message)
        if at_most <= self.least_limit:
            return None
        name = full_name(self.namespace, message.topic)
        limit = self.limits.get(name)
        if limit is None or at_most <= limit or (size := size_bytes(message)) <= limit:
            return None
        return f"a message of {size:,} bytes for topic {name}, which takes {limit:,} (max.message.bytes)"

    async def names(self, messages: Iterable[Message]) -> Mapping[str, str]:
        """Return the full names of the topics of messages, whose partitions and limits are known from here on."""
        topics = {topic: self.full(topic) for topic in {message.topic for message in messages}}
        for topic, name in topics.items():
            if "/" in topic:
                raise WrongConfig(f"topic {topic} is another namespace's: it is only read")
            if name not in self.partitions:
                await self.count(topic)
            if name not in self.limits:
                await self.load_limits([name])
        return topics

    def owner(self, *name: str) -> Owner:
        """Return an owner under a transactional id of the namespace."""
        return Owner(self.cluster, ".".join([self.namespace, *name]).replace("/", "."), self.partitions, self.limits)

    def raise_if_down(self) -> None:
        """Raises:  BrokerDown while no broker answers."""
        if self.down is not None:
            raise BrokerDown(self.down)
