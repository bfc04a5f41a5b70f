"""Every bus that the contract holds for. Another implementation joins by a kind of its own in KINDS, `Address.open`,
`Harness.crash` and `Harness.limit`, and by saying whether it is shared."""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from stream.bus import Bus
from stream.embedded import Embedded
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from tests.stream_fakes import Disk, MemoryBus
from tests.topic_configs import set_topic

KINDS = ("embedded-1", "embedded-3", "memory-1", "memory-3", "shared-1", "shared-3", "kafka-3")
"""Name and number of partitions (n of the topics table). `shared` is the bus in memory as a broker would be one."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bus is: plain data, so that another process can be told."""

    name: str
    partitions: int
    place: str  # a directory, or the brokers
    prefix: str = ""  # of every namespace, where the place is shared with other tests
    session_s: float = 6.0  # of a group's members: what a busy machine does not exceed

    @staticmethod
    def of(kind: str, place: Path, brokers: Callable[[], str]) -> "Address":
        name, partitions = kind.split("-")
        if name == "kafka":
            return Address(name, int(partitions), brokers(), f"t{secrets.token_hex(4)}-")
        return Address(name, int(partitions), str(place))

    @property
    def between_processes(self) -> bool:
        """Whether another process can open it."""
        return self.name in {"embedded", "kafka"}

    def json(self) -> str:
        """As it is told to a process that is to be killed: its death is noticed sooner."""
        return json.dumps({**asdict(self), "session_s": 2.0})

    @staticmethod
    def from_json(text: str) -> "Address":
        return Address(**json.loads(text))

    def open(
        self, namespace: str = "main", *, create: bool = True, disk: Disk | None = None
    ) -> AbstractAsyncContextManager[Bus]:
        """Open the bus; `disk` stands for the machine's in those that live in memory."""
        if self.name in {"memory", "shared"}:
            assert disk is not None
            return contextlib.aclosing(MemoryBusClosing(disk, namespace, self.partitions))
        if self.name == "kafka":
            config = KafkaConfig(partitions=self.partitions, session_s=self.session_s)
            return Kafka.open(self.place, namespace and self.prefix + namespace, config=config)
        return Embedded.open(Path(self.place), namespace, partitions=self.partitions, create=create)


class MemoryBusClosing(MemoryBus):
    """As `contextlib.aclosing` wants it."""

    async def aclose(self) -> None:
        await self.close()


class Harness:
    """Opens buses at one address, and lets them die."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.partitions = address.partitions
        self.shared = address.name in {"shared", "kafka"}
        self._disk = Disk(self.shared)
        self._patched = pytest.MonkeyPatch()
        self._opened = contextlib.AsyncExitStack()

    async def open(self, namespace: str = "main") -> Bus:
        """Open a bus; it is closed when the test ends, unless closed before."""
        return await self._opened.enter_async_context(self.address.open(namespace, disk=self._disk))

    def crash(self, bus: Bus) -> None:
        """What the end of its process would do: everything it owned is free, nothing is finished or closed."""
        if isinstance(bus, Embedded):
            for lock in bus._locks:
                lock.release()
        elif isinstance(bus, MemoryBus):
            bus.crash()
        elif isinstance(bus, Kafka):
            pass  # a member cannot die without its process: tests that kill one are beside these
        else:
            raise NotImplementedError(type(bus))

    async def limit(self, bus: Bus, topic: str, limit_bytes: int) -> None:
        """Let a topic take no larger records from now on, whether the bus has heard of it or not."""
        if isinstance(bus, Embedded):
            self._patched.setattr("stream.embedded.lease.MAX_RECORD_BYTES", limit_bytes)
        elif isinstance(bus, MemoryBus):
            bus.limit(topic, limit_bytes, known=False)
        elif isinstance(bus, Kafka):
            brokers = self.address.place.removeprefix("kafka://")
            await set_topic(brokers, f"{bus.namespace}.{topic}", {"max.message.bytes": str(limit_bytes)})
        else:
            raise NotImplementedError(type(bus))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Harness"]:
        try:
            async with self._opened:
                yield self
        finally:
            self._patched.undo()
