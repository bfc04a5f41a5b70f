"""Tasks in the published forms of HumanEval, MBPP and EvalPlus, made up here."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.scripted_llm import tasks
from deploy.scripted_llm.dice import Dice
from deploy.scripted_llm.tasks import Task

HUMAN_EVAL: dict[str, Any] = {
    "task_id": "HumanEval/0",
    "prompt": (
        "from typing import List\n\n\n"
        "def span(heights: List[float]) -> float:\n"
        '    """Return the difference of the highest and the lowest.\n'
        "    >>> span([2.0, 5.5])\n"
        "    3.5\n"
        '    """\n'
    ),
    "entry_point": "span",
    "canonical_solution": "    return max(heights) - min(heights)\n",
    "test": (
        "\n\nMETADATA = {'author': 'us'}\n\n\n"
        "def check(candidate):\n"
        "    assert candidate([2.0, 5.5]) == 3.5\n"
        "    assert candidate([1.0]) == 0.0, 'one alone'\n"
    ),
}

MBPP: dict[str, Any] = {
    "task_id": 11,
    "text": "Write a function to count the vowels of a word.",
    "code": "def vowels(word):\r\n\treturn sum(c in 'aeiou' for c in word)",
    "test_list": ["assert vowels('tide') == 2", "assert vowels('') == 0", "assert vowels(WORD) == 1"],
    "test_setup_code": "WORD = 'sky' + 'e'",
    "challenge_test_list": [],
}

EVAL_PLUS: dict[str, Any] = {
    "task_id": "HumanEval/1",
    "prompt": 'def mean(values: list) -> float:\n    """Return the mean; that of none is 0."""\n',
    "contract": "    assert isinstance(values, list)\n",
    "entry_point": "mean",
    "canonical_solution": "    print('as some do')\n    return sum(values) / len(values) if values else 0.0\n",
    "base_input": [[[1, 2]], [[4]]],
    "plus_input": [[[]], [[0.1, 0.2, 0.3]], [[10**30, 1]]],
    "atol": 0,
}

MBPP_PLUS: dict[str, Any] = {
    "task_id": "Mbpp/250",
    "prompt": '"""\nWrite a function to count an element in a tuple.\nassert count_X((1, 2, 1), 1) == 2\n"""\n',
    "contract": "",
    "entry_point": "count_X",
    "canonical_solution": "\ndef count_X(tup, x):\n    assert type(tup) is tuple\n    return tup.count(x)\n",
    "base_input": [[[1, 2, 1], 1]],
    "plus_input": [[[], 3]],
    "atol": 0,
    "assertion": "assert count_X((1, 2, 1), 1) == 2",
}


def write(path: Path, *rows: object) -> Path:
    """Write rows as a JSON Lines file, gzipped where its name says so."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def scripted(count: int) -> Sequence[dict[str, Any]]:
    """Return MBPP tasks that the scripted server can solve."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        dice = Dice("benchmark", number)
        task = Task(f"arrange_{number}", False, tasks.draw_steps(dice, "easy"))
        chain = "; then it ".join(step.words for step in task.steps)
        values = [dice.number(-20, 60) for _ in range(7)]
        rows.append(
            {
                "task_id": number,
                "text": f"Write a Python function `{task.name}(values)` that returns a list. It {chain}.",
                "code": "",
                "test_list": [f"assert {task.name}({values}) == {task.expected(values)}"],
            }
        )
    return rows
