"""Running a Fold on one input partition: in the order of the log, one owner, its state restored from its own log."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stream.bus import Bus, Lease, Message, Stored
from stream.codec import decode
from stream.ending import Ending
from stream.errors import Fatal, LeaseLost, Permanent, TooLarge
from stream.flood_gate import FloodGate, StageEnds
from stream.fold_memory import Memory, restored
from stream.metrics import StageStats
from stream.outcomes import (
    Refusal,
    StageSpec,
    acceptable,
    dead_letter,
    outcome_messages,
    refused,
    state_message,
    topics,
)
from stream.progress import Progress, Window
from stream.records import Kept
from stream.retry import Gates
from stream.settings import Settings
from stream.stage import Fold
from stream.tasks import cancelled


class FoldWorker:
    """One Fold on one input partition. Each lease has a memory of its own, restored from the state log, so that it
    never knows of a record that is not committed."""

    def __init__(
        self,
        bus: Bus,
        spec: StageSpec,
        shape: Fold[Any, Any, Any],
        settings: Settings,
        stats: StageStats,
        gates: Gates,
        flood: FloodGate,
        copies: Path | None = None,
    ) -> None:
        self._bus = bus
        self._spec = spec
        self._shape = shape
        self._settings = settings
        self._stats = stats
        self._gates = gates
        self._flood = flood
        self._copies = copies

    @property
    def busy(self) -> bool:
        """Never: what a lease could not commit, the next one decides anew."""
        return False

    async def run(self, lease: Lease, ending: Ending) -> None:
        """Work under a lease until it is wanted or lost, or the end begins; finish the step under way, and release it.

        Raises:  Fatal.
        """
        tenure = FoldTenure(
            self._bus,
            self._spec,
            self._shape,
            lease,
            self._settings,
            self._stats,
            self._gates,
            self._flood,
            self._copies,
        )
        try:
            await tenure.run(ending)
        finally:
            lease.release()

    async def close(self) -> None:
        """Nothing was kept."""


class Readable(NamedTuple):
    """Records as they stand in the input, and decoded."""

    batch: list[Stored]
    records: list[Any]


class Unreadable(NamedTuple):
    """A record that cannot be decoded."""

    stored: Stored
    error: Permanent


class Decided(NamedTuple):
    """What became of some records, to be committed."""

    messages: list[Message]
    reasons: list[str]  # of the rejects
    kept: list[Kept]
    state: list[Message]  # one that adds what was kept to the state log, if anything was


class FoldTenure:
    """A Fold's work under one lease. `run` is its whole life."""

    def __init__(
        self,
        bus: Bus,
        spec: StageSpec,
        shape: Fold[Any, Any, Any],
        lease: Lease,
        settings: Settings,
        stats: StageStats,
        gates: Gates,
        flood: FloodGate,
        copies: Path | None,
    ) -> None:
        self._bus = bus
        self._spec = spec
        self._shape = shape
        self._lease = lease
        self._copies = copies
        self._settings = settings
        self._stats = stats
        self._gates = gates
        self._flood = flood
        self._refusal: Refusal = lease.refusal
        self._committed = lease.progress
        self._open: list[int] = []  # offsets delivered and not committed
        self._stepping = False  # a step is under way: it is let finish
        self._ending = False

    async def run(self, ending: Ending) -> None:
        """As `FoldWorker.run`. What takes longer than there is time for is left to the next lease."""
        work = asyncio.create_task(self._work())
        signals = [asyncio.create_task(event.wait()) for event in (ending, self._lease.wanted)]
        try:
            await asyncio.wait({work, *signals}, return_when=asyncio.FIRST_COMPLETED)
            self._ending = True
            if not self._stepping:
                await cancelled(work)
            await asyncio.wait({work}, timeout=ending.left_s)
        finally:
            await cancelled(work, *signals)
            self._stats.in_flight -= len(self._open)
        if not work.cancelled() and not isinstance(work.exception(), LeaseLost):
            work.result()

    async def _work(self) -> None:
        memory = await self._restored()
        with contextlib.suppress(StageEnds):
            while not self._ending:
                await self._flood.opened()
                batch = await self._fetched()
                self._stepping = True
                memory = await self._steps(memory, batch)
                self._stepping = False

    async def _restored(self) -> Memory:
        name, topic, partition = self._spec.name, self._spec.input.name, self._lease.partition
        return await self._gates.reads.call(
            lambda: restored(self._bus, name, self._shape, topic, partition, self._copies)
        )

    async def _fetched(self) -> Sequence[Stored]:
        """Return the next records; none when the watermark has moved over offsets without one, and nothing came that
        could be committed with it."""
        clock = asyncio.get_running_loop()
        due_s: float | None = None
        while True:
            try:
                async with asyncio.timeout_at(due_s):
                    batch = await self._gates.reads.call(lambda: self._lease.fetch(self._shape.batch))
            except TimeoutError:
                return ()
            if batch:
                self._open += [stored.offset for stored in batch]
                self._stats.in_flight += len(batch)
                return batch
            if due_s is None and self._progress(()) != self._committed:
                due_s = clock.time() + self._settings.commit_interval_s

    # --- one step

    async def _steps(self, memory: Memory, batch: Sequence[Stored]) -> Memory:
        """Finish a batch, cut where a record cannot be read; return the memory to go on with. Raises:  StageEnds."""
        for part in await asyncio.to_thread(self._read, batch):
            if isinstance(part, Readable):
                memory = await self._step(memory, *part)
            else:
                while not await self._bury(part.stored, part.error):
                    await self._paused()
        return memory

    def _read(self, batch: Sequence[Stored]) -> list[Readable | Unreadable]:
        """Decode a batch: runs of records, and those between them that cannot be read. Without records it is a run of
        none: there is progress to commit."""
        parts: list[Readable | Unreadable] = []
        run = Readable([], [])
        for stored in batch:
            try:
                record = decode(stored.value, self._spec.input.record)
            except Permanent as err:
                parts += [run, Unreadable(stored, err)] if run.batch else [Unreadable(stored, err)]
                run = Readable([], [])
            else:
                run.batch.append(stored)
                run.records.append(record)
        return [*parts, run] if run.batch or not parts else parts

    async def _step(self, memory: Memory, batch: Sequence[Stored], records: Sequence[Any]) -> Memory:
        """Decide on records and commit them; return the memory to go on with. Raises:  StageEnds."""
        try:
            decided = await asyncio.to_thread(self._decided, memory, batch, records)
            messages = self._fitting(decided)
        except Fatal:
            raise
        except Exception as err:  # noqa: BLE001 - a defect of the stage: find the record to blame, go on with the rest
            error = err
        else:
            refusal = await self._commit(batch, messages, decided.reasons)
            if refusal is None:
                for _ in batch:
                    self._flood.passed()
                return memory
            error = refusal
        memory = await self._restored()  # the old one has taken up a part of the batch, or all of it
        if len(batch) > 1:
            for stored, record in zip(batch, records, strict=True):
                memory = await self._step(memory, [stored], [record])
            return memory
        if await self._bury(batch[0], error):
            return memory
        await self._paused()
        return await self._step(memory, batch, records)

    async def _paused(self) -> None:
        """Wait for the end of a flood. The stage may be ended meanwhile: all that is decided is committed.

        Raises:  StageEnds, also where the lease ends.
        """
        if self._ending:
            raise StageEnds
        self._stepping = False
        await self._flood.opened()
        self._stepping = True

    def _decided(self, memory: Memory, batch: Sequence[Stored], records: Sequence[Any]) -> Decided:
        """Decide on records. Runs in a thread: it may take long."""
        messages: list[Message] = []
        kept: list[Kept] = []
        reasons: list[str] = []
        for stored, decision in zip(batch, memory.decide(records), strict=True):
            spec, outcome = self._spec, decision.outcome
            messages += outcome_messages(spec.name, spec.output.name, spec.position(stored), stored.key, outcome)
            reasons += [reject.reason for reject in outcome.rejected]
            if outcome.emitted:
                kept.append(Kept(stored.offset, stored.key, decision.change))
        return Decided(messages, reasons, kept, [self._state(kept)] if kept else [])

    def _letter(self, stored: Stored, error: BaseException) -> list[Message]:
        return dead_letter(self._spec.name, self._spec.position(stored), stored.key, stored.value, error)

    def _state(self, kept: Sequence[Kept]) -> Message:
        return state_message(self._spec.name, self._spec.input.name, self._lease.partition, kept)

    def _fitting(self, decided: Decided) -> list[Message]:
        """Return the messages of a step as the bus takes them. Raises:  TooLarge when it would not take one of them."""
        messages = [*decided.messages]
        for message in decided.state:
            messages += self._parts(message, decided.kept)
        error = refused(messages, self._refusal)
        if error is not None:
            raise error
        return messages

    def _parts(self, message: Message, kept: Sequence[Kept]) -> list[Message]:
        """Return a change of state, in as many messages as it takes: what fits for one record may not for many."""
        if len(kept) == 1 or self._refusal(message) is None:
            return [message]
        half = len(kept) // 2
        return [part for entries in (kept[:half], kept[half:]) for part in self._parts(self._state(entries), entries)]

    # --- commit

    def _progress(self, batch: Sequence[Stored]) -> Progress:
        """Return the progress once a batch is finished, of what was delivered."""
        window = Window(self._committed)
        window.deliver(self._open)
        window.advance(self._lease.position)
        window.finish(stored.offset for stored in batch)
        return window.progress()

    async def _commit(
        self, batch: Sequence[Stored], messages: Sequence[Message], reasons: Sequence[str]
    ) -> TooLarge | None:
        """Commit a batch as one step; return why the bus does not take it. Tries for ever while the bus is away."""
        progress = self._progress(batch)
        try:
            await self._gates.commits.call(lambda: self._lease.commit(messages, progress))
        except TooLarge as err:
            if refused(messages, self._refusal) is None:
                raise Fatal(f"stage {self._spec.name}: the bus refuses a step, and no message in it: {err}") from err
            return err
        self._committed = progress
        self._open = self._open[len(batch) :]
        self._stats.in_flight -= len(batch)
        self._stats.committed(len(batch), topics(messages), self._spec.output.name, reasons)
        return None

    async def _bury(self, stored: Stored, error: BaseException) -> bool:
        """Commit a dead letter for a record; not in a flood, and then return False."""
        if not self._flood.buries(error):
            return False
        name, position = self._spec.name, self._spec.position(stored)
        letter = self._letter(stored, error)
        while True:
            letter = acceptable(name, position, stored.key, stored.value, letter, self._refusal)
            if await self._commit([stored], letter, ()) is None:
                return True
