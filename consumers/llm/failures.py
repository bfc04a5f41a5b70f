"""What a server's answer, or its silence, means to the runner. Pure. The words of each message are for a user."""

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import cast

import orjson

from consumers.llm.apis import shown
from consumers.llm.errors import BadReply, Refused
from stream.errors import EndpointDown, Permanent, PipelineError, RequestTimedOut, WrongConfig

REFUSALS = {
    HTTPStatus.PAYMENT_REQUIRED,  # whoever owns the account can pay while we wait; no record is to blame
    HTTPStatus.LOCKED,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
    529,  # «overloaded», as some hosts say
}

TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|window|size)"
    r"|maximum model length|max_model_len|prompt is too long",
    re.IGNORECASE,
)
"""How vLLM, OpenAI and llama.cpp say that prompt and reply do not fit."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class ContextExceeded(Exception):  # noqa: N818 - turned into a TooLong where it is caught
    """The server says that the prompt does not fit. Never leaves the client."""


LONGEST_WISH_S = 60.0
"""A `Retry-After` counts at most this much: an early question is cheap, and who waits an hour for a server that is back
after a minute loses 59."""


def refusal(answer: Answer, url: str, now: datetime) -> EndpointDown | None:
    """Return the error of a server that takes no more, unpaid or overloaded, or is away behind its proxy; None for
    any other answer."""
    if answer.status not in REFUSALS:
        return None
    after_s = retry_after_s(answer.headers.get("retry-after"), now)
    why = ", the account has no credit" if answer.status == HTTPStatus.PAYMENT_REQUIRED else ""
    return Refused(f"{url} answers {answer.status}{why}: {words(answer.body)}", retry_after_s=after_s)


def failure(answer: Answer, url: str, key_env: str | None) -> PipelineError | ContextExceeded | None:
    """Return the error that any other answer is; None for a reply. A 404 is left to who can list the models."""
    status = answer.status
    if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        return None
    said = words(answer.body)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        cure = f"the key in ${key_env} is not accepted" if key_env else "it wants a key: name its variable in key_env"
        return WrongConfig(f"{url} answers {status}, {cure}: {said}")
    if 300 <= status < 400:
        target = answer.headers.get("location", "nowhere")
        return WrongConfig(f"{url} answers {status} and points to {target}: give that address as url")
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return RequestTimedOut(f"{url} answers {status}: {said}")
    if 400 <= status < 500:
        code = error_field(answer.body, "code")
        if TOO_LONG.search(f"{code} {said}"):
            return ContextExceeded(said)
        return Permanent(f"{url} answers {status}: {said}")
    return BadReply(f"{url} answers {status}: {said}")


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, section 10.2.3: a number of them, or a date), up to
    `LONGEST_WISH_S`.

    >>> retry_after_s("12", datetime.now(UTC)), retry_after_s("3600", datetime.now(UTC))
    (12.0, 60.0)
    >>> retry_after_s("Wed, 21 Oct 2026 07:28:30 GMT", datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
    30.0
    >>> retry_after_s("soon", datetime.now(UTC))
    """
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d*)?", value.strip()):
        return min(float(value), LONGEST_WISH_S)
    try:
        date = email.utils.parsedate_to_datetime(value)
        wish_s = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        return min(max(0.0, wish_s), LONGEST_WISH_S)
    except (ValueError, OverflowError):  # no date, or one of no year that Python knows
        return None


def words(body: bytes) -> str:
    """Return what an error's body says, on one line: its message where it is JSON of the usual kind.

    >>> words(b'{"error": {"message": "no such model", "code": 404}}')
    'no such model'
    >>> words(b'{"detail": "Not Found"}')
    'Not Found'
    >>> words(b"<h1>Bad gateway</h1>")
    '<h1>Bad gateway</h1>'
    """
    for name in ("message", "error", "detail"):
        value = error_field(body, name)
        if isinstance(value, str):
            return " ".join(value[:500].split())
    return shown(body) or "nothing"


def error_field(body: bytes, name: str) -> object:
    """Return a field of the error object in a body, which some servers wrap in `error` and some do not."""
    try:
        data: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(data, dict) and isinstance(inner := cast("dict[str, object]", data).get("error"), dict):
        data = cast("dict[str, object]", inner)
    return cast("dict[str, object]", data).get(name) if isinstance(data, dict) else None
