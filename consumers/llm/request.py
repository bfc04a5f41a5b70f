"""What an LLM stage asks for and gets back. No HTTP here: a stage is written and tested against these alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

REQUESTS_IN_FLIGHT = 640
"""What an LLM stage keeps asked for at most. More than a server takes at once, so that permits never wait for records;
it is the client's permits that decide how many are under way."""

MOST_TEMPERATURE, MOST_TOKENS = 10.0, 1 << 20
"""Far above what is of use; a slip of the finger lies further off still."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One worked example: a question and the whole reply to it."""

    ask: str
    reply: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A few-shot question, independent of the API that carries it.

    As one completion prompt it reads

        {system}

        ## Example 1
        {shots[0].ask}
        {shots[0].reply}

        ## Example 2
        {ask}
        {prefill}

    and the model goes on from `prefill`. As chat it is a system message, a user and an assistant message for each
    shot, and a last user message, and the model writes the prefill itself. What of a reply is the answer is decided in
    one place, `consumers.reply`. A prompt of a prefill alone is that text, for completions only.
    """

    system: str
    shots: tuple[Shot, ...]
    ask: str
    prefill: str = ""  # how each reply begins, shots' replies included

    @property
    def continues(self) -> bool:
        """Whether the prompt is a text to continue, where leading white space belongs to the answer."""
        return not (self.system or self.shots or self.ask)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. `stop` strings end the answer and are not part of it: see `consumers.llm.stops`.

    Raises:  ValueError for what no server takes.
    """

    temperature: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MOST_TEMPERATURE:
            raise ValueError(f"expected a temperature from 0 to {MOST_TEMPERATURE:g}, got {self.temperature:g}")
        if not 1 <= self.max_tokens <= MOST_TOKENS:
            raise ValueError(f"expected max_tokens from 1 to {MOST_TOKENS:,}, got {self.max_tokens}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"expected top_p above 0 and at most 1, got {self.top_p:g}")


@dataclass(frozen=True, slots=True)
class Request:
    """One sample of one prompt. `request_id` is derived from the record, so it is the same in every attempt and
    every process: a finished sample of an unfinished record is not asked for again by a retry."""

    request_id: str
    prompt: Prompt
    sampling: Sampling
    seed: int  # sent when the endpoint takes one


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply as the server sent it; what of it is the answer, `consumers.reply` decides. `finish_reason` is "stop"
    when the model ended the reply itself, "length" when a limit did, "refusal" when the server says that the model
    refused (its words are the text), else the server's own word."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    reasoning: str = ""  # thoughts that the server returned in a field beside the text
    special_tokens: tuple[str, ...] = ()  # of the model's tokenizer, where they are known


@dataclass(frozen=True, slots=True)
class TooLong:
    """The prompt and its reply do not fit the context: it was not sent, or the server says so."""

    prompt_tokens: int
    context: int  # 0: the server does not tell
    words: str = ""  # the server's, where it said so


@dataclass(frozen=True, slots=True)
class Filtered:
    """A content filter of the server refused the prompt or withheld the reply."""

    words: str  # the server's


Result = Completion | TooLong | Filtered


class LLM(Protocol):
    """An endpoint as one stage sees it. Promises:

    - Every request of one call is one sample (n = 1), all in flight together as permits allow.
    - When some of a call's requests fail, the others still finish and are kept under their request ids: calling again
      with the same ids pays for the failed ones alone. What is kept is dropped once a call succeeds whole.
    - Permits are shared by all stages on the endpoint: the stage nearest the end first, and within a stage the record
      that first asked first.

    Raises:  EndpointDown, RequestTimedOut (`stream.errors`); nothing of httpx.
    """

    @property
    def model(self) -> str: ...

    async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        """Return one result per request, in order."""
        ...
