"""When everything is done: every source's end is committed, and every stage has finished its input."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence

from stream.bus import Bus
from stream.errors import Unavailable
from stream.metrics import StageStats
from stream.outcomes import StageSpec

LOOK_S = 0.2


async def lag(bus: Bus, spec: StageSpec) -> int:
    """Return how many inputs of a stage have no committed outcome yet."""
    while True:
        progress = await bus.progress(spec.name, spec.input.name)
        ends = await bus.ends(spec.input.name)
        if ends.keys() <= progress.keys():  # else partitions were added in between, and records may stand there already
            return sum(end - progress[p].watermark - len(progress[p].done) for p, end in ends.items())


async def watch_lag(bus: Bus, specs: Sequence[StageSpec], stats: Mapping[str, StageStats], every_s: float = 1) -> None:
    """Keep the lag in `stats` up to date, for ever. While the bus is away the last one stands."""
    while True:
        with contextlib.suppress(Unavailable):
            for spec in specs:
                stats[spec.name].lag = await lag(bus, spec)
        await asyncio.sleep(every_s)


async def wait_until_idle(bus: Bus, specs: Iterable[StageSpec], sources_done: asyncio.Event) -> None:
    """Return once the sources are done and no stage has anything left.

    Stages are read upstream first. Outputs and progress commit together, so when every one is found without lag in
    that order, nothing can have slipped past: no quiet time is needed. While the bus is away nothing is idle.
    """
    await sources_done.wait()
    specs = list(specs)
    while True:
        if await _idle(bus, specs):
            return
        await asyncio.sleep(LOOK_S)


async def _idle(bus: Bus, specs: Iterable[StageSpec]) -> bool:
    try:
        for spec in specs:
            if await lag(bus, spec):
                return False
    except Unavailable:
        return False
    return True
