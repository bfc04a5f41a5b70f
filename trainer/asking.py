"""How a model is asked for a solution, and what of its reply is one. Pure.

- `Continuing`: a base model goes on from the problem's code; its completion ends at a stop string. By completions.
- `Chatting`: the problem is put in words, the solution stands in a fenced block. By chat.
- `Templated`: the same words inside the text that an instruction model was trained with. By completions.
"""

import ast
import io
import re
import warnings
from dataclasses import dataclass
from string import Template
from typing import NamedTuple, Protocol

from consumers import fences
from consumers.llm.request import Prompt
from consumers.refusals import refuses
from consumers.reply import Form, clean
from stream.records import digest
from trainer.problems import Problem


class Asking(Protocol):
    """One way to ask."""

    @property
    def name(self) -> str:
        """As it stands in a score."""
        ...

    def prompt(self, problem: Problem) -> Prompt: ...

    def stop(self, problem: Problem) -> tuple[str, ...]: ...

    def solution(self, problem: Problem, answer: str) -> str:
        """Return the code of an answer, ready to have the tests put behind it."""
        ...


@dataclass(frozen=True, slots=True)
class Continuing:
    """A base model."""

    @property
    def name(self) -> str:
        return "completions"

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt("", (), "", problem.prompt)

    def stop(self, problem: Problem) -> tuple[str, ...]:
        return problem.stop

    def solution(self, problem: Problem, answer: str) -> str:
        return problem.prelude + answer


@dataclass(frozen=True, slots=True)
class Chatting:
    """A chat model."""

    @property
    def name(self) -> str:
        return "chat"

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt("", (), problem.ask)

    def stop(self, problem: Problem) -> tuple[str, ...]:
        return ()

    def solution(self, problem: Problem, answer: str) -> str:
        return with_prelude(problem, code_of(answer, problem.entry_point))


@dataclass(frozen=True, slots=True)
class Templated:
    """An instruction model without a chat template. `$instruction` stands for the problem."""

    template: Template

    @property
    def name(self) -> str:
        return f"template {digest(self.template.template)[:8]}"

    def prompt(self, problem: Problem) -> Prompt:
        return Prompt("", (), "", self.template.substitute(instruction=problem.ask))

    def stop(self, problem: Problem) -> tuple[str, ...]:
        return ()

    def solution(self, problem: Problem, answer: str) -> str:
        opened = re.search(r"^```\w*\n?\Z", self.template.template, re.MULTILINE)
        whole = f"```python\n{answer}" if opened else answer
        return with_prelude(problem, code_of(whole, problem.entry_point))


REFUSED, UNFINISHED_REASONING = "refused", "unfinished_reasoning"


class Solved(NamedTuple):
    """What a reply solves a problem with."""

    code: str  # ready to have the tests put behind it; "" where there is no answer
    unanswered: str | None = None  # why there is none: REFUSED or UNFINISHED_REASONING


def solution(
    asking: Asking, problem: Problem, reply: str, special_tokens: tuple[str, ...] = (), finish_reason: str = "stop"
) -> Solved:
    """Return the solution in a reply, whatever the model wrote around its answer."""
    found = clean(reply, Form.of(asking.prompt(problem), asking.stop(problem)), special_tokens)
    if finish_reason == "refusal" or refuses(found.text):
        return Solved("", REFUSED)
    if found.open_thoughts or (finish_reason == "length" and not found.text.strip()):
        return Solved("", UNFINISHED_REASONING)
    return Solved(asking.solution(problem, found.text))


def with_prelude(problem: Problem, code: str) -> str:
    """Return code with the problem's own code in front: a function that is to be completed has a docstring for a body
    there, and what the reply defines takes its place. So imports and helpers which the problem gave are there, though
    the reply does not repeat them."""
    if not problem.prelude or "from __future__" in code or _parsed(problem.prelude) is None:
        return code
    return f"{problem.prelude}\n\n{code}"


_LANGUAGES = ("python", "")


def code_of(answer: str, entry_point: str | None) -> str:
    r"""Return the solution in an answer: its first Python block that defines `entry_point`, else the first; an answer
    without fences is code itself.

    >>> code_of("So:\n```python\nf = 1\n```\nthen\n```python\ndef f(): return 2\nprint(f())\n```", "f")
    'def f(): return 2\n'
    """
    found = fences.blocks(answer)
    code = [block.code for block in found if block.language in _LANGUAGES] or [b.code for b in found] or [answer]
    defines = re.compile(rf"^(async\s+def|def|class)\s+{re.escape(entry_point or '')}\b", re.MULTILINE)
    return definitions(next((block for block in code if entry_point and defines.search(block)), code[0]))


def definitions(code: str) -> str:
    r"""Return code without its statements that only show or test it: bare expressions, assertions and what stands
    behind a `__main__` guard, as EvalPlus' sanitiser does. What does not parse stays as it is.

    >>> definitions("X = 1\ndef f(): return X\nprint(f())\nassert f()\nif __name__ == '__main__':\n    f()\n")
    'X = 1\ndef f(): return X\n'
    """
    tree = _parsed(code)
    if tree is None:
        return code
    dropped: set[int] = set()
    kept: set[int] = set()
    for node in tree.body:
        (dropped if _shows(node) else kept).update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = io.StringIO(code, newline="").readlines()  # as the parser counts them
    return "".join(line for number, line in enumerate(lines, start=1) if number not in dropped - kept)


def _shows(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return any(isinstance(name, ast.Name) and name.id == "__name__" for name in ast.walk(node.test))
    return isinstance(node, ast.Expr | ast.Assert)


def _parsed(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all of them how ast refuses odd text
        return None
