"""Stages for the tests of the runner's rules for a Fold."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from stream.fold_memory import Memory
from stream.records import Seed
from stream.stage import Decision, Fold, Outcome, Reason, Reject
from tests.stage_runs import seeds


@dataclass(slots=True)
class Sum:
    """What the Fold below remembers: the sum of the numbers it kept, and how often it was asked."""

    total: int = 0
    calls: list[list[str]] = field(default_factory=list[list[str]])


class Bad(NamedTuple):
    """Makes the Fold raise, after it has taken up what stands before it."""

    name: str
    error: Exception


def running_sum(bad: Bad | None = None, batch: int = 256) -> Fold[Seed, Seed, Sum]:
    """Keeps a seed when its number and the sum of those kept so far is not a multiple of 3: every decision depends on
    all before it. What it emits says the sum."""

    def decide(state: Sum, records: Sequence[Seed]) -> list[Decision[Seed]]:
        state.calls.append([record.name for record in records])
        decisions: list[Decision[Seed]] = []
        for record in records:
            if bad is not None and record.name == bad.name:
                raise bad.error
            if (state.total + int(record.name)) % 3 == 0:
                decisions.append(Decision(Outcome(rejected=(Reject(Reason.ALREADY_KEPT, f"sum {state.total}"),))))
                continue
            state.total += int(record.name)
            kept = replace(record, code=str(state.total))
            decisions.append(Decision(Outcome((kept,)), record.name))
        return decisions

    def restore(state: Sum, changes: Sequence[str]) -> None:
        state.total += sum(int(change) for change in changes)

    return Fold(Sum, decide, restore, batch)


def undisturbed(records: Sequence[Seed]) -> list[Outcome[Seed]]:
    """The decisions of one memory over the whole log, one record at a time."""
    memory = Memory(running_sum())
    return [memory.decide([record])[0].outcome for record in records]


def told(outcomes: Sequence[Outcome[Seed]]) -> list[tuple[object, ...]]:
    return [(o.emitted, [(r.reason, r.evidence, r.record_id) for r in o.rejected]) for o in outcomes]


def numbered(numbers: Sequence[int]) -> list[Seed]:
    """Seeds by number; the same number twice is the same id twice."""
    known = seeds(40)
    return [known[number] for number in numbers]
