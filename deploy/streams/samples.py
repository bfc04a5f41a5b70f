"""What was turned down or failed, grouped, with a few samples of each group: what a person reads to mend a prompt."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stream.bus import Bus
from stream.codec import decode
from stream.records import DeadLetter, Rejected
from stream.topics import DEAD, REJECTS, Topic

R = TypeVar("R", Rejected, DeadLetter)


@dataclass(slots=True)
class Group(Generic[R]):
    """Records of one stage that ended for one reason."""

    stage: str
    reason: str
    count: int = 0
    samples: list[R] = field(default_factory=list[R])  # the latest ones


async def rejects(bus: Bus, stage: str | None, reason: str | None, samples: int) -> list[Group[Rejected]]:
    """Group the rejects by stage and reason, the largest group first."""
    return await _groups(bus, REJECTS, Rejected, lambda r: r.reason, stage, reason, samples)


async def dead(bus: Bus, stage: str | None, samples: int) -> list[Group[DeadLetter]]:
    """Group the dead letters by stage and class of error, the largest group first."""
    return await _groups(bus, DEAD, DeadLetter, lambda d: d.error.partition(":")[0], stage, None, samples)


async def _groups(
    bus: Bus,
    topic: Topic,
    kind: type[R],
    reason_of: Callable[[R], str],
    stage: str | None,
    reason: str | None,
    samples: int,
) -> list[Group[R]]:
    groups: dict[tuple[str, str], Group[R]] = {}
    async for batch in bus.read(topic.name):
        for stored in batch:
            record = decode(stored.value, kind)
            why = reason_of(record)
            if stage not in (None, record.stage) or reason not in (None, why):
                continue
            group = groups.setdefault((record.stage, why), Group(record.stage, why))
            group.count += 1
            group.samples.append(record)
            del group.samples[: len(group.samples) - samples]
    return sorted(groups.values(), key=lambda g: (-g.count, g.stage, g.reason))
