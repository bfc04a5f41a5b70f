"""Whatever a server sends is read or refused in a way of ours, and a stream adds up to its reply."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumers.llm import failures, form, models, replies, said, sse
from consumers.llm.errors import BadReply
from consumers.llm.failures import Answer

NAMES = [
    "choices",
    "message",
    "content",
    "text",
    "delta",
    "error",
    "code",
    "type",
    "usage",
    "prompt_tokens",
    "data",
    "id",
    "finish_reason",
    "detail",
    "loc",
    "msg",
    "param",
    "index",
    "refusal",
    "reasoning",
    "metadata",
    "status",
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
JSON = st.recursive(
    LEAVES | st.sampled_from(NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
BODIES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
STREAMS = st.lists(BODIES, max_size=4).map(lambda pieces: b"".join(b"data: %s\n\n" % piece for piece in pieces))


@given(BODIES | STREAMS)
def test_any_body_is_a_reply_or_a_bad_one(body: bytes) -> None:
    try:
        reply = replies.read(body, "url", lambda: "shown")
    except BadReply as err:
        assert str(err).startswith("url ")
    else:
        assert isinstance(reply.text, str) and isinstance(reply.reasoning, str)
        assert all(count is None or count >= 0 for count in (reply.prompt_tokens, reply.completion_tokens))


@given(BODIES | STREAMS, st.sampled_from([200, 400, 403, 413, 422, 429, 500]))
def test_any_error_is_said_on_one_line_and_has_a_status(body: bytes, status: int) -> None:
    answer = failures.own_status(Answer(status, {}, body))
    assert 200 <= answer.status < 600
    spoken = said.read(body)
    assert spoken.words and "\n" not in spoken.words and len(spoken.words) <= said.SHOWN_CHARS
    refused = form.refused(spoken, b'{"prompt": "x"}', ("top_k",))
    assert refused is None or refused.parameter


@given(BODIES)
def test_any_list_of_models_is_read_or_is_none(body: bytes) -> None:
    cards = models.read(body)
    assert cards is None or all(card.name for card in cards)


@given(st.text(), st.text(), st.data())
def test_a_stream_is_the_reply_however_it_is_cut(text: str, thoughts: str, data: st.DataObject) -> None:
    def cut(whole: str) -> list[str]:
        places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
        return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]

    deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in cut(thoughts)]
    deltas += [{"content": piece} for piece in cut(text)]
    events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": {"prompt_tokens": 3}}]
    body = b"".join(b"data: %s\r\n\r\n" % msgspec.json.encode(event) for event in events) + b"data: [DONE]\r\n\r\n"
    assert sse.is_stream(body) and sse.ended(body)
    reply = replies.read(body, "url", lambda: "shown")
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.prompt_tokens) == (text, thoughts, "stop", 3)
