r"""The thoughts of a reasoning model, where they stand in the text of a reply. Pure.

Models mark them in their own ways: `<think>` (DeepSeek-R1, Qwen3), `<thought>` (EXAONE), `[THINK]` (Magistral),
`◁think▷` (Kimi), `<seed:think>` (Seed-OSS), `<|START_THINKING|>` (Command A), `<|begin_of_thought|>` (OpenThinker),
channels (gpt-oss, "harmony"). Some chat templates write the opening mark into the prompt, so that a reply has the
closing one alone. A mark counts at the beginning of a reply or, of a closing one, where nothing opened it: code that
handles such marks is an answer like any other.
"""

import re
from typing import NamedTuple

_NAMES = (
    r"think|thinking|thoughts?|thought_process|thinking_process|reason|reasoning|internal_reasoning|analysis|reflection"
    r"|scratchpad|inner_monologue|antthinking|seed:think|mm:think"
)
_PAIRS = (
    (rf"<(?P<name>{_NAMES})(?: [^<>\n]*)?>", "</{name}>"),
    (r"<details type=\"reasoning\"[^<>\n]*>", "</details>"),
    (r"<\|begin_think\|>", "<|end_think|>"),
    (r"<\|inner_prefix\|>", "<|inner_suffix|>"),
    (r"<\|channel>thought\b", "<channel|>"),
    (r"<unused94>thought\b", "<unused95>"),
    (r"```(?:thinking|think|reasoning)\n", "\n```"),
    (r"thinking\.\.\.\n", "...done thinking."),
    (r"\[THINK\]", "[/THINK]"),
    (r"◁think▷", "◁/think▷"),
    (r"<\|START_THINKING\|>", "<|END_THINKING|>"),
    (r"<\|begin_of_thought\|>", "<|end_of_thought|>"),
)
_OPENINGS = tuple((re.compile(rf"\s*{opening}", re.IGNORECASE), closing) for opening, closing in _PAIRS)

_CLOSING = (
    r"(?:</(?:think|thinking|thought|seed:think|mm:think)>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>"
    r"|<\|end_think\|>)"
)
_LONE = re.compile(
    rf"""^{_CLOSING}(?!["'`\\)\]}}|/])|(?<=[^\s"'`\\]){_CLOSING}(?=[ \t]*$)|(?<=[.!?]){_CLOSING}(?!["'`\\])""",
    re.IGNORECASE | re.MULTILINE,
)
"""Prose and code that name such a mark have it within a line; thoughts end with a sentence or a line."""
_ANY_OPENING = re.compile("|".join(re.sub(r"\?P<name>", "?:", opening) for opening, _ in _PAIRS), re.IGNORECASE)

_TRAILING = ("think", "thinking", "thought")

_CHANNELS = re.compile(r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?:analysis|commentary)\b", re.IGNORECASE)
_FINAL = re.compile(
    r"(?:<\|channel\|>\s*final\s*(?:<\|constrain\|>[^<]*)?|<\|start\|>\s*assistant\s*)<\|message\|>", re.IGNORECASE
)
_BARE_FINAL = re.compile(r"\Aanalysis(?=\S)(?:.*?)assistantfinal", re.DOTALL)


class Spoken(NamedTuple):
    """A reply without its thoughts."""

    text: str
    open: bool = False  # the thoughts have no end: nothing of the reply is an answer


def without(text: str) -> Spoken:
    r"""Return what a model said besides its thoughts.

    >>> without("<think>Is it 2?\n</think>\n\n3")
    Spoken(text='\n\n3', open=False)
    >>> without("Is it 2? No.\n</think>\n3")
    Spoken(text='\n3', open=False)
    >>> without("<think>Is it 2?")
    Spoken(text='', open=True)
    >>> without("s.split('</think>')").text
    "s.split('</think>')"
    """
    spoken = _without_channels(text)
    if spoken is not None:
        return spoken
    at, lowered = 0, text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)
    while begun := _opening(text, at):
        mark, start = begun
        end = lowered.find(mark, start)
        if end < 0:
            return Spoken("", open=True)
        at = end + len(mark)
    opened = _ANY_OPENING.search(text, at)
    for lone in _LONE.finditer(text, at, opened.start() if opened else len(text)):
        at = lone.end()
    return Spoken(text[at:] if at else _without_last(text))


def _opening(text: str, at: int) -> tuple[str, int] | None:
    """Return the mark that closes the thoughts which begin at a place, and where they begin; None where none do."""
    for opening, closing in _OPENINGS:
        begun = opening.match(text, at)
        if begun:
            return closing.format(**begun.groupdict()).lower(), begun.end()
    return None


def _without_last(text: str) -> str:
    """Return a text without thoughts on its last lines."""
    whole = text.rstrip()
    for name in _TRAILING:
        mark = f"</{name}>"
        if whole.endswith(mark):
            begun = whole.rfind(f"\n<{name}>")
            if begun >= 0 and whole.find(mark, begun) == len(whole) - len(mark):
                return whole[:begun]
    return text


def _without_channels(text: str) -> Spoken | None:
    """Read the channels of gpt-oss, also as they read where a server left their special tokens out."""
    stripped = text.lstrip()
    if _CHANNELS.match(stripped):
        final = _FINAL.search(stripped)
        return Spoken(stripped[final.end() :]) if final else Spoken("", open=True)
    final = _FINAL.match(stripped)
    if final:
        return Spoken(stripped[final.end() :])
    bare = _BARE_FINAL.match(text)
    return Spoken(text[bare.end() :]) if bare else None
