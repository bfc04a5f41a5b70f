"""A Map's work under one lease: fetch, start calls, commit what has finished, until the lease ends."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from stream.bus import Lease, Stored
from stream.ending import Ending
from stream.errors import Fatal, LeaseLost, TooLarge
from stream.map_calls import Calls, Finished, Job
from stream.outcomes import acceptable, refused, topics
from stream.progress import Window
from stream.tasks import cancelled

CALLS_SHARE = 0.9  # of the time to drain: calls in flight may use it, the rest is for the last commit


class Tenure:
    """`run` is its whole life. It takes over what an earlier lease left, and leaves what it could not commit.

    What is left are results that were not committed (`kept`), and calls that still run (`awaited`), by offset. Each
    waits until this lease delivers its offset: then it is used as if the call had been made now. What is fatal is the
    result of `fatal`; `count` is called whenever `held` has changed.
    """

    def __init__(
        self,
        job: Job,
        lease: Lease,
        calls: Calls,
        kept: Iterable[Finished],
        fatal: "asyncio.Future[None]",
        count: Callable[[], None],
    ) -> None:
        self._spec, self._shape, self._settings, self._stats, self._gates, self._flood = job
        self._lease = lease
        self._calls = calls
        self._fatal = fatal
        self._count = count
        self._window = Window(lease.progress)
        self._committed = lease.progress.watermark
        calls.drop(lease.progress)  # what it says is finished was committed, by us or by another owner
        self._kept = {f.stored.offset: f for f in kept if f.stored.offset not in lease.progress}
        self._awaited = set(calls.running)
        self._waiting: list[Stored] = []  # fetched, in no call yet
        self._due_s = 0.0  # when an incomplete batch is started all the same, on the loop's clock
        self._finished: list[Finished] = []
        self._step: list[Finished] = []  # being committed
        self._changed = asyncio.Event()  # something finished, a call ended, a commit was made, or we are closing
        self._draining = False  # no call is started any more; what earlier leases left is still taken up
        self._closing = False

    @property
    def held(self) -> int:
        """Records that were fetched, by this lease or an earlier one, and are not committed."""
        results = len(self._kept) + len(self._finished) + len(self._step)
        return len(self._waiting) + len(self._calls.running) + results

    @property
    def left(self) -> list[Finished]:
        """The results that are not committed, as far as is known."""
        return [*self._kept.values(), *self._step, *self._finished]

    def take(self, finished: Sequence[Finished]) -> None:
        """Take results of a call."""
        for one in finished:
            offset = one.stored.offset
            if offset in self._awaited:
                self._awaited.discard(offset)
                self._kept[offset] = one
            else:
                self._finished.append(one)
        self._changed.set()

    def wake(self) -> None:
        """A call has ended."""
        self._changed.set()

    async def run(self, ending: Ending) -> None:
        """Process until the lease is wanted or lost, then commit what is finished and let calls run; or until the end
        begins, then give them what time there is first, and end them.

        Raises:  Fatal, after what is finished was committed.
        """
        self._draining = ending.begun
        intake = asyncio.create_task(self._guarded(self._intake))
        committer = asyncio.create_task(self._guarded(self._commit_until_closing))
        signals = [asyncio.create_task(event.wait()) for event in (ending, self._lease.wanted)]
        drained: asyncio.Task[None] | None = None
        try:
            await asyncio.wait({intake, committer, self._fatal, *signals}, return_when=asyncio.FIRST_COMPLETED)
            end_s = time.monotonic() + ending.left_s
            if ending.begun and not self._fatal.done():
                drained = asyncio.create_task(self._drained(intake))
                timeout_s = ending.left_s * CALLS_SHARE
                ended, _ = await asyncio.wait(
                    {drained, committer}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not ended:
                    await self._calls.cancel()
            await cancelled(intake)
            if self._fatal.done():
                await self._calls.cancel()
            # The committer is never cancelled in the middle of a commit that others follow: progress would run ahead.
            self._closing = True
            self._changed.set()
            await asyncio.wait({committer}, timeout=max(0.0, end_s - time.monotonic()))
        finally:
            await cancelled(intake, committer, *signals, *([drained] if drained else []))
        if self._fatal.done():
            self._fatal.result()

    async def _drained(self, intake: "asyncio.Task[None]") -> None:
        """Start no more calls; wait until none is under way, and what earlier leases left is taken up."""
        self._draining = True
        self._changed.set()
        if not self._remembered:
            await cancelled(intake)
        await self._calls.all_ended()
        await asyncio.wait({intake})

    @property
    def _remembered(self) -> int:
        """What earlier leases left, and this one has not been delivered."""
        return len(self._kept) + len(self._awaited)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run a part until it ends or finds the lease wanted or lost; what else it raises is fatal to the worker."""
        try:
            await part()
        except LeaseLost:
            return
        except Exception as err:  # noqa: BLE001 - handed to `run`, which raises it
            if not self._fatal.done():
                self._fatal.set_exception(err)

    # --- intake

    async def _intake(self) -> None:
        """Fetch while there is room, and start a call for each batch; draining, fetch what earlier leases left."""
        while not self._draining or self._remembered:
            room = await self._room()
            if room:
                fetched: Sequence[Stored] = ()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._due_s if self._waiting and not self._draining else None):
                        fetched = await self._gates.reads.call(lambda: self._lease.fetch(room))  # noqa: B023
                self._deliver(fetched)
            if not self._draining:
                self._start(at_once=not room and len(self._waiting) < self._shape.batch)

    async def _room(self) -> int:
        """Wait until something can be done: return how many records may be fetched, or 0 when calls are to be started
        for those that wait. What is left from earlier leases needs no call, but has to be fetched."""
        while True:
            await self._gates.opened()
            await self._flood.wait()
            self._changed.clear()
            if self._draining:
                return self._remembered
            free = self._shape.concurrency - len(self._calls)
            room = min(
                free * self._shape.batch - len(self._waiting) + self._remembered,
                2 * self._settings.commit_records - len(self._finished),
            )
            if self._waiting and free > 0 and (room <= 0 or len(self._waiting) >= self._shape.batch):
                return 0
            if room > 0 and (free > 0 or not self._waiting):
                return room
            await self._changed.wait()

    def _deliver(self, fetched: Sequence[Stored]) -> None:
        """Take what was fetched: a record that an earlier lease left something of goes on from there."""
        self._window.deliver(stored.offset for stored in fetched)
        self._window.advance(self._lease.position)
        if not self._waiting:
            self._due_s = asyncio.get_running_loop().time() + self._shape.linger_s
        if self._kept or self._awaited:
            self._waiting.extend(stored for stored in fetched if not self._known(stored.offset))
        else:
            self._waiting.extend(fetched)
        self._count()
        self._changed.set()  # the position may have moved

    def _known(self, offset: int) -> bool:
        """Whether the call of an earlier lease stands for this delivered offset."""
        if offset in self._awaited:
            self._awaited.discard(offset)
            return True
        finished = self._kept.pop(offset, None)
        if finished is not None:
            self._finished.append(finished)
        return finished is not None

    def _start(self, at_once: bool) -> None:
        """Start calls for full batches, and for an incomplete one when it is due, or `at_once`."""
        now_s = asyncio.get_running_loop().time()
        size = self._shape.batch
        while self._waiting and len(self._calls) < self._shape.concurrency:
            if len(self._waiting) < size and not at_once and now_s < self._due_s:
                return
            self._calls.start(self._waiting[:size])
            self._waiting = self._waiting[size:]
            self._due_s = now_s + self._shape.linger_s

    # --- commit

    async def _commit_until_closing(self) -> None:
        """Commit what has finished every `commit_interval_s`, or sooner when it is much; at closing, the rest."""
        while True:
            await self._until(lambda: bool(self._finished) or self._moved() or self._closing)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.commit_interval_s):
                    await self._until(lambda: len(self._finished) >= self._settings.commit_records or self._closing)
            if self._finished or self._moved():
                await self._commit()
            elif self._closing:
                return

    def _moved(self) -> bool:
        """Whether the watermark has moved over offsets without a record, and no record in flight will tell of it."""
        return not self._window.span and self._window.watermark != self._committed

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _commit(self) -> None:
        """Commit all that has finished, as one step. Tries for ever while the bus is away."""
        finished, self._finished = self._finished, []
        self._step = self._fitting(finished)
        if not self._step and not self._moved():
            return
        while True:
            messages = [message for one in self._step for message in one.messages]
            progress = self._window.progress([one.stored.offset for one in self._step])
            try:
                await self._gates.commits.call(lambda: self._lease.commit(messages, progress))  # noqa: B023
                break
            except TooLarge as err:  # the limit of a topic was lowered: now we know
                mended = self._fitting(self._step)
                if mended == self._step:
                    raise Fatal(
                        f"stage {self._spec.name}: the bus refuses a step, and no message in it: {err}"
                    ) from err
                self._step = mended
        step, self._step = self._step, []
        self._window.finish(one.stored.offset for one in step)
        self._committed = progress.watermark
        self._count()
        reasons = [reason for one in step for reason in one.reasons]
        self._stats.committed(len(step), topics(messages), self._spec.output.name, reasons)
        self._changed.set()

    def _fitting(self, finished: Sequence[Finished]) -> list[Finished]:
        """Return what was finished as the bus takes it: a dead letter in the place of outcomes of which it would not
        take one. In a flood such an input is not buried: it is left out, and processed again."""
        refusal = self._lease.refusal
        fitting: list[Finished] = []
        for one in finished:
            error = refused(one.messages, refusal)
            if error is None:
                fitting.append(one)
            elif one.is_letter or self._flood.buries(error):
                fitting.append(self._acceptable(one))
            else:
                self._calls.start([one.stored])
        return fitting

    def _acceptable(self, finished: Finished) -> Finished:
        """Return the dead letter of an input of which the bus would not take an outcome."""
        spec, stored = self._spec, finished.stored
        letter = acceptable(
            spec.name, spec.position(stored), stored.key, stored.value, finished.messages, self._lease.refusal
        )
        return Finished(stored, letter, [])
