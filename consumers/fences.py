"""Fenced code blocks of a reply, as CommonMark defines them: either fence, any length, nested ones inside longer ones,
also in lists and quotations. An indented fence in a docstring closes nothing.

Only what decides where a fence begins and ends is read: to the parser everything else is plain text, so that no stray
markup hides a block.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markdown_it import MarkdownIt

_PARSER = MarkdownIt("zero").enable(["fence", "code", "list", "blockquote"])

_PYTHON = re.compile(r"(?:python|py|ipython)(?:\d+(?:\.\d+)*)?(?![\w.+-])")
"""Not `pycon` and `python-repl`, which are dialogues."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. Lines are counted from 0."""

    first_line: int  # of the opening fence
    end_line: int  # after the closing fence
    info: str  # what stands behind the opening fence
    code: str

    @property
    def language(self) -> str:
        """The language that the info string names, in lower case; "" without one. Of Python's names, "python".

        >>> [Block(0, 1, info, "").language for info in ("py3", "python:main.py", "{.python .x}", 'Python title="x"')]
        ['python', 'python', 'python', 'python']
        >>> Block(0, 1, "Rust,ignore", "").language
        'rust'
        """
        named = re.sub(r"^[{.\s]*(?:lang(?:uage)?[-:=])?", "", self.info.strip().lower())
        if _PYTHON.match(named):
            return "python"
        return re.split(r"[\s,;:{}]", named, maxsplit=1)[0]


def blocks(text: str) -> list[Block]:
    r"""Return the fenced blocks of `text`, whose line ends are plain. An unclosed one goes to the end (CommonMark).

    >>> [(b.language, b.code) for b in blocks("so:\n```Python\nx = 1\n```\n~~~\nout\n~~~\n")]
    [('python', 'x = 1\n'), ('', 'out\n')]
    """
    return [
        Block(token.map[0], token.map[1], token.info.strip(), token.content)
        for token in _PARSER.parse(text)
        if token.type == "fence" and token.map is not None
    ]


def python(found: Iterable[Block]) -> str:
    """Return the code of the Python blocks, joined; "" when there is none with code in it."""
    return "\n".join(block.code.strip("\n") for block in found if block.language == "python" and block.code.strip())
