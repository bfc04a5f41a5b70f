"""What `/models` tells: which models a server offers, and how long their context is. Pure.

Servers answer with `{"data": [...]}`, `{"models": [...]}` or a bare array, of objects or names. LiteLLM offers
patterns.
"""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

import msgspec

from stream.codec import UNREADABLE

_CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length", "max_context_len")
"""vLLM and SGLang; OpenRouter and Together; Groq; Mistral and LM Studio."""

_PREFIX, _LATEST = "models/", ":latest"
"""Gemini names a model with the prefix, Ollama with the suffix, and both take the name without it."""


@dataclass(frozen=True, slots=True)
class Card:
    """One model that is offered."""

    name: str
    aliases: tuple[str, ...] = ()
    context: int | None = None  # tokens

    def offers(self, model: str) -> bool:
        """Whether a request for `model` is one for this.

        >>> Card("openai/*").offers("openai/gpt-4.1"), Card("qwen:latest").offers("qwen"), Card("qwen").offers("qwen2")
        (True, True, False)
        """
        for name in (self.name, *self.aliases):
            if model in (name, name.removeprefix(_PREFIX), name.removesuffix(_LATEST)):
                return True
            if "*" in name and fnmatchcase(model, name.replace("[", "[[]").replace("?", "[?]")):
                return True
        return False


def read(body: bytes) -> list[Card] | None:
    """Return the models of a list; an empty one where the server keeps none, None for what is no list.

    >>> [card.name for card in read(b'{"data": [{"id": "a"}, {"name": "b", "aliases": ["c"]}]}')]
    ['a', 'b']
    >>> read(b'["a"]'), read(b'{"data": null}'), read(b'{"data": [1]}'), read(b"<html>")
    ([Card(name='a', aliases=(), context=None)], [], None, None)
    """
    try:
        data: object = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except UNREADABLE:
        return None
    if isinstance(data, dict):
        table = cast("Mapping[str, object]", data)
        names = [name for name in ("data", "models") if name in table]
        if not names:
            return None
        none: list[object] = []
        data = next((table[name] for name in names if table[name]), none)
    if isinstance(data, dict):  # one model, or several by name
        card = _card(cast("Mapping[str, object]", data))
        return [card] if card else [Card(name) for name in cast("Mapping[str, object]", data) if name]
    if not isinstance(data, list):
        return None
    items = cast("Sequence[object]", data)
    cards = [card for item in items if (card := _card(item)) is not None]
    return cards if cards or not items else None


def _card(item: object) -> Card | None:
    if isinstance(item, str):
        return Card(item) if item else None
    if not isinstance(item, dict):
        return None
    fields = cast("Mapping[str, Any]", item)
    name = next(
        (v for key in ("id", "name", "model", "model_name", "root") if isinstance(v := fields.get(key), str) and v),
        None,
    )
    if name is None:
        return None
    aliases = fields.get("aliases")
    others = cast("Sequence[object]", aliases) if isinstance(aliases, list) else ()
    context = next((v for key in _CONTEXTS if isinstance(v := fields.get(key), int) and v > 0), None)
    return Card(name, tuple(other for other in others if isinstance(other, str)), context)
