"""Run each response with its tests. Reads `responses`, writes `executions`.

Source: SelfCodeAlign (arXiv:2410.24198), execution: code and tests are one program, and code that reads `input` loses
what stands behind its `__main__` guard. There a program passes when it exits with 0; here by what `sandbox` proves.
"""

import ast
import asyncio
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sandbox import Limits, Result, SandboxBroken, SandboxRefused, Verdict
from stream.errors import Transient, Unavailable
from stream.records import Execution, Executions, Response, Responses, Step
from stream.stage import Map, Outcome, Reject

VERSION = 2


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of stage `executions`. The sandbox it is given must keep `limits`."""

    cpu_s: float
    memory_bytes: int  # address space
    concurrency: int = 16  # records in flight; how many programs run at once is the sandbox's to say

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"expected concurrency >= 1, got {self.concurrency}")
        _ = self.limits

    @property
    def limits(self) -> Limits:
        """Raises:  ValueError naming the field that is out of range."""
        return Limits(cpu_s=self.cpu_s, address_space_bytes=self.memory_bytes)


class Reason(StrEnum):
    """Why an instruction is not executed. A program that fails is no reject: its verdict is in the record."""

    NOTHING_TO_RUN = "nothing_to_run"


class Box(Protocol):
    """A sandbox. Promise that as many runs may be asked for at once as one likes, and that equal programs get equal
    verdicts and details."""

    async def run(self, program: str | bytes) -> Result:
        """Raises:  SandboxBroken."""
        ...


def program(response: Response) -> str:
    """Return the code and the tests of a response as one program. Pure."""
    return f"{without_main(response.code)}\n\n{response.tests}\n"


def without_main(code: str) -> str:
    r"""Return code that reads `input` without what stands behind its `__main__` guard, other code as it is. Pure.

    Nobody types at a sandbox: such code is definitions to test, and behind its guard a dialogue.

    >>> without_main("def f(s): return s\nif __name__ == '__main__':\n    print(f(input()))\ny = 2\n")
    'def f(s): return s\ny = 2\n'
    """
    if "input" not in code:
        return code
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code  # the sandbox will say so
    if not any(isinstance(node, ast.Name) and node.id == "input" for node in ast.walk(tree)):
        return code
    guarded = [range(node.lineno, (node.end_lineno or node.lineno) + 1) for node in tree.body if _is_guard(node)]
    lines = io.StringIO(code, newline="").readlines()  # as the parser counts them
    return "".join(line for number, line in enumerate(lines, start=1) if not any(number in rows for rows in guarded))


def _is_guard(node: ast.stmt) -> bool:
    """Whether a statement is `if __name__ == "__main__":`, either way round."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    sides = [node.test.left, *node.test.comparators]
    return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
        isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
    )


def stage(params: Params, box: Box) -> Map[Responses, Executions]:
    """Return the stage: the samples of a record run together, as the slots of `box` allow."""

    async def execute(record: Responses) -> Outcome[Executions]:
        if not record.responses:
            return Outcome(rejected=(Reject(Reason.NOTHING_TO_RUN, record.instruction.text),))
        results = await _run_all(box, [program(response) for response in record.responses])
        return Outcome((read(record, results),))

    return Map[Responses, Executions].single(execute, concurrency=params.concurrency)


def read(record: Responses, results: Sequence[Result]) -> Executions:
    """Return the record with a verdict for each response. Pure; of a result only what is the program's own."""
    passed = sum(result.verdict is Verdict.PASS for result in results)
    return Executions(
        record.instruction,
        record.responses,
        tuple(
            Execution(response.index, result.verdict.value, result.detail)
            for response, result in zip(record.responses, results, strict=True)
        ),
        Step("executions", VERSION, verdict=f"{passed} of {len(results)} passed"),
    )


async def _run_all(box: Box, programs: Sequence[str]) -> list[Result]:
    """Raises:  Unavailable when no sandbox starts on this machine, Transient when one run was lost."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(box.run(program)) for program in programs]
    except* SandboxBroken as broken:
        failures = list(broken.exceptions)
    else:
        return [task.result() for task in tasks]
    refused = next((failure for failure in failures if isinstance(failure, SandboxRefused)), None)
    if refused is not None:
        raise Unavailable(f"the sandbox is away: {refused}") from refused
    raise Transient(f"the sandbox lost a run: {failures[0]}") from failures[0]
