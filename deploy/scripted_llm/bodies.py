"""The bodies of answers, as a dialect shapes them. Pure."""

from collections.abc import Iterator
from typing import Any

import orjson

from deploy.scripted_llm.asked import Ask
from deploy.scripted_llm.dialects import Dialect, Errors
from deploy.scripted_llm.writing import Written

Json = dict[str, Any]

ENDINGS: dict[str, str | None] = {"end": "stop", "stop": "stop", "length": "length"}

PIECE_CHARS = 24
"""Text in one event of a stream."""


def error(
    errors: Errors, status: int, words: str, param: str | None = None, code: str | None = None, kind: str | None = None
) -> Json:
    """Return the body of an error.

    Sources: the `ErrorResponse` of vLLM and of TGI's router, `format_error_response` of llama.cpp's server, LiteLLM's
    `ProxyException`.
    """
    match errors:
        case "vllm":
            return {"error": {"message": words, "type": "BadRequestError", "param": None, "code": status}}
        case "tgi":
            return {"error": words, "error_type": "validation"}
        case "llamacpp":
            return {"error": {"code": status, "message": words, "type": kind or "invalid_request_error"}}
        case "litellm":
            return {"error": {"message": words, "type": "None", "param": "None", "code": str(status)}}
        case "openai":
            return {"error": {"message": words, "type": kind or "invalid_request_error", "param": param, "code": code}}


def reply(dialect: Dialect, ask: Ask, written: Written, prompt_tokens: int, *, withheld: bool) -> Json:
    """Return a whole reply."""
    choice: Json = {"index": 0, "finish_reason": finish_reason(dialect, written, withheld=withheld), "logprobs": None}
    if ask.chat:
        choice["message"] = _message(dialect, written, withheld=withheld)
    else:
        choice["text"] = written.text
    body: Json = {
        "id": "scripted",
        "object": "chat.completion" if ask.chat else "text_completion",
        "created": 0,
        "model": ask.fields.model,
        "choices": [choice],
    }
    if dialect.usage:
        body["usage"] = usage(dialect, written, prompt_tokens)
    elif ask.chat:
        body["usage"] = None
    return body


def _message(dialect: Dialect, written: Written, *, withheld: bool) -> Json:
    content: str | list[Json] | None = "" if withheld else written.text
    if dialect.parts:
        content = [{"type": "text", "text": content}]
    message: Json = {"role": "assistant", "content": content}
    match dialect.thoughts:
        case "reasoning_content" | "reasoning":
            # Content that the thoughts left no room for is null with vLLM, and empty with Ollama.
            empty = None if dialect.thoughts == "reasoning_content" else ""
            message |= {dialect.thoughts: written.thoughts, "content": content or empty}
        case "hidden":
            message["refusal"] = None
        case _:
            pass
    return message


def finish_reason(dialect: Dialect, written: Written, *, withheld: bool) -> str | None:
    """Return the word that says why a reply ended."""
    return "content_filter" if withheld else (ENDINGS | dialect.finish)[written.end]


def usage(dialect: Dialect, written: Written, prompt_tokens: int) -> Json:
    """Return what is to be paid."""
    counted: Json = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written.tokens,
        "total_tokens": prompt_tokens + written.tokens,
    }
    if dialect.thoughts == "hidden":
        counted["completion_tokens_details"] = {"reasoning_tokens": len(written.thoughts) // 4}
    return counted


def events(dialect: Dialect, ask: Ask, written: Written, prompt_tokens: int, *, withheld: bool) -> Iterator[bytes]:
    """Yield the events of a streamed reply."""
    head: Json = {
        "id": "scripted",
        "object": "chat.completion.chunk" if ask.chat else "text_completion",
        "created": 0,
        "model": ask.fields.model,
    }
    for delta in _deltas(dialect, ask, written, withheld=withheld):
        choice = {"index": 0, "finish_reason": None, **({"delta": delta} if ask.chat else delta)}
        yield _event({**head, "choices": [choice]})
    last: Json = {"delta": {}} if ask.chat else {"text": ""}
    ended = finish_reason(dialect, written, withheld=withheld)
    yield _event({**head, "choices": [{"index": 0, "finish_reason": ended, **last}]})
    if dialect.usage and ask.wants_usage:
        yield _event({**head, "choices": [], "usage": usage(dialect, written, prompt_tokens)})
    yield b"data: [DONE]\n\n"


def _deltas(dialect: Dialect, ask: Ask, written: Written, *, withheld: bool) -> Iterator[Json]:
    if not ask.chat:
        yield from ({"text": piece} for piece in _pieces(written.text))
        return
    yield {"role": "assistant", "content": ""}
    if dialect.thoughts in ("reasoning_content", "reasoning"):
        yield from ({dialect.thoughts: piece} for piece in _pieces(written.thoughts))
    if not withheld:
        yield from ({"content": piece} for piece in _pieces(written.text))


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE_CHARS] for at in range(0, len(text), PIECE_CHARS))


def _event(data: Json) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def models(dialect: Dialect, model: str, context: int | None) -> Any:
    """Return what `/models` answers."""
    match dialect.models:
        case "tagged":
            names = [f"{model}:latest"]
        case "wildcard":
            names = ["*"]
        case "base":
            names = ["gpt-4o-2024-11-20", "o4-mini-2025-04-16"]
        case _:
            names = [model]
    cards: list[Json] = [{"id": name, "object": "model", "created": 0, "owned_by": "scripted"} for name in names]
    if dialect.errors in ("openai", "vllm") and dialect.tokenizer == "count":
        cards = [card | {"max_model_len": context} for card in cards]
    if dialect.errors == "llamacpp":
        cards = [card | {"meta": {"n_ctx_train": context}} for card in cards]
    return cards if dialect.models == "array" else {"object": "list", "data": cards}
