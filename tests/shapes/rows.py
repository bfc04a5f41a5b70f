"""What a row is made of: what is served, and what is right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Stage = Literal["seeds", "concepts", "instructions", "responses"]
Api = Literal["completions", "chat"]

PAID = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A reject for one of these reasons; the evidence holds `shows`."""

    reasons: tuple[str, ...]
    shows: str = ""

    @staticmethod
    def by(*reasons: str, shows: str = "") -> "Rejected":
        return Rejected(reasons, shows)


@dataclass(frozen=True, slots=True)
class Raised:
    """An error of this class, by its name, and its words."""

    error: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """The request was sent again, at once, and answered: what its body holds then, and what it does not."""

    holds: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer over HTTP."""

    body: Any = None
    status: int = 200
    text: str | None = None  # instead of `body`
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def chat(message: Mapping[str, Any] | str | None, finish_reason: str | None = "stop", **top: Any) -> dict[str, Any]:
    """Return a chat reply: `message` is its content, or the fields of its message."""
    fields = message if isinstance(message, Mapping) else {"content": message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **fields}}],
        "usage": PAID,
        **top,
    }


def completion(text: str, finish_reason: str | None = "stop", **top: Any) -> dict[str, Any]:
    """Return a reply of the completions API."""
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish_reason, "text": text}],
        "usage": PAID,
        **top,
    }
