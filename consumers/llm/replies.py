"""What a reply holds, whichever server wrote it. Pure.

Only the text is needed. All else may be missing, null or of another type, and both APIs' forms are read at either path.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from consumers.llm import sse
from consumers.llm.errors import BadReply, Paid

STOP, LENGTH, REFUSAL, FILTER = "stop", "length", "refusal", "content_filter"

_ENDS_AS_WRITTEN: Mapping[str, str] = {
    **dict.fromkeys(
        ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "stop_string", "end", "endoftext",
         "completed", "complete", "finished", "finish", "done", "end_of_text", "eos_id", "stopped", "stop_token_id",
         "eot", "eot_id", "end_of_sequence", "end_of_turn", "</s>", "im_end", "endoftext", "normal", "success"), STOP,
    ),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens", "max_length",
         "token_limit", "model_length", "limit", "context_length", "model_context_window_exceeded",
         "max_context", "context_window", "incomplete"), LENGTH,
    ),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii",
         "blocked", "guardrail_intervened", "sensitive", "language_safety", "image_safety", "content_policy"), FILTER,
    ),
    **dict.fromkeys(("refusal", "refused"), REFUSAL),
}  # fmt: skip
"""What servers call an end of a reply: OpenAI, Together, TGI, Anthropic, Gemini, Mistral, Zhipu, llama.cpp."""

_BROKEN_AS_WRITTEN = (
    "error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "engine_error", "timeout",
    "overloaded", "network_error", "load", "preempted", "server_error", "internal_error", "failed", "failure",
)  # fmt: skip
"""Ends that are a failure of the server: the request is repeated."""

_TOOLS = ("tool_calls", "tool_call", "tool_use", "function_call")
"""Ends that stand for what no stage asks for: its text is judged as it is."""


def _letters(word: str) -> str:
    """Return a word as it is compared: `content-filter`, `contentFilter` and `CONTENT_FILTER` are one."""
    return re.sub(r"[\W_]+", "", word.lower())


_ENDS: Mapping[str, str] = {_letters(word): end for word, end in _ENDS_AS_WRITTEN.items()}
_BROKEN = frozenset(map(_letters, _BROKEN_AS_WRITTEN))

_MOST_TOKENS = 10**12
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_text", "thoughts", "reasoning_details",
             "thinking_blocks")  # fmt: skip

_OPENINGS = ("<think", "<thought", "[think]", "<|channel|>analysis", "<|start_thinking|>", "<|begin_of_thought|>")
_CLOSINGS = ("</think", "</thought", "[/think]", "<|channel|>final", "<|end_thinking|>", "<|end_of_thought|>")


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample. What the server did not tell is None."""

    text: str
    reasoning: str
    finish_reason: str | None  # one of the constants above, else the server's own word
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None

    @property
    def paid(self) -> Paid:
        return Paid(self.prompt_tokens, self.completion_tokens)


def ends_in_thoughts(reply: Reply) -> bool:
    """Whether a reply that a limit cut off holds nothing but thoughts: at the beginning of its text, beside it, or not
    shown at all.

    >>> cut = {"reasoning": "", "finish_reason": LENGTH, "model": None, "prompt_tokens": 1, "completion_tokens": 5}
    >>> [ends_in_thoughts(Reply(text=text, **cut)) for text in ("<think>Is it", "", "<think>No.</think> Yes", "Yes")]
    [True, True, False, False]
    """
    text = reply.text.strip().lower()
    return not text or (text.startswith(_OPENINGS) and not any(mark in text for mark in _CLOSINGS))


def read(content: bytes, url: str, said: Callable[[], str]) -> Reply:
    """Read a reply, whole or streamed. `said` gives what a message shows of it.

    Raises:  BadReply when it is none; with what was paid for it, where it is one that cannot be used.
    """
    streamed = False
    try:
        # Half of a surrogate pair is kept, which stricter parsers refuse: what a model wrote, its stage is to judge.
        data: object = json.loads(content)
    except (ValueError, RecursionError) as err:
        if not sse.is_stream(content):
            raise BadReply(f"{url} gave no reply that can be read: {err}: {said()}") from err
        streamed = True
        data = sse.whole(content)
    if isinstance(data, list) and len(cast("list[object]", data)) == 1:
        [data] = cast("list[object]", data)
    if not isinstance(data, dict):
        raise BadReply(f"{url} gave no reply that can be read: expected an object: {said()}")
    reply = cast("Mapping[str, Any]", data)
    prompt_tokens, completion_tokens = _usage(reply)
    choice = _first(reply.get("choices"))
    if choice is None:
        told = prompt_tokens is not None or completion_tokens is not None
        blocked = _blocked(reply)
        if blocked is not None:
            return Reply(blocked, "", FILTER, None, prompt_tokens, completion_tokens)
        raise BadReply(
            f"{url} gave a reply without choices: {said()}",
            paid=Paid(prompt_tokens, completion_tokens) if told else None,
        )
    paid = Paid(prompt_tokens, completion_tokens)
    end = _end(choice, reply)
    text, reasoning, refusal = _contents(choice)
    if end is not None and _letters(end).removeprefix("finishreason") in _BROKEN:
        raise BadReply(f"{url} broke a reply off, finish reason {end}: {said()}", paid=paid)
    if streamed and end is None and (not sse.ended(content) or sse.fails_in_words(content)):
        raise BadReply(f"{url} broke a streamed reply off before its end: {said()}", paid=paid)
    if end != FILTER and not (text or "").strip() and _filter(choice):
        end = FILTER
    if refusal and end != FILTER and not (text or "").strip():  # Azure sends an empty text beside it
        text, end = refusal, REFUSAL
    if text is None and end not in (FILTER, REFUSAL) and not reasoning and not _has_message(choice):
        raise BadReply(f"{url} gave a reply without text: {said()}", paid=paid)
    model = reply.get("model")
    named = model if isinstance(model, str) and model else None
    return Reply(text or "", reasoning, end, named, prompt_tokens, completion_tokens)


def finish_reason(word: object) -> str | None:
    """Return what a server's word for the end of a reply means; its own word where that is not known.

    >>> finish_reason("eos_token"), finish_reason("MAX_TOKENS"), finish_reason("FinishReason.STOP"), finish_reason(None)
    ('stop', 'length', 'stop', None)
    >>> finish_reason("tool_calls")
    'tool_calls'
    """
    if isinstance(word, Mapping):
        table = cast("Mapping[str, object]", word)
        word = table.get("type") or table.get("reason")
    if not isinstance(word, str) or not word.strip() or word.strip().lower() in ("null", "none"):
        return None
    plain = _letters(word.rpartition(".")[2]).removeprefix("finishreason")
    return _ENDS.get(plain, word.rpartition(".")[2].strip().lower() if plain in _BROKEN else word.strip())


def is_known(end: str) -> bool:
    """Whether an end that `finish_reason` gave has a meaning here.

    >>> is_known("stop"), is_known("tool_calls"), is_known("wandered_off")
    (True, True, False)
    """
    return end in (STOP, LENGTH, REFUSAL, FILTER, *_TOOLS)


def _first(choices: object) -> Mapping[str, Any] | None:
    if not isinstance(choices, list):
        return None
    found = [cast("Mapping[str, Any]", c) for c in cast("Sequence[object]", choices) if isinstance(c, dict)]
    return min(found, key=lambda c: index if isinstance(index := c.get("index"), int) else 0, default=None)


def _end(choice: Mapping[str, Any], reply: Mapping[str, Any]) -> str | None:
    end = finish_reason(choice.get("finish_reason"))
    if end is not None:
        return end
    # vLLM's `stop_reason` is the stop string that was met: only a word for an end counts.
    for holder in (choice, reply):
        for name in ("stop_reason", "finishReason", "done_reason"):
            other = holder.get(name)
            if isinstance(other, str) and _letters(other) in (*_ENDS, *_BROKEN):
                return finish_reason(other)
    return None


def _has_message(choice: Mapping[str, Any]) -> bool:
    return isinstance(choice.get("message"), dict)


def _contents(choice: Mapping[str, Any]) -> tuple[str | None, str, str]:
    """Return text, thoughts and refusal."""
    message: object = choice.get("message")
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", message) if isinstance(message, dict) else {}
    written = (fields.get("content"), choice.get("text"), message if isinstance(message, str) else None)
    spoken: object = next((content for content in written if content is not None), None)
    text, thoughts, refusals = _parts(spoken)
    if not thoughts:
        beside = (value for holder in (fields, choice) for name in _THOUGHTS if (value := holder.get(name)))
        thoughts = next((found for value in beside if (found := _plain(value))), "")
    said = fields.get("refusal")
    return text, thoughts, said if isinstance(said, str) and said else refusals


def _parts(content: object) -> tuple[str | None, str, str]:
    """Return text, thoughts and refusal of a content: a text, or a list of parts."""
    if content is None or isinstance(content, str):
        return content, "", ""
    if isinstance(content, dict):
        content = [cast("object", content)]
    if not isinstance(content, list):
        return None, "", ""
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for part in cast("Sequence[object]", content):
        kind = str(cast("Mapping[str, Any]", part).get("type") or "text") if isinstance(part, dict) else "text"
        plain = _plain(cast("object", part))
        if "refusal" in kind:
            refusals.append(plain)
        elif "think" in kind or "reason" in kind:
            thoughts.append(plain)
        elif "text" in kind:
            texts.append(plain)
    return "".join(texts) if texts or not refusals else None, "".join(thoughts), "".join(refusals)


def _plain(value: object) -> str:
    """Return the text of a part, however deep it stands."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_plain(item) for item in cast("Sequence[object]", value))
    if isinstance(value, dict):
        part = cast("Mapping[str, Any]", value)
        names = ("text", "content", "thinking", "reasoning", "summary", "refusal")
        return next((found for name in names if (found := _plain(part.get(name)))), "")
    return ""


def _blocked(reply: Mapping[str, Any]) -> str | None:
    """Return why a prompt was blocked, where Gemini gives that instead of a reply."""
    for name in ("promptFeedback", "prompt_feedback"):
        feedback = reply.get(name)
        if isinstance(feedback, dict):
            table = cast("Mapping[str, Any]", feedback)
            why = table.get("blockReason") or table.get("block_reason")
            if why:
                return str(why)
    for name in ("prompt_filter_results", "prompt_annotations"):
        results = reply.get(name)
        for result in cast("Sequence[object]", results) if isinstance(results, list) else ():
            if isinstance(result, dict) and (why := _filter(cast("Mapping[str, Any]", result))):
                return why
    return None


def _filter(holder: Mapping[str, Any]) -> str | None:
    """Return the category by which Azure's filter withheld a prompt or a choice; None where it let it pass."""
    for name in ("content_filter_results", "content_filter_result"):
        results = holder.get(name)
        if isinstance(results, dict):
            for category, result in cast("Mapping[str, object]", results).items():
                if isinstance(result, dict) and cast("Mapping[str, object]", result).get("filtered") is True:
                    return category
    return None


def _usage(reply: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the tokens of prompt and completion."""
    groq = reply.get("x_groq")
    usage = reply.get("usage") or (cast("Mapping[str, Any]", groq).get("usage") if isinstance(groq, dict) else None)
    if not isinstance(usage, dict):
        return None, None
    table = cast("Mapping[str, Any]", usage)
    prompt = _count(table, ("prompt_tokens", "input_tokens"))
    completion = _count(table, ("completion_tokens", "output_tokens"))
    total = _count(table, ("total_tokens",))
    if total is not None and prompt is not None and completion is None and total >= prompt:
        completion = total - prompt
    return prompt, completion


def _count(table: Mapping[str, Any], names: Iterable[str]) -> int | None:
    """Return a count of tokens, which some servers write as a text or a float; None for what counts no tokens.

    >>> [_count({"n": n}, ("n",)) for n in (7, "7", 7.0, None, -1, "many", 1e400, True)]
    [7, 7, 7, None, None, None, None, None]
    """
    for name in names:
        value = table.get(name)
        if isinstance(value, str) and len(value) < 20:
            with contextlib.suppress(ValueError):
                value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not math.isnan(value) and 0 <= value <= _MOST_TOKENS:
            return int(value)
    return None
