"""Name the programming concepts in a seed. Reads `seeds`, writes `concepts`.

Source: SelfCodeAlign (arXiv:2410.24198), snippet to concepts; figures in recipe `selfcodealign`.
"""

import itertools
import re
from dataclasses import dataclass
from enum import StrEnum

from consumers import reply
from consumers.llm.request import LLM, REQUESTS_IN_FLIGHT, Completion, Prompt, Request, Result, Sampling
from consumers.llm.stops import LINE_END
from consumers.prompt import FewShot
from consumers.refusals import is_no_content
from consumers.reply import Form
from stream.records import Concepts, ConceptsId, Seed, Step, derived_id, sampling_seed
from stream.stage import Map, Outcome, Reject

VERSION = 2


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `concepts`."""

    shots: int
    temperature: float
    max_tokens: int

    def __post_init__(self) -> None:
        Sampling(self.temperature, self.max_tokens)


MOST_WORDS, MOST_CHARS = 8, 80
"""Of a concept. The prompt asks for one to four words."""

_MARKUP = re.compile(r"[\n\[\]{}<>|=;]|```|~~~|\*\*|(?<!:):(?!:)|[?!]$|[.?!]\s|^#")
_ITEM = re.compile(r"\s*(?:[-*•+]|\d{1,2}[.)])\s+\S")

_SENTENCE = re.compile(
    r"(?:i|you|we|it|this|that|there|here|let|sure|certainly|okay|ok|sorry|please|yes|no"
    r"|the (?:following|concepts?|code|function|class|method|program|snippet|docstring)"
    r"|an? (?:function|class) (?:that|which))(?:'\w+)?(?=\s|$|[.:!])",
    re.IGNORECASE,
)


class Reason(StrEnum):
    """Why a reply names no concepts."""

    PROMPT_TOO_LONG = "prompt_too_long"
    STOPPED_FOR_LENGTH = "stopped_for_length"
    NOT_FINISHED = "not_finished"
    NOT_TEXT = "not_text"
    FILTERED = "filtered"
    REFUSED = "refused"
    UNFINISHED_REASONING = "unfinished_reasoning"
    NO_CONCEPT = "no_concept"


def ask(seed: Seed, prompts: FewShot, shots: int, number: int) -> Prompt:
    """Ask for the concepts; the sampling seed `number` draws the shots too. Pure."""
    return prompts.prompt(number, shots, {"code": seed.code})


def read(seed: Seed, result: Result, form: Form, step: Step) -> Concepts | Reject:
    """Split the answer at commas; each part must be a short noun phrase. Pure."""
    answer = reply.whole(result, form, Reason)
    if isinstance(answer, Reject):
        return answer
    concepts = tuple(concept for part in listed(result, form, answer.text).split(",") if (concept := bare(part)))
    if not concepts or not all(map(is_phrase, concepts)):
        return Reject(Reason.NO_CONCEPT, answer.evidence)
    concepts_id = ConceptsId(derived_id(seed.seed_id, "concepts", 0))
    return Concepts(concepts_id, seed, concepts, reply.asked(step, answer.reply))


def listed(reply_: Result, form: Form, line: str) -> str:
    """Return the concepts as one line: also where a model wrote one a line, though one line was asked for."""
    if not isinstance(reply_, Completion) or not _ITEM.match(line):
        return line
    whole = reply.clean(reply_.text, Form(form.prefill, tuple(s for s in form.stop if s != LINE_END))).text
    items = list(itertools.takewhile(_ITEM.match, (item for item in whole.split("\n") if item.strip())))
    return ", ".join(items) if len(items) > 1 else line


def bare(part: str) -> str:
    """Return a part of a list without its bullet or number, emphasis, quotes and final full stop.

    >>> [bare(part) for part in ("1. recursion", " **binary search**", '"slices".', "- `zip`", " ")]
    ['recursion', 'binary search', 'slices', 'zip', '']
    """
    part = re.sub(r"^\s*(?:[-*•+]|\d{1,2}[.)])\s+", "", part).strip()
    part = part.removesuffix(".").strip("*_\"'“”‘’ ").removesuffix(".").strip()
    return part[1:-1].strip() if re.fullmatch(r"`[^`]+`", part) else part


def is_phrase(concept: str) -> bool:
    """Whether a text can be the name of a concept: a few words, at least one letter, no sentence and no markup.

    >>> [is_phrase(text) for text in ("list comprehension", "C++", "[Concepts]", "```", "I think that it is this one")]
    [True, True, False, False, False]
    """
    return (
        len(concept) <= MOST_CHARS
        and len(concept.split()) <= MOST_WORDS
        and any(char.isalpha() for char in concept)
        and not _MARKUP.search(concept)
        and not _SENTENCE.match(concept)
        and not is_no_content(concept)
    )


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
