"""What a server's answer, or its silence, means to the runner. Pure. The words of each message are for a user."""

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast

from consumers.llm import form, said, sse
from consumers.llm.errors import BadReply, Refused
from consumers.llm.form import Form
from consumers.llm.said import Said
from consumers.llm.wishes import wished_s
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
    r"|(?:longer|greater|larger) than the (?:model's )?(?:maximum|context)"
    r"|\bn_ctx\b|\bmax_seq\b|input_ids\b.{0,40}\bexceed|(?:prompt|sequence)\b.{0,20}\bexceeds? "
    r"|(?:prompt|input|request|message) (?:is|has|contains|of) [\d,]+ tokens\b.{0,40}\b(?:limit|max|only|over|exceed)"
    r"|[\d,]+ (?:input|prompt) tokens\b.{0,40}\b(?:over|above|beyond|more than|exceed)"
    r"|sequence of [\d,]+ tokens (?:cannot|can't|can not|does not|doesn't)"
    r"|(?:输入|提示词?|上下文|文本|请求|消息).{0,8}(?:过长|超长|太长|超出|超过)",
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
    r"|request (?:is )?too large|(?:payload|entity|body|content|messages?) (?:is |are )?too (?:large|long)"
    r"|string too long",
    re.IGNORECASE,
)
"""Words for the same that may also be about `max_tokens` alone, which is every record's."""

_TOO_MANY_STOPS = re.compile(r"(?:number|length) of ['`\"]?stop", re.IGNORECASE)

CONTEXT = re.compile(
    r"(?:(?:context|model|maximum prompt) (?:length|size|window)(?: is| of)?(?: only)?|max_model_len(?: of|\()?|n_ctx"
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
    r"|community guidelines|sensitive[ _](?:words?|content|information)|toxicity|\bpii (?:was |has been |is )?detected"
    r"|blocked by (?:\w+ ){0,4}(?:polic(?:y|ies)|guardrails?|filters?|moderation)"
    r"|guardrails?\b.{0,40}\b(?:block|detect|trigger|violat|reject)"
    r"|violat(?:e|es|ed|ing|ion of|ions of) (?:\w+ ){0,4}(?:guidelines|usage polic|content polic|terms of)"
    r"|不安全或敏感|敏感(?:信息|词|内容|话题)|违规(?:信息|内容)?|不合规|内容安全",
    re.IGNORECASE,
)
"""How servers say that a filter refused the prompt or withheld the reply; also a firewall before the server."""

_NO_CREDIT = re.compile(
    r"credit balance|insufficient[ _](?:balance|credits?|funds|quota)|exceeded your current quota"
    r"|billing[ _]hard[ _]limit",
    re.IGNORECASE,
)

_PLAIN_HTTP = re.compile(
    r"plain HTTP request was sent to (?:an )?HTTPS|HTTP request to an HTTPS server|plain HTTP to an SSL", re.IGNORECASE
)
"""nginx, Go's server and Apache, asked without TLS."""

_NO_KEY_HELPS = (
    (re.compile(r"just a moment\.\.\.|cf[-_]chl|checking your browser|enable javascript and cookies|captcha",
                re.IGNORECASE),
     "a firewall in front of it wants a browser: ask who runs it to let programs pass, or set another url"),
    (re.compile(r"must be verified|verify (?:your )?organi[sz]ation|identity verification", re.IGNORECASE),
     "the account must be verified with the provider, or set another model"),
    (re.compile(r"(?:country|region|location|territory)\b.{0,30}not (?:supported|available)"
                r"|not available in your (?:country|region|location)", re.IGNORECASE),
     "the provider serves no requests from this place: set another url"),
    (re.compile(r"not have access to (?:the )?model|no access to (?:the )?model", re.IGNORECASE),
     "the account may not use this model: set another model, or ask the provider for access"),
)  # fmt: skip
"""What a 403 may be about beside the key, with its cure."""

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

_MINIMAX: Mapping[str, str] = {
    "1001": "timeout", "1002": "rate_limit_exceeded", "1004": "invalid_api_key", "1008": "insufficient_balance",
    "1026": "content_filter", "1027": "content_filter", "1039": "context_length_exceeded",
    "1041": "rate_limit_exceeded", "2013": "invalid_request_error", "2049": "invalid_api_key",
    "2056": "rate_limit_exceeded",
}  # fmt: skip
_ZHIPU: Mapping[str, str] = {
    "1113": "insufficient_balance", "1261": "context_length_exceeded", "1301": "content_filter",
    "1302": "rate_limit_exceeded", "1303": "rate_limit_exceeded", "1304": "rate_limit_exceeded",
    "1305": "overloaded", "1312": "overloaded",
}  # fmt: skip
"""What the numbers of their documents of error codes mean, in the codes above."""

_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\{')
_FINISHED = re.compile(rb'"finish_reason"\s*:\s*"(?!")')
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


def own_status(answer: Answer) -> Answer:
    """Return an answer with the status that is meant: routers send errors with the status 200, alone or in a stream.

    >>> own_status(Answer(200, {}, b'{"error": {"message": "slow down", "code": 429}}')).status
    429
    >>> own_status(Answer(200, {}, b'{"choices": [{"text": "an \\\\"error\\\\": {}"}], "error": null}')).status
    200
    """
    body = answer.body
    if answer.status != HTTPStatus.OK or _is_surely_a_reply(body):
        return answer
    error = _error(answer.body)
    if error is None:
        return answer
    spoken = said.read(error)
    known = (_STATUS_OF_CODE[code] for code in spoken.codes if code in _STATUS_OF_CODE)
    waits = (status for words, status in _WAIT if words.search(spoken.words))
    status = spoken.status or next(known, None) or next(waits, None) or HTTPStatus.INTERNAL_SERVER_ERROR
    return dataclasses.replace(answer, status=int(status), body=error)


def _is_surely_a_reply(body: bytes) -> bool:
    """Whether a body is a reply, by its letters: each reply comes here. The plain search is ten times as fast as the
    pattern, and as good as always enough."""
    if _CHOICES.search(body) is None or sse.is_stream(body) or b'"base_resp"' in body:
        return False
    return b'"error"' not in body or not _ERROR.search(body)


def _error(body: bytes) -> bytes | None:
    """Return the error in a body of the status 200; None where there is none."""
    try:
        found: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
        for name, event in sse.named(body):
            if name == b"error":
                thing = _object(_loaded(event))
                # An error is one by the event's name, whatever its fields are called.
                plain = {"error": event.decode(errors="replace")}
                return json.dumps(plain if thing is None else thing).encode()
        found = sse.objects(body)
    finished = _FINISHED.search(body) is not None
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
        if (meant := _by_number(thing)) is not None:
            return meant
        whole = json.dumps(thing).encode()
        if not choices and (_names_an_error(thing, finished) or said.read(whole).status):
            return whole
    return None


def _names_an_error(thing: Mapping[str, Any], finished: bool) -> bool:
    """Whether an object without choices is an error, by its fields. In a stream that finished, a mere message told of
    something else, such as a place in the queue."""
    if "error" in (thing.get("object"), thing.get("type"), thing.get("status")) or thing.get("errors"):
        return True
    return (
        not finished
        and not thing.get("usage")
        and any(isinstance(thing.get(name), str) for name in ("detail", "message", "msg"))
    )


def _by_number(thing: Mapping[str, Any]) -> bytes | None:
    """Return the error that MiniMax or Zhipu gives as a number of its own, in the words of OpenAI's API."""
    base = thing.get("base_resp")
    if isinstance(base, dict):
        answer, numbers = cast("Mapping[str, Any]", base), _MINIMAX
        number, words = str(answer.get("status_code") or 0), answer.get("status_msg")
        if number == "0":
            return None
    elif not thing.get("choices"):
        number, words, numbers = str(thing.get("code")), thing.get("msg") or thing.get("message"), _ZHIPU
        if number not in numbers:
            return None
    else:
        return None
    code = numbers.get(number, "server_error")
    return json.dumps({"error": {"message": f"{words or 'no words'} ({number})", "code": code}}).encode()


def _loaded(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
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
    after_s = wished_s(answer.headers, now)
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
    if _PLAIN_HTTP.search(spoken.words):
        return WrongConfig(f"{url} answers {status}: it speaks HTTPS; use https:// in url")
    if status == HTTPStatus.FORBIDDEN and (cure := _no_matter_of_a_key(answer, spoken.words)) is not None:
        return WrongConfig(f"{url} answers {status}, {cure}: {_title(answer.body) or spoken.words}")
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


def _no_matter_of_a_key(answer: Answer, words: str) -> str | None:
    """Return the cure of a 403 that no other key would change; None for any other."""
    seen = f"{words} {answer.body[:8000].decode(errors='replace')}"
    return next((cure for pattern, cure in _NO_KEY_HELPS if pattern.search(seen)), None)


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
