"""The programs that say whether a solution solves a problem: one module each, for the sandbox. Pure.

A program passes when it reaches its end; the sandbox asks besides that an assertion was reached on the way.
"""

import ast
import base64
import inspect
import pickle
import zlib
from collections.abc import Callable
from typing import Any

from trainer import oracle
from trainer.problems import Inputs, Problem


def program(problem: Problem, solution: str, expected: str | None = None) -> str:
    """Return a solution with the tests of its problem. `expected` is what `recording` printed, for inputs of EvalPlus.

    Raises:  ValueError when the problem has inputs and nothing is expected of them.
    """
    return f"{problem.setup}{solution}\n\n\n{_tests(problem, expected)}"


def recording(problem: Problem) -> str:
    """Return the program that prints what the reference gives for each input of a problem, packed.

    Raises:  ValueError when the problem has no inputs.
    """
    if problem.inputs is None:
        raise ValueError(f"{problem.task_id} has no inputs")
    call = _call(problem, packed(problem.inputs), problem.inputs.dataset)
    shown = f"{_BUILTINS}.print({call})"
    return f"{problem.setup}{problem.reference}\n\n\n{_source(oracle.record_outputs)}\n{shown}\n"


def packed(inputs: Inputs) -> str:
    """Return inputs as text of one line, from which the sandboxed side makes the same objects again."""
    raw = pickle.dumps([list(arguments) for arguments in inputs.arguments])
    return base64.b85encode(zlib.compress(raw)).decode()


def _tests(problem: Problem, expected: str | None) -> str:
    inputs = problem.inputs
    if inputs is None:
        return problem.tests
    if expected is None:
        raise ValueError(f"{problem.task_id}: what is expected of its inputs is not known")
    call = _call(problem, packed(inputs), expected, problem.entry_point, inputs.dataset, inputs.atol)
    return f"{_source(oracle.check_outputs)}\n{call}\n"


_ORACLE, _BUILTINS = "__oracle__", "__import__('builtins')"


def _call(problem: Problem, *arguments: object) -> str:
    """Return the call of the oracle on a solution, both of them in front of it.

    It is called without the names of their module: a solution may well have a helper named `map`. Its code is part of
    the program all the same, for the sandbox looks there for assertions.
    """
    alone = f"__import__('types').FunctionType({_ORACLE}.__code__, {{'__builtins__': {_BUILTINS}}})"
    return f"{alone}({problem.entry_point}, {', '.join(map(repr, arguments))})"


class _Bare(ast.NodeTransformer):
    """Takes annotations away: they would need names that the program does not import."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _source(function: Callable[..., Any]) -> str:
    """Return the source of a function of `oracle` as it runs in the sandbox, under a name that no solution has."""
    [bare] = _Bare().visit(ast.parse(inspect.getsource(function))).body
    bare.name = _ORACLE
    return ast.unparse(bare) + "\n"
