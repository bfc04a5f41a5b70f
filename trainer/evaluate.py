"""A model on a benchmark: sample solutions, run each with its tests, and score. All clients are handed in.

Answers are asked for through `LLM` and kept as they arrive (`answers`); programs run in the sandbox alone.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from consumers.executions import Box
from consumers.llm.request import LLM, Request, Sampling
from sandbox import Result, SandboxBroken, SandboxRefused, Verdict
from stream.errors import DependencyDown, PipelineError, WrongConfig
from stream.records import Score, Step, derived_id, digest, sampling_seed
from stream.settings import DEFAULTS, Settings
from trainer.answers import FILTERED, TOO_LONG, Answer, AnswerFile, Question, ask
from trainer.asking import REFUSED, UNFINISHED_REASONING, Asking, Solved, solution
from trainer.benchmarks import Benchmark
from trainer.passk import estimate
from trainer.problems import Problem
from trainer.programs import program, recording

VERSION = 3
"""Raised when the same benchmark and answers would score otherwise."""

WAITING = 32
"""Programs that exist at once, running or waiting for a slot: those of EvalPlus carry all their inputs."""

T = TypeVar("T")

Key = tuple[str, str]
"""A task's id and a solution of it: equal ones get equal verdicts."""

Note = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class Samples:
    """How many samples of a problem are drawn, and how. The defaults are greedy."""

    count: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1_024
    seed: int = 3407

    def __post_init__(self) -> None:
        if self.count < 1 or self.max_tokens < 1:
            raise ValueError("expected at least one sample of at least one token")
        if not math.isfinite(self.temperature) or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError("expected temperature >= 0 and 0 < top-p <= 1")
        if self.count > 1 and self.temperature == 0:
            raise ValueError(f"greedy samples are all the same: for {self.count} of them set a temperature above 0")

    def __str__(self) -> str:
        if self.temperature == 0:
            return "greedy"
        top_p = "" if self.top_p == 1 else f", top-p {self.top_p:g}"
        return f"temperature {self.temperature:g}{top_p}, {self.count} samples"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sample and what became of it: a line of the results."""

    task_id: str
    sample: int
    verdict: str  # of the sandbox, or one of UNANSWERED
    detail: str
    finish_reason: str
    solution: str  # the code that was run, without the tests


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A benchmark's score and every attempt behind it, in the order of the benchmark."""

    score: Score
    attempts: tuple[Attempt, ...]
    asked: int  # of the samples, those that no earlier run had answered


@dataclass(frozen=True, slots=True)
class Job:
    """One model on one benchmark, asked in one way."""

    model_id: str
    benchmark: Benchmark
    asking: Asking
    samples: Samples
    ks: tuple[int, ...]  # of pass@k

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or max(self.ks) > self.samples.count:
            raise ValueError(f"pass@{max(self.ks, default=0)} needs as many samples, there are {self.samples.count}")


UNANSWERED = {
    TOO_LONG: "the prompt and its reply do not fit the context",
    FILTERED: "a content filter of the server gave no reply",
    REFUSED: "the model refused to answer",
    UNFINISHED_REASONING: "the reply ends in the model's thoughts; reasoning_tokens in [llm.NAME] gives them room",
}
"""Why a sample has no answer to run, by its verdict."""


def silent(what: str, done: int, of: int) -> None:
    """Take note of nothing."""


async def evaluate(
    llm: LLM, box: Box, job: Job, answers: Path, note: Note = silent, settings: Settings = DEFAULTS
) -> Evaluation:
    """Return what a model scores. `llm` asks it, and failed requests are retried as `settings` say; its answers are
    kept in the file `answers`.

    Raises:  WrongConfig for a file that cannot be used, or a benchmark whose references do not run; DependencyDown
             where no sandbox starts; PipelineError when a question or a run failed for good.
    """
    problems = {problem.task_id: problem for problem in job.benchmark.problems}
    expected = await expectations(job.benchmark, box, note)
    questions = [question for problem in problems.values() for question in _questions(problem, job)]
    with AnswerFile(answers) as file:
        known = sum(question.request.request_id in file.known for question in questions)
        found = await ask(llm, questions, file, lambda done: note("answers", done, len(questions)), settings)
    solved = [_solved(job.asking, problems[a.task_id], a) for a in found]
    keys = [None if s.unanswered else (a.task_id, s.code) for a, s in zip(found, solved, strict=True)]
    ended = await _run(box, keys, _builder(problems, expected), _ended, note, "programs")
    attempts = tuple(_attempt(*of_one) for of_one in zip(found, solved, ended, strict=True))
    return Evaluation(_score(job, found, attempts, llm.model), attempts, len(questions) - known)


def _score(job: Job, answers: Sequence[Answer], attempts: Sequence[Attempt], served_as: str) -> Score:
    by_task = Counter(attempt.task_id for attempt in attempts if attempt.verdict == Verdict.PASS)
    passed = tuple(by_task[problem.task_id] for problem in job.benchmark.problems)
    return Score(
        model_id=job.model_id,
        benchmark=job.benchmark.name,
        benchmark_sha256=job.benchmark.sha256,
        setting=f"{job.asking.name}, {job.samples}",
        samples=job.samples.count,
        passed=passed,
        pass_at=tuple(estimate(job.samples.count, passed, k) for k in sorted(set(job.ks))),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        completion_tokens=sum(answer.completion_tokens for answer in answers),
        step=Step(
            "scores",
            VERSION,
            prompt_sha256=digest(*(_asked(problem, job.asking) for problem in job.benchmark.problems)),
            model=served_as,
            sampling_seed=job.samples.seed,
            verdict=f"{sum(passed)} of {len(attempts)} passed",
        ),
    )


async def expectations(benchmark: Benchmark, box: Box, note: Note = silent) -> Mapping[str, str]:
    """Return what the reference gives for the inputs of each problem that has some, by task id.

    Raises:  WrongConfig naming a reference that does not run here; as `evaluate` for the sandbox.
    """
    problems = {problem.task_id: problem for problem in benchmark.problems if problem.inputs is not None}
    keys = [(task_id, "") for task_id in problems]
    results = await _run(box, keys, lambda key: recording(problems[key[0]]), lambda r: r, note, "references")
    expected: dict[str, str] = {}
    for task_id, result in zip(problems, results, strict=True):
        assert result is not None  # no key is None
        if result.verdict is not Verdict.PASS:
            why = f"{result.verdict}: {_last_line(result.detail)}"
            raise WrongConfig(f"{benchmark.name}: the reference of {task_id} does not run here: {why}")
        expected[task_id] = result.stdout.strip()
    return expected


async def check_references(benchmark: Benchmark, box: Box, note: Note = silent) -> list[Attempt]:
    """Return what became of the benchmark's own solutions: each of them should pass.

    Raises:  as `expectations`.
    """
    expected = await expectations(benchmark, box, note)
    problems = {problem.task_id: problem for problem in benchmark.problems}
    keys = [(problem.task_id, problem.reference) for problem in benchmark.problems]
    ended = await _run(box, keys, _builder(problems, expected), _ended, note, "solutions")
    return [Attempt(key[0], 0, *end, "", key[1]) for key, end in zip(keys, ended, strict=True) if end is not None]


def _builder(problems: Mapping[str, Problem], expected: Mapping[str, str]) -> Callable[[Key], str]:
    return lambda key: program(problems[key[0]], key[1], expected.get(key[0]))


def _questions(problem: Problem, job: Job) -> list[Question]:
    asking, samples = job.asking, job.samples
    sampling = Sampling(samples.temperature, samples.max_tokens, asking.stop(problem), samples.top_p)
    how = (repr(samples.temperature), repr(samples.top_p), samples.max_tokens, samples.seed)
    parent = digest(job.model_id, problem.task_id, _asked(problem, asking), *how)
    prompt = asking.prompt(problem)
    ids = [derived_id(parent, "scores", number) for number in range(samples.count)]
    return [
        Question(problem.task_id, number, Request(id_, prompt, sampling, sampling_seed(id_, samples.seed)))
        for number, id_ in enumerate(ids)
    ]


def _asked(problem: Problem, asking: Asking) -> str:
    """Return the hash of what is asked."""
    prompt = asking.prompt(problem)
    return digest(asking.name, prompt.ask, prompt.prefill, *asking.stop(problem))


def _solved(asking: Asking, problem: Problem, answer: Answer) -> Solved:
    if answer.finish_reason in (TOO_LONG, FILTERED):
        return Solved("", answer.finish_reason)
    return solution(asking, problem, answer.text, answer.special_tokens, answer.finish_reason)


def _attempt(answer: Answer, solved: Solved, ended: tuple[str, str] | None) -> Attempt:
    verdict, detail = ended or (str(solved.unanswered), UNANSWERED[str(solved.unanswered)])
    return Attempt(answer.task_id, answer.sample, verdict, detail, answer.finish_reason, solved.code)


async def _run(
    box: Box,
    keys: Sequence[Key | None],
    build: Callable[[Key], str],
    take: Callable[[Result], T],
    note: Note,
    what: str,
) -> list[T | None]:
    """Run the program of each key, equal ones once; None stands for itself. Of a result, which may be large, only what
    `take` returns is kept.

    Raises:  DependencyDown when no sandbox starts on this machine, PipelineError when it failed twice.
    """
    different = dict.fromkeys(key for key in keys if key is not None)
    room = asyncio.Semaphore(WAITING)
    done = 0

    async def one(key: Key) -> T:
        nonlocal done
        async with room:
            taken = take(await box.run(build(key)))
        done += 1
        note(what, done, len(different))
        return taken

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {key: group.create_task(one(key)) for key in different}
    except* SandboxBroken as failed:
        broken = failed.exceptions[0]
    else:
        return [None if key is None else tasks[key].result() for key in keys]
    if isinstance(broken, SandboxRefused):
        raise DependencyDown(f"no program can be run: {broken}; see `seedstream doctor`") from broken
    raise PipelineError(f"the sandbox failed twice: {broken}") from broken


def _ended(result: Result) -> tuple[str, str]:
    return result.verdict.value, result.detail


def _last_line(detail: str) -> str:
    return next(reversed(detail.splitlines()), "")
