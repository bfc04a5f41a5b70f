"""Functions -> typed. Reads `functions`, writes `typed`. Source: SelfCodeAlign, arXiv:2410.24198.

Keeps the functions in which pyright, in its basic mode, finds no error: self-contained, of the standard library alone.

A batch in which pyright dies or runs out of time raises WorkerDied, which is Transient, and the runner halves it until
the seed to blame stands alone. That one ends dead-lettered, not rejected: that a checker hangs says nothing against
the program, and it can be replayed with the next version of the checker. The reference drops the whole batch.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consumers.foregone import foregone_errors
from consumers.pool import Pool
from consumers.pyright_cli import Diagnostic
from stream.records import Seed, Step
from stream.stage import Map, Outcome, Reject

VERSION = 1

SHOWN = 5  # errors kept as evidence


class Reason(StrEnum):
    TYPE_ERROR = "type_error"


@dataclass(frozen=True, slots=True)
class Params:
    """The recipe's table `typed`."""

    batch: int = 2_000  # functions a call; of real code the checker itself is asked about a quarter of them
    linger_s: float = 5.0  # how long an incomplete batch waits for more


class TypeChecker(Protocol):
    """Promises one list of errors for each code, in order, the same whatever stands beside it in the batch.

    Raises:  WorkerDied, Unavailable, Fatal (`stream.errors`).
    """

    async def errors(self, codes: Sequence[str]) -> Sequence[Sequence[Diagnostic]]: ...


def stage(params: Params, checker: TypeChecker, pool: Pool) -> Map[Seed, Seed]:
    """Check seeds in batches, one at a time: a checker takes a core and half a gigabyte."""

    async def typed(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        foregone = await pool.call(foregone_errors, [seed.code for seed in seeds])
        found: list[Sequence[Diagnostic]] = [[error] if error else [] for error in foregone]
        open_ones = [index for index, error in enumerate(foregone) if error is None]
        if open_ones:
            answers = await checker.errors([seeds[index].code for index in open_ones])
            for index, errors in zip(open_ones, answers, strict=True):
                found[index] = errors
        return [Outcome[Seed].of(judge(seed, errors)) for seed, errors in zip(seeds, found, strict=True)]

    return Map(typed, batch=params.batch, concurrency=1, linger_s=params.linger_s)


def judge(seed: Seed, errors: Sequence[Diagnostic]) -> Seed | Reject:
    """Keep a seed without errors; else the first of them are the evidence. Pure."""
    if not errors:
        return dataclasses.replace(seed, steps=(*seed.steps, Step("typed", VERSION, verdict="0 errors")))
    shown = sorted(errors, key=lambda error: error.line)[:SHOWN]
    return Reject(Reason.TYPE_ERROR, "\n".join(str(error) for error in shown))
