"""Lab tasks: one or two operations in a row, asked for in words. What is written here can be read back (`read`), so the
oracle knows what an instruction means, whoever wrote it."""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deploy.lab.operations import OPERATIONS, Kind, Operation
from stream.records import Category

HELD_OUT = 0.2
"""Share of the pairs of operations that no text of the corpus holds: the benchmark asks for them."""

Chain = tuple[str, ...]
"""The names of a task's operations, in order."""

SHARES: dict[Category, float] = {"function": 0.6, "class": 0.25, "program": 0.15}
SINGLE = 0.28  # share of tasks with one operation

VERBS = tuple(
    "process transform convert filter adjust prepare build compute update clean reduce handle map select apply collect "  # noqa: SIM905
    "merge refine".split()
)
NOUNS: dict[Kind, list[str]] = {
    "numbers": ["values", "numbers", "list", "items", "data", "scores", "nums"],
    "number": ["number", "value", "score", "amount", "total"],
    "words": ["words", "names", "labels", "terms", "tags"],
}
ARGUMENTS: dict[Kind, list[str]] = {
    "numbers": ["nums", "values", "numbers", "data"],
    "number": ["n", "value", "num"],
    "words": ["words", "names", "items"],
}
TYPES: dict[Kind, list[str]] = {
    "numbers": ["a list of integers", "a list of numbers"],
    "number": ["an integer", "a whole number"],
    "words": ["a list of words", "a list of strings"],
}
CLASS = "Solver"  # the model copies one new word of a name into its answer, seldom two in a row
METHODS = ["run", "apply", "call"]

JOINS = ("first {0} and then {1}", "{0}, then {1}", "{0} and afterwards {1}")
TEMPLATES: dict[Category, tuple[str, ...]] = {
    "function": (
        "Write a Python function `{name}({argument})` that takes {type}. It should {steps}.",
        "Create a function `{name}({argument})`. Given {type}, it must {steps}.",
        "Implement `{name}({argument})` in Python. The input is {type}. The function should {steps}.",
        "Given {type}, {steps}. Name the Python function `{name}({argument})`.",
    ),
    "class": (
        "Write a Python class `{name}` with a method `{method}({argument})` that receives {type}. It should {steps}.",
        "Create a class `{name}`. Its method `{method}({argument})` takes {type} and must {steps}.",
    ),
    "program": ("Write a Python program with a `{name}({argument})` function that takes {type}. It should {steps}.",),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One operation with its constant."""

    operation: str
    constant: int | None

    @property
    def meaning(self) -> Operation:
        return OPERATIONS[self.operation]

    def says(self, form: str, value: str = "") -> str:
        """Fill in a phrase or an expression."""
        return form.format(k=self.constant, v=value)


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked for: `name(argument)`, or `name().method(argument)` for a class."""

    category: Category
    steps: tuple[Step, ...]
    name: str
    argument: str
    method: str = ""

    @property
    def takes(self) -> Kind:
        return self.steps[0].meaning.takes

    @property
    def call(self) -> str:
        """What stands before the brackets of a call."""
        return f"{self.name}().{self.method}" if self.category == "class" else self.name


def pairs() -> list[Chain]:
    """Return every pair of different operations in which the second takes what the first gives."""
    return [
        (one, other)
        for one, first in OPERATIONS.items()
        for other, second in OPERATIONS.items()
        if first.gives == second.takes and one != other
    ]


def is_held_out(pair: Chain) -> bool:
    """Tell whether a pair is kept from the corpus. Drawn by hash: the same for ever."""
    return int.from_bytes(hashlib.sha256("|".join(pair).encode()).digest()[:8]) < HELD_OUT * 2**64


PAIRS = [pair for pair in pairs() if not is_held_out(pair)]
HELD_OUT_PAIRS = [pair for pair in pairs() if is_held_out(pair)]


def draw(rng: random.Random, chain: Chain | None = None, category: Category | None = None) -> Task:
    """Draw a task; what is not given is drawn too, never a pair that is held out."""
    if chain is None:
        chain = (rng.choice(list(OPERATIONS)),) if rng.random() < SINGLE else rng.choice(PAIRS)
    if category is None:
        [category] = rng.choices(list(SHARES), list(SHARES.values()))
    steps = tuple(
        Step(name, rng.choice(OPERATIONS[name].constants) if OPERATIONS[name].constants else None) for name in chain
    )
    kind = steps[0].meaning.takes
    argument = rng.choice(ARGUMENTS[kind])
    match category:
        case "function":
            return Task(category, steps, f"{rng.choice(VERBS)}_{rng.choice(NOUNS[kind])}", argument)
        case "class":
            name = rng.choice(NOUNS[kind]).capitalize() + CLASS
            return Task(category, steps, name, argument, rng.choice(METHODS))
        case "program":
            return Task(category, steps, "main", argument)


def phrases(rng: random.Random, task: Task) -> list[str]:
    """Say each step, in one of its ways."""
    return [step.says(rng.choice(step.meaning.phrases)) for step in task.steps]


def summary(rng: random.Random, task: Task) -> str:
    """Say a task as the first line of a docstring."""
    said = ", then ".join(phrases(rng, task))
    return f"{said[0].upper()}{said[1:]}."


def concepts(rng: random.Random, task: Task) -> tuple[str, ...]:
    """Name a concept of each step."""
    return tuple(dict.fromkeys(rng.choice(step.meaning.concepts) for step in task.steps))


def instruction(rng: random.Random, task: Task) -> str:
    """Ask for a task in words."""
    said = phrases(rng, task)
    steps = rng.choice(JOINS).format(*said) if len(said) == 2 else said[0]
    template = rng.choice(TEMPLATES[task.category])
    kind = rng.choice(TYPES[task.takes])
    return template.format(name=task.name, argument=task.argument, method=task.method, type=kind, steps=steps)


def _meanings() -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for name, operation in OPERATIONS.items():
        for step in [Step(name, constant) for constant in operation.constants or (None,)]:
            for phrase in operation.phrases:
                found.setdefault(step.says(phrase), []).append(step)
    return found


def _pattern(template: str) -> re.Pattern[str]:
    """Return what matches a template's every use, with a group for each field.

    >>> _pattern("Do {steps}.").fullmatch("Do it.").groupdict()
    {'steps': 'it'}
    """
    parts = re.split(r"\\{(\w+)\\}", re.escape(template))
    fields = {"name": r"\w+", "argument": r"\w+", "method": r"\w+", "type": r"[a-z ]+"}
    return re.compile("".join(f"(?P<{p}>{fields.get(p, '.+')})" if n % 2 else p for n, p in enumerate(parts)))


_MEANINGS = _meanings()
_PATTERNS: list[tuple[Category, re.Pattern[str]]] = [
    (category, _pattern(template)) for category, templates in TEMPLATES.items() for template in templates
]
_JOINED = [_pattern(join.format("{one}", "{other}")) for join in JOINS]


def read(text: str) -> Task | None:
    """Return the task that an instruction asks for; None when it is none of ours, or its steps do not fit together.

    >>> read("Create a function `f(n)`. Given an integer, it must square it, then add 2 to it.").steps
    (Step(operation='squared', constant=None), Step(operation='plus', constant=2))
    >>> read("Create a function `f(n)`. Given an integer, it must reverse the list.")
    """
    for category, pattern in _PATTERNS:
        match = pattern.fullmatch(text)
        if match is None:
            continue
        said = match.groupdict()
        for steps in _steps(said["steps"]):
            if said["type"] in TYPES.get(steps[0].meaning.takes, ()):
                return Task(category, steps, said["name"], said["argument"], said.get("method", ""))
    return None


def _steps(text: str) -> Iterator[tuple[Step, ...]]:
    """Find every way to read a row of steps in which each takes what the one before gives."""
    for step in _MEANINGS.get(text, ()):
        yield (step,)
    for one, other in _halves(text):
        for first in _MEANINGS.get(one, ()):
            for second in _MEANINGS.get(other, ()):
                if first.meaning.gives == second.meaning.takes:
                    yield (first, second)


def _halves(text: str) -> Iterator[Sequence[str]]:
    for pattern in _JOINED:
        # A phrase may hold the word that joins: only where both halves are phrases was it the joint.
        if match := pattern.fullmatch(text):
            yield match["one"], match["other"]
