"""The two shapes of stage. A stage is pure apart from the clients handed to it: it never retries, sleeps, commits or
catches a broad exception. It returns outcomes and raises the errors of `stream.errors`; only the runner decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from stream.errors import Permanent
from stream.records import Record

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)
Part = TypeVar("Part", bound=Record)
Source = TypeVar("Source", bound=Record)
State = TypeVar("State")


class Reject(Exception):  # noqa: N818 - a value first; raising it is a parser's short way out
    """A record, or one part of it, turned down by a rule, with the evidence for it.

    `record_id` names the part (one function of a file); None means the input itself. A parser may raise it and its
    stage return it; it never leaves a stage.

    >>> str(Reject(Reason.ALREADY_KEPT, "x" * 100)) == "already_kept: " + "x" * 80 + "…"
    True
    """

    def __init__(self, reason: StrEnum, evidence: str, record_id: str | None = None) -> None:
        self.reason = reason
        self.evidence = evidence
        self.record_id = record_id
        super().__init__(f"{reason}: {evidence[:80]}{'…' if len(evidence) > 80 else ''}")


class Reason(StrEnum):
    """The one reason that the runner itself gives. Every stage has an enum of its own."""

    ALREADY_KEPT = "already_kept"


class Outcome(msgspec.Struct, Generic[Out], frozen=True):
    """What became of one input: at least one emitted or rejected part, so that no input can vanish.

    >>> Outcome()
    Traceback (most recent call last):
    ...
    stream.errors.Permanent: an outcome is never empty: emit a record or reject the input with a reason
    """

    emitted: tuple[Out, ...] = ()
    rejected: tuple[Reject, ...] = ()

    def __post_init__(self) -> None:
        if not self.emitted and not self.rejected:
            raise Permanent("an outcome is never empty: emit a record or reject the input with a reason")

    @staticmethod
    def of(*parts: "Part | Reject") -> "Outcome[Part]":
        """Sort parts into emitted and rejected."""
        return Outcome(
            tuple(part for part in parts if not isinstance(part, Reject)),
            tuple(part for part in parts if isinstance(part, Reject)),
        )


@dataclass(frozen=True, slots=True)
class Map(Generic[In, Out]):
    """Each record for itself, in any order.

    `call` takes 1..`batch` records and returns one outcome for each, in the same order. When a call of several raises
    Transient or Permanent, the runner halves the batch until the record to blame stands alone.
    """

    call: Callable[[Sequence[In]], Awaitable[Sequence[Outcome[Out]]]]
    batch: int = 1  # records a call takes at most
    concurrency: int = 64  # calls in flight at most
    linger_s: float = 0.0  # how long an incomplete batch waits for more records while others could still come

    @staticmethod
    def single(
        call: Callable[[Source], Awaitable[Outcome[Part]]],
        concurrency: int = 64,
    ) -> "Map[Source, Part]":
        """A Map from a function of one record."""

        async def each(records: Sequence[Source]) -> Sequence[Outcome[Part]]:
            return [await call(record) for record in records]

        return Map(each, concurrency=concurrency)


@dataclass(frozen=True, slots=True)
class Decision(Generic[Out]):
    """What a Fold decided on one record. `change` is what remembering a kept record takes ("" when its id suffices);
    it is read only when the outcome emits."""

    outcome: Outcome[Out]
    change: str = ""


@dataclass(frozen=True, slots=True)
class Fold(Generic[In, Out, State]):
    """Records in the order of the log, against everything kept before. Pure: no clock, no IO.

    `decide(state, records)` returns one decision per record, in order, and updates `state` as it goes, so a record
    sees those before it in the same call; how records are cut into calls never changes a decision.
    `restore(state, changes)` replays the changes of kept records, in order, into a fresh `state`. After it, `state`
    decides as the one that made the changes would.

    The runner keeps the ids of emitted records itself and rejects a known id at a new position as `already_kept`
    before `decide` sees it, so one call never has the same id twice.
    """

    new: Callable[[], State]
    decide: Callable[[State, Sequence[In]], Sequence[Decision[Out]]]
    restore: Callable[[State, Sequence[str]], None]
    batch: int = field(default=256)  # records handed to `decide` at most
