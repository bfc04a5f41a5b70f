"""Functions -> typed: what is sent to the checker, what becomes of its answers, and what happens when it dies."""

from collections.abc import AsyncIterator, Sequence

import pytest

from consumers import typed
from consumers.pool import Pool
from consumers.pyright_cli import Diagnostic
from consumers.typed import Params, Reason
from stream.errors import PipelineError, Transient, WorkerDied
from stream.records import File, Seed, SeedId, Step, file_id

GOOD = "def f(x):\n    'Doc.'\n    return x"


def seed(code: str, name: str = "f") -> Seed:
    file = File(file_id("here", "a.py", b""), "here", "a.py", "python", None, None, "MIT")
    return Seed(SeedId(name), file, 0, 1, "function", name, code, "", (), (Step("functions", 1),))


class Scripted:
    """A checker that remembers what it was asked and finds an error in every code that holds the word `wrong`."""

    def __init__(self, error: PipelineError | None = None) -> None:
        self.asked: list[str] = []
        self.error = error

    async def errors(self, codes: Sequence[str]) -> list[list[Diagnostic]]:
        self.asked += codes
        if self.error:
            raise self.error
        return [[Diagnostic(2, "is wrong", "reportWrong")] if "wrong" in code else [] for code in codes]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool(1) as it:
        yield it


async def test_a_seed_without_errors_is_emitted_with_the_verdict_as_a_step(pool: Pool) -> None:
    checker = Scripted()
    (outcome,) = await typed.stage(Params(), checker, pool).call([seed(GOOD)])
    (passed,) = outcome.emitted
    assert passed.steps == (Step("functions", 1), Step("typed", typed.VERSION, verdict="0 errors"))
    assert (passed.code, passed.seed_id) == (GOOD, "f")
    assert checker.asked == [GOOD]


async def test_outcomes_stand_in_the_order_of_the_batch_whoever_judged_them(pool: Pool) -> None:
    undefined = "def f(x):\n    return helper(x)"
    wrong = "def f(x):\n    'wrong'\n    return x"
    checker = Scripted()
    codes = [undefined, GOOD, wrong, undefined, wrong, GOOD]
    stage = typed.stage(Params(), checker, pool)
    outcomes = await stage.call([seed(code, str(n)) for n, code in enumerate(codes)])
    assert [[s.seed_id for s in o.emitted] for o in outcomes] == [[], ["1"], [], [], [], ["5"]]
    assert [[r.evidence for r in o.rejected] for o in outcomes] == [
        ['line 2: "helper" is not defined (reportUndefinedVariable)'],
        [],
        ["line 2: is wrong (reportWrong)"],
        ['line 2: "helper" is not defined (reportUndefinedVariable)'],
        ["line 2: is wrong (reportWrong)"],
        [],
    ]
    assert all(r.reason == Reason.TYPE_ERROR and r.record_id is None for o in outcomes for r in o.rejected)
    assert checker.asked == [GOOD, wrong, wrong, GOOD]  # what is foregone is not asked


async def test_the_checker_is_not_called_when_nothing_is_open(pool: Pool) -> None:
    checker = Scripted(WorkerDied("never reached"))
    (outcome,) = await typed.stage(Params(), checker, pool).call([seed("def f(x):\n    return helper(x)")])
    assert len(outcome.rejected) == 1


async def test_when_the_checker_dies_the_batch_raises_for_the_runner_to_halve(pool: Pool) -> None:
    stage = typed.stage(Params(batch=7), Scripted(WorkerDied("gone")), pool)
    assert (stage.batch, stage.concurrency) == (7, 1)
    with pytest.raises(Transient, match="gone"):
        await stage.call([seed(GOOD)] * 7)


def test_evidence_is_the_first_errors_by_line() -> None:
    errors = [Diagnostic(9 - n, f"error {n}", None) for n in range(8)]
    reject = typed.judge(seed(GOOD), errors)
    assert not isinstance(reject, Seed)
    assert reject.evidence.split("\n") == [f"line {n}: error {9 - n}" for n in range(2, 7)]
