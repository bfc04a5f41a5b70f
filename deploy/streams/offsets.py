"""How many records stand below an offset: told by the offsets where a bus is dense, and else counted by reading."""

from array import array
from bisect import bisect_left
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

from stream.bus import Bus, Stored
from stream.ledger import Ledger


async def fresh(bus: Bus, topic: str, begin: dict[int, int]) -> AsyncGenerator[Stored]:
    """Yield the records from `begin` on, and bring it up to where the next look begins: behind what stands there now,
    also where that is no record."""
    ends = await bus.ends(topic)
    async for batch in bus.read(topic, dict(begin)):
        for stored in batch:
            yield stored
            begin[stored.partition] = stored.offset + 1
    for partition, end in ends.items():
        begin[partition] = max(end, begin.get(partition, 0))


class Offsets(Protocol):
    """Of topics that were looked at before."""

    async def look(self, topic: str, book: Ledger) -> None:
        """Bring a topic up to now."""
        ...

    def below(self, topic: str, partition: int, offset: int) -> int:
        """Return how many records below an offset there are, or were: only differences of it mean something, and only
        above what was deleted."""
        ...

    def all(self, topic: str, partition: int) -> int:
        """As `below`, of the end."""
        ...

    def given(self, topic: str, book: Ledger) -> int:
        """Return how many records a topic of this namespace was ever given."""
        ...


class Dense:
    """On a bus whose offsets count records."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._starts: dict[str, Mapping[int, int]] = {}
        self._ends: dict[str, Mapping[int, int]] = {}

    async def look(self, topic: str, book: Ledger) -> None:
        self._starts[topic] = await self._bus.starts(topic)
        self._ends[topic] = await self._bus.ends(topic)

    def below(self, topic: str, partition: int, offset: int) -> int:
        return max(offset, self._starts[topic][partition])

    def all(self, topic: str, partition: int) -> int:
        return self._ends[topic][partition]

    def given(self, topic: str, book: Ledger) -> int:
        return sum(self._ends[topic].values())


class Read:
    """On a bus whose offsets have gaps: each topic is read once, and 8 bytes are kept of a record."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._found: dict[str, dict[int, array[int]]] = {}
        self._next: dict[str, dict[int, int]] = {}  # what is to be read first

    async def look(self, topic: str, book: Ledger) -> None:
        found, begin = self._found.setdefault(topic, {}), self._next.setdefault(topic, dict(book.deleted(topic)))
        async for stored in fresh(self._bus, topic, begin):
            found.setdefault(stored.partition, array("q")).append(stored.offset)

    def below(self, topic: str, partition: int, offset: int) -> int:
        return bisect_left(self._found[topic].get(partition, ()), offset)

    def all(self, topic: str, partition: int) -> int:
        return len(self._found[topic].get(partition, ()))

    def given(self, topic: str, book: Ledger) -> int:
        gone = sum(entry.inputs for (stage, name, _), entry in book.entries.items() if not stage and name == topic)
        return gone + sum(map(len, self._found[topic].values()))
