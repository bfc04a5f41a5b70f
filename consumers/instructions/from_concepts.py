"""Write a task from concepts. Reads `concepts`, writes `instructions`.

Source: SelfCodeAlign (arXiv:2410.24198), concepts to instruction; figures in recipe `selfcodealign`. The seed's code
is not shown: a task made from concepts alone leaks less of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from consumers import reply
from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Prompt, Request, Result, Sampling
from consumers.prompt import FewShot, listed
from consumers.refusals import is_no_content
from consumers.reply import Form
from consumers.wrapping import TURN
from stream.records import (
    Category,
    Concepts,
    Difficulty,
    Instruction,
    InstructionId,
    Step,
    derived_id,
    digest,
    sampling_seed,
)
from stream.stage import Map, Outcome, Reject

VERSION = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `instructions`."""

    shots: int
    temperature: float
    max_tokens: int
    categories: tuple[Category, ...]  # drawn uniformly: one that stands twice is twice as likely
    difficulties: tuple[Difficulty, ...]  # drawn uniformly

    def __post_init__(self) -> None:
        if not self.categories or not self.difficulties:
            raise ValueError("expected at least one category and one difficulty")
        Sampling(self.temperature, self.max_tokens)


class Reason(StrEnum):
    """Why a reply is no task."""

    PROMPT_TOO_LONG = "prompt_too_long"
    STOPPED_FOR_LENGTH = "stopped_for_length"
    NOT_FINISHED = "not_finished"
    NOT_TEXT = "not_text"
    FILTERED = "filtered"
    REFUSED = "refused"
    UNFINISHED_REASONING = "unfinished_reasoning"
    NO_INSTRUCTION = "no_instruction"
    MARKERS = "markers"  # a special token that begins or ends a turn: it would steer whatever model reads the task


@dataclass(frozen=True, slots=True)
class Properties:
    """What a task shall be like."""

    category: Category
    language: str
    difficulty: Difficulty
    concepts: tuple[str, ...]


def properties(concepts: Concepts, params: Params, number: int) -> Properties:
    """Return the properties of the task; the sampling seed `number` draws category and difficulty. Pure."""
    category = draw(params.categories, number, "category")
    difficulty = draw(params.difficulties, number, "difficulty")
    return Properties(category, concepts.seed.file.language, difficulty, concepts.concepts)


def draw(choices: Sequence[T], number: int, what: str) -> T:
    """Return one of `choices`, each equally likely over many numbers, independently for each `what`."""
    return choices[int(digest(number, what), 16) % len(choices)]


def ask(wanted: Properties, prompts: FewShot, shots: int, number: int) -> Prompt:
    """Ask for a task; the sampling seed `number` draws the shots, of any category, as in the source. Pure."""
    return prompts.prompt(
        number,
        shots,
        {
            "category": wanted.category,
            "language": wanted.language,
            "difficulty": wanted.difficulty,
            "concepts": listed(wanted.concepts),
        },
    )


def read(concepts: Concepts, wanted: Properties, result: Result, form: Form, step: Step) -> Instruction | Reject:
    """Take the whole answer as the task. Pure."""
    answer = reply.whole(result, form, Reason)
    if isinstance(answer, Reject):
        return answer
    if not answer.text or is_no_content(answer.text):
        return Reject(Reason.NO_INSTRUCTION, answer.evidence)
    if TURN.search(answer.text):
        return Reject(Reason.MARKERS, answer.evidence)
    return Instruction(
        InstructionId(derived_id(concepts.concepts_id, "instructions", 0)),
        concepts,
        wanted.category,
        wanted.difficulty,
        wanted.language,
        answer.text,
        reply.asked(step, answer.reply),
    )


def stage(params: Params, llm: LLM, prompts: FewShot, recipe_seed: int) -> Map[Concepts, Instruction]:
    """Return the stage. Raises WrongConfig when the prompt has fewer examples than `params.shots`."""
    prompts.require(params.shots)
    sampling = Sampling(params.temperature, params.max_tokens, prompts.stop)

    async def write(concepts: Concepts) -> Outcome[Instruction]:
        request_id = derived_id(concepts.concepts_id, "instructions", 0)
        number = sampling_seed(request_id, recipe_seed)
        wanted = properties(concepts, params, number)
        request = Request(request_id, ask(wanted, prompts, params.shots, number), sampling, number)
        [result] = await llm.complete(concepts.concepts_id, [request])
        step = Step("instructions", VERSION, prompts.sha256, sampling_seed=number)
        return Outcome.of(read(concepts, wanted, result, prompts.form, step))

    return Map.single(write, concurrency=REQUESTS_IN_FLIGHT)
