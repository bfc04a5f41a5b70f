"""Stop strings: which of them a server is sent, and where they end an answer. Pure.

A stop string ends an answer only at the start of a line: `## Example` does not end a task that has the heading
`### Example`. The stop string "\\n" ends an answer of one line.
"""

import re
from collections.abc import Sequence

LINE_END = "\n"


def sent(stops: Sequence[str], prefill: str, *, chat: bool, reasoning: bool) -> tuple[str, ...]:
    r"""Return the stop strings as a server is sent them. A server matches them anywhere in what the model writes, so:

    - a reasoning model gets none, since they would end its thoughts;
    - in chat "\n" is not sent, since a reply may begin with empty lines, nor what occurs in the prefill, which the
      model writes itself;
    - any other gets a line end in front of it.

    What is not sent, `cut` applies to the answer.

    >>> sent(("\n", "## Example"), "[Concepts]\n", chat=False, reasoning=False)
    ('\n', '\n## Example')
    >>> sent(("\n", "## Example"), "[Concepts]\n", chat=True, reasoning=False)
    ('\n## Example',)
    """
    if reasoning:
        return ()
    wanted = [stop if stop.startswith(LINE_END) else f"{LINE_END}{stop}" for stop in stops]
    if chat:
        wanted = [stop for stop in wanted if stop != LINE_END and stop not in f"{LINE_END}{prefill}"]
    return tuple(dict.fromkeys(wanted))


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    r"""Return the text up to the first stop string, and whether there was one.

    >>> cut("One.\n\n### Example\nTwo.\n## Example 2\n", ("## Example",))
    ('One.\n\n### Example\nTwo.\n', True)
    >>> cut("yes", ("\n",))
    ('yes', False)
    """
    ends = [at for stop in stops if (at := _first(text, stop)) is not None]
    return (text[: min(ends)], True) if ends else (text, False)


def _first(text: str, stop: str) -> int | None:
    if stop.startswith(LINE_END):
        at = text.find(stop)
        return at if at >= 0 else None
    found = re.search(f"^{re.escape(stop)}", text, re.MULTILINE)
    return found.start() if found else None
