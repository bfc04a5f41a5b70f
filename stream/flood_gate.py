"""What a stage does in a flood of dead letters: it buries no more, and ends, or pauses until inputs are replayed."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from stream.bus import Bus
from stream.errors import Flooded
from stream.flood import FloodDetector, first_line
from stream.metrics import StageStats
from stream.outcomes import REPLAY, StageSpec
from stream.retry import Gate
from stream.settings import Settings

LOOK_S = 1.0
"""How often a paused stage looks for replayed inputs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OnFlood:
    """What a stage is to do in a flood."""

    ends: bool = False  # with `Flooded`; else it pauses
    flags: str = "…"  # that name the stream on a command line, for the advice


PAUSE = OnFlood()


class StageEnds(Exception):  # noqa: N818
    """The stage ends in a flood of dead letters: what is not finished is left to the next process."""


class FloodGate:
    """Open until a flood of dead letters is found. It is shared by the workers of a stage in one process, and counts
    over all of their partitions.

    The records that complete a flood are buried; from then on none is, until `resume`. A record that would have been
    stays unfinished: its worker waits for `opened` and processes it again, or leaves it to the next process.
    `fail` is told of the flood where it ends the stage.
    """

    def __init__(
        self, spec: StageSpec, settings: Settings, stats: StageStats, on_flood: OnFlood, fail: Callable[[Flooded], None]
    ) -> None:
        self._spec = spec
        self._stats = stats
        self._on_flood = on_flood
        self._fail = fail
        self._detector = FloodDetector(settings.flood_in_a_row, settings.flood_share, settings.flood_window)
        self._found = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._since_s = 0.0  # when it was closed, on the monotonic clock
        self._ended = False

    def passed(self) -> None:
        """Take note of a record that finished without a dead letter."""
        if not self._found.is_set():
            self._detector.finished(None)

    def buries(self, error: BaseException) -> bool:
        """Whether a record may be buried for an error, which counts it; never in a flood."""
        if self._found.is_set():
            return False
        flood = self._detector.finished(first_line(error))
        if flood is not None:
            self._close(str(flood))
        return True

    async def wait(self) -> None:
        """Wait until there is no flood, or the stage ends in one."""
        await self._open.wait()

    async def opened(self) -> None:
        """Wait until there is no flood.

        Raises:  StageEnds when the stage ends in one.
        """
        await self._open.wait()
        if self._found.is_set():
            raise StageEnds

    async def found(self) -> None:
        """Wait for a flood."""
        await self._found.wait()

    def resume(self) -> None:
        """Process again, and count from zero."""
        if not self._found.is_set():
            return
        log.warning("stage %s resumed after %.1f s: inputs were replayed", self._spec.name, self._paused_s())
        self._detector.restart()
        self._stats.waits.pop(self, None)
        self._found.clear()
        self._open.set()

    def end(self) -> None:
        """Let nobody wait any longer: the stage ends."""
        self._ended = True
        self._open.set()

    def _paused_s(self) -> float:
        return time.monotonic() - self._since_s

    def _close(self, what: str) -> None:
        self._found.set()
        self._since_s = time.monotonic()
        name = self._spec.name
        if not self._ended:
            self._open.clear()
        if self._on_flood.ends:
            self._fail(Flooded(f"stage {name} stopped: {what}. {self._advice('run it again')}"))
        elif self._ended:
            log.error("stage %s: %s. %s", name, what, self._advice("start it again"))
        else:
            self._stats.waits[self] = f"{what}; resumes after `seedstream replay {name} --dead`"
            log.error("stage %s paused: %s. %s", name, what, self._advice("it resumes"))

    def _advice(self, then: str) -> str:
        name, flags = self._spec.name, self._on_flood.flags
        look = f"No further dead letters were written. See `seedstream dead --stage {name} {flags}`, remove the cause"
        if "/" in self._spec.input.name:  # another namespace's, to which nothing can be appended from here
            return f"{look}, and start it again"
        return f"{look}, replay the dead (`seedstream replay {name} --dead {flags}`), and {then}"


async def resume_on_replay(gate: FloodGate, bus: Bus, spec: StageSpec, reads: Gate) -> None:
    """Resume a paused stage whenever inputs of it are replayed after the pause began. Never returns.

    The input is read from where it ended at the pause, so a replay is seen however many inputs wait before it, and in
    every process that runs the stage.
    """
    topic = spec.input.name
    while True:
        await gate.found()
        seen = dict(await reads.call(lambda: bus.ends(topic)))
        found = False
        while not found:
            await asyncio.sleep(LOOK_S)
            found = await reads.call(lambda: _replayed(bus, topic, seen))  # noqa: B023 - awaited here
        gate.resume()


async def _replayed(bus: Bus, topic: str, seen: dict[int, int]) -> bool:
    """Whether a replayed input stands in a topic at the offsets `seen`, by partition, or behind; those that were read
    are added to `seen`."""
    ends = await bus.ends(topic)
    if all(end <= seen.get(partition, 0) for partition, end in ends.items()):
        return False
    async with contextlib.aclosing(bus.read(topic, seen.copy())) as batches:
        async for batch in batches:
            if any(stored.cause is not None and stored.cause.stage == REPLAY for stored in batch):
                return True
            for stored in batch:
                seen[stored.partition] = max(stored.offset + 1, seen.get(stored.partition, 0))
    for partition, end in ends.items():  # a broker's own marks are offsets without a record
        seen[partition] = max(end, seen.get(partition, 0))
    return False
