"""Ask a model for samples, each kept on disk as it arrives: what is answered is never asked again.

An answer's id is the hash of all that it depends on (model, problem, way of asking, sampling, number of the sample).
So a file of answers needs no header: those to another question are in nobody's way, and their ids are not looked for.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Filtered, Request, Result, TooLong
from stream import logs
from stream.codec import UNREADABLE
from stream.deadline import within
from stream.errors import PipelineError, Transient, WrongConfig
from stream.metrics import StageStats
from stream.retry import Gate, backoff_s
from stream.settings import SCORES, Settings

TOO_LONG = "too_long"
"""Finish reason of a prompt that does not fit the context: it was not sent, and its sample counts as failed."""

FILTERED = "filtered"
"""Finish reason where a content filter of the server gave no reply: the sample counts as failed."""


@dataclass(frozen=True, slots=True)
class Question:
    """One sample to ask for."""

    task_id: str
    sample: int
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the file."""

    id: str  # of the request
    task_id: str
    sample: int
    text: str  # the reply as it came
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str  # as the server named itself
    special_tokens: tuple[str, ...] = ()  # of its tokenizer, where they are known


class AnswerFile:
    """A JSON Lines file of answers; `with AnswerFile(path) as answers`.

    Raises:  WrongConfig naming file and line; a last line without its end is what a kill leaves, and is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known: Mapping[str, Answer] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> "AnswerFile":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab+", buffering=0)
            self.known = dict(self._read(self._file))
        except OSError as err:
            raise WrongConfig(f"{self._path} cannot be written: {err.strerror}") from err
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, answer: Answer) -> None:
        """Append an answer: it outlives this process, not the machine.

        Raises:  PipelineError when the disk would not take it.
        """
        assert self._file is not None
        line = json.dumps(asdict(answer)).encode() + b"\n"  # in ASCII: a reply may hold half of a surrogate pair
        try:
            written = self._file.write(line)
        except OSError as err:
            raise PipelineError(f"{self._path}: {err.strerror}; what was answered before is kept") from err
        if written != len(line):
            raise PipelineError(f"{self._path}: the disk is full; what was answered before is kept")

    def _read(self, file: BinaryIO) -> Iterable[tuple[str, Answer]]:
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(file.fileno(), end)
        for number, line in enumerate(content[:end].split(b"\n"), start=1):
            if line:
                try:
                    answer = msgspec.convert(json.loads(line), Answer)
                except (ValueError, *UNREADABLE) as err:
                    raise WrongConfig(f"{self._path}, line {number}: expected an answer as JSON: {err}") from err
                yield answer.id, answer


async def ask(
    llm: LLM, questions: Sequence[Question], answers: AnswerFile, note: Callable[[int], None], settings: Settings
) -> list[Answer]:
    """Return an answer to each question, in order, from the file where it has one. `note` is told how many are there.

    A server that is away is waited for; a request that fails alone is tried again to a limit, as `settings` say.

    Raises:  PipelineError of the first question that failed for good; all answered ones are in the file.
    """
    found = {q.request.request_id: known for q in questions if (known := answers.known.get(q.request.request_id))}
    note(len(found))
    stats = StageStats(SCORES)
    gate = Gate(stats)
    room = asyncio.Semaphore(REQUESTS_IN_FLIGHT)

    async def one(question: Question) -> None:
        async with room:
            answer = _answer(question, await _patiently(gate, llm, question.request, settings))
        if answer.finish_reason != TOO_LONG:  # it was not paid for, and a larger context may hold it
            answers.add(answer)
        found[answer.id] = answer
        note(len(found))

    try:
        with logs.of_stage(stats.stage):
            async with asyncio.TaskGroup() as group:
                for question in questions:
                    if question.request.request_id not in found:
                        group.create_task(one(question))
    except* PipelineError as failed:
        raise failed.exceptions[0] from None
    return [found[question.request.request_id] for question in questions]


async def _patiently(gate: Gate, llm: LLM, request: Request, settings: Settings) -> Result:
    async def complete() -> Sequence[Result]:
        what = f"request {request.request_id[:12]}"
        return await within(settings.call_deadline_s, what, lambda: llm.complete(request.request_id, [request]))

    for attempt in range(1, settings.attempts + 1):
        try:
            [result] = await gate.call(complete)
        except Transient:
            if attempt == settings.attempts:
                raise
            await asyncio.sleep(backoff_s(attempt, settings.retry_base_s, settings.retry_cap_s, random.random()))
        else:
            return result
    raise AssertionError("the last attempt returns or raises")


def _answer(question: Question, result: Result) -> Answer:
    about = (question.request.request_id, question.task_id, question.sample)
    if isinstance(result, TooLong):
        return Answer(*about, "", TOO_LONG, result.prompt_tokens, 0, "")
    if isinstance(result, Filtered):
        return Answer(*about, "", FILTERED, 0, 0, "")
    return Answer(
        *about,
        result.text,
        result.finish_reason,
        result.prompt_tokens,
        result.completion_tokens,
        result.model,
        result.special_tokens,
    )
