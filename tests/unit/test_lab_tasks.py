"""Lab tasks: what is written in words is read back, what is right passes, and what is wrong does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.lab import benchmark, programs, tasks
from deploy.lab.operations import OPERATIONS
from deploy.lab.programs import HUMAN
from stream.records import Category

SEEDS = st.integers(0, 2**32)
CATEGORIES: tuple[Category, ...] = ("function", "class", "program")


def passes(program: str) -> bool:
    try:
        exec(program, {})
    except Exception:  # noqa: BLE001 - whatever a wrong program raises
        return False
    return True


@given(SEEDS)
def test_an_instruction_is_read_back_as_the_task_that_it_was_written_for(seed: int) -> None:
    rng = random.Random(seed)
    task = tasks.draw(rng)
    assert tasks.read(tasks.instruction(rng, task)) == task


@given(SEEDS)
def test_a_solution_without_mistakes_passes_its_tests_and_the_truth(seed: int) -> None:
    rng = random.Random(seed)
    task = tasks.draw(rng)
    code = programs.code(rng, task, docstring=rng.random() < 0.5)
    assert passes(f"{code}\n{programs.tests(rng, task)}\n{programs.truths(task)}")


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_truth_tells_every_mistake_from_what_is_right(name: str) -> None:
    operation, rng = OPERATIONS[name], random.Random(1)
    for constant in operation.constants or (None,):
        step = tasks.Step(name, constant)
        task = tasks.Task("function", (step,), "f", "value")
        for form in operation.right:
            assert passes(f"def f(value): return {step.says(form, 'value')}\n{programs.truths(task)}"), form
        told = [
            passes(f"def f(value): return {step.says(form, 'value')}\n{programs.truths(task)}")
            for form in operation.wrong
        ]
        assert not any(told), (constant, operation.wrong)
    assert tasks.read(tasks.instruction(rng, tasks.draw(rng, (name,)))) is not None


@given(SEEDS)
def test_no_pair_that_is_held_out_is_ever_drawn(seed: int) -> None:
    drawn = tuple(step.operation for step in tasks.draw(random.Random(seed)).steps)
    assert drawn not in tasks.HELD_OUT_PAIRS


def test_a_fifth_of_the_pairs_is_held_out() -> None:
    assert 0.15 < len(tasks.HELD_OUT_PAIRS) / len(tasks.pairs()) < 0.25


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Write a poem.",
        "Create a function `f(n)`. Given an integer, it must reverse the list.",  # a number is no list
        "Create a function `f(n)`. Given a list of words, it must square it.",
        "Create a function `f(n)`. Given an integer, it must square it, then count the words.",
        "Create a function `f(n)`. Given an integer, it must add 99 to it.",  # no such constant
    ],
)
def test_what_is_no_task_of_ours_is_read_as_none(text: str) -> None:
    assert tasks.read(text) is None


def test_people_make_mistakes_but_not_only() -> None:
    rng = random.Random(3)
    drawn = [tasks.draw(rng) for _ in range(300)]
    right = sum(passes(f"{programs.code(rng, task, HUMAN)}\n{programs.truths(task)}") for task in drawn)
    assert 100 < right < 220


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_called_as_its_instruction_says(category: Category) -> None:
    rng = random.Random(5)
    task = tasks.draw(rng, category=category)
    assert f"`{task.name}" in tasks.instruction(rng, task)
    assert passes(f"{programs.code(rng, task)}\n{programs.truths(task)}")


def test_the_canonical_solutions_of_the_benchmark_pass_and_an_empty_one_does_not() -> None:
    for problem in benchmark.problems():
        check = f"{problem.test}\ncheck({problem.entry_point})\n"
        assert passes(f"{problem.prompt}{problem.canonical_solution}\n{check}"), problem.task_id
        assert not passes(f"{problem.prompt}    return None\n{check}"), problem.task_id


def test_the_benchmark_asks_for_nothing_that_the_corpus_joins() -> None:
    for problem in benchmark.problems():
        task = tasks.read(problem.instruction)
        assert task is not None
        assert tuple(step.operation for step in task.steps) in tasks.HELD_OUT_PAIRS
