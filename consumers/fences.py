"""Fenced code blocks of a reply, as CommonMark defines them: either fence, any length, nested ones inside longer ones.

Only fences are read: to the parser everything else is plain text, so a block inside a list is found and no stray
markup hides one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt

_PYTHON = frozenset({"python", "py", "python3"})
_PARSER = MarkdownIt("zero").enable("fence")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. Lines are counted from 0."""

    first_line: int  # of the opening fence
    end_line: int  # after the closing fence
    language: str  # first word of the info string, lower case; "" without one
    code: str


def blocks(text: str) -> list[Block]:
    r"""Return the fenced blocks of `text`, whose line ends are plain. An unclosed one goes to the end (CommonMark).

    >>> [(b.language, b.code) for b in blocks("so:\n```Python\nx = 1\n```\n~~~\nout\n~~~\n")]
    [('python', 'x = 1\n'), ('', 'out\n')]
    """
    found: list[Block] = []
    for token in _PARSER.parse(text):
        if token.type == "fence" and token.map is not None:
            first, end = token.map
            found.append(Block(first, end, next(iter(token.info.lower().split()), ""), token.content))
    return found


def python(found: Iterable[Block]) -> str:
    """Return the code of the Python blocks, joined; "" when there is none with code in it."""
    return "\n".join(block.code.strip("\n") for block in found if block.language in _PYTHON and block.code.strip())
