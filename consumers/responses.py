"""Answer an instruction several times, each answer with its tests. Reads `instructions`, writes `responses`.

Source: SelfCodeAlign (arXiv:2410.24198), instruction to response; figures in recipe `selfcodealign`. A reply reads

    (the answer, its code in Python blocks)

    [Tests]
    (the tests, in Python blocks)
    [/Tests]

where the last line is missing when it was the stop string.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from consumers import fences, reply
from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Prompt, Request, Result, Sampling
from consumers.prompt import FewShot
from consumers.reply import Form
from consumers.wrapping import TURN
from stream.records import Instruction, Response, Responses, Step, derived_id, sampling_seed
from stream.stage import Map, Outcome, Reject

VERSION = 2

MOST_SAMPLES = 1_000
"""All of an instruction's are one record."""

_TAGS = ("[Response]", "[Tests]", "[/Tests]")


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `responses`."""

    samples: int  # per instruction, each a request of its own
    shots: int
    temperature: float
    max_tokens: int

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"expected samples from 1 to {MOST_SAMPLES:,}, got {self.samples}")
        Sampling(self.temperature, self.max_tokens)


class Reason(StrEnum):
    """Why a sample is no response."""

    PROMPT_TOO_LONG = "prompt_too_long"
    STOPPED_FOR_LENGTH = "stopped_for_length"
    NOT_FINISHED = "not_finished"
    NOT_TEXT = "not_text"
    FILTERED = "filtered"
    REFUSED = "refused"
    UNFINISHED_REASONING = "unfinished_reasoning"
    PARTS = "parts"  # not exactly one response and one tests part
    MARKERS = "markers"  # a special token that begins or ends a turn: it would steer the model that is trained on it
    NO_CODE = "no_code"
    NO_TESTS = "no_tests"


def ask(instruction: Instruction, prompts: FewShot, shots: int, number: int) -> Prompt:
    """Ask for an answer with tests; the sampling seed `number` draws the shots too. Pure."""
    return prompts.prompt(number, shots, {"instruction": instruction.text})


def read(index: int, result: Result, form: Form, step: Step) -> Response | Reject:
    """Split sample `index` into response and tests, each with its code. Pure."""
    answer = reply.whole(result, form, Reason)
    if isinstance(answer, Reject):
        return answer
    blocks = fences.blocks(answer.text)
    lines = answer.text.split("\n")
    tests_line = _tests_line(lines, blocks)
    if tests_line is None:
        return Reject(Reason.PARTS, answer.evidence)
    if TURN.search(answer.text):
        return Reject(Reason.MARKERS, answer.evidence)
    code = fences.python(block for block in blocks if block.first_line < tests_line)
    if not code:
        return Reject(Reason.NO_CODE, answer.evidence)
    tests = fences.python(block for block in blocks if block.first_line > tests_line)
    if not tests:
        return Reject(Reason.NO_TESTS, answer.evidence)
    return Response(
        index,
        "\n".join(lines[:tests_line]).strip(),
        code,
        tests,
        answer.finish_reason,
        answer.reply.prompt_tokens,
        answer.reply.completion_tokens,
        replace(step, model=answer.reply.model),
    )


def _tests_line(lines: Sequence[str], blocks: Sequence[fences.Block]) -> int | None:
    """Return the line that parts response and tests; None unless there is exactly one of each.

    A tag counts on a line of its own outside code: `[Tests]` is also a fine section of an INI file.
    """
    inside = {line for block in blocks for line in range(block.first_line, block.end_line)}
    bare = [line.strip(" \t*_#").removesuffix(":").rstrip("*_") for line in lines]
    tags = [n for n, line in enumerate(bare) if n not in inside and line in _TAGS]
    if [bare[n] for n in tags] == ["[Tests]", "[/Tests]"] and not "".join(lines[tags[1] + 1 :]).strip():
        tags.pop()
    return tags[0] if [bare[n] for n in tags] == ["[Tests]"] else None


def stage(params: Params, llm: LLM, prompts: FewShot, recipe_seed: int) -> Map[Instruction, Responses]:
    """Return the stage. Raises WrongConfig when the prompt has fewer examples than `params.shots`."""
    prompts.require(params.shots)
    sampling = Sampling(params.temperature, params.max_tokens, prompts.stop)

    async def answer(instruction: Instruction) -> Outcome[Responses]:
        sample_ids = [derived_id(instruction.instruction_id, "responses", index) for index in range(params.samples)]
        numbers = [sampling_seed(sample_id, recipe_seed) for sample_id in sample_ids]
        # One prompt for all samples, as in the source: the server reads it once.
        prompt = ask(instruction, prompts, params.shots, numbers[0])
        requests = [Request(i, prompt, sampling, number) for i, number in zip(sample_ids, numbers, strict=True)]
        results = await llm.complete(instruction.instruction_id, requests)
        samples = [
            read(index, result, prompts.form, Step("responses", VERSION, prompts.sha256, sampling_seed=number))
            for index, (result, number) in enumerate(zip(results, numbers, strict=True))
        ]
        return outcome(instruction, samples, sample_ids)

    return Map.single(answer, concurrency=max(1, REQUESTS_IN_FLIGHT // params.samples))


def outcome(
    instruction: Instruction, samples: Sequence[Response | Reject], sample_ids: Sequence[str]
) -> Outcome[Responses]:
    """Return the responses in one record, and a reject named by its own id for each other sample. Pure."""
    responses = tuple(sample for sample in samples if isinstance(sample, Response))
    rejects = tuple(
        Reject(sample.reason, sample.evidence, sample_id)
        for sample, sample_id in zip(samples, sample_ids, strict=True)
        if isinstance(sample, Reject)
    )
    return Outcome((Responses(instruction, responses),) if responses else (), rejects)
