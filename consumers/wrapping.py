r"""What a model or a server puts around an answer: special tokens, a role, a preamble, the prefill again, a fence, a
farewell. Pure. Each function takes one such thing away; a text without it is returned as it is.
"""

import re
from collections.abc import Sequence

from consumers import fences

BLANK = " \t\n\r\f\v\u00a0\u2028\u2029\u200b\u2060\ufeff"
"""White space, and what has no width: byte order marks among them."""

_CONTROL = (
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|\[\|[a-z]{1,20}\|\]"
    r"|<(?:start|end)_of_(?:turn|utterance)>|<(?:eos|bos|pad|unk|eot|eod|eom|eot_id|end|endoftext|EOT|EOD|extra_id_\d+)>"
    r"|</?s>|\[/?INST\]|\[EOS\]|<</?SYS>>"
)
CONTROL = re.compile(_CONTROL)
"""Special tokens of the usual tokenizers, as they read in a text."""

TURN = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|eot_id|eom_id|start_header_id|end_header_id|end"
    r"|start|return|user|assistant|system|endofprompt|EOT|END_OF_TURN_TOKEN|START_OF_TURN_TOKEN)\|>"
    r"|<｜[^｜<>\n]{1,40}｜>|<(?:start|end)_of_turn>|\[/?INST\]"
)
"""Those that begin or end a turn or a text: in a prompt they would steer the model that reads it."""

_TOKEN = rf"(?!<\|(?:channel|message|constrain|start|(?:start|end)_thinking|(?:begin|end)_of_thought)\|>)(?:{_CONTROL})"
"""One that marks no thoughts: those are `thoughts`'s to read."""

_FIRST = re.compile(
    rf"{_TOKEN}[ \t]*(?:(?:assistant|model)\b[ \t]*(?=\n|<|\Z))?|assistant[ \t]*(?::|:?[ \t]*\n)", re.IGNORECASE
)
_LAST = re.compile(rf"(?:{_TOKEN}|<\|(?:im_end|endoftext|eot_id|end)\|?)\Z", re.IGNORECASE)
_LONGEST_TOKEN = 64
"""Characters. Only so much of the end of a text is searched for one."""

_TAG = re.compile(
    rf"[{BLANK}]*<(answer|final|final_answer|output|response|result|instruction|task|concepts|verdict)>", re.IGNORECASE
)

_OPENER = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|definitely|okay|ok|alright|all right|great|got it|understood"
    r"|no problem|with pleasure|gladly|happy to help|i(?:'d| would) be (?:happy|glad) to help|as requested|thank you"
    r"|thanks"
    r"|gerne|natürlich|bien sûr|claro|por supuesto|certo|конечно|当然(?:可以)?|好的|もちろん(?:です)?)"
)
_OURS_NAMED = (
    r"(?:task|instruction|problem|exercise|challenge|answer|response|concepts?|verdict|result|output|requested|asked"
    r"|wanted)"
)
_PREAMBLE_LINE = re.compile(
    rf"(?:{_OPENER}(?:[ \t]*[!.,:，！。：][^\n]*| here\b[^\n]*)?"
    rf"|(?:based on\b[^\n]*, ?)?(?:here(?:'s| is| are)|below (?:is|are)|i(?:'ve| have) (?:written|created|designed))\b"
    rf"[^\n]*\b{_OURS_NAMED}\b[^\n]*:)[ \t]*",
    re.IGNORECASE,
)
_LONGEST_LINE = 300

_FAREWELL = re.compile(
    r"(?:(?:please )?let me know (?:if|whether|how|what)|feel free to (?:ask|reach|let|modify|adjust|contact)"
    r"|(?:i )?hope (?:this|that) helps|would you like me to|if you (?:want|would like) me to|happy coding"
    r"|if you (?:have|need) (?:any|more|further) (?:other |further |more )?(?:questions?|help|tasks?|changes?)"
    r"|is there anything else)\b",
    re.IGNORECASE,
)

_WRAPPERS = frozenset({"", "markdown", "md", "text", "txt", "plaintext", "plain"})
"""Info strings of a fence that holds a whole answer. One that names a language holds code: it is the answer."""

_HEADING = r"[ \t]*(?:#{1,6}[ \t]*)?[*_`]{0,3}"
_HEADING_END = r"[*_`]{0,3}:?[*_]{0,3}[ \t]*"
_OURS = re.compile(r"^[ \t]*(?:#{1,6} Example \d+|\[/?[A-Z][a-z]+\])[ \t]*$", re.MULTILINE)


def without_tokens(text: str, special: Sequence[str], *, verbatim: bool) -> str:
    r"""Return a text without special tokens at its end; unless it continues another one, also without those at its
    beginning, the name of the role that may follow there, and white space on either side. `special` are those of the
    model's tokenizer, where they are known.

    >>> without_tokens("<|im_start|>assistant\nyes<|im_end|>\n", (), verbatim=False)
    'yes'
    """
    while length := _last_token(whole := text.rstrip(BLANK), special):
        text = whole[: len(whole) - length]
        if not verbatim:
            text = text.rstrip(BLANK)
    if verbatim:
        return text
    text = text.strip(BLANK)
    while begun := _FIRST.match(text):
        text = text[begun.end() :].lstrip(BLANK)
    return text


def _last_token(text: str, special: Sequence[str]) -> int:
    """Return the length of the special token that a text ends with; 0 without one."""
    own = max((len(token) for token in special if token and text.endswith(token)), default=0)
    found = _LAST.search(text[-_LONGEST_TOKEN:])
    if not found:
        return own
    # A sentence may end with the name of a token; one that is left over is glued to the text, or follows its full stop.
    before = text[: len(text) - len(found.group())]
    is_word = before[-1:] in (" ", "\t") and before.rstrip(BLANK)[-1:].isalnum()
    return own if is_word else max(own, len(found.group()))


def without_tags(text: str) -> str:
    r"""Return a text without the tags of its only element, such as `<answer>`.

    >>> without_tags("<answer>\nyes\n</answer>")
    '\nyes\n'
    """
    opened = _TAG.match(text)
    closing = f"</{opened.group(1)}>" if opened else ""
    whole = text.rstrip(BLANK)
    if not opened:
        return text
    if closing.lower() not in whole.lower():
        return text[opened.end() :]  # it was never closed
    if not whole.lower().endswith(closing.lower()):
        return text
    return whole[opened.end() : len(whole) - len(closing)]


def behind(text: str, heading: str) -> str:
    r"""Return what stands behind a heading that the model wrote again, with a preamble or without one.

    A preamble has no heading of ours in it: behind one the model goes on with an example of its own.

    >>> behind("Sure! Here is what you asked for:\n\n**[Verdict]** Yes", "[Verdict]")
    'Yes'
    >>> behind("Yes\n\n## Example 2\n[Verdict]\nNo", "[Verdict]")
    'Yes\n\n## Example 2\n[Verdict]\nNo'
    """
    if not heading:
        return text
    pattern = re.compile(rf"^{_HEADING}{re.escape(heading)}{_HEADING_END}\n?", re.MULTILINE | re.IGNORECASE)
    found = pattern.search(text) or _spelled(text, heading)
    if not found:
        return _without_closing(text, heading)
    before, at = text[: found.start()], found.end()
    while again := pattern.match(text, at):
        at = again.end()
    rest = text[at:]
    if not before:
        return _without_closing(rest, heading)
    if _OURS.search(before) or _in_code(text, before.count("\n")):
        return text
    opened = _opening_fence(before)
    if opened and not _announces(before.rstrip(BLANK).removesuffix(opened)):
        return text
    return _without_closing(_without_last_line(rest, opened) if opened else rest, heading)


def _spelled(text: str, heading: str) -> re.Match[str] | None:
    r"""Find a heading that the model spelled without its brackets, where a text begins with it.

    >>> [_spelled(text, "[Verdict]").end() for text in ("## Verdict\nYes", "Verdict: Yes", "**Verdict:** Yes")]
    [11, 9, 13]
    """
    name = re.escape(heading.strip("[]"))
    return re.match(
        rf"(?:#{{1,6}}[ \t]*{name}[ \t]*:?[ \t]*\n|(?:\*\*|__){name}:?(?:\*\*|__):?\s*|{name}[ \t]*(?::[ \t]*|\n))",
        text,
        re.IGNORECASE,
    )


def _announces(before: str) -> bool:
    """Whether what stands in front of a fence only announces it."""
    return all(_PREAMBLE_LINE.fullmatch(line) for line in before.replace("’", "'").split("\n") if line.strip(BLANK))


def _without_closing(text: str, heading: str) -> str:
    """Return a text without the closing form of its heading at its end."""
    closing = f"[/{heading[1:]}" if heading.startswith("[") else ""
    whole = text.rstrip(BLANK)
    return whole.removesuffix(closing) if closing and whole.endswith(closing) else text


def without_preamble(text: str) -> str:
    r"""Return a text without a first line that only announces the rest.

    >>> without_preamble("Sure! Here is a task:\n\nWrite a function.")
    'Write a function.'
    >>> without_preamble("Here is the code:\n\n```python\nx = 1\n```")
    'Here is the code:\n\n```python\nx = 1\n```'
    """
    first, _, rest = text.lstrip(BLANK).partition("\n")
    rest = rest.lstrip(BLANK)
    if not rest or len(first) > _LONGEST_LINE or not _PREAMBLE_LINE.fullmatch(first.replace("’", "'")):
        return text
    return text if rest.startswith(("```", "~~~")) and not _is_wrapper(rest) else rest


def without_farewell(text: str) -> str:
    r"""Return a text without a last line that offers more.

    >>> without_farewell("Write a function.\n\nLet me know if you need another task!")
    'Write a function.'
    """
    head, _, last = text.rstrip(BLANK).rpartition("\n")
    farewell = len(last) <= _LONGEST_LINE and _FAREWELL.match(last.lstrip(BLANK))
    return head.rstrip(BLANK) if head.strip(BLANK) and farewell else text


def without_fence(text: str) -> str:
    r"""Return what a fence around the whole holds. One of a language holds code, which is an answer.

    >>> without_fence("```\nloops, recursion\n```")
    'loops, recursion'
    >>> without_fence("```markdown\nSo:\n```python\nx = 1\n```\n```")
    'So:\n```python\nx = 1\n```'
    >>> without_fence("```\nx\n```\nand\n```\ny\n```")
    '```\nx\n```\nand\n```\ny\n```'
    """
    stripped = text.strip(BLANK)
    if not _is_wrapper(stripped):
        return text
    first, _, rest = stripped.partition("\n")
    return _without_last_line(rest, first)


def _in_code(text: str, line: int) -> bool:
    """Whether a line stands in a block of code."""
    return any(
        block.first_line < line < block.end_line and block.info.lower() not in _WRAPPERS
        for block in fences.blocks(text)
    )


def _is_wrapper(text: str) -> bool:
    """Whether a text begins with a fence that holds all of it."""
    if not text.startswith(("```", "~~~")):
        return False
    found = fences.blocks(text)
    if not found or found[0].first_line or found[0].info.lower() not in _WRAPPERS:
        return False
    lines = text.rstrip(BLANK).split("\n")
    if len(lines) < 2 or not _closes(lines[-1], lines[0]):
        return False
    if found[0].info.lower() in ("markdown", "md"):
        return True
    # Blocks inside close it too early for CommonMark: then its own end reads as the beginning of one more.
    return found[0].end_line == len(lines) or found[-1].first_line == len(lines) - 1


def _opening_fence(before: str) -> str:
    """Return the line of a fence that a preamble ends with; "" where it ends otherwise."""
    last = before.rstrip(BLANK).rpartition("\n")[2]
    opened = re.fullmatch(r" {0,3}(`{3,}|~{3,})[ \t]*(\w*)[ \t]*", last)
    return last if opened and opened.group(2).lower() in _WRAPPERS else ""


def _without_last_line(text: str, opening: str) -> str:
    """Return a text without its last line where that closes the fence which a line opened."""
    head, _, last = text.rstrip(BLANK).rpartition("\n")
    return head if _closes(last, opening) else text


def _closes(line: str, opening: str) -> bool:
    opened = re.match(r" {0,3}(`{3,}|~{3,})", opening)
    if not opened:
        return False
    mark = opened.group(1)
    return re.fullmatch(rf" {{0,3}}{re.escape(mark)}{mark[0]}*[ \t]*", line) is not None
