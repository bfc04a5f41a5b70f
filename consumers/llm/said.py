"""What the body of an error says, whichever server wrote it: its message, its codes, the parameter that it names. Pure.

Servers put the error into `error`, `detail` or `message`, as an object, a text, a list of violations (FastAPI), a text
that is JSON again (proxies), or into an array of one (Gemini).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

SHOWN_CHARS = 500
_INNER = ("error", "innererror", "metadata", "detail", "message", "raw", "errors", "base_resp")
_WORDS = ("message", "error", "detail", "msg", "error_msg", "raw", "title", "status_msg")
_CODES = ("code", "status", "type", "error_type", "error_code", "status_code", "reason")
_PARAMS = ("param", "parameter", "field")
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Violation:
    """One entry of a validation error."""

    field: str  # its place in the request: `seed`, `messages.0.role`
    kind: str  # the validator's word for it: `extra_forbidden`
    words: str


@dataclass(frozen=True, slots=True)
class Said:
    """What an error says."""

    words: str  # on one line; "nothing" for an empty body
    codes: tuple[str, ...] = ()  # in lower case, the most general one first
    param: str | None = None
    violations: tuple[Violation, ...] = ()

    @property
    def status(self) -> int | None:
        """The HTTP status that the body names."""
        return next((int(code) for code in self.codes if code.isdecimal() and 400 <= int(code[:4]) < 600), None)


def read(body: bytes) -> Said:
    """Return what a body says, on one line: its message where it is JSON of a usual kind, else its beginning.

    >>> read(b'{"error": {"message": "no such model", "code": 404}}').words
    'no such model'
    >>> read(b'{"detail": "Not Found"}').words
    'Not Found'
    >>> read(b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]}').words
    'seed: Extra inputs'
    >>> read(b"<h1>Bad gateway</h1>").words
    '<h1>Bad gateway</h1>'
    """
    data = _json(body)
    if data is None:
        return Said(shown(body) or "nothing")
    layers = list(_layers(data, _DEPTH))
    violations = tuple(found for layer in layers for found in _violations(layer))
    spoken = [text for layer in layers for text in _texts(layer)]
    spoken += [f"{found.field}: {found.words}" for found in violations]
    words = "; ".join(dict.fromkeys(" ".join(text.split()) for text in spoken))[: 4 * SHOWN_CHARS]
    return Said(
        words[:SHOWN_CHARS] or shown(body) or "nothing",
        tuple(dict.fromkeys(_strings(layers, _CODES))),
        next((text for text in _strings(layers, _PARAMS, lower=False)), None),
        violations,
    )


def shown(content: bytes) -> str:
    """Return the beginning of a body on one line, for a message.

    >>> shown(b"<html>\\n  <body>Bad gateway")
    '<html> <body>Bad gateway'
    """
    return " ".join(content[:200].decode(errors="replace").split())


def _json(body: bytes | str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _layers(data: object, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an error, from the outermost one in."""
    if depth == 0:
        return
    if isinstance(data, str):
        if data.lstrip()[:1] in ("{", "["):
            yield from _layers(_json(data), depth - 1)
    elif isinstance(data, list):
        for item in cast("Sequence[object]", data)[:1]:
            yield from _layers(item, depth - 1)
    elif isinstance(data, dict):
        layer = cast("Mapping[str, Any]", data)
        yield layer
        for name in _INNER:
            inner = layer.get(name)
            if inner is not None and not _is_validation(inner):
                yield from _layers(inner, depth - 1)


def _texts(layer: Mapping[str, Any]) -> Iterator[str]:
    for name in _WORDS:
        value = layer.get(name)
        if isinstance(value, str) and value.strip() and not isinstance(_json(value), dict | list):
            yield value
        elif isinstance(value, list):
            yield from (item for item in cast("Sequence[object]", value) if isinstance(item, str))


def _strings(layers: Sequence[Mapping[str, Any]], names: Sequence[str], *, lower: bool = True) -> Iterator[str]:
    for layer in layers:
        for name in names:
            value = layer.get(name)
            if (isinstance(value, str) and value.strip()) or (isinstance(value, int) and not isinstance(value, bool)):
                text = str(value).strip()
                yield text.lower() if lower else text


def _is_validation(value: object) -> bool:
    return isinstance(value, list) and any(
        isinstance(item, dict) and "loc" in item for item in cast("Sequence[object]", value)
    )


def _violations(layer: Mapping[str, Any]) -> Iterator[Violation]:
    for name in ("detail", "message", "errors"):
        value = layer.get(name)
        if not _is_validation(value):
            continue
        for item in cast("Sequence[object]", value):
            if isinstance(item, dict):
                entry = cast("Mapping[str, Any]", item)
                loc = entry.get("loc")
                names = [str(part) for part in cast("Sequence[object]", loc)] if isinstance(loc, list) else [str(loc)]
                field = ".".join(names[1:] if names[0:1] == ["body"] else names)
                yield Violation(field, str(entry.get("type", "")), str(entry.get("msg", "")))
