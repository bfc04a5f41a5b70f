"""How a benchmark is put to base and chat models, and what of a reply counts as the solution."""

from string import Template

import pytest

from consumers.llm.render import completion_text, messages
from tests.benchmarks_made import EVAL_PLUS, HUMAN_EVAL, MBPP
from trainer.asking import Chatting, Continuing, Templated, code_of, definitions, solution
from trainer.problems import read

HUMAN, MB, PLUS = read(HUMAN_EVAL), read(MBPP), read(EVAL_PLUS)


def test_a_base_model_goes_on_from_the_published_prompt_and_nothing_else():
    assert completion_text(Continuing().prompt(HUMAN)) == HUMAN_EVAL["prompt"]
    assert completion_text(Continuing().prompt(PLUS)) == EVAL_PLUS["prompt"]
    text = completion_text(Continuing().prompt(MB))
    assert text.startswith('"""\nWrite a function to count') and text.endswith('assert vowels(WORD) == 1\n"""\n')


@pytest.mark.parametrize(
    "tail",
    [
        "\ndef g():",
        "\nclass C:",
        "\nprint(1)",
        "\nif __name__ == '__main__':",
        "\nassert x",
        "\n```\nprose",
        "\nimport os",
    ],
)
def test_a_completion_ends_where_the_function_does_also_when_the_server_did_not_stop(tail: str):
    assert solution(Continuing(), HUMAN, f"    return 1\n{tail}").code == f"{HUMAN_EVAL['prompt']}    return 1\n"


def test_a_completion_under_a_docstring_may_define_and_import_but_ends_before_tests():
    reply = "import re\n\ndef help():\n    pass\n\ndef vowels(w):\n    return 1\n\nassert vowels('a') == 1\n"
    assert solution(Continuing(), MB, reply).code == reply.partition("\nassert")[0]


def test_a_chat_model_gets_the_problem_in_words_and_no_stop_string():
    [message] = messages(Chatting().prompt(HUMAN))
    assert message["role"] == "user" and HUMAN_EVAL["prompt"].strip() in message["content"]
    [message] = messages(Chatting().prompt(MB))
    assert all(test in message["content"] for test in MBPP["test_list"])
    assert Chatting().stop(HUMAN) == ()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (
            "Here:\n```python\ndef span(h):\n    return 1\n```\nAnd use it:\n```python\nspan([1])\n```",
            "def span(h):\n    return 1\n",
        ),
        ("First\n```python\nprint(1)\n```\nthen\n```py\ndef span(h): return 2\n```", "def span(h): return 2\n"),
        ("```\ndef span(h): return 3\n```", "def span(h): return 3\n"),
        ("```python\ndef span(h):\n    return 4", "def span(h):\n    return 4"),  # cut off: the fence is never closed
        ("def span(h): return 5", "def span(h): return 5"),
        ("```bash\npip install x\n```\n```python\ndef span(h): return 6\n```", "def span(h): return 6\n"),
        ("```python\ndef other(): pass\n```", "def other(): pass\n"),
    ],
)
def test_the_solution_of_a_reply_is_its_block_that_defines_the_function(reply: str, code: str):
    assert code_of(reply, "span") == code


@pytest.mark.parametrize(
    "reply",
    [
        "```python\r\ndef span(h):\r\n    return 7\r\n```",
        "<think>\n```python\ndef span(h):\n    return 0\n```\nNo.\n</think>\n```py3\ndef span(h):\n    return 7\n```",
        "Maybe:\n```python\ndef span(h): return 0\n```\n</think>\n```python\ndef span(h):\n    return 7\n```<|im_end|>",
        "def span(h):\n    return 7\n</s>",
        "Sure! Here it is:\n\n```\ndef span(h):\n    return 7\n```",
    ],
)
def test_what_a_model_writes_around_its_solution_is_not_graded(reply: str):
    found = solution(Chatting(), HUMAN, reply).code
    assert found.removeprefix(f"{HUMAN.prelude}\n\n").rstrip() == "def span(h):\n    return 7"


def test_a_continuation_keeps_its_indentation_and_loses_thoughts_and_tokens():
    assert (
        solution(Continuing(), HUMAN, "    return 1\r\n<|endoftext|>").code == f"{HUMAN_EVAL['prompt']}    return 1\n"
    )
    assert (
        solution(Continuing(), HUMAN, "<think>1?</think>\n    return 1\n").code
        == f"{HUMAN_EVAL['prompt']}    return 1\n"
    )


@pytest.mark.parametrize(
    ("reply", "finish_reason", "why"),
    [
        ("I'm sorry, I can't help with that.", "stop", "refused"),
        ("No.", "refusal", "refused"),
        ("<think>def span", "length", "unfinished_reasoning"),
        ("", "length", "unfinished_reasoning"),
    ],
)
def test_a_reply_without_an_answer_is_not_graded(reply: str, finish_reason: str, why: str):
    assert solution(Chatting(), HUMAN, reply, (), finish_reason) == ("", why)


def test_what_only_shows_or_tests_a_solution_is_dropped_and_the_rest_stays_as_it_was():
    kept = "import re\n\nLIMIT = 3  # why\n\n@decorated\ndef f(x):\n    assert x\n    print(x)\n    return x\n"
    shown = 'print(f(1))\nassert f(1) == 1\n"""note"""\nif __name__ == "__main__":\n    f(input())\n'
    assert definitions(kept + shown) == kept
    assert definitions("x = 1; print(x)\n") == "x = 1; print(x)\n"
    assert definitions("def f(:") == "def f(:"


def test_imports_and_helpers_that_the_problem_gave_are_there_though_the_reply_does_not_repeat_them():
    solution = Chatting().solution(HUMAN, "```python\ndef span(h: List[float]): return 0\n```")
    assert solution.startswith(HUMAN_EVAL["prompt"]) and solution.endswith("def span(h: List[float]): return 0\n")
    future = "from __future__ import annotations\ndef span(h): return 0\n"
    assert Chatting().solution(HUMAN, f"```python\n{future}```") == future


def test_a_template_carries_the_words_by_completions_and_its_open_fence_is_the_replys():
    asking = Templated(Template("@@ Instruction\n$instruction\n\n@@ Response\n```python\n"))
    text = completion_text(asking.prompt(HUMAN))
    assert text.startswith("@@ Instruction\nSolve this problem.") and text.endswith("@@ Response\n```python\n")
    assert asking.solution(MB, "def vowels(w): return 1\n```\nDone.") == "def vowels(w): return 1\n"
    plain = Templated(Template("$instruction\n"))
    assert plain.solution(MB, "So:\n```python\ndef vowels(w): return 2\n```") == "def vowels(w): return 2\n"
    assert asking.name != plain.name
