"""Name the programming concepts in a seed. Reads `seeds`, writes `concepts`.

Source: SelfCodeAlign (arXiv:2410.24198), snippet to concepts; figures in recipe `selfcodealign`.
"""

from dataclasses import dataclass
from enum import StrEnum

from consumers import reply
from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Prompt, Request, Result, Sampling
from consumers.prompt import FewShot
from consumers.reply import Form
from stream.records import Concepts, ConceptsId, Seed, Step, derived_id, sampling_seed
from stream.stage import Map, Outcome, Reject

VERSION = 1


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `concepts`."""

    shots: int
    temperature: float
    max_tokens: int

    def __post_init__(self) -> None:
        Sampling(self.temperature, self.max_tokens)


class Reason(StrEnum):
    """Why a reply names no concepts."""

    PROMPT_TOO_LONG = "prompt_too_long"
    STOPPED_FOR_LENGTH = "stopped_for_length"
    NOT_FINISHED = "not_finished"
    NOT_TEXT = "not_text"
    FILTERED = "filtered"
    NO_CONCEPT = "no_concept"


def ask(seed: Seed, prompts: FewShot, shots: int, number: int) -> Prompt:
    """Ask for the concepts; the sampling seed `number` draws the shots too. Pure."""
    return prompts.prompt(number, shots, {"code": seed.code})


def read(seed: Seed, result: Result, form: Form, step: Step) -> Concepts | Reject:
    """Split the reply at commas. Pure."""
    done = reply.whole(result, form, Reason)
    if isinstance(done, Reject):
        return done
    concepts = tuple(part.strip() for part in done.text.split(",") if part.strip())
    if not concepts:
        return Reject(Reason.NO_CONCEPT, done.text)
    concepts_id = ConceptsId(derived_id(seed.seed_id, "concepts", 0))
    return Concepts(concepts_id, seed, concepts, reply.asked(step, done))


def stage(params: Params, llm: LLM, prompts: FewShot, recipe_seed: int) -> Map[Seed, Concepts]:
    """Return the stage. Raises WrongConfig when the prompt has fewer examples than `params.shots`."""
    prompts.require(params.shots)
    sampling = Sampling(params.temperature, params.max_tokens, prompts.stop)

    async def name(seed: Seed) -> Outcome[Concepts]:
        request_id = derived_id(seed.seed_id, "concepts", 0)
        number = sampling_seed(request_id, recipe_seed)
        request = Request(request_id, ask(seed, prompts, params.shots, number), sampling, number)
        [result] = await llm.complete(seed.seed_id, [request])
        return Outcome.of(
            read(seed, result, prompts.form, Step("concepts", VERSION, prompts.sha256, sampling_seed=number))
        )

    return Map.single(name, concurrency=REQUESTS_IN_FLIGHT)
