"""The oracle knows which responses are right, whatever their own tests say."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from consumers import prompt
from deploy.lab import oracle, programs, tasks
from deploy.lab.report import Share
from sandbox import Sandbox
from stream.records import Response
from tests import records


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(slots=2) as running:
        yield running


def response(code: str) -> Response:
    return replace(records.response(), code=code)


async def test_a_right_response_is_told_from_a_wrong_one(box: Sandbox) -> None:
    rng = random.Random(11)
    for _ in range(5):
        task = tasks.draw(rng)
        right, wrong = programs.code(rng, task), programs.code(rng, task).replace("return ", "return None or 3.5, ")
        found = await oracle.correct(box, tasks.instruction(rng, task), [response(right), response(wrong)])
        assert found == [True, False], right


async def test_nothing_answers_what_is_no_task(box: Sandbox) -> None:
    assert await oracle.correct(box, "Write a poem.", [response("def f(): pass")]) == [False]


async def test_a_response_under_another_name_is_wrong(box: Sandbox) -> None:
    text = "Create a function `f(n)`. Given an integer, it must square it."
    codes = ["def f(n): return n * n", "def g(n): return n * n"]
    assert await oracle.correct(box, text, [response(code) for code in codes]) == [True, False]


@pytest.mark.parametrize("stage", ["concepts", "instructions", "responses"])
async def test_the_worked_examples_of_the_lab_prompts_are_right(box: Sandbox, stage: str) -> None:
    for name, example in prompt.worked_examples(prompt.find("lab"), stage).items():
        assert isinstance(example, prompt.Worked)
        code = example.response.split("```python\n")[1].split("\n```")[0]
        assert oracle.valid_concepts(example.concepts), name
        assert await oracle.correct(box, example.instruction, [response(code)]) == [True], name
        result = await box.run(f"{code}\n\n{example.tests}\n")
        assert result.verdict == "pass", name


def test_a_share_says_part_whole_and_percent() -> None:
    assert str(Share(1, 3)) == "1 of 3 (33%)"
    assert Share(0, 0).value == 0.0
    assert Share.of([True, False]) == Share(1, 2)
