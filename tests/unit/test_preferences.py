"""Preference pairs: from verdicts, and from a file in the usual columns."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Verdict
from stream.errors import WrongConfig
from tests.records import executions, instruction, response
from trainer.preferences import COLUMNS, pair, read

VERDICTS = [verdict.value for verdict in Verdict]


def of(*samples: tuple[str, str]) -> tuple[str, str] | None:
    found = pair(executions(instruction(), *((response(k, text), v) for k, (text, v) in enumerate(samples))))
    return (found.chosen, found.rejected) if found else None


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([("right", "pass"), ("wrong", "assertion")], ("right", "wrong")),
        ([("wrong", "exception"), ("right", "pass"), ("also", "pass")], ("right", "wrong")),
        ([("a", "timeout"), ("b", "assertion"), ("c", "pass")], ("c", "a")),
        ([("right", "pass")], None),
        ([("wrong", "assertion")], None),
        ([("right", "pass"), ("untested", "no_tests")], None),  # nothing was shown against it
        ([("same", "pass"), ("same", "assertion")], None),  # failed its own, other tests
        ([("same", "pass"), ("same", "assertion"), ("other", "oom")], ("same", "other")),
        ([], None),
    ],
)
def test_the_first_that_passed_is_preferred_to_the_first_that_failed(
    samples: list[tuple[str, str]], expected: tuple[str, str] | None
):
    assert of(*samples) == expected


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(VERDICTS)), max_size=10))
def test_a_pair_always_passed_on_one_side_and_failed_on_the_other(samples: list[tuple[str, str]]):
    found = of(*samples)
    if found is None:
        passing = {text for text, verdict in samples if verdict == "pass"}
        failing = {text for text, verdict in samples if verdict not in ("pass", "no_tests")}
        first = next((text for text, verdict in samples if verdict == "pass"), None)
        assert not passing or not failing - {first}
    else:
        chosen, rejected = found
        assert (chosen, "pass") in samples and chosen != rejected
        assert any(text == rejected and verdict not in ("pass", "no_tests") for text, verdict in samples)


def test_a_pair_has_the_usual_columns_and_a_licence():
    found = pair(executions(instruction("Do."), (response(0, "a"), "pass"), (response(1, "b"), "crash")))
    assert found is not None
    assert found.row() == {"id": instruction().key, "prompt": "Do.", "chosen": "a", "rejected": "b", "licence": "MIT"}
    assert all(column in found.row() for column in COLUMNS)


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


USER, GOOD, BAD = (
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "good"},
    {"role": "assistant", "content": "bad"},
)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},  # the prompt is in both
        {
            "prompt": "q",
            "chosen": [USER, GOOD],
            "rejected": [USER, BAD],
            "score_chosen": 9.0,
        },  # as UltraFeedback has it
        {"prompt": "q", "chosen": [GOOD], "rejected": [BAD]},
    ],
)
def test_texts_and_conversations_of_one_turn_are_the_same_pair(row: dict[str, Any], tmp_path: Path):
    (found,) = read(written(tmp_path, row))
    assert (found.prompt, found.chosen, found.rejected) == ("q", "good", "bad")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected an object with prompt, chosen, rejected"),
        ({"prompt": "q", "chosen": "good"}, "no column rejected"),
        ({"prompt": "q", "chosen": "good", "rejected": 1}, "as texts, or as lists of messages"),
        ({"prompt": "q", "chosen": "same", "rejected": "same"}, "are the same"),
        ({"chosen": "good", "rejected": "bad"}, "as texts, or as lists of messages"),
        ({"prompt": [USER], "chosen": [GOOD, USER, GOOD], "rejected": [BAD]}, "got user, assistant, user, assistant"),
        ({"prompt": [USER], "chosen": [{"role": "assistant"}], "rejected": [BAD]}, "expected each message as"),
        ({"chosen": [USER, GOOD], "rejected": [{**USER, "content": "r"}, BAD]}, "answer different prompts"),
    ],
)
def test_a_line_that_is_no_pair_is_refused_by_its_number(row: Any, message: str, tmp_path: Path):
    first = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    with pytest.raises(WrongConfig, match=rf"pairs\.jsonl, line 2.*{message}"):
        list(read(written(tmp_path, first, row)))


def test_a_pair_that_stands_twice_is_read_once_and_blank_lines_are_none(tmp_path: Path):
    row = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    assert len(list(read(written(tmp_path, row, "", row)))) == 1
    with pytest.raises(WrongConfig, match="cannot be read: No such file"):
        list(read(tmp_path / "none.jsonl"))
