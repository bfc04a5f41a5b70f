"""Running a Map on one input partition: many calls in flight, finished in any order, committed together."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from stream.bus import Lease, Message, Stored
from stream.codec import decode
from stream.errors import Fatal, Permanent, RequestTimedOut, Transient, WorkerDied
from stream.metrics import StageStats
from stream.outcomes import StageSpec, dead_letter, outcome_messages, topics
from stream.progress import Window
from stream.retry import Gates, backoff_s
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.tasks import cancelled

CALLS_SHARE = 0.9  # of the time to drain: calls in flight may use it, the rest is for the last commit


class Finished(NamedTuple):
    """An input with everything that became of it, waiting for the next commit."""

    offset: int
    messages: list[Message]
    reasons: list[str]  # of its rejects


class MapWorker:
    """One Map on one lease. `run` is its whole life."""

    def __init__(
        self, spec: StageSpec, shape: Map[Any, Any], lease: Lease, settings: Settings, stats: StageStats, gates: Gates
    ) -> None:
        self.spec = spec
        self.shape = shape
        self.lease = lease
        self.settings = settings
        self.stats = stats
        self.gates = gates
        self._window = Window(lease.progress)
        self._finished: list[Finished] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._held = 0  # records fetched and not committed
        self._changed = asyncio.Event()  # something finished, a call ended, a commit was made, or we are closing
        self._closing = False
        self._fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Process until `stop` is set, then give what is in flight `drain_s`, commit, and return.

        Raises:  Fatal, after what is finished was committed.
        """
        intake = asyncio.create_task(self._guard(self._intake))
        committer = asyncio.create_task(self._guard(self._commit_until_closing))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopped, self._fatal}, return_when=asyncio.FIRST_COMPLETED)
            end_s = time.monotonic() + self.settings.drain_s
            await cancelled(intake)
            if not self._fatal.done() and self._calls:
                await asyncio.wait({*self._calls}, timeout=self.settings.drain_s * CALLS_SHARE)
            await cancelled(*self._calls)
            # The committer is never cancelled in the middle of a commit that others follow: progress would run ahead.
            self._closing = True
            self._changed.set()
            await asyncio.wait({committer}, timeout=end_s - time.monotonic())  # what misses it is done again next time
        finally:
            await cancelled(intake, committer, stopped, *self._calls)
            self.stats.in_flight -= self._held
        if self._fatal.done():
            self._fatal.result()

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part of the worker; what it raises is fatal to the worker."""
        try:
            await part()
        except Exception as err:  # noqa: BLE001 - handed to `run`, which raises it
            if not self._fatal.done():
                self._fatal.set_exception(err)

    # --- intake

    async def _intake(self) -> None:
        """Fetch while there is room, and start a call for each batch."""
        batch: list[Stored] = []
        due_s = 0.0  # when an incomplete batch is started all the same, on the loop's clock
        clock = asyncio.get_running_loop()
        while True:
            room = await self._room(len(batch))
            fetched: Sequence[Stored] = ()
            if room:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(due_s if batch else None):
                        fetched = await self.gates.reads.call(lambda: self.lease.fetch(room))  # noqa: B023 - awaited here
            self._window.deliver(stored.offset for stored in fetched)
            self._window.advance(self.lease.position)
            self._held += len(fetched)
            self.stats.in_flight += len(fetched)
            due_s = due_s if batch else clock.time() + self.shape.linger_s
            batch.extend(fetched)
            while len(batch) >= self.shape.batch:
                self._start(batch[: self.shape.batch])
                batch = batch[self.shape.batch :]
                due_s = clock.time() + self.shape.linger_s
            if batch and (not fetched or not self.shape.linger_s):
                self._start(batch)  # incomplete, but nothing more came in time, or nothing more may come
                batch = []

    async def _room(self, waiting: int) -> int:
        """Wait until a call can be started, and return how many records may be fetched, given `waiting` ones that are
        in no call yet. It is 0 only when those must go first."""
        while True:
            await self.gates.opened()
            self._changed.clear()
            calls = self.shape.concurrency - len(self._calls)
            room = min(
                calls * self.shape.batch - waiting,
                2 * self.settings.commit_records - len(self._finished),
                self._window.room,
            )
            if calls > 0 and (room > 0 or waiting):
                return max(room, 0)
            await self._changed.wait()

    def _start(self, batch: list[Stored]) -> None:
        task = asyncio.create_task(self._guard(lambda: self._process(batch)))
        self._calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._changed.set()

    # --- one batch

    async def _process(self, batch: Sequence[Stored]) -> None:
        """Bring every record of a batch to an outcome or a dead letter."""
        readable: list[Stored] = []
        records: list[Any] = []
        for stored in batch:
            try:
                records.append(decode(stored.value, self.spec.input.record))
                readable.append(stored)
            except Permanent as err:
                self._bury(stored, err)
        if records:
            await self._settle(readable, records)

    async def _settle(self, batch: Sequence[Stored], records: Sequence[Any]) -> None:
        """Process a batch; halve one that fails until the record to blame stands alone."""
        try:
            outcomes = await self._attempts(records)
        except Fatal:
            raise
        except Exception as err:  # noqa: BLE001 - any other error of a stage is our defect: the record goes to `dead`
            if len(batch) == 1:
                self._bury(batch[0], err)
                return
            half = len(batch) // 2
            await self._settle(batch[:half], records[:half])
            await self._settle(batch[half:], records[half:])
            return
        for stored, outcome in zip(batch, outcomes, strict=True):
            self._finish(stored, outcome)

    async def _attempts(self, records: Sequence[Any]) -> Sequence[Outcome[Any]]:
        """Call the stage. A lone record is given `attempts`; several are halved at the first failure."""
        failures = 0
        while True:
            try:
                outcomes = await self.gates.calls.call(lambda: self._call(records))
            except Transient:
                failures += 1
                if len(records) > 1 or failures >= self.settings.attempts:
                    raise
                self.stats.retried += 1
                settings = self.settings
                await asyncio.sleep(backoff_s(failures, settings.retry_base_s, settings.retry_cap_s, random.random()))
            else:
                if len(outcomes) != len(records):
                    raise Permanent(f"stage {self.spec.name} gave {len(outcomes)} outcomes for {len(records)} records")
                return outcomes

    async def _call(self, records: Sequence[Any]) -> Sequence[Outcome[Any]]:
        deadline = asyncio.timeout(self.settings.call_deadline_s)
        task = asyncio.current_task()
        try:
            async with deadline:
                return await self.shape.call(records)
        except asyncio.CancelledError as err:
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this call: something that it waited for was. Its records must not fall out of the world.
            raise WorkerDied(f"stage {self.spec.name}: what a call waited for was cancelled") from err
        except TimeoutError as err:
            if not deadline.expired():
                raise  # the stage's own, not the deadline's
            raise RequestTimedOut(
                f"stage {self.spec.name} took longer than {self.settings.call_deadline_s:g} s"
            ) from err

    def _finish(self, stored: Stored, outcome: Outcome[Any]) -> None:
        spec = self.spec
        try:
            messages = outcome_messages(spec.name, spec.output.name, spec.position(stored), stored.key, outcome)
        except Exception as err:  # noqa: BLE001 - what cannot be written, or is no outcome at all, is our defect too
            self._bury(stored, err)
        else:
            self._done(Finished(stored.offset, messages, [reject.reason for reject in outcome.rejected]))

    def _bury(self, stored: Stored, error: BaseException) -> None:
        letter = dead_letter(self.spec.name, self.spec.position(stored), stored.key, stored.value, error)
        self._done(Finished(stored.offset, letter, []))

    def _done(self, finished: Finished) -> None:
        self._finished.append(finished)
        self._changed.set()

    # --- commit

    async def _commit_until_closing(self) -> None:
        """Commit what has finished every `commit_interval_s`, or sooner when it is much; at closing, the rest."""
        while self._finished or not self._closing:
            while not (self._finished or self._closing):
                self._changed.clear()
                await self._changed.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.commit_interval_s):
                    while len(self._finished) < self.settings.commit_records and not self._closing:
                        self._changed.clear()
                        await self._changed.wait()
            await self._commit()

    async def _commit(self) -> None:
        """Commit all that has finished, as one step. Tries for ever while the bus is away."""
        if not self._finished:
            return
        step, self._finished = self._finished, []
        self._window.finish(finished.offset for finished in step)
        messages = [message for finished in step for message in finished.messages]
        progress = self._window.progress()
        await self.gates.commits.call(lambda: self.lease.commit(messages, progress))
        self._held -= len(step)
        self.stats.in_flight -= len(step)
        reasons = [reason for finished in step for reason in finished.reasons]
        self.stats.committed(len(step), topics(messages), self.spec.output.name, reasons)
        self._changed.set()
