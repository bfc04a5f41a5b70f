"""What a Fold remembers, and how it is restored from the stage's state log."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stream import state_copy
from stream.bus import Bus
from stream.codec import decode
from stream.errors import Permanent
from stream.records import Kept, StateChange
from stream.stage import Decision, Fold, Outcome, Reason, Reject
from stream.state_copy import Log
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


async def restored(
    bus: Bus, stage: str, fold: Fold[Any, Any, Any], topic: str, partition: int, copies: Path | None = None
) -> Memory:
    """Return the memory that the state log of `stage` describes for one input partition. `copies` is the folder for
    copies of state logs, if there are to be any."""
    memory = Memory(fold)
    async for batch in state_copy.read(Log(bus, state_topic(stage).name, copies)):
        entries = [
            entry
            for line in batch
            if (line.topic, line.partition) == (topic, partition)
            for entry in decode(line.value, StateChange).entries
        ]
        await asyncio.to_thread(memory.restore, entries)
    return memory
