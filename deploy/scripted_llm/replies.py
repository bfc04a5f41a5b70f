"""The replies, one function a stage. Pure: each is fixed by the question and the sampling seed.

A response is of one of five qualities. The shares of all but `good` are `Shares`; they are drawn per (question, seed).
"""

import ast
import keyword
import re
from dataclasses import dataclass
from typing import Literal

from deploy.scripted_llm import tasks
from deploy.scripted_llm.dice import Dice
from deploy.scripted_llm.question import HEADINGS, Question, Stage, code_of
from deploy.scripted_llm.tasks import Task

Quality = Literal["good", "failing", "unparsable", "broken", "hanging"]


@dataclass(frozen=True, slots=True)
class Shares:
    """How often something is amiss: each a share of the replies of its stage, all in [0, 1]."""

    no: float = 0.2  # verdicts that are No
    failing: float = 0.15  # responses that do not pass their tests
    unparsable: float = 0.05  # responses without tests
    broken: float = 0.03  # responses whose code is no Python
    hanging: float = 0.005  # responses whose code never ends


GOES_ON = "\n\n## Example 99\n[Code]\nOne more, since nobody stopped me."
"""What a base model writes behind its answer."""


def answer(question: Question, seed: int | None, shares: Shares) -> str:
    """Return the answer, from its heading to its end."""
    dice = Dice(question.stage, question.ask, seed)
    if question.stage is Stage.OTHER:
        return solution(question.ask, dice, shares)
    text = {
        Stage.SEEDS: lambda: verdict(code_of(question.ask), shares),
        Stage.CONCEPTS: lambda: ", ".join(concepts(code_of(question.ask))),
        Stage.INSTRUCTIONS: lambda: instruction(question.ask, dice),
        Stage.RESPONSES: lambda: response(question.ask, dice, shares),
    }[question.stage]()
    return f"{HEADINGS[question.stage]}\n{text}"


def whole(question: Question, seed: int | None, shares: Shares) -> str:
    """Return the answer, and where a base model would go on with an example of its own."""
    tail = "" if question.stage is Stage.OTHER else GOES_ON
    return answer(question, seed, shares) + tail


# --- seeds


def verdict(code: str, shares: Shares) -> str:
    """Return the verdict on a docstring: No for a share of them, and where there are fewer than two words."""
    tree = _parsed(code)
    documented = [
        ast.get_docstring(node) or ""
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    good = bool(documented) and len(documented[0].split()) > 1
    return "Yes" if good and Dice("verdict", code).share() >= shares.no else "No"


# --- concepts

_SHOWN: tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], str], ...] = (
    ((ast.ListComp, ast.SetComp, ast.GeneratorExp), "comprehensions"),
    (ast.DictComp, "dictionary comprehensions"),
    ((ast.Yield, ast.YieldFrom), "generators"),
    ((ast.Try, ast.Raise), "exception handling"),
    (ast.With, "context managers"),
    (ast.Lambda, "anonymous functions"),
    ((ast.For, ast.While), "loops"),
    (ast.Subscript, "indexing and slicing"),
    (ast.JoinedStr, "string formatting"),
    (ast.BinOp, "arithmetic"),
    (ast.BoolOp, "boolean logic"),
    (ast.Compare, "comparisons"),
    (ast.Dict, "dictionaries"),
    (ast.If, "conditional branches"),
    ((ast.Import, ast.ImportFrom), "standard library modules"),
    (ast.Call, "function composition"),
)


def concepts(code: str) -> list[str]:
    """Return two to five concepts: what the syntax shows, then a word from the names."""
    tree = _parsed(code)
    nodes = list(ast.walk(tree)) if tree else []
    seen = [name for kinds, name in _SHOWN if any(isinstance(node, kinds) for node in nodes)][:4]
    named = re.findall(r"[a-z]{4,}", code.lower())
    words = sorted({word for word in named if not keyword.iskeyword(word)})
    return [*seen, f"{Dice('concept', code).one(words or ['plain'])} handling"][-5:] if seen else ["reading code"]


# --- instructions

_SETTINGS = (
    "A weather station", "A bakery", "A chess club", "A river gauge", "A toll bridge", "A seed bank", "A night train",
    "A beekeeper", "A library of maps", "A ski lift", "A print shop", "A tide table", "A pottery", "A radio archive",
    "A greenhouse", "A ferry line",
)  # fmt: skip
_READINGS = ("readings", "counts", "scores", "offsets", "amounts", "marks", "levels", "delays")
_ENDS = (
    "An empty list gives an empty list.",
    "The list that was passed in stays as it is.",
    "Values can be negative, and the list can be empty.",
    "Return a new list; do not change the argument.",
)


def instruction(ask: str, dice: Dice) -> str:
    """Return a task of the wanted category and difficulty."""
    wanted = dict(line.split(": ", 1) for line in ask.split("\n") if ": " in line)
    steps = tasks.draw_steps(dice, wanted.get("difficulty", ""))
    noun = dice.one(_READINGS)
    name = f"{dice.one(('arrange', 'digest', 'refine', 'compile', 'prepare', 'derive'))}_{noun}_{dice.word()}"
    category = wanted.get("category")
    if category == "class":
        name = "".join(part.title() for part in name.split("_"))
        what = f"a Python class whose method `{name}.apply(values)` takes them as a list of integers"
    elif category == "program":
        what = f"a small Python program; its entry function `{name}(values)` takes them as a list of integers"
    else:
        what = f"a Python function `{name}(values)` that takes them as a list of integers"
    chain = "; ".join(f"{'it first' if n == 0 else 'then it'} {step.words}" for n, step in enumerate(steps))
    return (
        f"{dice.one(_SETTINGS)} collects {noun} in the order of their arrival. Write {what} and returns a list. "
        f"In this order, {chain}. {dice.one(_ENDS)} A good solution shows {wanted.get('concepts', 'care')}."
    )


# --- responses


def response(ask: str, dice: Dice, shares: Shares) -> str:
    """Return an answer with its tests, which pass unless the draw says otherwise."""
    task = tasks.recognise(ask)
    if task is None:  # a task of another author: any will do that has its own name
        named = re.search(r"`(\w+)\(", ask)
        name = named.group(1) if named else f"solve_{dice.word()}"
        task = Task(name, False, tasks.draw_steps(Dice(ask), "medium"))
    quality = _quality(dice, shares)
    intro = dice.one(
        (
            "Each step works on the result of the one before.",
            "The steps follow each other, so one variable carries the list along.",
            "One pass for each step keeps the order of the task visible.",
        )
    )
    answer = f"{intro}\n\n```python\n{_code(task, quality, dice)}\n```\n\n{_outro(task, dice)}"
    if quality == "unparsable":
        return f"{answer}\n[/Tests]"
    return f"{answer}\n\n[Tests]\n```python\n{_tests(task, dice)}\n```\n[/Tests]"


def _quality(dice: Dice, shares: Shares) -> Quality:
    share = dice.share()
    bad: tuple[tuple[Quality, float], ...] = (
        ("failing", shares.failing),
        ("unparsable", shares.unparsable),
        ("broken", shares.broken),
        ("hanging", shares.hanging),
    )
    for quality, wanted in bad:
        if share < wanted:
            return quality
        share -= wanted
    return "good"


def _code(task: Task, quality: Quality, dice: Dice) -> str:
    carried = dice.one(("result", "current", "numbers", "row", "kept", "items"))
    lines = [f"{carried} = list(values)"]
    if quality == "hanging":
        lines += ["while True:", f"    {carried} = sorted({carried})"]
    for step in task.steps:
        if dice.share() < 0.4:
            lines.append(f"# {step.words}")
        lines.append(f"{carried} = " + re.sub(r"\bv\b", carried, step.python))
    lines.append(f"return {carried}{' + [0]' if quality == 'failing' else ''}")
    doc = f'"""Return the values after {len(task.steps)} steps."""'
    colon = "" if quality == "broken" else ":"
    if task.is_class:
        head = [f"class {task.name}:", f"    {doc}", "", f"    def apply(self, values: list[int]) -> list[int]{colon}"]
        body = [f"        {line}" for line in lines]
    else:
        head = [f"def {task.name}(values: list[int]) -> list[int]{colon}", f"    {doc}"]
        body = [f"    {line}" for line in lines]
    imports = ["import itertools", "", ""] if any("itertools" in line for line in lines) else []
    return "\n".join([*imports, *head, *body])


def _outro(task: Task, dice: Dice) -> str:
    step = dice.one(task.steps)
    return dice.one(
        (
            f"The step that {step.words} builds a new list, so the argument is never changed.",
            f"An empty list passes through every step, also the one that {step.words}.",
            f"Nothing but the order of the steps matters; one of them {step.words}.",
        )
    )


def _tests(task: Task, dice: Dice) -> str:
    rows = [[dice.number(-20, 60) for _ in range(dice.number(3, 9))] for _ in range(dice.number(2, 4))]
    return "\n".join(f"assert {task.call}({row}) == {task.expected(row)}" for row in [*rows, []])


# --- a task that somebody else puts, such as a benchmark


def solution(ask: str, dice: Dice, shares: Shares) -> str:
    """Return a solution without tests: as code where the question is a docstring to go on from, else in a block."""
    task = tasks.recognise(ask)
    quality = _quality(dice, shares)
    if task is None or quality == "unparsable":
        return f"Nothing is known about this; {dice.word(8)} is as good an answer as any."
    code = _code(task, quality, dice)
    return f"{code}\n\nprint({task.call}([]))\n" if ask.endswith('"""\n') else f"So:\n\n```python\n{code}\n```"


def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
