"""Every bus that the contract holds for. Another implementation joins by a kind of its own in these three places."""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from stream.bus import Bus
from stream.embedded import Embedded
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from tests.stream_fakes import Disk, MemoryBus

KINDS = ("embedded-1", "embedded-3", "memory-1", "memory-3", "kafka-3")
"""Name and number of partitions (n of the topics table)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a bus is: plain data, so that another process can be told."""

    name: str
    partitions: int
    place: str  # a directory, or the brokers
    prefix: str = ""  # of every namespace, where the place is shared with other tests

    @staticmethod
    def of(kind: str, place: Path, brokers: Callable[[], str]) -> "Address":
        name, partitions = kind.split("-")
        if name == "kafka":
            return Address(name, int(partitions), brokers(), f"t{secrets.token_hex(4)}-")
        return Address(name, int(partitions), str(place))

    @property
    def between_processes(self) -> bool:
        """Whether another process can open it."""
        return self.name != "memory"

    def json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Address":
        return Address(**json.loads(text))

    def open(
        self, namespace: str = "main", *, create: bool = True, disk: Disk | None = None
    ) -> AbstractAsyncContextManager[Bus]:
        """Open the bus; `disk` stands for the machine's in those that live in memory."""
        if self.name == "memory":
            assert disk is not None
            return contextlib.aclosing(MemoryBusClosing(disk, namespace, self.partitions))
        if self.name == "kafka":
            # A test must not wait 10 s for the death of a member to be noticed.
            config = KafkaConfig(partitions=self.partitions, session_s=2.0)
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
        self._disk = Disk()
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

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Harness"]:
        async with self._opened:
            yield self
