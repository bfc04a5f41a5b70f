"""What a server's answer, or its silence, means to the runner. Pure. The words of each message are for a user."""

import dataclasses
import email.utils
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, cast

from consumers.llm import form, said, sse
from consumers.llm.errors import BadReply, Refused
from consumers.llm.form import Form
from consumers.llm.said import Said
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

FORM_STATUSES = {
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_ACCEPTABLE,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.GONE,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.UPGRADE_REQUIRED,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
}
"""What would be answered to any request: no record is to blame."""

TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context_?window_?exceeded|string_above_max_length"
    r"|tokens_limit_reached|max_prompt_tokens_exceeded|request_too_large"
    r"|context (?:length|window|size|limit)|context the overflows"
    r"|maximum (?:model|prompt|input|sequence) length|max_model_len|max_seq_len|max_total_tokens|max length"
    r"|(?:prompt|input) (?:is )?(?:too long|too large|length)|input (?:tokens?|token count|prompt)\b.{0,60}exceed"
    r"|inputs?['`\"]* (?:tokens \+|must have less than)|prompt contains \d+ tokens|range of input length"
    r"|(?:longer|greater|larger) than the (?:model's )?(?:maximum|context)",
    re.IGNORECASE,
)
"""How servers say that prompt and reply do not fit: vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio, LiteLLM, OpenAI,
Azure, Anthropic, Gemini, Mistral, Groq, xAI, Together, Fireworks, DeepSeek, DashScope, Moonshot, Cohere, Bedrock. A 429
that says so is none that waiting helps: the request alone is over the limit of a minute."""

_TOO_MANY_TOKENS = re.compile(
    r"\b(?<!max )(?<!output )(?:token (?:count|limit)|tokens?)\b.{0,40}\bexceed"
    r"|exceed\w* .{0,30}(?:token limit|maximum number of tokens)"
    r"|too many (?:input )?tokens\b(?!.{0,20} (?:per|wait))"
    r"|reduce (?:the length of )?(?:the|your) (?:messages?|prompt|inputs?)\b|reduce your message size"
    r"|request (?:is )?too large|(?:payload|entity|body|content) (?:is )?too large|string too long",
    re.IGNORECASE,
)
"""Words for the same that may also be about `max_tokens` alone, which is every record's."""

_TOO_MANY_STOPS = re.compile(r"(?:number|length) of ['`\"]?stop", re.IGNORECASE)

CONTEXT = re.compile(
    r"(?:(?:context|model|maximum prompt) (?:length|size|window)(?: is| of)?(?: only)?|max_model_len(?: of|\()?"
    r"|max_new_tokens['`\"]* must be <=|context size \(|greater than the context length of|>)\s*\(?(\d{2,8})\b",
    re.IGNORECASE,
)
"""The context, where those words name it."""

FILTERED = re.compile(
    r"content_?filter|content[ _-]?(?:policy|management|moderation|filtering)|responsibleaipolicyviolation"
    r"|data_?inspection_?failed|inappropriate content|content exists risk|safety (?:system|policy|filter|settings)"
    r"|prohibited_content|(?:prompt|input|request|response|output) (?:was|has been|is) (?:flagged|filtered)"
    r"|(?:prompt|output|response) (?:was )?blocked|flagged as potentially violating|considered high risk"
    r"|requires moderation|guardrail_intervened|attention required! \| cloudflare|you have been blocked"
    r"|不安全或敏感",
    re.IGNORECASE,
)
"""How servers say that a filter refused the prompt or withheld the reply; also a firewall before the server."""

_NO_CREDIT = re.compile(
    r"credit balance|insufficient[ _](?:balance|credits?|funds|quota)|exceeded your current quota"
    r"|billing[ _]hard[ _]limit",
    re.IGNORECASE,
)

_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429, "rate_limit_error": 429, "rate_limit_reached": 429, "resource_exhausted": 429,
    "insufficient_quota": 429, "too_many_requests": 429, "throttlingexception": 429, "limit_requests": 429,
    "overloaded_error": 529, "overloaded": 529, "engine_overloaded_error": 503, "server_overloaded": 503,
    "unavailable": 503, "service_unavailable": 503, "serviceunavailable": 503, "capacity_exceeded": 503,
    "deadline_exceeded": 504, "timeout": 504, "timeout_error": 504, "gateway_timeout": 504, "bad_gateway": 502,
    "payment_required": 402, "insufficient_balance": 402, "billing_error": 402, "insufficient_credits": 402,
    "authentication_error": 401, "invalid_api_key": 401, "unauthenticated": 401, "unauthorized": 401,
    "permission_error": 403, "permission_denied": 403, "forbidden": 403,
    "not_found": 404, "not_found_error": 404, "notfounderror": 404, "model_not_found": 404,
    "request_too_large": 413,
    "invalid_request_error": 400, "invalid_argument": 400, "badrequesterror": 400, "bad_request": 400,
    "invalid_request": 400, "invalid_parameter_error": 400, "validation": 422, "content_filter": 400,
    "context_length_exceeded": 400, "unsupported_parameter": 400, "unsupported_value": 400,
    "exceed_context_size_error": 400,
}  # fmt: skip
"""The status of an error that has the status 200, by its code."""

_WAIT = ((re.compile(r"rate.?limit|too many requests", re.IGNORECASE), 429),
         (re.compile(r"overloaded|unavailable|no capacity", re.IGNORECASE), 503))  # fmt: skip

_ERROR = re.compile(rb'(?<!\\)"error"\s*:\s*["{]')
"""An error in a body. A text of the model cannot look so: there, a quotation mark has a backslash."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class ContextExceeded(Exception):  # noqa: N818 - turned into a TooLong where it is caught
    """The server says that the prompt does not fit. Never leaves the client."""

    def __init__(self, words: str, context: int | None = None) -> None:
        super().__init__(words)
        self.context = context  # tokens, where the server names them in words of its own


class Withheld(Exception):  # noqa: N818 - turned into a Filtered where it is caught
    """A content filter refused the prompt. Never leaves the client."""


class FormRefused(Exception):  # noqa: N818 - cured, or turned into a WrongConfig, where it is caught
    """The server refuses the form of the request. Never leaves the client."""

    def __init__(self, url: str, status: int, refused: Form) -> None:
        super().__init__(f"{url} answers {status}: {refused.words}")
        self.form = refused


LONGEST_WISH_S = 60.0
"""A `Retry-After` counts at most this much: an early question is cheap, and who waits an hour for a server that is back
after a minute loses 59."""


def own_status(answer: Answer) -> Answer:
    """Return an answer with the status that is meant: routers send errors with the status 200, alone or in a stream.

    >>> own_status(Answer(200, {}, b'{"error": {"message": "slow down", "code": 429}}')).status
    429
    >>> own_status(Answer(200, {}, b'{"choices": [{"text": "an \\\\"error\\\\": {}"}], "error": null}')).status
    200
    """
    body = answer.body
    # Each reply comes here: the plain search is ten times as fast as the pattern, and as good as always enough.
    if answer.status != HTTPStatus.OK or (b'"choices"' in body and (b'"error"' not in body or not _ERROR.search(body))):
        return answer
    error = _error(answer.body)
    if error is None:
        return answer
    spoken = said.read(error)
    known = (_STATUS_OF_CODE[code] for code in spoken.codes if code in _STATUS_OF_CODE)
    waits = (status for words, status in _WAIT if words.search(spoken.words))
    status = spoken.status or next(known, None) or next(waits, None) or HTTPStatus.INTERNAL_SERVER_ERROR
    return dataclasses.replace(answer, status=int(status), body=error)


def _error(body: bytes) -> bytes | None:
    """Return the error in a body of the status 200; None where there is none."""
    try:
        found: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        found = sse.objects(body)
    for item in found:
        thing = _object(item)
        if thing is None:
            continue
        choices = thing.get("choices")
        parts = [thing, *(cast("list[object]", choices) if isinstance(choices, list) else [])]
        for part in parts:
            error = cast("dict[str, object]", part).get("error") if isinstance(part, dict) else None
            if error and isinstance(error, dict | str):
                return json.dumps({"error": error}).encode()
        whole = json.dumps(thing).encode()
        if not choices and (thing.get("object") == "error" or said.read(whole).status):
            return whole
    return None


def _object(item: object) -> dict[str, Any] | None:
    """Return an object, also the only one of an array: Gemini's errors come so."""
    if isinstance(item, list) and item:
        item = cast("list[object]", item)[0]
    return cast("dict[str, Any]", item) if isinstance(item, dict) else None


def refusal(answer: Answer, url: str, now: datetime, sent: bytes = b"") -> EndpointDown | None:
    """Return the error of a server that takes no more, unpaid or overloaded, or is away behind its proxy; None for
    any other answer. `sent` is the body of the request."""
    if answer.status not in REFUSALS and answer.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
        return None
    spoken = said.read(answer.body)
    unpaid = _NO_CREDIT.search(" ".join([*spoken.codes, spoken.words]))
    if answer.status not in REFUSALS and (unpaid is None or form.holds(sent, unpaid[0])):
        return None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and _is_too_long(spoken.words):
        return None
    after_s = retry_after_s(answer.headers.get("retry-after"), now)
    why = ", the account has no credit" if unpaid or answer.status == HTTPStatus.PAYMENT_REQUIRED else ""
    return Refused(f"{url} answers {answer.status}{why}: {spoken.words}", retry_after_s=after_s)


def failure(
    answer: Answer, url: str, key_env: str | None, sent: bytes = b"", extra: Collection[str] = ()
) -> PipelineError | ContextExceeded | Withheld | FormRefused | None:
    """Return the error that any other answer is; None for a reply. A 404 is left to who can list the models. `sent` is
    the body of the request, `extra` names what `extra_body` added to it."""
    status = answer.status
    if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
        return None
    spoken = said.read(answer.body)
    if status == HTTPStatus.FORBIDDEN and (FILTERED.search(f"{spoken.words} {_title(answer.body)}")):
        return Withheld(spoken.words)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        cure = f"the key in ${key_env} is not accepted" if key_env else "it wants a key: name its variable in key_env"
        return WrongConfig(f"{url} answers {status}, {cure}: {spoken.words}")
    if 300 <= status < 400:
        target = answer.headers.get("location", "nowhere")
        return WrongConfig(f"{url} answers {status} and points to {target}: give that address as url")
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return RequestTimedOut(f"{url} answers {status}: {spoken.words}")
    if status >= 400 and (about := _about_the_request(status, spoken, url, sent, extra)) is not None:
        return about
    if status in FORM_STATUSES:
        return WrongConfig(f"{url} answers {status}: {spoken.words}; are url and api in [llm.NAME] right?")
    if 400 <= status < 500:
        return Permanent(f"{url} answers {status}: {spoken.words}")
    return BadReply(f"{url} answers {status}: {spoken.words}")


def _about_the_request(
    status: int, spoken: Said, url: str, sent: bytes, extra: Collection[str]
) -> ContextExceeded | Withheld | FormRefused | None:
    """Return what is wrong with a request, where the server says so; also with the status of an error of its own."""
    words = " ".join([*spoken.codes, spoken.words])
    too_long = ContextExceeded(spoken.words, _context(spoken.words, sent))
    if _TOO_MANY_STOPS.search(words) is None and (
        status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or TOO_LONG.search(words)
    ):
        return too_long
    if FILTERED.search(words):
        return Withheld(spoken.words)
    refused = form.refused(spoken, sent, extra)
    if refused is None and _TOO_MANY_TOKENS.search(words):
        return too_long
    return FormRefused(url, status, refused) if refused else None


def _is_too_long(words: str) -> bool:
    return bool(TOO_LONG.search(words) or _TOO_MANY_TOKENS.search(words))


def _context(words: str, sent: bytes) -> int | None:
    named = CONTEXT.search(words)
    return int(named[1]) if named and not form.holds(sent, named[0]) else None


def _title(body: bytes) -> str:
    # A firewall's page says what it is in its title, which may stand beyond what is shown of a body.
    title = re.search(rb"<title>(.{0,200}?)</title>", body, re.IGNORECASE | re.DOTALL)
    return title[1].decode(errors="replace") if title else ""


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
