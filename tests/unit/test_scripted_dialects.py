"""The servers that the scripted one plays: what each refuses, in whose words, and how it shapes its replies."""

import json
from typing import Any

import httpx
import pytest

from deploy.scripted_llm.around import KINDS, THOUGHTS
from deploy.scripted_llm.dialects import DIALECTS
from deploy.scripted_llm.faults import Fault, Raw
from deploy.scripted_llm.server import ScriptedLLM

ASK = "[Properties]\ncategory: function\nlanguage: python\ndifficulty: easy\nconcepts: sorting"
CHAT = {"model": "scripted", "messages": [{"role": "user", "content": ASK}], "max_tokens": 1_000, "seed": 1}
NEW = {name: value for name, value in CHAT.items() if name != "max_tokens"} | {"max_completion_tokens": 1_000}
TAKEN = {
    "openai-reasoning": NEW,
    "litellm": CHAT | {"seed": None, "temperature": 0},
    "dashscope": CHAT | {"stream": True},
}
"""A request that a dialect takes, where the usual one is refused."""


async def post(server: ScriptedLLM, path: str, body: dict[str, Any]) -> httpx.Response:
    body = {name: value for name, value in body.items() if value is not None}
    base = server.url if server.url.endswith("/v1") else f"{server.url}/v1"
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        return await client.post(f"{base}{path}", json=body)


async def chat(server: ScriptedLLM, **changes: Any) -> httpx.Response:
    return await post(server, "/chat/completions", CHAT | changes)


@pytest.mark.parametrize(
    ("dialect", "changes", "status", "words"),
    [
        ("openai-reasoning", {}, 400, "Use 'max_completion_tokens' instead"),
        ("openai-reasoning", NEW | {"max_tokens": None, "temperature": 0.2}, 400, "does not support 0.2"),
        ("openai-reasoning", NEW | {"max_tokens": None, "temperature": 1}, 200, ""),
        ("openai-reasoning", NEW | {"max_tokens": None, "stop": ["x"]}, 400, "'stop' is not supported"),
        ("azure", {"stop": list("abcde")}, 400, "but got an array with length 5"),
        ("azure", {"stop": list("abcd")}, 200, ""),
        ("tgi", {"stop": list("abcde")}, 422, "supports up to 4 stop sequences. Given: 5"),
        ("litellm", {}, 400, "does not support parameters: ['seed']"),
        ("vllm-gemma", {"messages": [{"role": "system", "content": "x"}, *CHAT["messages"]]}, 400, "System role"),
        ("dashscope", {}, 400, "only support stream mode"),
        ("plain", {"model": "other"}, 404, "does not exist"),
        ("ollama", {"model": "scripted:latest"}, 200, ""),
        ("llamacpp", {"model": "anything"}, 200, ""),
    ],
)
async def test_the_form_of_a_request_is_refused_as_the_server_does(
    dialect: str, changes: dict[str, Any], status: int, words: str
) -> None:
    async with ScriptedLLM(dialect=dialect) as server:
        answer = await chat(server, **changes)
        assert answer.status_code == status and words in answer.text


@pytest.mark.parametrize("dialect", ["openai-reasoning", "azure", "dashscope"])
async def test_a_server_of_chat_models_takes_no_completions(dialect: str) -> None:
    async with ScriptedLLM(dialect=dialect) as server:
        answer = await post(server, "/completions", {"model": "scripted", "prompt": "x"})
        assert answer.status_code in (400, 404) and "ompletion" in answer.json()["error"]["message"]


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_a_prompt_that_does_not_fit_is_refused_in_the_servers_own_words(dialect: str) -> None:
    async with ScriptedLLM(dialect=dialect, context=200) as server:
        request = TAKEN.get(dialect, CHAT) | {"messages": [{"role": "user", "content": ASK + " x" * 500}]}
        answer = await post(server, "/chat/completions", request)
        if DIALECTS[dialect].too_long is None:
            assert answer.status_code == 200 and answer.json()["usage"]["prompt_tokens"] == 200
        else:
            assert answer.status_code in (400, 422) and "200" in json.dumps(answer.json())


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
async def test_a_stream_holds_what_the_whole_reply_does(dialect: str) -> None:
    """Where a server takes both."""
    request = TAKEN.get(dialect, CHAT)
    async with ScriptedLLM(dialect=dialect) as server:
        streamed = await post(
            server, "/chat/completions", request | {"stream": True, "stream_options": {"include_usage": True}}
        )
        *events, done = [line[6:] for line in streamed.text.split("\n\n") if line]
        assert done == "[DONE]"
        chunks = [json.loads(event) for event in events]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        text = "".join(delta.get("content") or "" for delta in deltas)
        assert "[Instruction]" in text
        if request.get("stream"):
            return
        whole = (await post(server, "/chat/completions", request)).json()
        message = whole["choices"][0]["message"]
        parts = message["content"]
        assert text == (parts if isinstance(parts, str) else "".join(part["text"] for part in parts))
        ends = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
        assert ends[-1] == whole["choices"][0]["finish_reason"]
        if whole["usage"]:
            assert chunks[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize(
    ("dialect", "field"),
    [("vllm", "reasoning_content"), ("ollama", "reasoning"), ("llamacpp", "content"), ("openai-reasoning", None)],
)
async def test_thoughts_stand_where_the_server_puts_them_and_take_their_room(dialect: str, field: str | None) -> None:
    async with ScriptedLLM(dialect=dialect) as server:
        request = TAKEN.get(dialect, CHAT)
        message = (await post(server, "/chat/completions", request)).json()["choices"][0]["message"]
        assert [name for name, value in message.items() if value and THOUGHTS in value] == ([field] if field else [])
        limit = "max_completion_tokens" if dialect == "openai-reasoning" else "max_tokens"
        short = (await post(server, "/chat/completions", request | {limit: 5})).json()
        assert short["choices"][0]["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 5
        assert not (short["choices"][0]["message"]["content"] or "").removeprefix("<think>\nThe form is ")


async def test_without_a_seed_the_same_question_is_answered_in_another_way_unless_it_is_greedy() -> None:
    async with ScriptedLLM() as server:
        drawn = {(await chat(server, seed=None, temperature=0.7)).text for _ in range(3)}
        greedy = {(await chat(server, seed=None, temperature=0)).text for _ in range(3)}
        assert (len(drawn), len(greedy)) == (3, 1)


async def test_the_filter_refuses_some_prompts_and_withholds_some_replies_the_same_each_time() -> None:
    async with ScriptedLLM(dialect="azure") as server:
        for _ in range(2):
            found: dict[str, int] = {}
            for number in range(100):
                answer = await chat(server, messages=[{"role": "user", "content": f"{ASK} {number}"}])
                body = answer.json()
                end = body["error"]["code"] if answer.status_code == 400 else body["choices"][0]["finish_reason"]
                found[f"{answer.status_code} {end}"] = found.get(f"{answer.status_code} {end}", 0) + 1
            assert sum(found.values()) == 100
            assert 0 < found["400 content_filter"] < 15 and 0 < found["200 content_filter"] < 15


async def test_any_answer_can_be_served_in_place_of_any_other() -> None:
    faults = [
        Fault(raw=Raw(status=418, headers={"Retry-After": "3"}, body=[1, None])),
        Fault(raw=Raw(text="half \ufffd"), at="models", count=1),
        Fault(raw=Raw(status=502), at="tokenize"),
    ]
    async with ScriptedLLM(faults) as server, httpx.AsyncClient(trust_env=False) as client:
        answer = await chat(server)
        assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (418, [1, None], "3")
        assert (await client.get(f"{server.url}/v1/models")).text == "half \ufffd"
        assert (await client.get(f"{server.url}/v1/models")).json()["data"][0]["id"] == "scripted"
        assert (await client.post(f"{server.url}/tokenize", json=CHAT)).status_code == 502


def test_a_fault_of_a_small_question_belongs_to_no_stage() -> None:
    with pytest.raises(ValueError, match="models is asked by no stage"):
        Fault(status=500, at="models", stage="seeds")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_written_around_an_answer_leaves_it_whole(kind: Any) -> None:
    async with ScriptedLLM() as plain, ScriptedLLM(around=[kind]) as server:
        bare = (await chat(plain, stop="\n\n## Example")).json()["choices"][0]["message"]["content"]
        text = (await chat(server)).json()["choices"][0]["message"]["content"]
        assert bare.removeprefix("[Instruction]\n") in text.replace("\r\n", "\n")
        assert kind == "prefill" or text != bare
