"""The funnel: what came into each stage, what came out, what was turned down and why. Over the whole history of a
stream, from its topics alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from stream.bus import Bus
from stream.codec import decode
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
    out: int = 0  # records in the topic it writes
    rejected: Counter[str] = field(default_factory=Counter[str])  # by reason; parts of one input count each
    dead: int = 0


async def funnel(bus: Bus, legs: Sequence[Leg]) -> list[Count]:
    """Count what each leg has done. Reads `rejects` and `dead` whole; of the other topics the ends alone."""
    counts = {leg.stage: Count(leg.stage) for leg in legs}
    async for batch in bus.read(REJECTS.name):
        for stored in batch:
            reject = decode(stored.value, Rejected)
            if reject.stage in counts:
                counts[reject.stage].rejected[reject.reason] += 1
    async for batch in bus.read(DEAD.name):
        for stored in batch:
            stage = decode(stored.value, DeadLetter).stage
            if stage in counts:
                counts[stage].dead += 1
    for leg in legs:
        count = counts[leg.stage]
        count.out = sum((await bus.ends(leg.stage)).values())
        if leg.reads is None:
            count.done = count.out + count.rejected.total()
        else:
            count.done, count.lag = await done_and_lag(bus, leg.stage, leg.reads)
    return list(counts.values())


async def done_and_lag(bus: Bus, stage: str, topic: str) -> tuple[int, int]:
    """Return how many inputs a stage has finished, and how many of those that stand in its topic it has not."""
    # Progress before ends: what is appended in between shows as lag, never as less than nothing.
    progress = await bus.progress(stage, topic)
    done = sum(p.watermark + len(p.done) for p in progress.values())
    return done, sum((await bus.ends(topic)).values()) - done
