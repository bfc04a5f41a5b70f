"""The two APIs: what is sent, and what comes back. Pure. Source: OpenAI's API reference, as vLLM serves it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import orjson

from consumers.llm import lengths, render
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply
from consumers.llm.request import Prompt, Request
from consumers.llm.stops import sent as stops_sent
from stream.errors import Permanent

LEAST_SECRET_CHARS = 8
"""A shorter key, as a server of one's own may have, is no secret; masking it would spoil what the server says."""

TokenCount = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
"""What is beyond these bounds counts no tokens; far beyond, no arithmetic holds it."""


class Tokens(msgspec.Struct):
    """Tokens as the server counts them."""

    prompt_tokens: TokenCount
    completion_tokens: TokenCount = 0


class Message(msgspec.Struct):
    """A chat reply. Its content is null when the server withheld it; `finish_reason` then says why."""

    content: str | None = None


class Choice(msgspec.Struct):
    """One sample of either API."""

    finish_reason: str
    text: str | None = None
    message: Message | None = None


class Reply(msgspec.Struct):
    """What both APIs answer."""

    choices: list[Choice]
    model: str | None = None
    usage: Tokens | None = None

    @property
    def text(self) -> str:
        """The first sample's, as the server gave it."""
        choice = self.choices[0]
        return (choice.message.content if choice.message else choice.text) or ""

    @property
    def finish_reason(self) -> str:
        return self.choices[0].finish_reason


class Card(msgspec.Struct):
    """One entry of `/models`."""

    id: str


class Models(msgspec.Struct):
    """What `/models` answers."""

    data: list[Card]


class Count(msgspec.Struct):
    """What vLLM's `/tokenize` answers."""

    count: TokenCount


def path(endpoint: Endpoint) -> str:
    """Return where requests go, under the base url."""
    return "/completions" if endpoint.api == "completions" else "/chat/completions"


@dataclass(frozen=True, slots=True)
class PromptField:
    """A prompt as one of the APIs takes it; vLLM's `/tokenize` takes the same."""

    name: Literal["prompt", "messages"]
    value: str | list[render.Message]

    @property
    def estimated_tokens(self) -> int:
        return lengths.estimate(self.value) if isinstance(self.value, str) else lengths.estimate_chat(self.value)


def prompt_field(endpoint: Endpoint, prompt: Prompt) -> PromptField:
    """Return the prompt in the form of the endpoint's API."""
    if endpoint.api == "completions":
        return PromptField("prompt", render.completion_text(prompt))
    return PromptField("messages", render.messages(prompt))


def in_reply(endpoint: Endpoint, prompt: Prompt) -> str:
    """Return the part of the prompt that the model writes itself: in chat it begins its reply with the prefill."""
    return prompt.prefill if endpoint.api == "chat" else ""


def max_tokens(endpoint: Endpoint, request: Request) -> int:
    """Return the limit to send: room for the prefill where the model writes it, at a token a byte at most."""
    return request.sampling.max_tokens + lengths.utf8_bytes(in_reply(endpoint, request.prompt))


def body(endpoint: Endpoint, request: Request, prompt: PromptField) -> bytes:
    """Return the body that asks for one sample. What has its default value is left out: some servers know few fields.

    Raises:  Permanent when the prompt cannot be written as UTF-8.
    """
    sampling = request.sampling
    stops = stops_sent(sampling.stop, request.prompt.prefill, chat=endpoint.api == "chat", reasoning=False)
    fields: dict[str, Any] = {
        "model": endpoint.model,
        prompt.name: prompt.value,
        "max_tokens": max_tokens(endpoint, request),
        "temperature": sampling.temperature,
    }
    if sampling.top_p != 1.0:
        fields["top_p"] = sampling.top_p
    if stops:
        fields["stop"] = stops
    if endpoint.send_seed:
        fields["seed"] = request.seed
    return _encode(fields)


def tokenize_body(endpoint: Endpoint, prompt: PromptField) -> bytes:
    """Return the body that asks for the length of a prompt.

    Raises:  Permanent when the prompt cannot be written as UTF-8.
    """
    return _encode({"model": endpoint.model, prompt.name: prompt.value})


def _encode(fields: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError as err:
        raise Permanent(f"a prompt cannot be sent: {err}") from err


def reply(content: bytes, url: str, key: str | None = None) -> Reply:
    """Read a reply. Only a message masks the key: in a text of the model the same letters are a word like others.

    Raises:  BadReply when it is none.
    """
    try:
        # Not msgspec's own parser, which refuses half of a surrogate pair: what a model wrote, its stage is to judge.
        read = msgspec.convert(json.loads(content), Reply)
    except (ValueError, RecursionError, msgspec.ValidationError) as err:
        raise BadReply(f"{url} gave no reply that can be read: {err}: {shown(masked(content, key))}") from err
    if not read.choices or (read.choices[0].message is None and read.choices[0].text is None):
        raise BadReply(f"{url} gave a reply without text: {shown(masked(content, key))}")
    return read


def masked(content: bytes, key: str | None) -> bytes:
    """Return a body without the key, which some servers repeat, also where JSON escapes its characters.

    >>> masked(b'{"message": "over quota: sk-ab\\\\/cdef"}', "sk-ab/cdef")
    b'{"message": "over quota: ***"}'
    """
    if key is None or len(key) < LEAST_SECRET_CHARS:
        return content
    spelled = "".join(rf"\\?{re.escape(char)}" for char in key)
    return re.sub(spelled.encode(), b"***", content)


def shown(content: bytes) -> str:
    """Return the beginning of a body on one line, for a message.

    >>> shown(b"<html>\\n  <body>Bad gateway")
    '<html> <body>Bad gateway'
    """
    return " ".join(content[:200].decode(errors="replace").split())
