"""The lab's held-out benchmark: a task for each pair of operations that the corpus never joins, in HumanEval's format
(Chen et al. 2021: prompt, entry point, canonical solution, `check(candidate)`), with the instruction besides."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.lab import programs, tasks

SEED = 2024


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the file."""

    task_id: str
    prompt: str  # a signature and its docstring, to be completed
    instruction: str  # the same in words, for a model that was tuned on instructions
    entry_point: str
    canonical_solution: str  # the body
    test: str


def problems() -> Iterator[Problem]:
    """Write every problem: the same each time."""
    for number, pair in enumerate(tasks.HELD_OUT_PAIRS):
        rng = random.Random(f"{SEED}/{number}")
        task = tasks.draw(rng, pair, "function")
        signature, body = programs.code(rng, task).split("\n", 1)
        checks = programs.truths(task).replace(f"assert {task.name}(", "    assert candidate(")
        yield Problem(
            f"lab/{number}",
            f'{signature}\n    """{tasks.summary(rng, task)}"""\n',
            tasks.instruction(rng, task),
            task.name,
            f"{body}\n",
            f"def check(candidate):\n{checks}\n",
        )
