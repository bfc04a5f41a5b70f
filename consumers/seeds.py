"""Judge whether a function's docstring is good. Reads `unique`, writes `seeds`.

Source: SelfCodeAlign (arXiv:2410.24198) and StarCoder2-Instruct, seed collection; figures in recipe `selfcodealign`.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from consumers import reply
from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Filtered, Prompt, Request, Result, Sampling, TooLong
from consumers.prompt import FewShot
from consumers.refusals import refuses
from consumers.reply import Form
from stream.records import Seed, Step, derived_id, sampling_seed
from stream.stage import Map, Outcome, Reject

VERSION = 2


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `seeds`."""

    shots: int
    temperature: float
    max_tokens: int
    max_prompt_tokens: int  # a longer prompt is not judged, also where the context would hold it

    def __post_init__(self) -> None:
        Sampling(self.temperature, self.max_tokens)


class Reason(StrEnum):
    """Why a function is no seed."""

    PROMPT_TOO_LONG = "prompt_too_long"
    FILTERED = "filtered"
    REFUSED = "refused"
    NO_VERDICT = "no_verdict"  # the reply says neither yes nor no
    NOT_GOOD = "not_good"


def ask(seed: Seed, prompts: FewShot, shots: int, number: int) -> Prompt:
    """Ask whether the docstring is good; the sampling seed `number` draws the shots too. Pure."""
    return prompts.prompt(number, shots, {"code": seed.code})


def read(seed: Seed, result: Result, form: Form, max_prompt_tokens: int, step: Step) -> Seed | Reject:
    """Return the seed with `step` when the reply has more "yes" than "no". Few tokens are asked for, so a reply cut
    off after its verdict is one too. Pure."""
    if isinstance(result, TooLong | Filtered):
        return reply.unanswered(result, Reason)
    if result.prompt_tokens > max_prompt_tokens:
        # Only the server counts exactly, so the limit is applied to what it counted. The few tokens are paid, and the
        # outcome does not depend on the endpoint's context.
        return Reject(Reason.PROMPT_TOO_LONG, f"{result.prompt_tokens} tokens, the limit is {max_prompt_tokens}")
    answer = reply.answer(result, form)
    if answer.finish_reason == "refusal" or refuses(answer.text):
        return Reject(Reason.REFUSED, answer.evidence)
    good = verdict(answer.text)
    if good is None:
        return Reject(Reason.NO_VERDICT, answer.evidence)
    if not good:
        return Reject(Reason.NOT_GOOD, answer.evidence)
    return replace(seed, steps=(*seed.steps, replace(reply.asked(step, result), verdict="yes")))


def verdict(text: str) -> bool | None:
    """Whether there are more words "yes" than "no"; a tie is a no, as in the source. None where there is neither.

    >>> [verdict(text) for text in ("Yes.", "yes, no", "No", "", "yesterday", "YES yes no")]
    [True, False, False, None, None, True]
    """
    words = re.findall(r"\w+", text.lower())
    yes, no = words.count("yes"), words.count("no")
    return yes > no if yes or no else None


def stage(params: Params, llm: LLM, prompts: FewShot, recipe_seed: int) -> Map[Seed, Seed]:
    """Return the stage. Raises WrongConfig when the prompt has fewer examples than `params.shots`."""
    prompts.require(params.shots)
    sampling = Sampling(params.temperature, params.max_tokens, prompts.stop)

    async def judge(seed: Seed) -> Outcome[Seed]:
        request_id = derived_id(seed.seed_id, "seeds", 0)
        number = sampling_seed(request_id, recipe_seed)
        request = Request(request_id, ask(seed, prompts, params.shots, number), sampling, number)
        [result] = await llm.complete(seed.seed_id, [request])
        step = Step("seeds", VERSION, prompts.sha256, sampling_seed=number)
        return Outcome.of(read(seed, result, prompts.form, params.max_prompt_tokens, step))

    return Map.single(judge, concurrency=REQUESTS_IN_FLIGHT)
