"""Running a stage: one worker for each input partition that falls to us, as long as it does. The runner alone decides,
by the class of an error, what a failure means (`stream.errors`)."""

import asyncio
import contextlib
from pathlib import Path
from typing import NamedTuple, Protocol

from stream import logs
from stream.bus import Bus, Gone, Lease
from stream.ending import Ending
from stream.errors import WrongConfig
from stream.flood_gate import PAUSE, FloodGate, OnFlood, resume_on_replay
from stream.fold_worker import FoldWorker
from stream.map_calls import Job
from stream.map_worker import MapWorker
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.retry import Gates
from stream.settings import Settings
from stream.stage import Fold
from stream.tasks import cancelled


class Worker(Protocol):
    """Who works on one partition, one lease after the other."""

    @property
    def busy(self) -> bool:
        """Whether something is or may be left of this lease, or the last one, that the next could commit."""
        ...

    async def run(self, lease: Lease, ending: Ending) -> None:
        """Work until the lease is wanted or lost, or the end begins, and release it. Raises:  Fatal."""
        ...

    async def close(self) -> None:
        """Give up what was kept for the next lease."""
        ...


Leases = asyncio.Queue[Lease | None]
"""Of one partition, in the order in which they came; None tells its worker that the end has begun."""


class Hand(NamedTuple):
    """The worker of one partition."""

    worker: Worker
    leases: Leases
    task: asyncio.Task[None]

    @property
    def awaits_lease(self) -> bool:
        """Whether it could still use a lease, though it was told to stop."""
        return self.worker.busy and not self.task.done()


async def run_stage(
    bus: Bus,
    spec: StageSpec,
    settings: Settings,
    stats: StageStats,
    stop: asyncio.Event,
    copies: Path | None = None,
    on_flood: OnFlood = PAUSE,
) -> None:
    """Run a stage until `stop` is set, then let what is in flight finish within `settings.drain_s` and commit it.
    `copies` is a folder for copies of state logs, where reading them from the bus at each start would take long.
    `on_flood` says what to do when too many records become dead letters.

    Raises:  Fatal, after everything finished was committed.
    """
    with logs.of_stage(spec.name):
        await _Crew(bus, spec, settings, stats, stop, copies, on_flood).run()


class _Crew:
    """The workers of a stage in this process."""

    def __init__(
        self,
        bus: Bus,
        spec: StageSpec,
        settings: Settings,
        stats: StageStats,
        stop: asyncio.Event,
        copies: Path | None,
        on_flood: OnFlood,
    ) -> None:
        self._bus = bus
        self._copies = copies
        self._spec = spec
        self._settings = settings
        self._stats = stats
        self._gates = Gates(stats)
        self._flood = FloodGate(spec, settings, stats, on_flood, self._fail)
        self._stop = stop
        self._ending = Ending(stop, settings.drain_s)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hands: dict[int, Hand] = {}  # by partition
        self._tasks: set[asyncio.Task[None]] = set()  # theirs, and those of partitions that are gone

    async def run(self) -> None:
        group = asyncio.create_task(self._join(), name=f"{self._spec.name}-group")
        stopped = asyncio.create_task(self._stop.wait())
        replays = asyncio.create_task(self._resume_on_replay())
        try:
            await asyncio.wait({stopped, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            self._ending.begin()  # where one partition has failed, the others of the stage end in good order too
            self._flood.end()
            for hand in self._hands.values():
                hand.leases.put_nowait(None)
            if self._tasks:
                await asyncio.wait({*self._tasks})
        finally:
            await cancelled(*self._tasks, group, stopped, replays)
        if self._failed.done():
            self._failed.result()

    def _fail(self, error: Exception) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _resume_on_replay(self) -> None:
        try:
            await resume_on_replay(self._flood, self._bus, self._spec, self._gates.reads)
        except Exception as err:  # noqa: BLE001 - handed to `run`, which raises it
            self._fail(err)

    async def _join(self) -> None:
        """Hand each lease to the worker of its partition."""
        try:
            async for event in self._bus.leases(self._spec.name, self._spec.input.name):
                if isinstance(event, Gone):
                    hand = self._hands.pop(event.partition, None)
                    if hand is not None:
                        hand.task.cancel()
                elif self._stop.is_set() and not self._awaits(event.partition):
                    event.release()
                else:
                    self._check(event.partition)
                    self._hand(event.partition).leases.put_nowait(event)
        except Exception as err:  # noqa: BLE001 - handed to `run`, which raises it
            self._fail(err)

    def _awaits(self, partition: int) -> bool:
        hand = self._hands.get(partition)
        return hand is not None and hand.awaits_lease

    def _check(self, partition: int) -> None:
        """Raises:  WrongConfig for a partition that the input must not have: somebody has added it."""
        topic = self._spec.input
        if topic.partitions is not None and partition >= topic.partitions:
            raise WrongConfig(
                f"topic {topic.name} has a partition {partition}, {topic.partitions} expected: its order is the log's. "
                "A topic cannot shrink: run in a new namespace"
            )

    def _hand(self, partition: int) -> Hand:
        hand = self._hands.get(partition)
        if hand is None:
            worker, leases = self._worker(), Leases()
            task = asyncio.create_task(self._work(worker, leases), name=f"{self._spec.name}-{partition}")
            hand = self._hands[partition] = Hand(worker, leases, task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return hand

    async def _work(self, worker: Worker, leases: Leases) -> None:
        """Have the worker of one partition work."""
        try:
            while (lease := await self._next(worker, leases)) is not None:
                await worker.run(lease, self._ending)
        except Exception as err:  # noqa: BLE001 - handed to `run`, which raises it
            self._fail(err)
        finally:
            await worker.close()
            while not leases.empty():
                if (lease := leases.get_nowait()) is not None:
                    lease.release()

    async def _next(self, worker: Worker, leases: Leases) -> Lease | None:
        """Wait for the next lease. None: the end has begun, and nothing is left that a lease could commit, or no time.

        A rebalance may have taken the last lease away just then: what the calls since are worth is not given up."""
        while not self._ending.begun or worker.busy:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ending.left_s if self._ending.begun else None):
                    lease = await leases.get()
                    if lease is not None:
                        return lease
                    continue
            return None
        return None

    def _worker(self) -> Worker:
        spec = self._spec
        if isinstance(spec.shape, Fold):
            return FoldWorker(
                self._bus, spec, spec.shape, self._settings, self._stats, self._gates, self._flood, self._copies
            )
        return MapWorker(Job(spec, spec.shape, self._settings, self._stats, self._gates, self._flood))
