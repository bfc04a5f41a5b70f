"""Answers as servers give them: which are replies, prompts that are too long, filtered ones, waits, failures."""

import json
from typing import Any

import pytest

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply, Refused
from consumers.llm.request import Completion, Filtered, Prompt, Request, Result, Sampling, TooLong
from consumers.llm.usage import Usage
from stream.errors import EndpointDown, PipelineError, WrongConfig
from tests.odd_servers import USAGE, Said, chat, error, odd_server

PROMPT = Prompt("Judge.", (), "Is this good?")


def endpoint(url: str, settings: dict[str, Any]) -> Endpoint:
    chosen: dict[str, Any] = {"api": "chat", **settings}
    return Endpoint(url, "m", **chosen)


async def ask(url: str, max_tokens: int = 100, **settings: Any) -> tuple[Result | PipelineError, Usage]:
    """Ask once; an error is a result too."""
    request = Request("r/0", PROMPT, Sampling(0.7, max_tokens), seed=1)
    async with LLMClient(endpoint(url, settings)) as client:
        try:
            [result] = await client.for_stage("s", 0).complete("r", [request])
        except PipelineError as err:
            return err, client.usage()["s"]
        return result, client.usage()["s"]


def message(**fields: object) -> Said:
    return 200, {"choices": [{"message": fields, "finish_reason": "stop"}], "usage": USAGE}


def said(**fields: object) -> Said:
    return 200, {"choices": [{"text": "yes"}]} | fields


# fmt: off
READ: list[tuple[str, Said, tuple[str, str, str]]] = [  # text, finish reason, reasoning
    ("eos", chat("yes", finish_reason="eos"), ("yes", "stop", "")),
    ("eos_token", chat("yes", finish_reason="eos_token"), ("yes", "stop", "")),
    ("end_turn", chat("yes", finish_reason="end_turn"), ("yes", "stop", "")),
    ("stop_sequence", chat("yes", finish_reason="stop_sequence"), ("yes", "stop", "")),
    ("STOP", chat("yes", finish_reason="STOP"), ("yes", "stop", "")),
    ("FinishReason.STOP", chat("yes", finish_reason="FinishReason.STOP"), ("yes", "stop", "")),
    ("completed", chat("yes", finish_reason="completed"), ("yes", "stop", "")),
    ("MAX_TOKENS", chat("yes", finish_reason="MAX_TOKENS"), ("yes", "length", "")),
    ("max_tokens", chat("yes", finish_reason="max_tokens"), ("yes", "length", "")),
    ("model_length", chat("yes", finish_reason="model_length"), ("yes", "length", "")),
    ("a word of its own", chat("yes", finish_reason="tool_calls"), ("yes", "tool_calls", "")),
    ("null", chat("yes", finish_reason=None), ("yes", "stop", "")),
    ("stop_reason alone", chat("yes", finish_reason=None, stop_reason="max_tokens"), ("yes", "length", "")),
    ("null at the limit", said(usage={"prompt_tokens": 5, "completion_tokens": 100}), ("yes", "length", "")),
    ("null, much text", (200, {"choices": [{"text": "word " * 200}]}), ("word " * 200, "length", "")),
    ("no usage, no id, no model", said(), ("yes", "stop", "")),
    ("all null", said(usage=None, id=None, model=None, object=None), ("yes", "stop", "")),
    ("usage of nulls", said(usage={"prompt_tokens": None, "completion_tokens": None}), ("yes", "stop", "")),
    ("usage as texts", said(usage={"prompt_tokens": "5", "completion_tokens": 7.0}), ("yes", "stop", "")),
    ("usage of nonsense", said(usage={"prompt_tokens": -1, "completion_tokens": "many"}), ("yes", "stop", "")),
    ("usage no object", said(usage=[1]), ("yes", "stop", "")),
    ("parts", message(content=[{"type": "text", "text": "y"}, {"type": "output_text", "text": "es"}]),
     ("yes", "stop", "")),
    ("one part", message(content={"type": "text", "text": "yes"}), ("yes", "stop", "")),
    ("texts", message(content=["y", "es"]), ("yes", "stop", "")),
    ("thoughts in a part", message(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
                                            {"type": "text", "text": "yes"}]), ("yes", "stop", "Hm.")),
    ("a refusal in a part", message(content=[{"type": "refusal", "refusal": "No."}]), ("No.", "refusal", "")),
    ("reasoning_content", message(content="yes", reasoning_content="Hm."), ("yes", "stop", "Hm.")),
    ("reasoning", message(content="yes", reasoning="Hm."), ("yes", "stop", "Hm.")),
    ("both", message(content="yes", reasoning="Hm.", reasoning_content="Hm."), ("yes", "stop", "Hm.")),
    ("reasoning_details", message(content="yes", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
     ("yes", "stop", "Hm.")),
    ("thinking_blocks", message(content="yes", thinking_blocks=[{"type": "thinking", "thinking": "Hm."}]),
     ("yes", "stop", "Hm.")),
    ("thoughts alone", chat(None, finish_reason="length", message={"content": None, "reasoning_content": "Hm"}),
     ("", "length", "Hm")),
    ("a refusal", message(content=None, refusal="I can't help with that."), ("I can't help with that.", "refusal", "")),
    ("a refusal by Anthropic", chat("I can't.", finish_reason="refusal"), ("I can't.", "refusal", "")),
    ("content null", message(content=None), ("", "stop", "")),
    ("text in chat", said(), ("yes", "stop", "")),
    ("an array around it", (200, [chat("yes")[1]]), ("yes", "stop", "")),
    ("half a surrogate pair", (200, b'{"choices": [{"text": "a\\ud800"}]}'), ("a\ud800", "stop", "")),
    ("the word error in the text", chat('{"error": {"code": 429}}'), ('{"error": {"code": 429}}', "stop", "")),
    ("error null", (200, {**chat("yes")[1], "error": None}), ("yes", "stop", "")),  # type: ignore[dict-item]
]

TOO_LONG = {
    "vLLM": error("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
    "vLLM, newer": error("'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context "
                         "length is 4096 tokens and your request has 2104 input tokens", param="max_tokens"),
    "vLLM's engine": error("The decoder prompt (length 3000) is longer than the maximum model length of 2048."),
    "TGI": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 "
                           "`inputs` tokens and 1000 `max_new_tokens`", "error_type": "validation"}),
    "TGI, older": (422, {"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168"}),
    "llama.cpp": error("the request exceeds the available context size. try increasing the context size"),
    "llama.cpp, newer": error("request (9000 tokens) exceeds the available context size (4096 tokens), try increasing "
                              "it", type="exceed_context_size_error"),
    "llama-cpp-python": error("Requested tokens (5000) exceed context window of 4096"),
    "SGLang": error("The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    "SGLang, allowed": error("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."),
    "SGLang, requested": error("Requested token count exceeds the model's maximum context length of 40960 tokens."),
    "Ollama": error("the input length exceeds the context length", 500),
    "LM Studio": error("Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded "
                       "with context length of only 4096 tokens"),
    "OpenAI": error("too much", code="context_length_exceeded"),
    "Azure": error("This model's maximum context length is 8192 tokens, however you requested 9000 tokens",
                   code="context_length_exceeded", param="messages"),
    "LiteLLM": error("litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - too many", 400),
    "LiteLLM, 500": error("litellm.BadRequestError: Error code: 400 - {'error': {'message': \"This model's maximum "
                          "context length is 4096 tokens.\"}}", 500),
    "Anthropic": error("prompt is too long: 213462 tokens > 200000 maximum"),
    "Anthropic, both": error("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
    "Gemini": (400, [{"error": {"code": 400, "message": "The input token count (1196265) exceeds the maximum number of "
                                "tokens allowed (1048575).", "status": "INVALID_ARGUMENT"}}]),
    "Mistral": error("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context "
                     "length"),
    "Groq": error("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    "Groq, a minute": error("Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000, "
                            "please reduce your message size", 413, code="rate_limit_exceeded"),
    "OpenAI, a minute": error("Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 12000. The "
                              "input or output tokens must be reduced", 429, code="rate_limit_exceeded"),
    "Together": error("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193", 422),
    "Fireworks": error("The prompt is too long: 140000, model maximum context length: 131071"),
    "DeepSeek": error("This model's maximum context length is 131072 tokens. However, you requested 131134 tokens"),
    "OpenRouter": (200, {"error": {"code": 400, "message": "This endpoint's maximum context length is 8000 tokens."}}),
    "OpenRouter, raw": error("Provider returned error", metadata={"raw": '{"error": "prompt is too long"}'}),
    "xAI": error("This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "Bedrock": error("Input is too long for requested model."),
    "Moonshot": error("Your request exceeded model token limit: 131072"),
    "DashScope": error("Range of input length should be [1, 30720]"),
    "GitHub": error("Request body too large for gpt-4o model. Max size: 8000 tokens.", 413),
    "Cohere": (400, {"message": "too many tokens: total number of tokens in the prompt exceeds the limit of 4081"}),
    "nginx": (413, "<html><title>413 Request Entity Too Large</title></html>"),
}

FILTERED = {
    "Azure": error("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                   code="content_filter", param="prompt",
                   innererror={"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}),
    "Azure's reply": chat("half", finish_reason="content_filter"),
    "Gemini": chat(None, finish_reason="SAFETY"),
    "Gemini's policy": chat(None, finish_reason="PROHIBITED_CONTENT"),
    "Gemini, nothing": (200, {"choices": [{"finish_reason": "content_filter", "index": 0}]}),
    "Gemini's prompt": (200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    "OpenAI": error("Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                    code="invalid_prompt"),
    "DashScope": error("Input data may contain inappropriate content.", code="data_inspection_failed"),
    "DeepSeek": error("Content Exists Risk"),
    "Anthropic": error("Output blocked by content filtering policy"),
    "OpenRouter": error("Your chosen model requires moderation and your input was flagged", 403),
    "a firewall": (403, "<!DOCTYPE html><html>" + "<meta>" * 60 + "<title>Attention Required! | Cloudflare</title>"),
    "in a 200": (200, {"error": {"code": "content_filter", "message": "The response was filtered"}}),
}

ERRORS: dict[str, tuple[Said, type[PipelineError]]] = {
    "429": ((200, {"error": {"code": 429, "message": "Provider returned error"}}), Refused),
    "429 as text": ((200, {"error": {"code": "429", "message": "slow down"}}), Refused),
    "429 by its code": ((200, {"error": {"code": "rate_limit_exceeded", "message": "slow down"}}), Refused),
    "429 by Gemini": ((200, [{"error": {"status": "RESOURCE_EXHAUSTED", "message": "quota"}}]), Refused),
    "429 in the choice": ((200, {"choices": [{"error": {"code": 429, "message": "x"}, "finish_reason": "error"}]}),
                          Refused),
    "429 beside an empty choice": ((200, {"choices": [{"message": {"content": None}, "finish_reason": "stop"}],
                                          "error": {"code": 429, "message": "x"}}), Refused),
    "429 as JSON in the message": ((200, {"error": {"message": '{"error": {"code": 429, "message": "x"}}'}}), Refused),
    "429 in words": ((200, {"error": "Rate limit exceeded"}), Refused),
    "429 in a stream": ((200, b'data: {"error": {"code": 429, "message": "x"}}\n\n'), Refused),
    "429 after a piece": ((200, b'data: {"choices": [{"delta": {"content": "y"}}]}\n\n'
                                b'data: {"error": {"code": 429, "message": "x"}, "choices": []}\n\n'), Refused),
    "overloaded": ((200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), Refused),
    "502": ((200, {"error": {"code": 502, "message": "bad"}}), Refused),
    "401": ((200, {"error": {"code": 401, "message": "bad key"}}), WrongConfig),
    "401 by its code": ((200, {"error": {"code": "invalid_api_key", "message": "bad key"}}), WrongConfig),
    "500": ((200, {"error": {"code": 500, "message": "boom"}}), BadReply),
    "of no code": ((200, {"error": {"message": "boom"}}), BadReply),
    "vLLM of old": ((200, {"object": "error", "message": "boom", "code": 500}), BadReply),
    "no credit": (error("Your credit balance is too low to access the API"), Refused),
    "a broken end": (chat("half", finish_reason="error"), BadReply),
    "DeepSeek's broken end": (chat("half", finish_reason="insufficient_system_resource"), BadReply),
    "a stream that breaks off": ((200, b'data: {"choices": [{"delta": {"content": "y"}}]}\n\n'), BadReply),
}
# fmt: on


@pytest.mark.parametrize(("answer", "right"), [row[1:] for row in READ], ids=[row[0] for row in READ])
async def test_a_reply_is_read_whatever_else_is_missing(answer: Said, right: tuple[str, str, str]) -> None:
    async with odd_server(lambda _: answer) as server:
        result, usage = await ask(server.url)
    assert isinstance(result, Completion)
    assert (result.text, result.finish_reason, result.reasoning) == right
    assert usage.requests == 1 and usage.failed == 0


@pytest.mark.parametrize("answer", TOO_LONG.values(), ids=TOO_LONG)
async def test_however_a_server_says_it_a_prompt_is_too_long(answer: Said) -> None:
    async with odd_server(lambda _: answer) as server:
        result, usage = await ask(server.url)
    assert isinstance(result, TooLong)
    assert (usage.too_long, usage.failed) == (1, 0)


@pytest.mark.parametrize("answer", FILTERED.values(), ids=FILTERED)
async def test_what_a_content_filter_withholds_is_filtered(answer: Said) -> None:
    async with odd_server(lambda _: answer) as server:
        result, usage = await ask(server.url)
    assert isinstance(result, Filtered) and result.words
    assert (usage.filtered, usage.failed) == (1, 0)


@pytest.mark.parametrize(("answer", "kind"), ERRORS.values(), ids=ERRORS)
async def test_an_error_counts_as_its_own_status(answer: Said, kind: type[PipelineError]) -> None:
    async with odd_server(lambda _: answer) as server:
        result, usage = await ask(server.url)
    assert type(result) is kind
    assert usage.failed == 1


async def test_a_context_that_the_server_names_and_max_tokens_fill_is_a_wrong_config() -> None:
    answer = error("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens")
    async with odd_server(lambda _: answer) as server:
        result, _ = await ask(server.url, max_tokens=4096)
    assert isinstance(result, WrongConfig)
    assert "stage s asks for max_tokens = 4,096" in str(result) and "a context of 4,096 tokens" in str(result)


async def test_a_reply_that_was_paid_and_cannot_be_used_is_counted() -> None:
    unreadable: list[Said] = [
        (200, {"choices": [{"finish_reason": "stop"}], "usage": USAGE}),
        (200, {"choices": [], "usage": USAGE}),
        chat("half", finish_reason="error"),
    ]
    for answer in unreadable:
        async with odd_server(lambda _, answer=answer: answer) as server:
            result, usage = await ask(server.url, price_in=1.0)
        assert isinstance(result, BadReply)
        assert (usage.requests, usage.unreadable, usage.failed) == (1, 1, 1)
        assert (usage.prompt_tokens, usage.completion_tokens, usage.cost) == (11, 7, 11e-6)
    async with odd_server(lambda _: (200, "<html>It works!</html>")) as server:
        _, usage = await ask(server.url)
    assert (usage.requests, usage.unreadable) == (0, 0)


async def test_the_special_tokens_of_the_endpoint_go_with_each_reply() -> None:
    async with odd_server(lambda _: chat("yes")) as server:
        result, _ = await ask(server.url, special_tokens=("<|im_end|>",))
    assert isinstance(result, Completion) and result.special_tokens == ("<|im_end|>",)


# --- models

LISTS: dict[str, tuple[Said, bool]] = {
    "a bare array": ((200, [{"id": "m"}]), True),
    "names": ((200, ["m", "n"]), True),
    "data null": ((200, {"data": None}), True),
    "no models at all": ((200, {"object": "list", "data": []}), True),
    "models": ((200, {"models": [{"name": "m", "model": "m"}]}), True),
    "everything": ((200, {"data": [{"id": "*"}]}), True),
    "an alias": ((200, {"data": [{"id": "other", "aliases": ["m"]}]}), True),
    "Gemini's prefix": ((200, {"data": [{"id": "models/m"}]}), True),
    "Ollama's tag": ((200, {"data": [{"id": "m:latest"}]}), True),
    "a root": ((200, {"data": [{"root": "m"}]}), True),
    "no list": ((404, {"detail": "Not Found"}), True),
    "no such method": ((405, ""), True),
    "a key that may not list": ((403, {"error": {"message": "Missing scopes: api.model.read"}}), True),
    "not implemented": ((501, ""), True),
    "a page": ((200, "<html><title>Welcome</title></html>"), True),
    "another model": ((200, {"data": [{"id": "other"}]}), False),
    "another provider": ((200, {"data": [{"id": "openai/*"}]}), False),
    "a wrong key": ((401, {"error": {"message": "no"}}), False),
}


@pytest.mark.parametrize(("models", "passes"), LISTS.values(), ids=LISTS)
async def test_a_list_of_models_is_read_or_done_without(models: Said, passes: bool) -> None:
    def answer(body: dict[str, Any]) -> Said:
        return chat("yes") if "messages" in body else error("messages is missing")

    async with (
        odd_server(answer, {"/v1/models": models}) as server,
        LLMClient(Endpoint(server.url, "m", "chat")) as client,
    ):
        if passes:
            await client.check()
        else:
            with pytest.raises(WrongConfig):
                await client.check()
    if models[0] != 401:
        async with (
            odd_server(answer, {"/v1/models": models}) as server,
            LLMClient(Endpoint(server.url, "m", "chat", check_model=False)) as client,
        ):
            await client.check()


async def test_without_a_check_of_the_model_the_server_must_still_be_there() -> None:
    async with odd_server(lambda _: chat("yes")) as server:
        url = server.url
    async with LLMClient(Endpoint(url, "m", "chat", check_model=False)) as client:
        with pytest.raises(EndpointDown):
            await client.check()


@pytest.mark.parametrize("name", ["max_model_len", "context_length", "context_window"])
async def test_the_context_that_the_list_tells_is_used(name: str) -> None:
    models: Said = (200, {"data": [{"id": "m", name: 1000}]})
    async with (
        odd_server(lambda _: chat("yes"), {"/v1/models": models}) as server,
        LLMClient(Endpoint(server.url, "m", "chat")) as client,
    ):
        await client.check()
        assert client.context == 1000
        client.check_room("s", 999)
        with pytest.raises(WrongConfig, match=r"stage s asks for max_tokens = 1,000.* a context of 1,000 tokens"):
            client.check_room("s", 1000)
        long = Request("r", Prompt("", (), "x " * 20_000), Sampling(0.0, 100), 1)
        [result] = await client.for_stage("s", 0).complete("r", [long])
        assert isinstance(result, TooLong) and not server.asked


async def test_room_for_thoughts_counts_against_the_context() -> None:
    async with LLMClient(Endpoint("http://127.0.0.1:1", "m", context=1000, reasoning_tokens=900)) as client:
        with pytest.raises(WrongConfig, match="max_tokens = 100 and reasoning_tokens = 900"):
            client.check_room("s", 100)


# --- /tokenize

NO_COUNT: dict[str, tuple[Said, int]] = {  # and how often it is asked for two prompts
    "missing": ((404, {"detail": "Not Found"}), 1),
    "no such method": ((405, ""), 1),
    "another form": ((422, {"detail": [{"loc": ["body", "inputs"], "msg": "field required"}]}), 1),
    "a wrong key": ((401, {"error": {"message": "no"}}), 1),
    "a page": ((200, "<html>"), 1),
    "another shape": ((200, {"length": "long"}), 1),
    "llama.cpp, given another field": ((200, {"tokens": []}), 1),
    "a bad gateway": ((502, "<html>Bad gateway</html>"), 2),
    "an error": ((500, "boom"), 2),
}


@pytest.mark.parametrize(("answer", "times"), NO_COUNT.values(), ids=NO_COUNT)
async def test_without_a_count_the_length_is_estimated(answer: Said, times: int) -> None:
    near = "x" * 2300  # 767 tokens by the estimate
    async with (
        odd_server(lambda _: chat("yes"), {"/tokenize": answer}) as server,
        LLMClient(Endpoint(server.url, "m", "chat", context=1000)) as client,
    ):
        llm = client.for_stage("s", 0)
        for number, (ask_, kind) in enumerate(((near, Completion), ("x" * 2900, TooLong))):
            request = Request(f"r{number}", Prompt("", (), ask_), Sampling(0.0, 100), 1)
            [result] = await llm.complete(f"r{number}", [request])
            assert type(result) is kind
        assert server.paths.count("/tokenize") == times
        assert client.usage()["s"].failed == 0


async def test_a_tokenizer_that_keeps_failing_is_asked_no_more() -> None:
    async with (
        odd_server(lambda _: chat("yes"), {"/tokenize": (502, "")}) as server,
        LLMClient(Endpoint(server.url, "m", "chat", context=1000)) as client,
    ):
        for number in range(6):
            request = Request(f"{number}", Prompt("", (), "x" * 2300), Sampling(0.0, 100), 1)
            await client.for_stage("s", 0).complete(f"{number}", [request])
        assert server.paths.count("/tokenize") == 3
        assert client.snapshot().down == ()


COUNTS: dict[str, tuple[Said, type]] = {
    "vLLM": ((200, {"count": 900, "max_model_len": 1000, "tokens": [1] * 900}), Completion),
    "vLLM, over": ((200, {"count": 901, "max_model_len": 1000}), TooLong),
    "TGI": ((200, [{"id": 1, "text": "x"}] * 901), TooLong),
    "llama.cpp": ((200, {"tokens": [1] * 901}), TooLong),
    "too long to be counted": (error("This model's maximum context length is 1000 tokens"), TooLong),
}


@pytest.mark.parametrize(("answer", "kind"), COUNTS.values(), ids=COUNTS)
async def test_a_count_of_tokens_decides(answer: Said, kind: type) -> None:
    async with (
        odd_server(lambda _: chat("yes"), {"/tokenize": answer}) as server,
        LLMClient(Endpoint(server.url, "m", "chat", context=1000)) as client,
    ):
        request = Request("r", Prompt("", (), "x" * 2400), Sampling(0.0, 100), 1)
        [result] = await client.for_stage("s", 0).complete("r", [request])
        assert type(result) is kind
        assert json.dumps(server.paths).count("/tokenize") == 1
