"""Running stages and sources in one process until they are idle or told to stop."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.planning.recipe import SOURCE_TOPIC
from deploy.running.live import View
from deploy.serving.server import Server
from deploy.signals import EXIT_INTERRUPTED
from stream.bus import Bus
from stream.errors import Fatal
from stream.flood_gate import OnFlood
from stream.garbage import seldom_collected
from stream.idle import wait_until_idle, watch_lag
from stream.ingest import Source, ingest
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.runner import run_stage
from stream.settings import Settings
from stream.topics import TOPICS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What one process is to do."""

    specs: Sequence[StageSpec]
    sources: Sequence[Source]
    limit: int | None  # new files at most
    until_idle: bool  # else for ever
    local: Server | None = None  # a model's server that is ours, to be started again when it dies
    copies: Path | None = None  # the folder for copies of state logs, if there are to be any
    flags: str = "…"  # that name the stream on a command line


class Stop:
    """Ends a run: told by a signal, by idleness, or by the failure of a part."""

    def __init__(self, view: View) -> None:
        self.event = asyncio.Event()
        self.interrupted = False
        self._view = view

    def by_signal(self) -> None:
        """The first signal lets what is in flight finish; the second one ends the process at once. That loses
        nothing: what is not committed is done again."""
        if self.interrupted:
            self._view.close()
            os._exit(EXIT_INTERRUPTED)
        self.interrupted = True
        self._view.note = "stopping: what is in flight may finish; Ctrl-C again stops at once"
        log.warning(self._view.note)
        self.event.set()

    @contextmanager
    def on_signals(self) -> Generator[None]:
        """Listen to Ctrl-C and SIGTERM inside."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.by_signal)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


async def run(
    bus: Bus, work: Work, settings: Settings, stats: dict[str, StageStats], view: View, console: Console
) -> bool:
    """Do the work, and return whether it was interrupted by a signal.

    Raises:  Fatal of the first part that failed, after all others were let finish what they had in flight.
    """
    on_flood = OnFlood(work.until_idle, work.flags)
    stop = Stop(view)
    sources_done = asyncio.Event()
    parts: list[Coroutine[None, None, object]] = [
        run_stage(bus, spec, settings.of(spec.name), stats[spec.name], stop.event, work.copies, on_flood)
        for spec in work.specs
    ]
    if work.local is not None:
        parts.append(work.local.watch(stop.event))
    parts.append(_feed(bus, work, stats, stop.event, sources_done, view))
    if work.until_idle:
        parts.append(_stop_when_idle(bus, work, sources_done, stop.event))
    async with _beside(view.show(console), watch_lag(bus, work.specs, stats)):
        with stop.on_signals(), seldom_collected():
            await _all(parts, stop.event)
    return stop.interrupted


async def _feed(
    bus: Bus, work: Work, stats: Mapping[str, StageStats], stop: asyncio.Event, done: asyncio.Event, view: View
) -> None:
    if work.sources:
        view.note = f"reading {', '.join(source.name for source in work.sources)}"
        await ingest(bus, TOPICS[SOURCE_TOPIC], work.sources, stats[SOURCE_TOPIC], stop, work.limit)
    done.set()
    if not stop.is_set():
        view.note = "" if work.until_idle else "waiting for more input; Ctrl-C ends"
        if not work.until_idle:
            read = "all sources are read; " if work.sources else ""
            log.info("%sthe stages go on, and wait for more input until Ctrl-C", read)


async def _stop_when_idle(bus: Bus, work: Work, sources_done: asyncio.Event, stop: asyncio.Event) -> None:
    idle = asyncio.create_task(wait_until_idle(bus, work.specs, sources_done))
    stopped = asyncio.create_task(stop.wait())
    stopped.add_done_callback(lambda _: idle.cancel())
    try:
        await idle
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        stopped.cancel()
    stop.set()


async def _all(parts: Sequence[Coroutine[None, None, object]], stop: asyncio.Event) -> None:
    """Run all parts to their end; the failure of one stops the others, in good order, and is raised after them."""

    def ended(task: "asyncio.Task[object]") -> None:
        if not task.cancelled() and task.exception() is not None:
            stop.set()

    tasks = [asyncio.create_task(part) for part in parts]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    failures = [error for task in tasks if (error := task.exception()) is not None]
    # A Fatal says what to do; anything else that failed beside it most likely failed because of it.
    for error in sorted(failures, key=lambda e: not isinstance(e, Fatal)):
        raise error


@asynccontextmanager
async def _beside(*parts: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Run parts that never end beside the body."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                log.warning("the live view failed: %s", outcome)


def new_stats(specs: Sequence[StageSpec]) -> dict[str, StageStats]:
    """Return counters at zero: of the sources, then of each stage, in the order of the stream."""
    return {name: StageStats(name) for name in (SOURCE_TOPIC, *(spec.name for spec in specs))}
