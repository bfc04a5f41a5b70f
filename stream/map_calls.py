"""The calls of a Map: from a batch of records to an outcome or a dead letter for each, whatever fails on the way."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from stream.bus import Message, Stored
from stream.codec import decode
from stream.deadline import within
from stream.errors import Fatal, Permanent, Transient
from stream.flood_gate import FloodGate, StageEnds
from stream.metrics import StageStats
from stream.outcomes import Refusal, StageSpec, dead_letter, outcome_messages, refused
from stream.progress import Progress
from stream.retry import Gates, backoff_s
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.tasks import cancelled
from stream.topics import DEAD


class Job(NamedTuple):
    """What a Map is to do in a process, whatever the partition."""

    spec: StageSpec
    shape: Map[Any, Any]
    settings: Settings
    stats: StageStats
    gates: Gates
    flood: FloodGate


class Finished(msgspec.Struct, frozen=True, gc=False):
    """An input with everything that became of it, to be committed."""

    stored: Stored
    messages: list[Message]
    reasons: list[str]  # of its rejects

    @property
    def is_letter(self) -> bool:
        """Whether it stands for an input that became a dead letter."""
        return [message.topic for message in self.messages] == [DEAD.name]


class Calls:
    """The calls under way for one input partition. They know nothing of leases, and go on while it has none.

    `done` is called with the inputs that are finished, `failed` with what is fatal, `ended` after each call. `refusal`
    says, as far as is known, why the bus would not take a message (`Lease.refusal`). `len` is the number of calls under
    way.

    In a flood of dead letters (`stream.flood_gate`) no call is begun, and one that would end in a dead letter waits and
    is made again.
    """

    def __init__(
        self,
        job: Job,
        done: Callable[[Sequence[Finished]], None],
        failed: Callable[[Exception], None],
        ended: Callable[[], None],
        refusal: Refusal,
    ) -> None:
        self._spec, self._shape, self._settings, self._stats, self._gates, self._flood = job
        self._refusal = refusal
        self._done = done
        self._failed = failed
        self._ended = ended
        self._tasks: dict[asyncio.Task[None], list[int]] = {}  # with the offsets each was started for
        self.running: set[int] = set()  # offsets in a call and not finished

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, batch: Sequence[Stored]) -> None:
        """Make a call for a batch of records."""
        offsets = [stored.offset for stored in batch]
        task = asyncio.create_task(self._guarded(batch), name=f"{self._spec.name}-call")
        self._tasks[task] = offsets
        self.running.update(offsets)
        task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self.running.difference_update(self._tasks.pop(task))  # those of a call that failed or was cancelled
        self._ended()

    async def all_ended(self) -> None:
        """Wait until no call is under way."""
        while self._tasks:
            await asyncio.wait({*self._tasks})

    async def cancel(self) -> None:
        """Cancel every call, and wait for its end."""
        await cancelled(*self._tasks)

    def drop(self, progress: Progress) -> None:
        """Forget the inputs that another owner has finished; a call for nothing else is cancelled."""
        self.running = {offset for offset in self.running if offset not in progress}
        for task, offsets in self._tasks.items():
            if self.running.isdisjoint(offsets):
                task.cancel()

    async def _guarded(self, batch: Sequence[Stored]) -> None:
        try:
            await self._flood.opened()
            await self._process(batch)
        except StageEnds:
            return
        except Exception as err:  # noqa: BLE001 - handed to the worker, which raises it
            self._failed(err)

    async def _process(self, batch: Sequence[Stored]) -> None:
        """Bring every record of a batch to an outcome or a dead letter."""
        readable: list[Stored] = []
        records: list[Any] = []
        unreadable: list[tuple[Stored, Exception]] = []
        for stored in batch:
            try:
                records.append(decode(stored.value, self._spec.input.record))
                readable.append(stored)
            except Permanent as err:
                if not self._bury(stored, err):
                    unreadable.append((stored, err))
        if records:
            await self._settle(readable, records)
        for stored, err in unreadable:
            while not self._bury(stored, err):
                await self._flood.opened()

    async def _settle(self, batch: Sequence[Stored], records: Sequence[Any]) -> None:
        """Process a batch; halve one that fails until the record to blame stands alone."""
        try:
            outcomes = await self._attempts(records)
        except (Fatal, StageEnds):
            raise
        except Exception as err:  # noqa: BLE001 - any other error of a stage is our defect: the record goes to `dead`
            if len(batch) > 1:
                half = len(batch) // 2
                await self._settle(batch[:half], records[:half])
                await self._settle(batch[half:], records[half:])
            elif not self._bury(batch[0], err):
                await self._again(batch, records)
            return
        finished: list[Finished] = []
        again: list[int] = []
        for index, (stored, outcome) in enumerate(zip(batch, outcomes, strict=True)):
            try:
                finished.append(self._settled(stored, outcome))
                self._flood.passed()
            except Exception as err:  # noqa: BLE001 - what cannot be written, or is no outcome at all, is our defect too
                if not self._bury(stored, err):
                    again.append(index)
        self._finish(finished)
        for index in again:
            await self._again([batch[index]], [records[index]])

    async def _again(self, batch: Sequence[Stored], records: Sequence[Any]) -> None:
        """Process a batch again after the flood in which it must not be buried. Raises:  StageEnds."""
        await self._flood.opened()
        await self._settle(batch, records)

    async def _attempts(self, records: Sequence[Any]) -> Sequence[Outcome[Any]]:
        """Call the stage. A lone record is given `attempts`; several are halved at the first failure."""
        failures = 0
        while True:
            try:
                outcomes = await self._gates.calls.call(lambda: self._call(records))
            except Transient:
                failures += 1
                if len(records) > 1 or failures >= self._settings.attempts:
                    raise
                self._stats.retried += 1
                settings = self._settings
                await asyncio.sleep(backoff_s(failures, settings.retry_base_s, settings.retry_cap_s, random.random()))
                await self._flood.opened()
            else:
                if len(outcomes) != len(records):
                    raise Permanent(f"stage {self._spec.name} gave {len(outcomes)} outcomes for {len(records)} records")
                return outcomes

    async def _call(self, records: Sequence[Any]) -> Sequence[Outcome[Any]]:
        what = f"stage {self._spec.name}"
        return await within(self._settings.call_deadline_s, what, lambda: self._shape.call(records))

    def _settled(self, stored: Stored, outcome: Outcome[Any]) -> Finished:
        """Return what is to be committed of an outcome.

        Raises:  BadRecord, TooLarge; anything where it is no outcome at all.
        """
        spec = self._spec
        messages = outcome_messages(spec.name, spec.output.name, spec.position(stored), stored.key, outcome)
        error = refused(messages, self._refusal)
        if error is not None:
            raise error
        return Finished(stored, messages, [reject.reason for reject in outcome.rejected])

    def _bury(self, stored: Stored, error: Exception) -> bool:
        """Finish a record with a dead letter; not in a flood, and then return False."""
        if stored.offset not in self.running:
            return True  # another owner has finished it
        if not self._flood.buries(error):
            return False
        letter = dead_letter(self._spec.name, self._spec.position(stored), stored.key, stored.value, error)
        self._finish([Finished(stored, letter, [])])
        return True

    def _finish(self, finished: Sequence[Finished]) -> None:
        ours = [one for one in finished if one.stored.offset in self.running]  # the others were dropped
        self.running.difference_update([one.stored.offset for one in ours])
        self._done(ours)
