"""What an LLM stage does with any reply before it reads its own part: only whole replies that are text count."""

from dataclasses import dataclass, replace
from enum import StrEnum

from consumers.llm import stops
from consumers.llm.request import Completion, Filtered, Result, TooLong
from stream.records import Step
from stream.stage import Reject


@dataclass(frozen=True, slots=True)
class Form:
    """How a stage's replies begin and end."""

    prefill: str = ""
    stop: tuple[str, ...] = ()


def whole(result: Result, form: Form, reasons: type[StrEnum]) -> Completion | Reject:
    """Return a reply that the model ended itself, with plain line ends; else a reject with one of the stage's
    `reasons`: `prompt_too_long`, `stopped_for_length`, `not_finished` or `not_text`.

    A reply that was cut off is no answer: it would teach a model to stop in the middle. Finish reason "stop" alone
    counts in SelfCodeAlign too.
    """
    if isinstance(result, TooLong):
        return too_long(result, reasons)
    if isinstance(result, Filtered):
        return Reject(reasons("filtered"), result.words)
    result = answer(result, form)
    if result.finish_reason == "length":
        return Reject(reasons("stopped_for_length"), evidence(result.text))
    if result.finish_reason != "stop":
        return Reject(reasons("not_finished"), f"finish reason {result.finish_reason}\n{evidence(result.text)}")
    if not is_text(result.text):
        return Reject(reasons("not_text"), evidence(result.text))
    return result


def answer(done: Completion, form: Form) -> Completion:
    """Return a completion whose text is the answer alone."""
    text = done.text.replace("\r\n", "\n").replace("\r", "\n").strip()
    text = text.removeprefix(form.prefill.strip()).strip()
    text, stopped = stops.cut(text, form.stop)
    return replace(done, text=text, finish_reason="stop" if stopped else done.finish_reason)


def asked(step: Step, done: Completion) -> Step:
    """Return a step with the model that gave a reply, and the tokens that it took."""
    return replace(step, model=done.model, prompt_tokens=done.prompt_tokens, completion_tokens=done.completion_tokens)


def too_long(result: TooLong, reasons: type[StrEnum]) -> Reject:
    """Return the reject of a prompt that does not fit."""
    if not result.context:
        return Reject(reasons("prompt_too_long"), result.words or f"{result.prompt_tokens} tokens")
    return Reject(
        reasons("prompt_too_long"), f"{result.prompt_tokens} tokens and the reply exceed a context of {result.context}"
    )


def is_text(reply: str) -> bool:
    r"""Whether a source file may hold it: no NUL, and no lone surrogate, which UTF-8 cannot write.

    >>> [is_text(reply) for reply in ("ü", "a\0", "\ud800")]
    [True, False, False]
    """
    return "\0" not in reply and evidence(reply) == reply


def evidence(reply: str) -> str:
    r"""Return the whole reply in a form that any topic can carry.

    >>> evidence("a\ud800b")
    'a\\ud800b'
    """
    return reply.encode("utf-8", "backslashreplace").decode()
