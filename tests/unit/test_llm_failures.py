"""What each answer means: a table of (status, body, error), growing with each server that says it in its own way."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumers.llm import apis, replies
from consumers.llm.errors import BadReply, Refused
from consumers.llm.failures import (
    Answer,
    ContextExceeded,
    FormRefused,
    Withheld,
    failure,
    refusal,
)
from consumers.llm.wishes import LONGEST_WISH_S, retry_after_s
from stream.errors import Permanent, PipelineError, RequestTimedOut, WrongConfig

URL = "http://llm:8000/v1"
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def classify(status: int, body: str = "", **headers: str) -> Exception | None:
    answer = Answer(status, headers, body.encode())
    return refusal(answer, URL, NOW) or failure(answer, URL, "LLM_KEY")


def said(message: str, **more: str) -> str:
    return json.dumps({"error": {"message": message, "code": 400, **more}})


# fmt: off
ANSWERS = [
    (200, "{}", None),
    (404, "{}", None),  # who lists the models says what it means
    (429, "slow down", Refused), (502, "<html>", Refused), (503, "", Refused), (504, "", Refused), (529, "", Refused),
    (402, "Insufficient Balance", Refused), (423, "locked", Refused), (425, "too early", Refused),
    (500, '{"error": {"message": "EngineCore died"}}', BadReply), (501, "", BadReply), (204, "", BadReply),
    (408, "", RequestTimedOut),
    (401, "", WrongConfig), (403, "", WrongConfig), (301, "", WrongConfig), (307, "", WrongConfig),
    (400, '{"error": {"message": "unknown field"}}', Permanent), (409, "", Permanent), (422, "", Permanent),
    # vLLM, older and newer
    (400, '{"object": "error", "message": "This model\'s maximum context length is 2048 tokens."}', ContextExceeded),
    (400, said("The decoder prompt (length 3000) is longer than the maximum model length of 2048."), ContextExceeded),
    (400, said("'max_tokens' is too large: 9. This model's maximum context length is 8 tokens"), ContextExceeded),
    # OpenAI, llama.cpp
    (400, said("too much", code="context_length_exceeded"), ContextExceeded),
    (400, said("the request exceeds the available context size"), ContextExceeded),
    # a limit of its own, that no other prompt would keep either
    (400, said("max_tokens is too large: 9000. This model supports at most 4096 completion tokens"), FormRefused),
]
# fmt: on


@pytest.mark.parametrize(("status", "body", "error"), ANSWERS)
def test_an_answer_is_the_error_that_the_runner_can_act_on(
    status: int, body: str, error: type[Exception] | None
) -> None:
    assert type(classify(status, body)) is (error or type(None))


def test_a_refused_key_names_its_variable() -> None:
    error = classify(401, '{"error": {"message": "Incorrect API key provided: ***"}}')
    assert str(error) == f"{URL} answers 401, the key in $LLM_KEY is not accepted: Incorrect API key provided: ***"


def test_an_account_without_credit_is_said_to_be_one() -> None:
    assert str(classify(402, said("Insufficient Balance"))) == (
        f"{URL} answers 402, the account has no credit: Insufficient Balance"
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"key sk-123/4 is over its quota", b"key *** is over its quota"),
        (b'{"message": "key sk-123\\/4"}', b'{"message": "key ***"}'),  # as some JSON encoders write a slash
        (b"sk-123/4sk-123/4 sk-123/5", b"****** sk-123/5"),
        (b"", b""),
    ],
)
def test_a_key_is_masked_however_a_body_spells_it(body: bytes, shown: bytes) -> None:
    assert apis.masked(body, "sk-123/4") == shown
    assert apis.masked(body, None) == body


def test_a_key_too_short_to_be_a_secret_leaves_the_words_of_the_server_whole() -> None:
    assert apis.masked(b"the maximum model length", "model") == b"the maximum model length"


def test_a_redirect_names_the_address_to_give() -> None:
    assert "points to https://llm/v1/completions" in str(classify(308, "", location="https://llm/v1/completions"))


def test_a_refusal_carries_the_wish_of_the_server() -> None:
    error = classify(429, "slow down", **{"retry-after": "7"})
    assert isinstance(error, Refused) and error.retry_after_s == 7.0
    assert str(error) == f"{URL} answers 429: slow down"


def test_a_wish_of_hours_counts_as_a_minute() -> None:
    for wish in ("3600", "999999999", "Fri, 20 Nov 2999 07:28:00 GMT"):
        error = classify(503, "maintenance", **{"retry-after": wish})
        assert isinstance(error, Refused) and error.retry_after_s == LONGEST_WISH_S


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after_s("Fri, 20 Nov 2026 07:28:00 GMT", NOW) == 0.0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>It works!</html>", b"{", b"[]", b"null", b"\xff", b'{"choices": []}', b'{"choices": null}',
        b'{"choices": [{"finish_reason": "stop"}]}', b'{"choices": [1]}', b'{"choices": [{"text": 5}]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_reply_is_a_bad_reply_with_its_beginning(content: bytes) -> None:
    with pytest.raises(BadReply, match="http://llm:8000/v1 gave"):
        replies.read(content, URL, lambda: "…")


@given(
    st.integers(100, 599), st.binary(max_size=300) | st.sampled_from([b"null", b'{"error": null}', b'{"error": []}'])
)
def test_any_answer_is_a_reply_or_an_error_of_ours(status: int, body: bytes) -> None:
    answer = Answer(status, {}, body)
    error = refusal(answer, URL, NOW) or failure(answer, URL, None)
    assert error is None or isinstance(error, PipelineError | ContextExceeded | Withheld | FormRefused)
    assert (error is None) == (status in (200, 404))


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ (GMT|-0000|\+9999)"))
@example("1 May 3000000000 00:00:00 GMT")
@example("1 Jan 1 00:00:00 +2359")
def test_any_retry_after_is_a_wait_or_none(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_WISH_S
