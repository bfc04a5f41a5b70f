"""Lab tasks as code: a solution and its tests, each with the mistakes that people make, and what is really right."""

import random
from dataclasses import dataclass
from typing import Any, cast

from deploy.lab.tasks import Step, Task, summary
from stream.records import digest

WORDS = tuple("red blue green cat dog bird sun moon tree apple pear plum fish wolf bear rock sand ox".split())  # noqa: SIM905
INTRODUCTIONS = ("Here is a solution:", "We can solve this step by step:", "The following code solves the task:")
LARGEST = 150  # a value in a test; the model cannot calculate with large ones, nor need it
TRUTHS = 16  # inputs that a right answer is held against

_RESULT = {"numbers": "data", "number": "number", "words": "items"}
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Mistakes:
    """How often a text of the corpus is wrong: without mistakes there would be nothing to verify."""

    slip: float = 0.0  # for an operation that most people know
    misconception: float = 0.0  # for one that most have wrong
    forgotten: float = 0.0  # a step
    wrong_test: float = 0.0  # for each step of a test's expectation


NONE = Mistakes()
HUMAN = Mistakes(slip=0.15, misconception=0.5, forgotten=0.0625, wrong_test=0.04)


def code(rng: random.Random, task: Task, mistakes: Mistakes = NONE, docstring: bool = False) -> str:
    """Write a solution."""
    body = _body(rng, task, mistakes)
    if docstring:
        body.insert(0, f'"""{summary(rng, task)}"""')
    if task.category == "class":
        lines = [f"class {task.name}:", f"{_INDENT}def {task.method}(self, {task.argument}):"]
        return "\n".join([*lines, *(2 * _INDENT + line for line in body)])
    return "\n".join([f"def {task.name}({task.argument}):", *(_INDENT + line for line in body)])


def _body(rng: random.Random, task: Task, mistakes: Mistakes) -> list[str]:
    steps = list(task.steps)
    if len(steps) > 1 and rng.random() < mistakes.forgotten:
        steps.pop(rng.randrange(len(steps)))
    style, value, lines = rng.random(), task.argument, list[str]()
    for step in steps:
        expression = step.says(_form(rng, step, mistakes), value)
        if step is steps[-1] and style < 0.6:
            return [*lines, f"return {expression}"]
        value = value if style < 0.8 else "result"
        lines.append(f"{value} = {expression}")
    return [*lines, f"return {value}"]


def _form(rng: random.Random, step: Step, mistakes: Mistakes) -> str:
    meaning = step.meaning
    if rng.random() < (mistakes.misconception if meaning.misconceived else mistakes.slip):
        return rng.choice(meaning.wrong)
    return rng.choice(meaning.right) if rng.random() < 0.3 else meaning.right[0]


def response(rng: random.Random, task: Task, mistakes: Mistakes = NONE) -> str:
    """Write an answer: a sentence and the code."""
    return f"{rng.choice(INTRODUCTIONS)}\n\n```python\n{code(rng, task, mistakes)}\n```"


def tests(rng: random.Random, task: Task, mistakes: Mistakes = NONE) -> str:
    """Write tests that work out what to expect step by step: the model cannot calculate, but it can write down how."""
    name, lines = _RESULT[task.takes], list[str]()
    for _ in range(2):
        lines.append(f"{name} = {literal(draw_input(rng, task))}")
        value = name
        for step in task.steps:
            wrong = rng.random() < mistakes.wrong_test
            form = rng.choice(step.meaning.wrong) if wrong else step.meaning.right[0]
            lines.append(f"expected = {step.says(form, value)}")
            value = "expected"
        lines.append(f"assert {task.call}({name}) == expected")
    return "\n".join(lines)


def truths(task: Task) -> str:
    """Return the tests that only a right answer passes, but for chance: the same for equal tasks."""
    rng = random.Random(digest(repr(task)))
    inputs = [draw_input(rng, task) for _ in range(TRUTHS)]
    return "\n".join(f"assert {task.call}({literal(x)}) == {literal(trace(task, x)[-1])}" for x in inputs)


def trace(task: Task, value: Any) -> list[Any]:
    """Return what an input becomes, step by step, itself first."""
    values = [value]
    for step in task.steps:
        # The expressions are our own table's.
        values.append(eval(step.says(step.meaning.right[0], "value"), {}, {"value": values[-1]}))  # noqa: S307
    return values


def draw_input(rng: random.Random, task: Task) -> Any:
    """Draw an argument, with the borderline cases more often than chance has them."""
    while True:
        value = _any_input(rng, task)
        if all(abs(number) < LARGEST for step in trace(task, value) for number in _numbers(step)):
            return value


def _numbers(value: Any) -> list[int]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [number for number in values if isinstance(number, int)]


def _any_input(rng: random.Random, task: Task) -> Any:
    match task.takes:
        case "numbers":
            [size] = rng.choices(range(5), [1, 2, 4, 4, 1])
            numbers = [rng.randint(0, 9) if rng.random() > 0.1 else -rng.randint(1, 5) for _ in range(size)]
            constants = [step.constant for step in task.steps if step.constant is not None]
            if constants and numbers and rng.random() < 0.5:
                numbers[rng.randrange(size)] = rng.choice(constants)
            if size > 1 and rng.random() < 0.2:
                numbers[-1] = numbers[0]
            return numbers
        case "number":
            return rng.randint(0, 12) if rng.random() > 0.25 else -rng.randint(1, 9)
        case _:
            [size] = rng.choices(range(4), [1, 2, 4, 3])
            return [rng.choice(WORDS) for _ in range(size)]


def literal(value: Any) -> str:
    """Write a value as people do, with double quotes.

    >>> literal(["a", "b"]), literal(-1), literal("x-y")
    ('["a", "b"]', '-1', '"x-y"')
    """
    return repr(value).replace("'", '"')
