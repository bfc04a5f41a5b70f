"""Benchmarks are read from their published forms, and a file that is none says where and what was expected."""

import gzip
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stream.errors import DependencyDown, WrongConfig
from tests.benchmarks_made import EVAL_PLUS, HUMAN_EVAL, MBPP, MBPP_PLUS, write
from trainer.benchmarks import PUBLISHED, load
from trainer.mbpp_inputs import as_python


@pytest.mark.parametrize(
    ("name", "file", "row"),
    [
        ("humaneval", "HumanEval.jsonl.gz", HUMAN_EVAL),
        ("mbpp", "mbpp.jsonl", MBPP),
        ("humaneval+", "HumanEvalPlus-v0.1.10.jsonl.gz", EVAL_PLUS),
        ("mbpp+", "MbppPlus-v0.2.0.jsonl", MBPP_PLUS),
    ],
)
def test_a_benchmark_is_found_in_a_folder_by_its_published_name_or_taken_from_the_file(
    name: str, file: str, row: dict[str, Any], tmp_path: Path
):
    path = write(tmp_path / file, row)
    in_folder, by_path = load(name, tmp_path), load(name.upper(), path)
    assert in_folder == by_path
    assert (in_folder.name, [p.task_id for p in in_folder.problems]) == (name, [str(row["task_id"])])


def test_any_file_of_a_published_form_is_a_benchmark_of_its_own_name(tmp_path: Path):
    path = write(tmp_path / "held-out.jsonl.gz", HUMAN_EVAL, MBPP, EVAL_PLUS)
    benchmark = load(str(path))
    assert benchmark.name == "held-out"
    assert [p.task_id for p in benchmark.problems] == ["HumanEval/0", "11", "HumanEval/1"]
    assert benchmark.first(2).name == "held-out[:2]" and len(benchmark.first(2).problems) == 2
    assert benchmark.first(9) is benchmark


def test_of_mbpp_the_test_split_is_asked(tmp_path: Path):
    rows = [MBPP | {"task_id": number} for number in (10, 11, 510, 511, 974)]
    assert [p.task_id for p in load("mbpp", write(tmp_path / "mbpp.jsonl", *rows)).problems] == ["11", "510"]
    with pytest.raises(WrongConfig, match=r"asks tasks range\(11, 511\), and none of those read is one"):
        load("mbpp", write(tmp_path / "few.jsonl", MBPP | {"task_id": 3}))


def test_the_sanitised_edition_of_mbpp_is_read_too(tmp_path: Path):
    row = {k: v for k, v in MBPP.items() if k not in ("text", "test_setup_code")}
    row |= {"prompt": "Count vowels.", "test_imports": ["import math"]}
    [problem] = load(str(write(tmp_path / "sanitized.jsonl", row))).problems
    assert problem.setup == "import math\n" and problem.ask.startswith("Count vowels.\n")


def test_the_hash_of_a_benchmark_changes_with_a_test_and_not_with_the_file(tmp_path: Path):
    plain, packed = write(tmp_path / "a.jsonl", HUMAN_EVAL), write(tmp_path / "b.jsonl.gz", HUMAN_EVAL)
    changed = write(tmp_path / "c.jsonl", HUMAN_EVAL | {"test": "def check(candidate):\n    assert True\n"})
    assert load(str(plain)).sha256 == load(str(packed)).sha256 != load(str(changed)).sha256


def test_infinity_and_integers_of_more_than_64_bits_are_read(tmp_path: Path):
    (tmp_path / "x.jsonl").write_text(json.dumps(EVAL_PLUS | {"plus_input": [[float("inf")], [2**100]]}) + "\n")
    [problem] = load(str(tmp_path / "x.jsonl")).problems
    assert problem.inputs is not None and problem.inputs.arguments[-2:] == ((float("inf"),), (2**100,))


GOOD = json.dumps(HUMAN_EVAL)
DEEP = json.dumps(MBPP_PLUS | {"task_id": "Mbpp/580", "base_input": "NESTED"}).replace(
    '"NESTED"', "[" * 600 + "]" * 600
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{GOOD}\n\n{{", "line 3: expected a JSON object: "),
        ("[1]\n", "line 1: expected an object, got list"),
        ('{"question": "?"}\n', r"line 1: expected a task with one of plus_input \(EvalPlus\), .*fields are question"),
        (
            json.dumps(HUMAN_EVAL | {"prompt": 1}),
            r"line 1: expected a task of HumanEval: Expected `str`, got `int`.*prompt",
        ),
        (json.dumps({k: HUMAN_EVAL[k] for k in ("task_id", "test")}), "missing required field `prompt`"),
        (json.dumps(MBPP | {"test_list": []}), "at least one test in test_list"),
        (json.dumps(EVAL_PLUS | {"base_input": [], "plus_input": []}), "at least one input"),
        (json.dumps(MBPP_PLUS | {"base_input": [[7, 1]]}), "inputs of Mbpp/250 are not of the form"),
        (
            json.dumps(MBPP_PLUS | {"task_id": "Mbpp/124", "base_input": [[10**400, 1]]}),
            "line 1: the inputs of Mbpp/124",
        ),
        (DEEP, "line 1: the inputs of Mbpp/580 are not of the form"),
        (f"{GOOD}\n{GOOD}\n", "two tasks have the id HumanEval/0"),
        ("\n", "expected at least one task"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(content: str, message: str, tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    with pytest.raises(WrongConfig, match=f"bad.jsonl.*{message}"):
        load(str(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(GOOD.encode())[:-9])
    (tmp_path / "odd.jsonl").write_bytes(b"\xff\xfe")
    for name, message in (("torn.jsonl.gz", "cannot be read"), ("odd.jsonl", "not UTF-8"), ("none.jsonl", "No such")):
        with pytest.raises(WrongConfig, match=f"{name}.*{message}"):
            load(str(tmp_path / name))


def test_a_file_of_another_form_is_refused_under_a_name(tmp_path: Path):
    with pytest.raises(WrongConfig, match="line 1: expected a task of MBPP, got one of HumanEval"):
        load("mbpp", write(tmp_path / "x.jsonl", HUMAN_EVAL))


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path):
    with pytest.raises(WrongConfig, match=r"no benchmark is named humanevil; did you mean humaneval\?, or a file"):
        load("humanevil")
    with pytest.raises(WrongConfig, match=r"no HumanEval.jsonl.gz or HumanEval.jsonl is in it; it comes from github"):
        load("humaneval", tmp_path)


def test_without_a_file_the_hub_is_asked_and_its_rows_are_read(monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []

    def load_dataset(*where: object, split: str) -> list[dict[str, Any]]:
        asked.append((*where, split))
        return [MBPP, MBPP | {"task_id": 600}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert [p.task_id for p in load("mbpp").problems] == ["11"]
    assert asked == [("google-research-datasets/mbpp", "full", "test")]


def test_a_hub_that_cannot_be_reached_is_a_dependency_that_is_down_with_the_way_round_it(
    monkeypatch: pytest.MonkeyPatch,
):
    def load_dataset(*_: object, split: str) -> object:
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DependencyDown, match=r"no route.*download HumanEval.jsonl.gz .* and name it with --file"):
        load("humaneval")


def test_where_the_hub_cannot_help_it_is_not_asked(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(WrongConfig, match=r'pip install "seedstream\[train\]"; or download HumanEval'):
        load("humaneval")
    with pytest.raises(WrongConfig, match="download HumanEvalPlus"):
        load("humaneval+")


def test_every_published_benchmark_says_where_it_comes_from():
    assert all(benchmark.home and benchmark.files for benchmark in PUBLISHED.values())


@pytest.mark.parametrize(
    ("task", "given", "taken"),
    [
        (3, [[1, 2]], [[1, 2]]),
        (2, [[3, 4], [5]], [(3, 4), (5,)]),
        (63, [[[1, 2], [3, 4]]], [[(1, 2), (3, 4)]]),
        (75, [[[6, 2]], 2], [[(6, 2)], 2]),
        (106, [[5], [9, 10]], [[5], (9, 10)]),
        (115, [[[1, 2], []]], [[{1, 2}, {}]]),
        (124, ["1.5", "2j"], [1.5, 2j]),
        (250, [[1, 1], 1], [(1, 1), 1]),
        (252, ["1+2j"], [1 + 2j]),
        (259, [[[1, 3]], [[6, 7]]], [((1, 3),), ((6, 7),)]),
        (278, [[1, [2, 3]]], [(1, (2, 3))]),
        (307, [[1, []], 2, 3], [(1, []), 2, 3]),
        (580, [[1, [2, [3]]]], ((1, (2, (3,))),)),
        (722, [{"A": [6.2, 70]}, 6.0], [{"A": (6.2, 70)}, 6.0]),
    ],
)
def test_the_arguments_of_mbpp_plus_get_the_types_that_json_has_not(task: int, given: object, taken: object):
    [arguments] = as_python(f"Mbpp/{task}", [given])  # type: ignore[list-item]
    assert arguments == taken and repr(arguments) == repr(taken)
