"""A model's solutions are run in the sandbox and scored; the published references pass, and what is wrong does not."""

import builtins
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from consumers.llm.request import Request, TooLong
from sandbox import Limits, Result, Sandbox, SandboxBroken, SandboxRefused
from stream.errors import DependencyDown, PipelineError, WrongConfig
from stream.records import sampling_seed
from tests.benchmarks_made import EVAL_PLUS, HUMAN_EVAL, MBPP, MBPP_PLUS, write
from tests.fakes import Answer, FakeLLM
from trainer.asking import Asking, Chatting, Continuing
from trainer.benchmarks import Benchmark, load
from trainer.evaluate import Evaluation, Job, Samples, check_references, evaluate, expectations
from trainer.problems import read
from trainer.programs import program

PROBLEMS = tuple(read(row) for row in (HUMAN_EVAL, MBPP, EVAL_PLUS, MBPP_PLUS))
ALL = Benchmark("all", PROBLEMS)
BY_PROMPT = {problem.prompt: problem for problem in PROBLEMS}


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(2, Limits(cpu_s=1)) as box:
        yield box


def reference(request: Request) -> str:
    """What a base model writes that knows all the references."""
    problem = BY_PROMPT[request.prompt.prefill]
    return problem.reference.removeprefix(problem.prelude)


def in_chat(request: Request) -> str:
    [problem] = [problem for problem in PROBLEMS if problem.ask == request.prompt.ask]
    return f"Like this:\n\n```python\n{problem.reference}\n```\nI hope this helps."


async def run(
    box: Sandbox,
    path: Path,
    answer: Answer,
    *,
    benchmark: Benchmark = ALL,
    asking: Asking | None = None,
    samples: Samples | None = None,
    ks: tuple[int, ...] = (1,),
) -> tuple[Evaluation, FakeLLM]:
    llm = FakeLLM(answer)
    job = Job("m", benchmark, asking or Continuing(), samples or Samples(), ks)
    return await evaluate(llm, box, job, path / "answers.jsonl"), llm


async def test_the_published_solutions_pass_with_the_published_tests(box: Sandbox):
    assert [a.verdict for a in await check_references(ALL, box)] == ["pass"] * 4


async def test_a_reference_that_fails_its_own_tests_is_named(box: Sandbox):
    wrong = replace(PROBLEMS[0], reference=PROBLEMS[0].reference.replace("max", "min"))
    [attempt] = await check_references(Benchmark("b", (wrong,)), box)
    assert (attempt.task_id, attempt.verdict) == ("HumanEval/0", "assertion")


@pytest.mark.parametrize(("asking", "answer"), [(Continuing(), reference), (Chatting(), in_chat)])
async def test_a_model_that_knows_the_solutions_scores_one(
    asking: Asking, answer: Answer, box: Sandbox, tmp_path: Path
):
    done, llm = await run(box, tmp_path, answer, asking=asking)
    assert [a.verdict for a in done.attempts] == ["pass"] * 4
    assert done.score.passed == (1, 1, 1, 1) and done.score.pass_at[0].value == 1.0
    assert done.score.setting == f"{asking.name}, greedy"
    assert len(llm.asked) == done.asked == 4


@pytest.mark.parametrize(
    ("task", "completion", "verdict"),
    [
        (0, "    return 3.5\n", "assertion"),  # right for the first test alone
        (0, "    return max(heights) - min(heights\n", "syntax_error"),
        (0, "    raise SystemExit\n", "early_exit"),
        (0, "    while True: pass\n", "timeout"),
        (1, "def vowels(w): return 2\n", "assertion"),
        (1, "", "exception"),
        (2, "    return sum(values) / len(values)\n", "exception"),  # right for the base inputs, not for the others
        (2, "    return sum(values) // len(values) if values else 0\n", "assertion"),
        (2, "    import math\n    return math.fsum(values) / len(values) if values else 0.0\n", "pass"),  # within 1e-6
        (3, "def count_X(tup, x): return list(tup).count(x)\n", "pass"),
        (3, "def count_X(tup, x): return 2\n", "assertion"),
    ],
)
async def test_a_solution_passes_by_its_tests_alone(
    task: int, completion: str, verdict: str, box: Sandbox, tmp_path: Path
):
    done, _ = await run(box, tmp_path, lambda _: completion, benchmark=Benchmark("b", PROBLEMS[task : task + 1]))
    assert [a.verdict for a in done.attempts] == [verdict]


async def test_no_name_that_a_solution_gives_changes_how_it_is_compared(box: Sandbox):
    names = [name for name in dir(builtins) if name[0].islower()]
    helpers = "".join(f"def {name}(*_, **__):\n    assert True\n    return []\n" for name in (*names, "check_outputs"))
    loop = "    total = count = 0\n    for value in values:\n        total, count = total + value, count + 1\n"
    mean = f"def mean(values):\n{loop}    return total / count if count else 0.0\n"
    right = replace(PROBLEMS[2], reference=helpers + mean)
    [expected] = (await expectations(Benchmark("b", (right,)), box)).values()
    assert expected == (await expectations(Benchmark("b", (PROBLEMS[2],)), box))["HumanEval/1"]
    verdicts = [await box.run(program(right, helpers + code, expected)) for code in (mean, mean.replace("0.0", "1.0"))]
    assert [ended.verdict for ended in verdicts] == ["pass", "assertion"]


async def test_what_fails_on_an_input_names_it(box: Sandbox, tmp_path: Path):
    done, _ = await run(box, tmp_path, lambda _: "    return 0.0\n", benchmark=Benchmark("b", (PROBLEMS[2],)))
    assert "input 0: mean([1, 2]) gives 0.0, not 1.5" in done.attempts[0].detail


async def test_samples_have_seeds_of_their_own_that_follow_from_what_is_asked(box: Sandbox, tmp_path: Path):
    samples = Samples(3, temperature=0.8)
    first, llm = await run(box, tmp_path / "a", reference, samples=samples, ks=(1, 3))
    _, again = await run(box, tmp_path / "b", reference, samples=samples)
    seeds = [request.seed for request in llm.asked]
    assert len(set(seeds)) == len(seeds) == 12 and seeds == [request.seed for request in again.asked]
    assert seeds == [sampling_seed(request.request_id, samples.seed) for request in llm.asked]
    assert [at.k for at in first.score.pass_at] == [1, 3]
    assert first.score.setting == "completions, temperature 0.8, 3 samples"
    _, other = await run(box, tmp_path / "c", reference, samples=replace(samples, seed=1))
    assert not set(seeds) & {request.seed for request in other.asked}


async def test_passing_samples_are_counted_for_each_problem(box: Sandbox, tmp_path: Path):
    calls: dict[str, int] = {}

    def every_second(request: Request) -> str:
        calls[request.prompt.prefill] = calls.get(request.prompt.prefill, 0) + 1
        return reference(request) if calls[request.prompt.prefill] % 2 else ""

    done, _ = await run(box, tmp_path, every_second, samples=Samples(4, temperature=1.0), ks=(1, 2))
    assert done.score.passed == (2, 2, 2, 2)
    assert [(at.k, at.value) for at in done.score.pass_at] == [(1, 0.5), (2, pytest.approx(5 / 6, abs=1e-6))]


async def test_a_run_that_was_killed_goes_on_and_asks_only_for_what_is_missing(box: Sandbox, tmp_path: Path):
    whole, _ = await run(box, tmp_path / "whole", reference)
    path = tmp_path / "killed"
    await run(box, path, reference, benchmark=Benchmark("all", PROBLEMS[:2]))
    rest, llm = await run(box, path, reference)
    assert rest.asked == len(llm.asked) == 2
    assert (rest.score, rest.attempts) == (whole.score, whole.attempts)


@pytest.mark.parametrize(
    "changed",
    [
        {"samples": Samples(max_tokens=5)},
        {"samples": Samples(temperature=0.1)},
        {"samples": Samples(seed=1)},
        {"model_id": "other"},
        {"asking": Chatting()},
        {"benchmark": Benchmark("b", (replace(PROBLEMS[0], prompt="other"),))},
    ],
)
async def test_another_question_is_asked_anew(changed: dict[str, object], box: Sandbox, tmp_path: Path):
    job = Job("m", Benchmark("b", PROBLEMS[:1]), Continuing(), Samples(), (1,))
    for asked, each in ((1, job), (0, job), (1, replace(job, **changed))):  # type: ignore[arg-type]
        done = await evaluate(FakeLLM(lambda _: ""), box, each, tmp_path / "answers.jsonl")
        assert done.asked == asked


async def test_a_prompt_that_does_not_fit_counts_as_failed(box: Sandbox, tmp_path: Path):
    def one_too_long(request: Request) -> str | TooLong:
        return TooLong(9, 5) if request.prompt.prefill == PROBLEMS[0].prompt else reference(request)

    done, _ = await run(box, tmp_path, one_too_long)
    assert done.score.passed == (0, 1, 1, 1)
    assert (done.attempts[0].verdict, done.attempts[0].finish_reason) == ("too_long", "too_long")


async def test_equal_programs_run_once(box: Sandbox, tmp_path: Path):
    ran: list[str | bytes] = []

    class Counting:
        async def run(self, program: str | bytes) -> Result:
            ran.append(program)
            return await box.run(program)

    job = Job("m", Benchmark("b", PROBLEMS[:1]), Continuing(), Samples(5, temperature=1.0), (1,))
    done = await evaluate(FakeLLM(reference), Counting(), job, tmp_path / "answers.jsonl")
    assert (len(ran), done.score.passed) == (1, (5,))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [(SandboxRefused("no namespaces"), DependencyDown), (SandboxBroken("torn"), PipelineError)],
)
async def test_a_sandbox_that_fails_is_no_verdict(raised: SandboxBroken, expected: type[PipelineError], tmp_path: Path):
    class Broken:
        async def run(self, program: str | bytes) -> Result:
            raise raised

    job = Job("m", Benchmark("b", PROBLEMS[:1]), Continuing(), Samples(), (1,))
    with pytest.raises(expected, match=str(raised)):
        await evaluate(FakeLLM(reference), Broken(), job, tmp_path / "answers.jsonl")
    assert (tmp_path / "answers.jsonl").read_bytes().count(b"\n") == 1


async def test_a_reference_that_does_not_run_is_named_before_a_model_is_asked(box: Sandbox, tmp_path: Path):
    path = write(tmp_path / "odd.jsonl", EVAL_PLUS | {"canonical_solution": "    import numpy\n"})
    llm = FakeLLM(reference)
    job = Job("m", load(str(path)), Continuing(), Samples(), (1,))
    with pytest.raises(WrongConfig, match=r"odd: the reference of HumanEval/1 does not run here: exception: ModuleNot"):
        await evaluate(llm, box, job, tmp_path / "answers.jsonl")
    assert llm.asked == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Samples(0), "at least one sample"),
        (lambda: Samples(2), "greedy samples are all the same"),
        (lambda: Samples(temperature=float("nan")), "temperature >= 0"),
        (lambda: Samples(top_p=0.0), "top-p"),
        (lambda: Job("m", ALL, Continuing(), Samples(), (2,)), "pass@2 needs as many samples, there are 1"),
        (lambda: Job("m", ALL, Continuing(), Samples(), ()), "pass@0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object, message: str):
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
