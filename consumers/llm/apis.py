"""The two APIs: what is sent. Pure. Source: OpenAI's API reference, as vLLM serves it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
import orjson

from consumers.llm import lengths, render
from consumers.llm.dialect import Dialect
from consumers.llm.endpoint import Endpoint
from consumers.llm.request import Prompt, Request
from consumers.llm.stops import sent as stops_sent
from stream.codec import UNREADABLE
from stream.errors import Permanent

MOST_TOKENS = 10**12
"""What is beyond counts no tokens; far beyond, no arithmetic holds it."""

LEAST_SECRET_CHARS = 8
"""A shorter key, as a server of one's own may have, is no secret; masking it would spoil what the server says."""


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


def prompt_field(endpoint: Endpoint, dialect: Dialect, prompt: Prompt) -> PromptField:
    """Return the prompt in the form of the endpoint's API."""
    if endpoint.api == "completions":
        return PromptField("prompt", render.completion_text(prompt))
    return PromptField("messages", render.messages(prompt, dialect.system_role))


def in_reply(endpoint: Endpoint, prompt: Prompt) -> str:
    """Return the part of the prompt that the model writes itself: in chat it begins its reply with the prefill."""
    return prompt.prefill if endpoint.api == "chat" else ""


def max_tokens(endpoint: Endpoint, request: Request) -> int:
    """Return the limit to send: with room for the prefill where the model writes it, at a token a byte at most, and for
    its thoughts."""
    prefill_bytes = lengths.utf8_bytes(in_reply(endpoint, request.prompt))
    return request.sampling.max_tokens + prefill_bytes + endpoint.reasoning_tokens


def body(endpoint: Endpoint, dialect: Dialect, request: Request, prompt: PromptField) -> bytes:
    """Return the body that asks for one sample. What has its default value is left out: some servers know few fields.

    Raises:  Permanent when the prompt cannot be written as UTF-8.
    """
    sampling = request.sampling
    reasoning = endpoint.reasoning_tokens > 0
    stops = stops_sent(sampling.stop, request.prompt.prefill, chat=endpoint.api == "chat", reasoning=reasoning)
    stops = stops[: dialect.max_stops]
    fields: dict[str, Any] = {
        "model": endpoint.model,
        prompt.name: prompt.value,
        dialect.max_tokens_field: max_tokens(endpoint, request),
    }
    if dialect.send_temperature:
        fields["temperature"] = sampling.temperature
    if dialect.send_top_p and sampling.top_p != 1.0:
        fields["top_p"] = sampling.top_p
    if stops:
        fields["stop"] = stops
    if dialect.send_seed:
        fields["seed"] = request.seed
    if dialect.stream:
        fields["stream"] = True
        if dialect.stream_usage:
            fields["stream_options"] = {"include_usage": True}
    fields |= endpoint.extra_body
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


def counted(content: bytes) -> int | None:
    """Return the tokens that an answer of `/tokenize` counts: vLLM and SGLang give their number, TGI and llama.cpp the
    tokens. None for any other answer, and for no tokens: a server that did not find the text counts none.

    >>> counted(b'{"count": 3, "max_model_len": 9}'), counted(b'{"tokens": [5, 6]}'), counted(b'[{"id": 1}]')
    (3, 2, 1)
    >>> counted(b'{"tokens": []}'), counted(b"<html>"), counted(b'{"count": "3"}')
    (None, None, None)
    """
    try:
        data: Any = msgspec.json.decode(content)
    except UNREADABLE:
        return None
    if isinstance(data, dict):
        table = cast("Mapping[str, object]", data)
        data = next((found for name in ("count", "token_count", "tokens") if (found := table.get(name))), None)
    count = len(cast("list[object]", data)) if isinstance(data, list) else data
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= MOST_TOKENS else None


def masked(content: bytes, key: str | None) -> bytes:
    """Return a body without the key, which some servers repeat, also where JSON escapes its characters.

    >>> masked(b'{"message": "over quota: sk-ab\\\\/cdef"}', "sk-ab/cdef")
    b'{"message": "over quota: ***"}'
    """
    if key is None or len(key) < LEAST_SECRET_CHARS:
        return content
    spelled = "".join(rf"\\?{re.escape(char)}" for char in key)
    return re.sub(spelled.encode(), b"***", content)
