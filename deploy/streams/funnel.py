"""The funnel: what came into each stage, what came out, what was turned down and why. Over the whole history of a
stream, from its topics alone; what was pruned is in the ledger."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.streams.offsets import Dense, Offsets, Read, fresh
from stream.bus import Bus
from stream.codec import decode
from stream.ledger import Ledger, ledger
from stream.records import DeadLetter, Rejected
from stream.topics import DEAD, REJECTS


@dataclass(frozen=True, slots=True)
class Leg:
    """One stage of a stream: its name is the topic it writes."""

    stage: str
    reads: str | None  # None for the sources


@dataclass(slots=True)
class Count:
    """What one stage has done. For the sources `done` is what they handed over, sent or rejected."""

    stage: str
    done: int = 0  # inputs finished
    lag: int = 0  # inputs that stand in the topic and are not finished
    out: int = 0  # records that the topic it writes was given
    rejected: Counter[str] = field(default_factory=Counter[str])  # by reason; parts of one input count each
    dead: int = 0


async def funnel(bus: Bus, legs: Sequence[Leg]) -> list[Count]:
    """Count what each leg has done. Reads `rejects` and `dead` whole; of the other topics the ends alone, where offsets
    count records."""
    return await Funnel(bus, legs).count()


class Funnel:
    """Counts again and again, and reads only what has come since."""

    def __init__(self, bus: Bus, legs: Sequence[Leg]) -> None:
        self._bus = bus
        self._legs = legs
        self._book: Ledger | None = None
        self._begin(Ledger())

    def _begin(self, book: Ledger) -> None:
        """Begin with what is gone from the topics."""
        self._offsets: Offsets = Dense(self._bus) if self._bus.dense else Read(self._bus)
        self._next = {topic.name: dict(book.deleted(topic.name)) for topic in (REJECTS, DEAD)}  # offsets to be read
        self._rejected = {leg.stage: Counter[str]() for leg in self._legs}
        self._dead = Counter[str]()
        for entry in book.entries.values():
            if entry.stage in self._rejected:
                self._rejected[entry.stage].update(dict(entry.gone.rejected))
                self._dead[entry.stage] += entry.gone.dead

    async def count(self) -> list[Count]:
        """Count what each leg has done until now."""
        while True:
            book = await ledger(self._bus)
            if book != self._book:  # what was read may be gone, and counted there
                self._begin(book)
                self._book = book
            counts = await self._count(book)
            if await ledger(self._bus) == book:
                return counts

    async def _count(self, book: Ledger) -> list[Count]:
        await self._turned_down()
        counts: list[Count] = []
        for leg in self._legs:
            count = Count(leg.stage, rejected=Counter(self._rejected[leg.stage]), dead=self._dead[leg.stage])
            if leg.reads is not None:
                # Progress before the input: what is appended in between shows as lag, never as less than nothing.
                progress = await self._bus.progress(leg.stage, leg.reads)
                await self._offsets.look(leg.reads, book)
                for partition, at in progress.items():
                    entry = book.of((leg.stage, leg.reads, partition))
                    passed = self._offsets.below(leg.reads, partition, at.watermark)
                    proven = self._offsets.below(leg.reads, partition, entry.below)
                    count.done += entry.inputs + passed - proven + len(at.done)
                    count.lag += self._offsets.all(leg.reads, partition) - passed - len(at.done)
            await self._offsets.look(leg.stage, book)
            count.out = self._offsets.given(leg.stage, book)
            if leg.reads is None:
                count.done = count.out + count.rejected.total()
            counts.append(count)
        return counts

    async def _turned_down(self) -> None:
        """Take in the rejects and dead letters that came since."""
        for topic in (REJECTS.name, DEAD.name):
            async for stored in fresh(self._bus, topic, self._next[topic]):
                if topic == DEAD.name:
                    self._dead[decode(stored.value, DeadLetter).stage] += 1
                else:
                    reject = decode(stored.value, Rejected)
                    self._rejected.setdefault(reject.stage, Counter())[reject.reason] += 1
