"""Accept at most one verified response for each instruction. Reads `executions`, writes `examples`. A Fold: what was
accepted before decides what is new.

Source: SelfCodeAlign (arXiv:2410.24198), selection, steps 1 to 3. Deviation: decisions follow the order of the log,
the source shuffles; figures in recipe `selfcodealign`.
"""

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from consumers import fences
from stream.errors import Fatal
from stream.records import Example, Execution, Executions, Response, Step, digest
from stream.stage import Decision, Fold, Outcome, Reject

VERSION = 1

VERIFIED = "pass"
"""The verdict that counts: `sandbox.Verdict.PASS`."""

PLACEHOLDERS = ("todo", "fixme", "your code here", "notimplemented")
"""Words of unfinished code, searched in lower case as substrings, as in the source: "TodoList" is one too."""


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `examples`."""


class Reason(StrEnum):
    """Why no response of an instruction was accepted: of its samples' reasons the last in this order, so the rule at
    which the best of them failed."""

    NO_PASSING_RESPONSE = "no_passing_response"
    FORMAT = "format"
    SEEN_INSTRUCTION = "seen_instruction"
    SEEN_RESPONSE = "seen_response"


@dataclass(slots=True)
class Accepted:
    """What accepted examples look like, as hashes without white space."""

    instructions: set[str] = field(default_factory=set[str])
    responses: set[str] = field(default_factory=set[str])

    def add(self, instruction: str, response: str) -> None:
        self.instructions.add(instruction)
        self.responses.add(response)


def select(accepted: Accepted, record: Executions) -> Example | Reject:
    """Return the first response that breaks no rule as an example, or why there is none. Pure."""
    faults: list[tuple[Reason, str]] = []
    for response, execution in zip(record.responses, record.executions, strict=True):
        fault = check(accepted, record.instruction.text, response, execution)
        if fault is None:
            passed = sum(e.verdict == VERIFIED for e in record.executions)
            step = Step("examples", VERSION, verdict=f"{passed} of {len(record.executions)} passed")
            return Example(record.instruction, response, execution, step)
        faults.append(fault)
    order = list(Reason)
    reason = max((reason for reason, _ in faults), key=order.index, default=Reason.NO_PASSING_RESPONSE)
    lines = [f"sample {r.index}: {detail}" for r, (_, detail) in zip(record.responses, faults, strict=True)]
    return Reject(reason, "\n".join(lines))


def check(accepted: Accepted, instruction: str, response: Response, execution: Execution) -> tuple[Reason, str] | None:
    """Return the first rule that a response breaks, and how. Pure."""
    if execution.verdict != VERIFIED:
        return Reason.NO_PASSING_RESPONSE, ": ".join([execution.verdict, *execution.detail.splitlines()[-1:]])
    malformed = format_fault(response)
    if malformed is not None:
        return Reason.FORMAT, f"pass, but {malformed}"
    if fingerprint(instruction) in accepted.instructions:
        return Reason.SEEN_INSTRUCTION, "pass, but the instruction was seen"
    if fingerprint(response.text) in accepted.responses:
        return Reason.SEEN_RESPONSE, "pass, but the response was seen"
    return None


def format_fault(response: Response) -> str | None:
    """Return what is wrong with the form of a response and its tests."""
    whole = f"{response.text}\n{response.tests}".lower()
    for placeholder in PLACEHOLDERS:
        if placeholder in whole:
            return f"{placeholder!r} in it"
    if not fences.python(fences.blocks(response.text)):
        return "no Python block in the response"
    if not response.tests.strip():
        return "no tests"
    if "assert" not in response.tests:
        return "no assert in the tests"
    if not runs_something(response.tests):
        return "the tests only define and import"
    return None


def runs_something(tests: str) -> bool:
    """Whether there is a top-level statement besides definitions, imports and bare strings.

    >>> runs_something("def test(): assert f()"), runs_something("assert f()"), runs_something("(")
    (False, True, False)
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # an odd escape in a string is nothing to tell a user about
            statements = ast.parse(tests).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # all of them how ast refuses odd text
        return False
    idle = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return any(
        not isinstance(statement, idle)
        and not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for statement in statements
    )


def fingerprint(text: str) -> str:
    """Return 128 bits of hash, in hex, of a text without its white space.

    >>> fingerprint("a b\\n") == fingerprint("ab")
    True
    """
    return digest("".join(text.split()))[:32]


def stage(params: Params, recipe_seed: int) -> Fold[Executions, Example, Accepted]:
    """Return the stage."""

    def decide(accepted: Accepted, records: Sequence[Executions]) -> Sequence[Decision[Example]]:
        return [decide_one(accepted, record) for record in records]

    return Fold(Accepted, decide, restore)


def decide_one(accepted: Accepted, record: Executions) -> Decision[Example]:
    """Select, and remember what was accepted."""
    selected = select(accepted, record)
    if isinstance(selected, Reject):
        return Decision(Outcome.of(selected))
    keys = fingerprint(selected.instruction.text), fingerprint(selected.response.text)
    accepted.add(*keys)
    return Decision(Outcome.of(selected), " ".join(keys))


def restore(accepted: Accepted, changes: Sequence[str]) -> None:
    """Remember what `decide_one` did."""
    for change in changes:
        match change.split(" "):
            case [instruction, response]:
                accepted.add(instruction, response)
            case _:
                raise Fatal(f"examples.state cannot be read: expected two hashes, got {change[:80]!r}")
