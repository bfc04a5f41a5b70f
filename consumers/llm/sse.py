"""Server-sent events, as both APIs stream a reply: read whole, and put together to the reply that was not asked to be
streamed. Pure. Source: the HTML standard, section 9.2.6, and OpenAI's API reference on streaming.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

DONE = b"[DONE]"
"""The data of the last event."""

_FAILURE = re.compile(
    rb"error|fail|exception|overloaded|timed out|timeout|too many requests|unavailable", re.IGNORECASE
)
_BOM = b"\xef\xbb\xbf"
_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(body: bytes) -> bool:
    """Whether a body is a stream of events."""
    return _begun(body).startswith(_BEGINS)


def data(body: bytes) -> list[bytes]:
    r"""Return the data of each event.

    >>> data(b": comment\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nevent: end\ndata:[DONE]\n\n")
    [b'{"a":\n1}', b'[DONE]']
    """
    return [event for _, event in named(body)]


def named(body: bytes) -> list[tuple[bytes, bytes]]:
    r"""Return the name and the data of each event; the name is empty where the stream gives none.

    >>> named(b"\xef\xbb\xbfevent: error\ndata: no\n\ndata: yes\n\n")
    [(b'error', b'no'), (b'', b'yes')]
    """
    events: list[tuple[bytes, bytes]] = []
    name = b""
    lines: list[bytes] = []
    for line in [*_begun(body).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if not line:
            if lines:
                events.append((name, b"\n".join(lines)))
            name, lines = b"", []
        elif line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            name = line[6:].strip().lower()
    return events


def objects(body: bytes) -> list[Any]:
    """Return the JSON of each event that is some. An event that is cut off, or no JSON, is left out."""
    return [item for event in data(body) if (item := _json(event)) is not None]


def fails_in_words(body: bytes) -> bool:
    """Whether an event is a text, and no JSON, that tells of a failure: so a proxy ends a stream that it lost."""
    return any(_FAILURE.search(event) and _json(event) is None for event in data(body))


def ended(body: bytes) -> bool:
    """Whether a stream says that it is over."""
    return any(event.strip() == DONE for event in data(body)[-2:])


def whole(body: bytes) -> dict[str, Any]:
    r"""Return the reply that a stream adds up to, in the form of one that is not streamed; `finish_reason` is missing
    where the stream broke off before it.

    >>> whole(b'data: {"choices": [{"text": "a"}]}\n\ndata: {"choices": [{"text": "b", "finish_reason": "stop"}]}\n\n')
    {'choices': [{'text': 'ab', 'finish_reason': 'stop'}]}
    """
    reply: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    message: dict[str, Any] = {}
    for piece in objects(body):
        if not isinstance(piece, dict):
            continue
        event = cast("dict[str, Any]", piece)
        # Counts that grow with the stream: the last holds.
        reply |= {name: value for name, value in event.items() if name != "choices" and value is not None}
        for part in _choices(event):
            _add(message, choice, part)
    if choice.keys() or message:
        text = {"text": choice.pop("text")} if "text" in choice else {}
        reply["choices"] = [{**({"message": message} if message else {}), **text, **choice}]
    return reply


def _choices(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the pieces of the first sample."""
    choices = event.get("choices")
    for part in cast("Sequence[object]", choices) if isinstance(choices, list) else ():
        if isinstance(part, dict) and not cast("dict[str, Any]", part).get("index"):
            yield cast("dict[str, Any]", part)


def _add(message: dict[str, Any], choice: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name in part:
        value = cast("object", part[name])
        if name == "delta" and isinstance(value, dict):
            delta = cast("dict[str, Any]", value)
            for field in delta:
                _append(message, field, delta[field])
        elif name == "message" and isinstance(value, dict):
            whole_so_far = cast("dict[str, Any]", value)
            for field in whole_so_far:
                _renew(message, field, whole_so_far[field])
        elif name in ("text", "reasoning", "reasoning_content"):
            _append(choice, name, part[name])
        elif name not in ("delta", "message", "index", "logprobs") and value is not None:
            choice[name] = value


def _renew(message: dict[str, Any], name: str, value: object) -> None:
    """Set a field to its whole value so far: some servers send the whole with each event, or at the end. A text that
    begins otherwise than the one before is a piece, which other servers call a message too."""
    before = message.get(name)
    if isinstance(before, str) and before.strip() and isinstance(value, str) and name != "role":
        begin = before.strip()
        if not value.strip().startswith(begin[: (len(begin) + 1) // 2]):
            # An empty text at the end changes nothing either.
            message[name] = before + value
            return
    if value or not before:
        message[name] = value


def _begun(body: bytes) -> bytes:
    """Return a body without the byte order mark and the empty lines before it."""
    return body.lstrip(_BOM + b"\r\n ")


def _append(into: dict[str, Any], name: str, piece: object) -> None:
    """Add a piece of a field: texts and lists grow, of anything else the last holds."""
    before = into.get(name)
    if isinstance(piece, list) and isinstance(before, str):
        into[name] = [before, *cast("list[Any]", piece)]
    elif isinstance(piece, str) and isinstance(before, list):
        into[name] = [*cast("list[Any]", before), piece]
    elif isinstance(piece, str) and isinstance(before, str) and name != "role":
        into[name] = before + piece
    elif isinstance(piece, list) and isinstance(before, list):
        into[name] = [*cast("list[Any]", before), *cast("list[Any]", piece)]
    elif piece is not None or before is None:
        into[name] = piece


def _json(event: bytes) -> Any:
    try:
        return json.loads(event)
    except (ValueError, RecursionError):
        return None
