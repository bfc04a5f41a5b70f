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
from tests.odd_servers import BOM, USAGE, Said, chat, error, odd_server

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


def stream(*events: object, before: bytes = b"", done: bool = True) -> Said:
    """Return a streamed answer; bytes among the events stand as they are."""
    lines = [event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() for event in events]
    return 200, before + b"".join(line + b"\n\n" for line in [*lines, *([b"data: [DONE]"] if done else [])])


def piece(text: str | None, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def so_far(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}]}


LOST = (piece("Half"), piece(" a"))
STOPS = ("eos_id", "stopped", "stop_token_id", "eot", "eot_id", "end_of_sequence", "</s>", "<|im_end|>",
         "<|endoftext|>", "normal", "success", "StopSequence", "FINISH_REASON_STOP", "End-Turn")  # fmt: skip
LENGTHS = ("max_context", "context_window", "incomplete", "maxTokens", "MAX-TOKENS")
FILTERS = ("content-filter", "ContentFilter", "CONTENT_FILTER", "content filter")
FAILURES = ("overloaded", "network_error", "load", "preempted", "server_error", "timeout", "NetworkError",
            "FinishReason.ERROR", "finish_reason_error")  # fmt: skip


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
    ("a stream with a byte order mark", stream(piece("y"), piece("es", "stop"), before=BOM), ("yes", "stop", "")),
    ("a stream of wholes", stream(so_far("Write"), so_far("Write a"), so_far("Write a function.", "stop")),
     ("Write a function.", "stop", "")),
    ("a stream of wholes, empty at the end", stream(so_far("Write"), so_far("Write a"), so_far("", "stop")),
     ("Write a", "stop", "")),
    ("a stream of wholes, one edited", stream(so_far("Write one"), so_far("Write one,"), so_far("Write one.", "stop")),
     ("Write one.", "stop", "")),
    ("pieces called messages", stream(so_far("Write"), so_far(" a"), so_far(" word.", "stop")),
     ("Write a word.", "stop", "")),
    ("pieces and the whole", stream(piece("Write"), piece(" it."), so_far("Write it.", "stop")),
     ("Write it.", "stop", "")),
    ("a place in the queue", stream({"status": "queued", "message": "You are third"}, piece("yes", "stop")),
     ("yes", "stop", "")),
    ("a stream by name", stream(b"event: message\ndata: " + json.dumps(piece("yes", "stop")).encode()),
     ("yes", "stop", "")),
    ("a good base_resp", (200, {**chat("yes")[1], "base_resp": {"status_code": 0}}),  # type: ignore[dict-item]
     ("yes", "stop", "")),
    ("a filter that let it pass", chat("yes", content_filter_results={"hate": {"filtered": False}}),
     ("yes", "stop", "")),
    *((f"the end {word}", chat("yes", finish_reason=word), ("yes", "stop", "")) for word in STOPS),
    *((f"the limit {word}", chat("yes", finish_reason=word), ("yes", "length", "")) for word in LENGTHS),
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
    "n_ctx": error("Prompt tokens (5000) > n_ctx (4096)"),
    "a limit": error("prompt is 5000 tokens, but the limit is 4096"),
    "over the limit": error("The request has 5,000 input tokens which is over the limit of 4,096"),
    "input_ids": error("input_ids length 5000 exceeds 4096"),
    "max_seq": error("input exceeds max_seq"),
    "a sequence": error("KV cache is full: sequence of 5000 tokens cannot be allocated", 500),
    "a message": error("Message too large"),
    "Chinese": error("您的输入过长"),
    "MiniMax": (200, {"base_resp": {"status_code": 1039, "status_msg": "x"}}),
    "Zhipu": (200, {"code": 1261, "msg": "Prompt"}),
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
    "guidelines": error("Violation of community guidelines"),
    "words": error("no", code="sensitive_words_detected"),
    "Chinese": error("输入内容包含敏感信息"),
    "toxicity": error("Toxicity detected (guardrails)"),
    "PII": error("PII detected and blocked by policy"),
    "Azure's prompt": (200, {"choices": [], "prompt_filter_results": [
        {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}, "violence": {"filtered": True}}}]}),
    "Azure's null": chat(None, content_filter_results={"hate": {"filtered": True, "severity": "high"}}),
    "MiniMax": (200, {"choices": None, "base_resp": {"status_code": 1026, "status_msg": "new_sensitive"}}),
    "MiniMax, beside usage": (200, {"usage": {"total_tokens": 0}, "base_resp": {"status_code": 1027}}),
    "Zhipu": (200, {"code": 1301, "msg": "no"}),
    **{word: chat("half", finish_reason=word) for word in FILTERS},
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
    **{f"the end {word}": (chat("half", finish_reason=word), BadReply) for word in FAILURES},
    "an error after pieces": (stream(*LOST, {"detail": "internal error"}, done=False), BadReply),
    "an error after pieces, then the end": (stream(*LOST, {"detail": "internal error"}), BadReply),
    "an error by its name": (stream(*LOST, b'event: error\ndata: {"reason": "gone"}'), BadReply),
    "an error by its name, in words": (stream(*LOST, b"event: error\ndata: upstream is gone"), BadReply),
    "an error in words": (stream(*LOST, b"data: Error: upstream connection reset"), BadReply),
    "overloaded after pieces": (stream(*LOST, b'event: error\ndata: {"type": "error", "error": {"type": '
                                              b'"overloaded_error", "message": "x"}}'), Refused),
    "overloaded by its name, in words": (stream(*LOST, b"event: error\ndata: model overloaded"), Refused),
    "too many after pieces": (stream(*LOST, {"message": "Rate limit exceeded"}), Refused),
    "a broken end of a stream": (stream(*LOST, piece(None, "server_error")), BadReply),
    "429 as detail": ((200, {"detail": "Rate limit exceeded"}), Refused),
    "429 as a message": ((200, {"status": "error", "message": "Too many requests"}), Refused),
    "429 as msg": ((200, {"code": 7, "msg": "Too many requests"}), Refused),
    "overloaded as detail": ((200, {"detail": "The model is overloaded", "choices": None}), Refused),
    "MiniMax's rate": ((200, {"base_resp": {"status_code": 1002, "status_msg": "x"}}), Refused),
    "MiniMax's credit": ((200, {"base_resp": {"status_code": 1008, "status_msg": "x"}}), Refused),
    "MiniMax's key": ((200, {"base_resp": {"status_code": 2049, "status_msg": "x"}}), WrongConfig),
    "MiniMax's own": ((200, {"base_resp": {"status_code": 1013, "status_msg": "x"}}), BadReply),
    "Zhipu's rate": ((200, {"code": "1302", "msg": "x"}), Refused),
    "Cloudflare's": ((200, {"success": False, "errors": [{"message": "model overloaded", "code": 3040}]}), Refused),
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


async def test_an_end_of_no_known_meaning_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    requests = [Request(f"r/{number}", PROMPT, Sampling(0.7, 100), seed=number) for number in range(5)]
    for word, times in (("wandered_off", 1), ("tool_calls", 0), ("eot_id", 0)):
        caplog.clear()
        async with (
            odd_server(lambda _, word=word: chat("yes", finish_reason=word)) as server,
            LLMClient(endpoint(server.url, {})) as client,
        ):
            await client.for_stage("s", 0).complete("r", requests)
        told = [record.getMessage() for record in caplog.records if "finish reason" in record.getMessage()]
        assert len(told) == times
        assert all(word in line and server.url in line for line in told)


WRONG: dict[str, tuple[Said, str]] = {
    "a challenge": ((403, "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"), "a firewall"),
    "an organization": (error("Your organization must be verified to use the model `o3`.", 403), "must be verified"),
    "a country": (error("Country, region, or territory not supported", 403), "from this place"),
    "a model": (error("Project `p` does not have access to model `m`", 403), "may not use this model"),
    "nginx without TLS": ((400, "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>"),
                          "use https:// in url"),
    "Go without TLS": ((400, "Client sent an HTTP request to an HTTPS server."), "use https:// in url"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "cure"), WRONG.values(), ids=WRONG)
async def test_a_wrong_config_that_is_none_of_the_key_names_its_own_cure(answer: Said, cure: str) -> None:
    async with odd_server(lambda _: answer) as server:
        result, _ = await ask(server.url)
    assert isinstance(result, WrongConfig)
    assert cure in str(result) and "key" not in str(result)


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
