r"""Data inside a prompt: what of it a model, or we, could take for a part of the prompt itself is escaped. Pure.

A function, a concept or a task may hold a line such as `## Example 3` or `[Verdict]`, a special token, or a fence. Each
marker gets a backslash, as in Markdown; a fence around data is longer than any in it.
"""

import re
from collections.abc import Iterable, Mapping
from string import Template

from consumers.wrapping import CONTROL

_EXAMPLE = r"#{2,6}[ \t]*Example[ \t]+\d+"
_SECTION = r"\[/?(?:Code|Verdict|Concepts|Properties|Instruction|Response|Tests)\]"
_THOUGHTS = r"</?(?:think|thinking|thoughts?|reasoning|seed:think|answer)>|\[/?THINK\]|◁/?think▷"

_FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)\n\$(?P<field>\w+)\n(?P=fence)$", re.MULTILINE)
"""A field of a template that stands alone in a fence."""

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})", re.MULTILINE)


class Markers:
    """What must not be taken for a part of the prompt: our own headings, lines of the templates, special tokens."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        own = [re.escape(line) for line in sorted(set(lines), key=len, reverse=True)]
        at_start = "|".join((_EXAMPLE, _SECTION, *own))
        self._marker = re.compile(
            rf"^(?P<indent>[ \t]*(?:[-*+>][ \t]+)?)(?P<line>{at_start})|(?P<token>{CONTROL.pattern}|{_THOUGHTS})",
            re.MULTILINE | re.IGNORECASE,
        )

    def escaped(self, text: str) -> str:
        r"""Return a text with a backslash in each marker.

        >>> Markers().escaped("x\n## Example 3\n[Verdict]\nyes<|im_end|>")
        'x\n\\## Example 3\n\\[Verdict]\nyes<\\|im_end|>'
        """
        return self._marker.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    token = found["token"]
    if token:
        return f"{token[0]}\\{token[1:]}"
    return f"{found['indent']}\\{found['line']}"


def template_lines(*templates: Template) -> set[str]:
    """Return the lines of templates that begin a part: those without a field, which are no fence."""
    lines = {line.strip() for template in templates for line in template.template.split("\n")}
    return {line for line in lines if line and "$" not in line and not _FENCE.match(line)}


def substituted(template: Template, values: Mapping[str, str]) -> str:
    r"""Return a template with its fields filled in. A fence around a field is made longer than those in its value.

    >>> substituted(Template("```python\n$code\n```"), {"code": "x = '''\n  ```\n'''"})
    "````python\nx = '''\n  ```\n'''\n````"
    """

    def longer(found: re.Match[str]) -> str:
        fence, value = found["fence"], values.get(found["field"], "")
        inside = max((len(mark) for mark in _FENCE.findall(value)), default=0)
        mark = fence[0] * max(len(fence), inside + 1)
        return f"{mark}{found['info']}\n${found['field']}\n{mark}"

    return Template(_FENCED.sub(longer, template.template)).substitute(values)
