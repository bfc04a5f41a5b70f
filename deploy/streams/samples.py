"""What was turned down or failed, grouped, with a few samples of each group: what a person reads to mend a prompt."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from stream.bus import Bus
from stream.codec import decode
from stream.outcomes import Position, StageSpec
from stream.records import DeadLetter, Rejected
from stream.replay import Fate, fates
from stream.topics import DEAD, REJECTS, Topic

R = TypeVar("R", Rejected, DeadLetter)


@dataclass(slots=True)
class Group(Generic[R]):
    """Records of one stage that ended for one reason."""

    stage: str
    reason: str
    count: int = 0
    samples: list[R] = field(default_factory=list[R])  # the latest ones

    def add(self, record: R, samples: int) -> None:
        """Count a record, and keep it among the last `samples`."""
        self.count += 1
        self.samples.append(record)
        if len(self.samples) > samples:
            del self.samples[0]


@dataclass(slots=True)
class Failed(Group[DeadLetter]):
    """Dead letters of one stage and one class of error, whose inputs had one fate."""

    fate: Fate = Fate.OPEN


async def rejects(bus: Bus, stage: str | None, reason: str | None, samples: int) -> list[Group[Rejected]]:
    """Group the rejects by stage and reason, the largest group first."""
    groups: dict[tuple[str, str], Group[Rejected]] = {}
    async for record in _records(bus, REJECTS, Rejected):
        if stage in (None, record.stage) and reason in (None, record.reason):
            key = (record.stage, record.reason)
            groups.setdefault(key, Group(*key)).add(record, samples)
    return sorted(groups.values(), key=lambda g: (-g.count, g.stage, g.reason))


async def dead(bus: Bus, specs: Sequence[StageSpec], stage: str | None, samples: int) -> list[Failed]:
    """Group the dead letters by stage, class of error and the fate of their inputs: those that are open first, the
    largest group first. Of a stage that has some, all that it was given is read too."""
    fate = await _fates(bus, [spec for spec in specs if stage in (None, spec.name)])
    groups: dict[tuple[str, str, Fate], Failed] = {}
    async for record in _records(bus, DEAD, DeadLetter):
        if stage not in (None, record.stage):
            continue
        position = (record.topic, record.partition, record.offset)
        # What a source failed no replay takes, and it stays open; and so is what failed since the fates were read.
        now = fate.get(record.stage, {}).get(position, Fate.OPEN)
        why = record.error.partition(":")[0]
        groups.setdefault((record.stage, why, now), Failed(record.stage, why, fate=now)).add(record, samples)
    return sorted(groups.values(), key=lambda g: (g.fate is not Fate.OPEN, -g.count, g.stage, g.reason, g.fate))


async def _fates(bus: Bus, specs: Sequence[StageSpec]) -> Mapping[str, Mapping[Position, Fate]]:
    """Return the fates of the inputs that stages failed, by stage."""
    failed: dict[str, set[Position]] = defaultdict(set)
    async for batch in bus.read(DEAD.name):
        for stored in batch:
            if stored.cause is not None:
                failed[stored.cause.stage].add(stored.cause.position)
    return {spec.name: await fates(bus, spec, failed[spec.name]) for spec in specs if spec.name in failed}


async def _records(bus: Bus, topic: Topic, kind: type[R]) -> AsyncGenerator[R]:
    async for batch in bus.read(topic.name):
        for stored in batch:
            yield decode(stored.value, kind)
