"""The ledger of what was pruned: topic `audit`, the newest record of each key.

Two kinds of entry stand in it. One says of the inputs of a stage, up to an offset, that they were proven to have all of
their outcomes, how many these were, and how many of these were deleted since: what stands and what is gone must make up
the whole, for ever. The other says how far a topic was deleted. It is written before the records are deleted, so what
stands below counts as deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stream.bus import Bus
from stream.codec import decode
from stream.records import Audited, Counts
from stream.topics import AUDIT

Origin = tuple[str, str, int]  # stage, the topic that it reads (or the source's name), partition


@dataclass(frozen=True, slots=True)
class Ledger:
    """Entries by whose they are. An entry of stage "" says how far a topic was deleted."""

    entries: Mapping[Origin, Audited] = field(default_factory=dict[Origin, Audited])

    def of(self, origin: Origin) -> Audited:
        """Return an entry; one of nothing where there is none."""
        return self.entries.get(origin) or Audited(*origin, below=0, inputs=0)

    def deleted(self, topic: str) -> Mapping[int, int]:
        """Return how far a topic was deleted, by partition; those never touched are left out."""
        return {p: entry.below for (stage, name, p), entry in self.entries.items() if not stage and name == topic}

    def with_all(self, entries: Mapping[Origin, Audited]) -> "Ledger":
        """Return the ledger with entries in place of those before."""
        return Ledger({**self.entries, **entries})


async def ledger(bus: Bus) -> Ledger:
    """Read the ledger of a namespace."""
    entries: dict[Origin, Audited] = {}
    if AUDIT.name in await bus.topics():
        async for batch in bus.read(AUDIT.name):
            for stored in batch:
                entry = decode(stored.value, Audited)
                entries[entry.stage, entry.topic, entry.partition] = entry
    return Ledger(entries)


@dataclass(slots=True)
class Tally:
    """Outcomes while they are counted."""

    emitted: int = 0
    emitting: int = 0  # inputs: those whose first outcome was emitted
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    dead: int = 0

    def emit(self, i: int) -> None:
        """Count the outcome `i` of an input, an emitted record. They are numbered before the rejects."""
        self.emitted += 1
        self.emitting += i == 0

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def counts(self) -> Counts:
        return Counts(self.emitted, tuple(sorted(self.rejected.items())), self.dead)


def plus(one: Counts, other: Counts) -> Counts:
    """Add up.

    >>> plus(Counts(1, (("a", 2),)), Counts(0, (("a", 1), ("b", 1)), 3))
    Counts(emitted=1, rejected=(('a', 3), ('b', 1)), dead=3)
    """
    rejected = dict(one.rejected)
    for reason, count in other.rejected:
        rejected[reason] = rejected.get(reason, 0) + count
    return Counts(one.emitted + other.emitted, tuple(sorted(rejected.items())), one.dead + other.dead)


def further(entry: Audited, below: int, inputs: int, made: Tally) -> Audited:
    """Return the entry moved up to `below`, over `inputs` from which `made` was made."""
    return replace(
        entry,
        below=below,
        inputs=entry.inputs + inputs,
        emitting=entry.emitting + made.emitting,
        made=plus(entry.made, made.counts()),
    )
