"""From a reply to the answer in it: the one place, for every stage and for evaluation.

A reply is what a server sent. Around the answer it may hold thoughts (`thoughts`), special tokens, a preamble, the
prefill again, a fence, a farewell (`wrapping`); what stands behind a stop string is no part of it either
(`llm.stops`). Only whole replies that are text count.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from consumers import thoughts, wrapping
from consumers.llm import stops
from consumers.llm.request import Completion, Filtered, Prompt, Result, TooLong
from consumers.refusals import refuses
from stream.records import Step
from stream.stage import Reject


@dataclass(frozen=True, slots=True)
class Form:
    """How the replies to a prompt begin and end. `continues`: the answer continues a text, so white space at its
    beginning belongs to it."""

    prefill: str = ""
    stop: tuple[str, ...] = ()
    continues: bool = False

    @staticmethod
    def of(prompt: Prompt, stop: tuple[str, ...]) -> "Form":
        """Return the form of the replies to a prompt."""
        return Form("", stop, continues=True) if prompt.continues else Form(prompt.prefill, stop)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and the answer in it."""

    text: str
    reply: Completion  # as it came
    finish_reason: str  # "stop" also where a stop string was found in the reply
    open_thoughts: bool = False  # the reply ends in its thoughts

    @property
    def evidence(self) -> str:
        """The whole reply, in a form that any topic can carry: its thoughts alone where there is nothing else."""
        return evidence(self.reply.text if self.reply.text.strip() else self.reply.reasoning or self.reply.text)


def whole(result: Result, form: Form, reasons: type[StrEnum]) -> Answer | Reject:
    """Return the answer of a reply that the model ended itself; else a reject with one of the stage's `reasons`:
    `prompt_too_long`, `filtered`, `refused`, `stopped_for_length`, `unfinished_reasoning`, `not_finished`, `not_text`.

    A reply that was cut off is no answer: it would teach a model to stop in the middle. Finish reason "stop" alone
    counts in SelfCodeAlign too.
    """
    if isinstance(result, TooLong | Filtered):
        return unanswered(result, reasons)
    done = answer(result, form)
    if done.finish_reason == "refusal" or refuses(done.text):
        return Reject(reasons("refused"), done.evidence)
    if done.open_thoughts:  # also where a limit cut them: it is they that want room
        return Reject(reasons("unfinished_reasoning"), done.evidence)
    if done.finish_reason == "length":
        return Reject(reasons("stopped_for_length"), done.evidence)
    if done.finish_reason != "stop":
        return Reject(reasons("not_finished"), f"finish reason {done.finish_reason}\n{done.evidence}")
    if not is_text(done.text):
        return Reject(reasons("not_text"), done.evidence)
    return done


def answer(reply: Completion, form: Form) -> Answer:
    """Return the answer in a reply."""
    found = clean(reply.text, form, reply.special_tokens)
    ended = "stop" if found.stopped else reply.finish_reason
    only_thoughts = bool(reply.reasoning) and not found.text
    return Answer(found.text, reply, ended, found.open_thoughts or only_thoughts)


class Clean(NamedTuple):
    """What of a text is the answer."""

    text: str
    stopped: bool  # a stop string was found
    open_thoughts: bool  # the text ends in thoughts: nothing of it is an answer


def clean(text: str, form: Form, special_tokens: tuple[str, ...] = ()) -> Clean:
    """Return the answer in the text of a reply. What is clean stays as it is."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    stopped = False
    while True:  # a fence may hold thoughts, and thoughts a fence: until there is nothing more to take away
        before = text
        text = wrapping.without_tokens(text, special_tokens, verbatim=form.continues)
        spoken = thoughts.without(text)
        if spoken.open:
            return Clean("", stopped, open_thoughts=True)
        if form.continues:
            # Line ends part thoughts from the answer; spaces may be its indentation.
            text, here = stops.cut(text if spoken.text == text else spoken.text.lstrip("\n"), form.stop)
        else:
            text, here = _unwrapped(spoken.text, form)
        stopped |= here
        if text == before:
            return Clean(text, stopped, open_thoughts=False)


def _unwrapped(text: str, form: Form) -> tuple[str, bool]:
    """Take away what stands around an answer, from the outside in; tell also whether a stop string was found."""
    text = wrapping.without_tags(text)
    text = wrapping.without_fence(text)
    text = wrapping.behind(text, form.prefill.strip())
    text = wrapping.without_preamble(text)
    text = wrapping.without_farewell(text).strip(wrapping.BLANK)
    text, stopped = stops.cut(text, form.stop)
    return text.strip(wrapping.BLANK), stopped


def asked(step: Step, done: Completion) -> Step:
    """Return a step with the model that gave a reply, and the tokens that it took."""
    return replace(step, model=done.model, prompt_tokens=done.prompt_tokens, completion_tokens=done.completion_tokens)


def unanswered(result: TooLong | Filtered, reasons: type[StrEnum]) -> Reject:
    """Return the reject of a prompt that was not sent, or that a filter of the server left without a reply."""
    if isinstance(result, Filtered):
        return Reject(reasons("filtered"), evidence(result.words))
    if not result.context:
        return Reject(reasons("prompt_too_long"), evidence(result.words) or f"{result.prompt_tokens} tokens")
    return Reject(
        reasons("prompt_too_long"), f"{result.prompt_tokens} tokens and the reply exceed a context of {result.context}"
    )


def is_text(text: str) -> bool:
    r"""Whether a source file may hold it: no NUL, and no lone surrogate, which UTF-8 cannot write.

    >>> [is_text(text) for text in ("ü", "a\0", "\ud800")]
    [True, False, False]
    """
    return "\0" not in text and evidence(text) == text


def evidence(text: str) -> str:
    r"""Return a text in a form that any topic can carry.

    >>> evidence("a\ud800b")
    'a\\ud800b'
    """
    return text.encode("utf-8", "backslashreplace").decode()
