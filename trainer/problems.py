"""A problem of a benchmark, and the three published formats that one is read from. Pure.

    HumanEval  task_id, prompt, entry_point, canonical_solution, test                     Chen et al. 2021
    MBPP       task_id, text (or prompt), code, test_list, test_setup_code (or test_imports)    Austin et al. 2021
    EvalPlus   task_id, prompt, entry_point, canonical_solution, base_input, plus_input, atol   Liu et al. 2023

A row is known by its fields; fields that are not named here are ignored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from stream.records import digest
from trainer.mbpp_inputs import as_python

Format = Literal["HumanEval", "MBPP", "EvalPlus"]

_ENDS = ("\nif __name__", "\nprint(", "\n```")
FUNCTION_STOP = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", *_ENDS)
"""Where a base model that completes one function's body has gone past its end (EvalPlus' list)."""

SCRIPT_STOP = ('\n"""', "\nassert", *_ENDS)
"""The same for one that writes a whole solution under a docstring: it may have helpers and imports."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What EvalPlus tests with: the reference and the solution must agree on each of these."""

    arguments: tuple[tuple[object, ...], ...]  # base inputs, then the others
    atol: float  # absolute tolerance; 0 for exact, but then 1e-6 where floats are expected
    dataset: Literal["humaneval", "mbpp"]  # whose special cases hold


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. Either `tests` or `inputs` say whether a solution solves it."""

    task_id: str
    entry_point: str | None  # the function that the tests call, where the format names it
    prompt: str  # what a base model goes on from
    stop: tuple[str, ...]  # where its completion ends
    prelude: str  # code in front of a completion of `prompt`; what is written in chat needs no prompt
    setup: str  # code in front of any solution
    ask: str  # the problem for a chat model
    reference: str  # the published solution, whole
    tests: str  # code behind a solution
    sha256: str  # of all that its row says
    inputs: Inputs | None = None


class _HumanEval(msgspec.Struct, frozen=True):
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str


class _Mbpp(msgspec.Struct, frozen=True):
    task_id: int | str
    code: str
    test_list: list[str]
    text: str | None = None
    prompt: str | None = None  # the sanitised edition's name for it
    test_setup_code: str = ""
    test_imports: list[str] = []


class _EvalPlus(msgspec.Struct, frozen=True):
    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: list[list[Any]]
    plus_input: list[list[Any]]
    atol: float = 0.0


def format_of(row: Mapping[str, object]) -> Format | None:
    """Tell a row's format by its fields.

    >>> format_of({"task_id": 2, "test_list": []}), format_of({"question": ""})
    ('MBPP', None)
    """
    if "plus_input" in row:
        return "EvalPlus"
    if "test_list" in row:
        return "MBPP"
    return "HumanEval" if "test" in row else None


def read(row: object, expected: Format | None = None) -> Problem:
    """Return the problem that a decoded JSON value is.

    Raises:  ValueError, saying what was expected.
    """
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    fields = cast("dict[str, object]", row)
    found = format_of(fields)
    if found is None or expected not in (None, found):
        names = "one of plus_input (EvalPlus), test_list (MBPP), test (HumanEval)"
        what = f"a task of {expected}, got one of {found}" if found else f"a task with {names}"
        raise ValueError(f"expected {what}; its fields are {', '.join(fields)[:200]}")
    try:
        if found == "HumanEval":
            return _human_eval(msgspec.convert(fields, _HumanEval))
        if found == "MBPP":
            return _mbpp(msgspec.convert(fields, _Mbpp))
        return _eval_plus(msgspec.convert(fields, _EvalPlus))
    except msgspec.ValidationError as err:
        raise ValueError(f"expected a task of {found}: {err}") from err


def _human_eval(row: _HumanEval) -> Problem:
    return Problem(
        task_id=row.task_id,
        entry_point=row.entry_point,
        prompt=row.prompt,
        stop=FUNCTION_STOP,
        prelude=row.prompt,
        setup="",
        ask=_complete_ask(row.prompt),
        reference=row.prompt + row.canonical_solution,
        tests=f"{row.test}\n\ncheck({row.entry_point})\n",
        sha256=_sha256(row),
    )


def _mbpp(row: _Mbpp) -> Problem:
    text = (row.text or row.prompt or "").strip()
    if not text or not row.test_list:
        raise ValueError("expected a task of MBPP with a text and at least one test in test_list")
    tests = "\n".join(_plain(test) for test in row.test_list)
    setup = _plain("\n".join([*row.test_imports, row.test_setup_code])).strip()
    return Problem(
        task_id=str(row.task_id),
        entry_point=None,
        # The words and all tests, as in the paper; as a docstring, the usual form without worked examples.
        prompt=f'"""\n{text}\n{tests}\n"""\n',
        stop=SCRIPT_STOP,
        prelude="",
        setup=f"{setup}\n" if setup else "",
        ask=f"{text}\n\nThe solution must pass these tests:\n\n```python\n{tests}\n```\n\n{_FORM}",
        reference=_plain(row.code),
        tests=f"{tests}\n",
        sha256=_sha256(row),
    )


def _eval_plus(row: _EvalPlus) -> Problem:
    dataset = "mbpp" if row.task_id.startswith("Mbpp/") else "humaneval"
    arguments = [*row.base_input, *row.plus_input]
    if not arguments:
        raise ValueError("expected a task of EvalPlus with at least one input")
    if dataset == "mbpp":
        arguments = as_python(row.task_id, arguments)
    return Problem(
        task_id=row.task_id,
        entry_point=row.entry_point,
        prompt=row.prompt,
        stop=FUNCTION_STOP if dataset == "humaneval" else SCRIPT_STOP,
        prelude=row.prompt,
        setup="",
        ask=_complete_ask(row.prompt),
        reference=row.prompt + row.canonical_solution,
        tests="",
        sha256=_sha256(row),
        inputs=Inputs(tuple(tuple(values) for values in arguments), row.atol, dataset),
    )


_FORM = (
    "Reply with one Markdown code block that holds the whole solution in Python: its imports, its helpers and the "
    "function itself, without tests and without examples."
)


def _complete_ask(prompt: str) -> str:
    return f"Solve this problem.\n\n```python\n{prompt.strip()}\n```\n\n{_FORM}"


def _sha256(row: msgspec.Struct) -> str:
    return digest(json.dumps(msgspec.structs.asdict(row), sort_keys=True))


def _plain(code: str) -> str:
    return code.replace("\r\n", "\n")
