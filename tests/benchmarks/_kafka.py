"""What the benchmarks on Kafka share: a broker of their own, and inputs on it."""

import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local_kafka import LocalKafka
from stream.bus import Message
from stream.codec import encode
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.topics import TOPICS
from tests.benchmarks.bus_rate import a_seed
from tests.brokers import kept


@dataclass(frozen=True, slots=True)
class Inputs:
    """`records` records of `record_bytes` bytes on average, in topic `functions` of a namespace."""

    address: str  # host:port
    namespace: str
    partitions: int
    records: int
    record_bytes: float

    @property
    def topic(self) -> str:
        """Its full name."""
        return f"{self.namespace}.functions"

    def bus(self, namespace: str) -> contextlib.AbstractAsyncContextManager[Kafka]:
        """Another namespace of the same broker."""
        return Kafka.open(f"kafka://{self.address}", namespace, config=KafkaConfig(partitions=self.partitions))


@contextlib.asynccontextmanager
async def broker(address: str | None) -> AsyncIterator[str]:
    """The broker at `address`, or one of our own while inside."""
    if address is not None:
        yield address
        return
    with tempfile.TemporaryDirectory() as folder, kept(Path(folder) / "brokers"):
        kafka = LocalKafka(Path(folder) / "brokers" / "own", nodes=1)
        kafka.start()
        try:
            yield kafka.bootstrap
        finally:
            kafka.kill()


def new_namespace(what: str) -> str:
    return f"{what}-{secrets.token_hex(4)}"


async def filled(address: str, records: int, partitions: int) -> Inputs:
    """Append records, spread over the partitions by their keys."""
    inputs = Inputs(address, new_namespace("in"), partitions, records, 0)
    size = 0
    async with inputs.bus(inputs.namespace) as bus:
        await bus.create([TOPICS["functions"]])
        async with bus.appender("functions") as appender:
            for first in range(0, records, 2_000):
                seeds = [a_seed(k) for k in range(first, min(first + 2_000, records))]
                messages = [Message("functions", seed.key, encode(seed)) for seed in seeds]
                size += sum(len(message.value) for message in messages)
                await appender.append(messages)
    return Inputs(address, inputs.namespace, partitions, records, size / records)
