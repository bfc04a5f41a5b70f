"""Tasks that can be put into words, and programs that solve them. Pure.

A task is a chain of steps on a list of integers. Each step has its words, so that a task written by one reply can be
recognised and solved by the next one, which sees nothing but the words.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.scripted_llm.dice import Dice


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of step: its words, and its Python from a list `v` to a list. `#` is a number."""

    words: str
    python: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step with its number."""

    kind: Kind
    number: int

    @property
    def words(self) -> str:
        return self.kind.words.replace("#", str(self.number))

    @property
    def python(self) -> str:
        return self.kind.python.replace("#", str(self.number))


# fmt: off
KINDS = (
    Kind("keeps the values divisible by #",                               "[x for x in v if x % # == 0]"),
    Kind("drops the values divisible by #",                               "[x for x in v if x % # != 0]"),
    Kind("keeps the values greater than #",                               "[x for x in v if x > #]"),
    Kind("drops the first # values",                                      "v[#:]"),
    Kind("keeps at most the last # values",                               "v[-#:]"),
    Kind("multiplies every value by #",                                   "[x * # for x in v]"),
    Kind("adds # to every value",                                         "[x + # for x in v]"),
    Kind("replaces every value by its remainder after division by #",     "[x % # for x in v]"),
    Kind("replaces every value below # by #",                             "[max(x, #) for x in v]"),
    Kind("takes every #th value, starting with the first",                "v[::#]"),
    Kind("moves the first # values to the end",                           "v[#:] + v[:#]"),
    Kind("sorts the values in ascending order",                           "sorted(v)"),
    Kind("reverses the order of the values",                              "v[::-1]"),
    Kind("removes repeated values, keeping the first of each",            "list(dict.fromkeys(v))"),
    Kind("replaces the values by their running totals",                   "list(itertools.accumulate(v))"),
    Kind("replaces the values by the differences of neighbours",          "[b - a for a, b in zip(v, v[1:])]"),
    Kind("replaces every value by its square",                            "[x * x for x in v]"),
    Kind("adds to every value its position, counted from zero",           "[i + x for i, x in enumerate(v)]"),
)
# fmt: on

_PATTERNS = [(re.compile(re.escape(kind.words).replace(r"\#", r"(\d)")), kind) for kind in KINDS]
_NAME = re.compile(r"`(\w+)(?:\.apply)?\(values\)`")


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be written: a function, or a class with a method `apply`, that takes a list of integers."""

    name: str
    is_class: bool
    steps: tuple[Step, ...]

    @property
    def call(self) -> str:
        """The callable, as tests write it."""
        return f"{self.name}().apply" if self.is_class else self.name

    def expected(self, values: Sequence[int]) -> list[int]:
        """Return the result for `values`."""
        result = list(values)
        for step in self.steps:
            result = eval(step.python, {"v": result, "itertools": itertools})  # noqa: S307 - a row of KINDS
        return result


def draw_steps(dice: Dice, difficulty: str) -> tuple[Step, ...]:
    """Return a chain of different steps, the longer the harder the task shall be."""
    length = {"easy": 2, "medium": 3, "hard": 4}.get(difficulty, 3)
    return tuple(Step(kind, dice.number(2, 9)) for kind in dice.some(KINDS, length))


def recognise(instruction: str) -> Task | None:
    """Return the task that an instruction of `replies.instruction` puts into words; None for any other text."""
    named = _NAME.search(instruction)
    found = sorted(
        (match.start(), Step(kind, int(match.group(1)) if match.groups() else 1))
        for pattern, kind in _PATTERNS
        for match in pattern.finditer(instruction)
    )
    if named is None or not found:
        return None
    return Task(named.group(1), ".apply(values)`" in instruction, tuple(step for _, step in found))
