"""The two APIs: what is sent, and what comes back. Pure. Source: OpenAI's API reference, as vLLM serves it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import orjson

from consumers.llm import lengths, render
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply
from consumers.llm.request import Prompt, Request
from stream.errors import Permanent


class Tokens(msgspec.Struct):
    """Tokens as the server counts them."""

    prompt_tokens: int
    completion_tokens: int = 0


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
        """The first sample's."""
        choice = self.choices[0]
        return (choice.message.content if choice.message else choice.text) or ""


class Card(msgspec.Struct):
    """One entry of `/models`."""

    id: str


class Models(msgspec.Struct):
    """What `/models` answers."""

    data: list[Card]


class Count(msgspec.Struct):
    """What vLLM's `/tokenize` answers."""

    count: int


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


def body(endpoint: Endpoint, request: Request, prompt: PromptField) -> bytes:
    """Return the body that asks for one sample. What has its default value is left out: some servers know few fields.

    Raises:  Permanent when the prompt cannot be written as UTF-8.
    """
    sampling = request.sampling
    fields: dict[str, Any] = {
        "model": endpoint.model,
        prompt.name: prompt.value,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
    }
    if sampling.top_p != 1.0:
        fields["top_p"] = sampling.top_p
    if sampling.stop:
        fields["stop"] = sampling.stop
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


def reply(content: bytes, url: str) -> Reply:
    """Read a reply.

    Raises:  BadReply when it is none.
    """
    try:
        # Not msgspec's own parser, which refuses half of a surrogate pair: what a model wrote, its stage is to judge.
        read = msgspec.convert(json.loads(content), Reply)
    except (ValueError, RecursionError, msgspec.ValidationError) as err:
        raise BadReply(f"{url} gave no reply that can be read: {err}: {shown(content)}") from err
    if not read.choices or (read.choices[0].message is None and read.choices[0].text is None):
        raise BadReply(f"{url} gave a reply without text: {shown(content)}")
    return read


def shown(content: bytes) -> str:
    """Return the beginning of a body on one line, for a message.

    >>> shown(b"<html>\\n  <body>Bad gateway")
    '<html> <body>Bad gateway'
    """
    return " ".join(content[:200].decode(errors="replace").split())
