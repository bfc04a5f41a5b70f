"""Running a Fold on one input partition: in the order of the log, one owner, its state restored from its own log."""

import asyncio
from collections.abc import Sequence
from typing import Any

from stream.bus import Bus, Lease, Message, Stored
from stream.codec import decode
from stream.errors import Fatal, Permanent
from stream.metrics import StageStats
from stream.outcomes import StageSpec, dead_letter, outcome_messages, state_message, topics
from stream.progress import Window
from stream.records import Kept, StateChange
from stream.retry import Gates
from stream.stage import Decision, Fold, Outcome, Reason, Reject
from stream.tasks import cancelled
from stream.topics import state_topic


class Memory:
    """What a Fold remembers: the ids it kept, and its own state. Shared by the runner and by whoever checks it.

    `decide` is a pure function of the log: the same records in the same order give the same decisions, however they
    are cut into calls and wherever a restart fell in between.
    """

    def __init__(self, fold: Fold[Any, Any, Any]) -> None:
        self._fold = fold
        self._kept: set[str] = set()
        self._state = fold.new()

    def restore(self, entries: Sequence[Kept]) -> None:
        """Take up entries of the state log, in its order."""
        self._kept.update(entry.record_id for entry in entries)
        self._fold.restore(self._state, [entry.change for entry in entries])

    def decide(self, records: Sequence[Any]) -> list[Decision[Any]]:
        """Return one decision per record, in order. What raises leaves this memory unusable."""
        decisions: list[Decision[Any]] = []
        rest = list(records)
        while rest:
            run = self._run(rest)
            if run:
                decisions.extend(self._decide(run))
            else:  # the first one is known
                reject = Reject(Reason.ALREADY_KEPT, rest[0].key)
                decisions.append(Decision(Outcome(rejected=(reject,))))
            rest = rest[max(len(run), 1) :]
        return decisions

    def _run(self, records: Sequence[Any]) -> Sequence[Any]:
        """The longest beginning of `records` without a kept id and without an id twice."""
        seen: set[str] = set()
        for k, record in enumerate(records):
            if record.key in self._kept or record.key in seen:
                return records[:k]
            seen.add(record.key)
        return records

    def _decide(self, records: Sequence[Any]) -> Sequence[Decision[Any]]:
        decisions = self._fold.decide(self._state, records)
        if len(decisions) != len(records):
            raise Permanent(f"a Fold gave {len(decisions)} decisions for {len(records)} records")
        self._kept.update(r.key for r, d in zip(records, decisions, strict=True) if d.outcome.emitted)
        return decisions


async def restored(bus: Bus, stage: str, fold: Fold[Any, Any, Any], topic: str, partition: int) -> Memory:
    """Return the memory that the state log of `stage` describes for one input partition."""
    memory = Memory(fold)
    async for batch in bus.read(state_topic(stage).name):
        entries = [
            entry
            for stored in batch
            if stored.cause is not None and (stored.cause.topic, stored.cause.partition) == (topic, partition)
            for entry in decode(stored.value, StateChange).entries
        ]
        await asyncio.to_thread(memory.restore, entries)
    return memory


class FoldWorker:
    """One Fold on one lease. `run` is its whole life."""

    def __init__(
        self, bus: Bus, spec: StageSpec, shape: Fold[Any, Any, Any], lease: Lease, stats: StageStats, gates: Gates
    ) -> None:
        self.bus = bus
        self.spec = spec
        self.shape = shape
        self.lease = lease
        self.stats = stats
        self.gates = gates
        self._window = Window(lease.progress)

    async def run(self, stop: asyncio.Event) -> None:
        """Process until `stop` is set and what was fetched is committed. Raises:  Fatal."""
        memory = await self._restored()
        stopped = asyncio.create_task(stop.wait())
        fetch: asyncio.Task[Sequence[Stored]] | None = None
        try:
            while not stop.is_set():
                fetch = asyncio.create_task(self.gates.reads.call(lambda: self.lease.fetch(self.shape.batch)))
                await asyncio.wait({fetch, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if fetch.done():
                    memory = await self._step(memory, fetch.result())
        finally:
            await cancelled(stopped, *([fetch] if fetch else []))

    async def _restored(self) -> Memory:
        name, topic, partition = self.spec.name, self.spec.input.name, self.lease.partition
        return await self.gates.reads.call(lambda: restored(self.bus, name, self.shape, topic, partition))

    async def _step(self, memory: Memory, batch: Sequence[Stored]) -> Memory:
        """Decide on a batch and commit it; return the memory to go on with."""
        self._window.deliver(stored.offset for stored in batch)
        self.stats.in_flight += len(batch)
        try:
            decided = await asyncio.to_thread(self._decided, memory, batch)
        except Fatal:
            raise
        except Exception as err:  # noqa: BLE001 - a defect of the stage: find the record to blame, go on with the rest
            memory = await self._restored()  # the old one may have taken up a part of the batch
            if len(batch) > 1:
                for stored in batch:
                    memory = await self._again(memory, stored)
                return memory
            await self._commit(batch, self._letter(batch[0], err), [])
            return memory
        await self._commit(batch, *decided)
        return memory

    async def _again(self, memory: Memory, stored: Stored) -> Memory:
        """Process one record of a batch that failed as a whole."""
        try:
            decided = await asyncio.to_thread(self._decided, memory, [stored])
        except Fatal:
            raise
        except Exception as err:  # noqa: BLE001 - this is the one: our defect, so `dead`
            await self._commit([stored], self._letter(stored, err), [])
            return await self._restored()
        await self._commit([stored], *decided)
        return memory

    def _letter(self, stored: Stored, error: BaseException) -> list[Message]:
        return dead_letter(self.spec.name, self.spec.position(stored), stored.key, stored.value, error)

    def _decided(self, memory: Memory, batch: Sequence[Stored]) -> tuple[list[Message], list[str]]:
        """Return the messages and reject reasons of a batch. Runs in a thread: it may take long."""
        messages: list[Message] = []
        readable: list[Stored] = []
        records: list[Any] = []
        for stored in batch:
            try:
                records.append(decode(stored.value, self.spec.input.record))
                readable.append(stored)
            except Permanent as err:
                messages += self._letter(stored, err)
        entries: list[Kept] = []
        reasons: list[str] = []
        for stored, decision in zip(readable, memory.decide(records), strict=True):
            spec, outcome = self.spec, decision.outcome
            messages += outcome_messages(spec.name, spec.output.name, spec.position(stored), stored.key, outcome)
            reasons += [reject.reason for reject in outcome.rejected]
            if outcome.emitted:
                entries.append(Kept(stored.offset, stored.key, decision.change))
        if entries:
            messages.append(state_message(self.spec.name, self.spec.input.name, self.lease.partition, entries))
        return messages, reasons

    async def _commit(self, batch: Sequence[Stored], messages: list[Message], reasons: list[str]) -> None:
        """Commit a batch as one step. Tries for ever while the bus is away."""
        self._window.finish(stored.offset for stored in batch)
        progress = self._window.progress()
        await self.gates.commits.call(lambda: self.lease.commit(messages, progress))
        self.stats.in_flight -= len(batch)
        self.stats.committed(len(batch), topics(messages), self.spec.output.name, reasons)
