"""A request, as far as this server honours it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from deploy.scripted_llm import question
from deploy.scripted_llm.question import Question

DEFAULT_TOKENS = 16


class Message(msgspec.Struct):
    """One message of a conversation."""

    role: str
    content: str


class Fields(msgspec.Struct):
    """What both APIs take."""

    model: str = ""
    prompt: str | None = None
    messages: list[Message] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    seed: int | None = None
    n: int = 1
    stream: bool = False
    stream_options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    fields: Fields
    sent: Mapping[str, Any]  # the body as it came, with the parameters that `fields` does not know

    @property
    def chat(self) -> bool:
        return self.fields.messages is not None

    @property
    def text(self) -> str:
        """The prompt, whichever its form."""
        return self.fields.prompt or "\n".join(f"{m.role}: {m.content}" for m in self.fields.messages or ())

    @property
    def question(self) -> Question:
        if self.fields.messages is not None:
            return question.of_chat([(m.role, m.content) for m in self.fields.messages])
        return question.of_completion(self.fields.prompt or "")

    @property
    def stops(self) -> list[str]:
        stop = self.fields.stop
        return [stop] if isinstance(stop, str) else stop or []

    @property
    def max_tokens(self) -> int:
        return self.fields.max_completion_tokens or self.fields.max_tokens or DEFAULT_TOKENS

    @property
    def wants_usage(self) -> bool:
        """Whether usage is to be told: in a stream only on demand."""
        return not self.fields.stream or bool((self.fields.stream_options or {}).get("include_usage"))


def decoded(body: bytes) -> Ask:
    """Read the body of a request.

    Raises:  msgspec.DecodeError for what is none.
    """
    sent = msgspec.json.decode(body, type=dict[str, Any])
    return Ask(msgspec.convert(sent, Fields), sent)
