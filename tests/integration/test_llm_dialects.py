"""A form of request that a server refuses: the client changes it once for the endpoint, or stops the stage with a line
that says what to set. No record is to blame."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.request import Completion, Prompt, Request, Result, Sampling, TooLong
from stream.errors import Permanent, WrongConfig
from tests.odd_servers import Body, Said, chat, error, odd_server

PROMPT = Prompt("Judge.", (), "Is this good?")
STOPS = ("a1", "b2", "c3", "d4", "e5", "f6")
SAMPLING = Sampling(0.7, max_tokens=100, stop=STOPS, top_p=0.9)


def requests(count: int = 1, ask: str = "Is this good?") -> list[Request]:
    prompt = Prompt("Judge.", (), ask)
    return [Request(f"r/{number}", prompt, SAMPLING, seed=number) for number in range(count)]


def endpoint(url: str, settings: dict[str, Any]) -> Endpoint:
    chosen: dict[str, Any] = {"api": "chat", **settings}
    return Endpoint(url, "m", **chosen)


async def ask(url: str, count: int = 1, ask: str = "Is this good?", **settings: Any) -> list[Result]:
    async with LLMClient(endpoint(url, settings)) as client:
        return list(await client.for_stage("s", 0).complete("r", requests(count, ask)))


def refusing(when: Callable[[Body], bool], said: Said) -> Callable[[Body], Said]:
    """Refuse what `when` finds in a body; answer anything else."""
    return lambda body: said if when(body) else chat("yes")


SUPPORTS = "is not supported with this model"
DEFAULT = "Only the default (1) value is supported."
PYDANTIC = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs", "input": 3}]}


def has_system(body: Body) -> bool:
    return body["messages"][0]["role"] == "system"


# fmt: off
CURED: list[tuple[str, Callable[[Body], bool], Said]] = [
    ("max_tokens", lambda b: "max_tokens" in b,
     error(f"Unsupported parameter: 'max_tokens' {SUPPORTS}. Use 'max_completion_tokens' instead.",
           param="max_tokens", code="unsupported_parameter")),
    ("max_tokens in words alone", lambda b: "max_tokens" in b,
     (400, {"error": f"Unsupported parameter: 'max_tokens' {SUPPORTS}. Use 'max_completion_tokens' instead."})),
    ("temperature", lambda b: "temperature" in b,
     error(f"Unsupported value: 'temperature' does not support 0.7 with this model. {DEFAULT}",
           param="temperature", code="unsupported_value")),
    ("temperature by LiteLLM", lambda b: "temperature" in b,
     error("litellm.UnsupportedParamsError: gpt-5 doesn't support temperature=0.7. Only temperature=1 is supported.")),
    ("temperature deprecated", lambda b: "temperature" in b, error("`temperature` is deprecated for this model.")),
    ("temperature of Moonshot", lambda b: "temperature" in b,
     error("invalid temperature: only 1 is allowed for this model")),
    ("top_p beside temperature", lambda b: "top_p" in b and "temperature" in b,
     error("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")),
    ("seed by FastAPI", lambda b: "seed" in b, (422, PYDANTIC)),
    ("seed by Mistral", lambda b: "seed" in b, (422, {"object": "error", "message": PYDANTIC, "param": None})),
    ("seed by Gemini", lambda b: "seed" in b,
     (400, [{"error": {"code": 400, "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
                       "status": "INVALID_ARGUMENT"}}])),
    ("seed by LiteLLM", lambda b: "seed" in b,
     error("litellm.UnsupportedParamsError: mistral does not support parameters: ['seed'], for model=codestral")),
    ("seed by Groq", lambda b: "seed" in b, error("property 'seed' is unsupported, did you mean 'user'?")),
    ("seed by xAI", lambda b: "seed" in b,
     (400, {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: seed"})),
    ("seed by Fireworks", lambda b: "seed" in b, error("Extra inputs are not permitted, field: 'seed', value: 3")),
    ("seed by Bedrock", lambda b: "seed" in b, error("#: extraneous key [seed] is not permitted, please reformat")),
    ("seed by jsonschema", lambda b: "seed" in b,
     error("Additional properties are not allowed ('seed' was unexpected)")),
    ("seed by Rust", lambda b: "seed" in b,
     (422, "Failed to deserialize the JSON body into the target type: unknown field `seed`, expected `model`")),
    ("seed in a list", lambda b: "seed" in b, error("Unsupported parameter(s): `seed`")),
    ("seed by Volcengine", lambda b: "seed" in b,
     error("The parameter `seed` specified in the request is not valid", code="InvalidParameter", param="seed")),
    ("stops by Perplexity", lambda b: "stop" in b, error("Custom stop words not supported by these models")),
    ("a role by Anthropic", has_system,
     error('messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter')),
    ("roles of a template", has_system, error("Only user and assistant roles are supported!")),
    ("old OpenAI", lambda b: "seed" in b, error("Unrecognized request argument supplied: seed")),
    ("stops by OpenAI", lambda b: len(b.get("stop", ())) > 4,
     error("Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 6 "
           "instead.", param="stop", code="array_above_max_length")),
    ("stops by Groq", lambda b: len(b.get("stop", ())) > 4, error("len(stop) > 4 is not supported")),
    ("stops by TGI", lambda b: len(b.get("stop", ())) > 2,
     (422, {"error": "Input validation error: `stop` supports up to 2 stop sequences. Given: 6"})),
    ("stops by Azure of old", lambda b: len(b.get("stop", ())) > 4,
     error("'$.stop' is invalid. Please check the API reference")),
    ("stops by Zhipu", lambda b: len(b.get("stop", ())) > 1, error("stop:最大只能有1个停止词", code="1214")),
    ("stops by Anthropic", lambda b: "stop" in b,
     error("stop_sequences: each stop sequence must contain non-whitespace")),
    ("a role by FastAPI", has_system,
     (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Input should be 'user' or 'assistant'"}]})),
    ("no stops", lambda b: "stop" in b,
     error(f"Unsupported parameter: 'stop' {SUPPORTS}.", param="stop", code="unsupported_parameter")),
    ("Gemma by vLLM", has_system,
     (400, {"object": "error", "message": "System role not supported", "type": "BadRequestError", "code": 400})),
    ("Gemma by llama.cpp", has_system,
     (500, {"error": {"code": 500, "message": "\n----\nWhile executing CallExpression at line 1, column 68 in source\n"
                      "Jinja Exception: System role not supported", "type": "server_error"}})),
    ("o1", has_system,
     error("Unsupported value: 'messages[0].role' does not support 'system' with this model.",
           param="messages[0].role", code="unsupported_value")),
    ("Mistral's template", has_system,
     error("Conversation roles must alternate user/assistant/user/assistant/...")),
    ("max_tokens in place", lambda b: "max_tokens" in b,
     error("Please use `max_completion_tokens` in place of `max_tokens`")),
    ("temperature by transformers", lambda b: "temperature" in b,
     error("`temperature` (=0.7) has to be a strictly positive float, otherwise your next token scores will be "
           "invalid.")),
    ("temperature (=0)", lambda b: "temperature" in b, error("temperature (=0) has to be a strictly positive float")),
    ("seed, additional", lambda b: "seed" in b, error("additional property 'seed' present")),
    ("temperature, additional", lambda b: "temperature" in b, error("additional property 'temperature' present")),
    ("seed not validated", lambda b: "seed" in b,
     error("Parameter(s) [seed] of the request could not be validated")),
    ("top_p not validated", lambda b: "top_p" in b,
     error("Parameter(s) [top_p] of the request could not be validated")),
    ("seed in Chinese", lambda b: "seed" in b, error("参数 seed 不支持")),
    ("seed amid Chinese", lambda b: "seed" in b, error("不支持参数seed")),
    ("top_p in Chinese", lambda b: "top_p" in b, error("参数top_p不支持")),
    ("one stop", lambda b: len(b.get("stop", ())) > 1, error("Only one stop sequence is supported")),
    ("two stops", lambda b: len(b.get("stop", ())) > 2, error("Only 2 stop sequences are supported")),
    ("a role by jsonschema", has_system, error("messages: 'system' is not one of ['user', 'assistant']")),
    ("Gemma by Google", has_system,
     (400, [{"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3-27b-it"}}])),
]

FATAL: list[tuple[str, Said, str]] = [
    ("a limit of the model", error("max_tokens is too large: 9000. This model supports at most 4096 completion tokens",
                                   param="max_tokens"), "lower max_tokens in [stages.STAGE]"),
    ("a limit by Anthropic", error("max_tokens: 100000 > 64000, which is the maximum number of output tokens"),
     "lower max_tokens"),
    ("a limit by Groq", error("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` "
                              "is less than the `context_window` for this model"), "lower max_tokens"),
    ("a limit by DeepSeek", error("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"),
     "lower max_tokens"),
    ("a limit by Vertex", error("Unable to submit request because it has a maxOutputTokens value of 100000 but the "
                                "supported range is from 1 (inclusive) to 65537 (exclusive)."), "lower max_tokens"),
    ("a limit in tokens", error("max_tokens exceeds the model's token limit of 4096"), "lower max_tokens"),
    ("a limit by TGI", (422, {"error": "Input validation error: `max_new_tokens` must be <= 192. Given: 200"}),
     "lower max_tokens"),
    ("a temperature by FastAPI", error("1 validation error: temperature: Input should be less than or equal to 1"),
     "set send_temperature = false"),
    ("a value", (422, {"error": "Input validation error: `temperature` must be strictly positive"}),
     "set send_temperature = false in [llm.NAME]"),
    ("no template", error("As of transformers v4.44, default chat template is no longer allowed, so you must provide a "
                          "chat template if the tokenizer does not define one."), 'api = "completions"'),
    ("the other API", error("This is a chat model and not supported in the v1/completions endpoint"), "other api"),
    ("an unknown model", error("Model Not Exist"), "set model in [llm.NAME]"),
    ("no model", error("No models loaded. Please load a model in the developer page"), "set model in [llm.NAME]"),
    ("what we never sent", error("Unsupported parameter: 'logit_bias'", param="logit_bias",
                                 code="unsupported_parameter"), "logit_bias"),
    ("a path that takes no such request", (405, {"detail": "Method Not Allowed"}), "are url and api"),
]
# fmt: on


@pytest.mark.parametrize(("when", "said"), [row[1:] for row in CURED], ids=[row[0] for row in CURED])
async def test_a_refused_form_is_changed_once_and_every_record_is_answered(
    when: Callable[[Body], bool], said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    arrived = asyncio.Event()

    async def answer(body: Body) -> Said:
        if len(server.asked) >= 8:
            arrived.set()
        await arrived.wait()  # all are in flight in the old form before the first is refused
        return refusing(when, said)(body)

    async with odd_server(answer) as server, LLMClient(Endpoint(server.url, "m", api="chat")) as client:
        llm = client.for_stage("s", 0)
        with caplog.at_level(logging.WARNING):
            results = await llm.complete("r", requests(8))
        assert [result.text for result in results if isinstance(result, Completion)] == ["yes"] * 8
        assert len(server.asked) == 16  # each was sent twice
        await llm.complete("q", [Request("q", PROMPT, SAMPLING, 1)])
        assert len(server.asked) == 17  # and from then on in the new form
        assert len(caplog.records) == 1 and "in [llm.NAME] avoids this" in caplog.text
        usage, now = client.usage()["s"], client.snapshot()
        assert (usage.requests, usage.failed) == (9, 0)
        assert (now.in_flight, now.waiting) == (0, 0)


@pytest.mark.parametrize(("said", "cure"), [row[1:] for row in FATAL], ids=[row[0] for row in FATAL])
async def test_a_form_without_a_cure_is_a_wrong_config_with_the_words_and_what_to_set(said: Said, cure: str) -> None:
    async with odd_server(lambda _: said) as server:
        with pytest.raises(WrongConfig) as raised:
            await ask(server.url)
    assert cure in str(raised.value) and server.url in str(raised.value) and "\n" not in str(raised.value)
    assert len(server.asked) == 1


async def test_a_cure_that_does_not_help_is_applied_once() -> None:
    said = error(f"Unsupported parameter: 'seed' {SUPPORTS}.", param="seed", code="unsupported_parameter")
    async with odd_server(lambda _: said) as server:
        with pytest.raises(WrongConfig, match=r"Unsupported parameter: 'seed'.*set send_seed = false"):
            await ask(server.url)
    assert ["seed" in body for body in server.asked] == [True, False]


async def test_where_fewer_stops_are_refused_too_none_are_sent() -> None:
    said = error("'stop' is invalid")
    async with odd_server(refusing(lambda body: "stop" in body, said)) as server:
        [result] = await ask(server.url)
    assert isinstance(result, Completion) and result.text == "yes"
    assert [len(body.get("stop", ())) for body in server.asked] == [6, 4, 0]


async def test_several_refusals_are_cured_one_after_the_other() -> None:
    def answer(body: Body) -> Said:
        return next((said for _, when, said in CURED if when(body)), chat("yes"))

    async with odd_server(answer) as server:
        [result] = await ask(server.url)
    assert isinstance(result, Completion) and result.text == "yes"
    assert server.asked[-1].keys() == {"model", "messages", "max_completion_tokens"}


async def test_what_the_user_set_is_kept_to() -> None:
    said = error(f"Unsupported parameter: 'seed' {SUPPORTS}.", param="seed", code="unsupported_parameter")
    async with odd_server(refusing(lambda body: "seed" in body, said)) as server:
        with pytest.raises(WrongConfig, match="send_seed = false"):
            await ask(server.url, send_seed=True)
        await ask(server.url, send_seed=False)
        assert len(server.asked) == 2


async def test_a_refused_key_of_the_extra_body_is_named() -> None:
    async with odd_server(lambda _: (422, {"detail": [{"loc": ["body", "top_q"], "msg": "Extra"}]})) as server:
        with pytest.raises(WrongConfig, match="remove or change top_q in extra_body"):
            await ask(server.url, extra_body={"top_q": 1})
    async with odd_server(lambda _: error("Unrecognized request argument supplied: top_q")) as server:
        with pytest.raises(WrongConfig, match="remove or change top_q in extra_body"):
            await ask(server.url, extra_body={"top_q": 1})


# --- the text of a record cannot stop the stage

HOSTILE = (
    "Unsupported parameter: 'temperature' is not supported with this model.",
    "System role not supported",
    "maximum context length is 12 tokens",
    "only streaming is supported",
    'Unknown name "seed": Cannot find field.\nProperty "stop" is unsupported',
    "Your credit balance is too low",
)


@pytest.mark.parametrize("text", HOSTILE)
async def test_words_of_the_prompt_that_an_error_repeats_refuse_no_form(text: str) -> None:
    def answer(body: Body) -> Said:
        prompt = body["messages"][-1]["content"]
        return error(f"I cannot digest this: {prompt!r}")

    async with odd_server(answer) as server:
        try:
            [result] = await ask(server.url, ask=f"def f():\n    '''{text}'''\n")
            assert isinstance(result, TooLong)  # of this record alone
        except Permanent as err:
            assert "I cannot digest" in str(err)
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the temperature of the water in degrees", "Invalid input: temperature of the water in degrees"),
        ("read the temperature", "Value 'read the temperature' is not supported"),
        ("seed the random generator first", "Unknown field: seed the random generator first"),
        ("stop the engine", "Unexpected 'stop the engine'"),
    ],
)
async def test_a_piece_of_the_prompt_in_the_words_of_a_server_is_no_parameter(text: str, words: str) -> None:
    async with odd_server(lambda _: error(words)) as server:
        with pytest.raises(Permanent):
            await ask(server.url, ask=f"def f():\n    # {text}\n    return 1")


@pytest.mark.parametrize(
    "said",
    [
        error("Invalid value: 'temperature' is unsupported here", param="messages[1].content"),
        (422, {"detail": [{"loc": ["body", "messages", 1, "content"], "msg": "'temperature' is unsupported here"}]}),
        error("Invalid 'messages[0].content': the text holds a lone surrogate"),
        error("the prompt must hold a letter", 422),
        (400, "no"),
    ],
)
async def test_an_error_about_the_prompt_is_the_records(said: Said) -> None:
    async with odd_server(lambda _: said) as server:
        with pytest.raises(Permanent):
            await ask(server.url)


# --- streams


def events(*pieces: str, done: bool = True) -> bytes:
    data = "".join(f"data: {piece}\r\n\r\n" for piece in pieces) + ("data: [DONE]\n\n" if done else "")
    return b": a comment\n\n" + data.encode()


CHAT_STREAM = events(
    '{"model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}',
    '{"choices": [{"index": 0, "delta": {"reasoning_content": "Hm"}, "finish_reason": null}]}',
    '{"choices": [{"index": 0, "delta": {"reasoning_content": "m."}}]}',
    '{"choices": [{"index": 1, "delta": {"content": "another sample"}}]}',
    '{"choices": [{"index": 0, "delta": {"content": "ye"}}]}',
    '{"choices": [{"index": 0, "delta": {"content": "s"}, "finish_reason": "stop"}]}',
    '{"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}',
)
TEXT_STREAM = events('{"choices": [{"text": "ye"}]}', '{"choices": [{"text": "s", "finish_reason": "length"}]}')


@pytest.mark.parametrize(
    "words",
    [
        "This model only support stream mode, please enable the stream parameter to access the model. ",
        "only streaming is supported",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "Stream must be set to true",
    ],
)
async def test_a_model_that_only_streams_is_streamed(words: str) -> None:
    def answer(body: Body) -> Said:
        return (200, CHAT_STREAM) if body.get("stream") else error(words)

    async with odd_server(answer) as server:
        [result] = await ask(server.url)
    assert result == Completion("yes", "stop", 11, 7, "m-1", reasoning="Hmm.")
    assert server.asked[-1]["stream_options"] == {"include_usage": True}


async def test_a_stream_of_the_completions_api_is_put_together() -> None:
    async with odd_server(lambda _: (200, TEXT_STREAM)) as server:
        [result] = await ask(server.url, api="completions", stream=True)
    assert isinstance(result, Completion) and (result.text, result.finish_reason) == ("yes", "length")


async def test_a_server_that_streams_unasked_is_read() -> None:
    async with odd_server(lambda _: (200, CHAT_STREAM)) as server:
        [result] = await ask(server.url)
    assert isinstance(result, Completion) and result.text == "yes"


async def test_a_server_that_knows_no_stream_options_gets_none() -> None:
    def answer(body: Body) -> Said:
        return error("Unrecognized request argument supplied: stream_options") if "stream_options" in body else (
            200, CHAT_STREAM)  # fmt: skip

    async with odd_server(answer) as server:
        [result] = await ask(server.url, stream=True)
    assert isinstance(result, Completion) and result.text == "yes"


COUNTED = CHAT_STREAM.removesuffix(b"data: [DONE]\n\n")
UNCOUNTED = COUNTED.rpartition(b'data: {"choices": []')[0]
# Whole events, and more text long after the first word of an end: a limit on silence, and none on the whole.
UNSURE = tuple(
    events(f'{{"choices": [{{"delta": {{"content": "{text}"}}, "finish_reason": "stop"}}]}}', done=False)
    for text in ("y", "e", "s")
)


@pytest.mark.parametrize(
    ("pieces", "right"),
    [
        ([CHAT_STREAM[at : at + 7] for at in range(0, len(CHAT_STREAM), 7)], (11, 7)),  # events are cut anywhere
        ([COUNTED], (11, 7)),
        ([COUNTED[at : at + 7] for at in range(0, len(COUNTED), 7)], (11, 7)),
        ([UNCOUNTED], None),
        (UNSURE, None),
    ],
    ids=["done", "counted", "counted in pieces", "finished", "finished with each event"],
)
async def test_a_stream_is_read_to_its_last_event_though_the_connection_stays_open(
    pieces: Sequence[bytes], right: tuple[int, int] | None
) -> None:
    never = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        while not never.is_set():  # a server's sign of life is no part of the reply
            writer.write(b"8\r\n: ping\n\n\r\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(never.wait(), 0.2)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        [result] = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stream=True, timeout_s=60.0)
    finally:
        never.set()
        server.close()
    assert isinstance(result, Completion) and (result.text, result.finish_reason) == ("yes", "stop")
    assert right in (None, (result.prompt_tokens, result.completion_tokens))


async def test_a_stream_that_breaks_after_its_finish_reason_is_whole() -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n" % (len(UNCOUNTED), UNCOUNTED))
        await writer.drain()
        writer.close()  # without the last chunk

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        [result] = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stream=True, timeout_s=60.0)
    finally:
        server.close()
    assert isinstance(result, Completion) and (result.text, result.finish_reason) == ("yes", "stop")
