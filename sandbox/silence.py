"""Assertions that fail where nobody looks, as far as a program's shape tells.

What leaves the module is seen by all. What is caught and printed is not: models like to write tests that report a
failure and go on. Not every caught assertion is one of them, since a program may decide by it, and test that it does.
So those count that stand in a `try` of their own function whose handler neither raises, nor returns, nor asserts
anything, in a function that gives nobody a value. And whatever leaves a test has failed, whoever takes it.

Runs in the sandboxed interpreter.
"""

import _ast

from sandbox.statements import blocks, called_name, is_assertion

TYPE_CHECKING = False
if TYPE_CHECKING:  # `collections.abc` would cost 2 ms
    from collections.abc import Iterator

    Function = _ast.FunctionDef | _ast.AsyncFunctionDef

_TAKING = {"AssertionError", "Exception", "BaseException"}
_RUNNERS = {"check", "main", "run_tests"}


def silenced(tree: _ast.Module) -> "list[_ast.Assert]":
    """Return each assert statement that may fail in silence."""
    found: dict[int, _ast.Assert] = {}
    functions = [s for block in blocks(tree) for s in block if isinstance(s, _ast.FunctionDef | _ast.AsyncFunctionDef)]
    for test, body in ((False, tree.body), *((is_test(function), function.body) for function in functions)):
        inside = [statement for block in (body, *blocks(*body, functions=False)) for statement in block]
        if test or not any(_gives(statement) for statement in inside):
            for statement in inside:
                if isinstance(statement, _ast.Try | _ast.TryStar | _ast.With) and _silences(statement, test):
                    found |= {id(assertion): assertion for assertion in _own(statement.body)}
    return [*found.values()]


def tests(tree: _ast.Module) -> "list[tuple[Function, str]]":
    """Return the tests, and what tells of a failure when it leaves one: of `test_x` everything, of `main` and its like,
    which may be no test after all, an AssertionError."""
    found = [*tree.body]
    for statement in tree.body:
        if isinstance(statement, _ast.ClassDef) and statement.name.startswith("Test") and not statement.bases:
            found += statement.body
    return [
        (s, "Exception" if s.name.startswith("test") else "AssertionError")
        for s in found
        if isinstance(s, _ast.FunctionDef | _ast.AsyncFunctionDef) and is_test(s) and not s.decorator_list
        if any(is_assertion(inside) for block in blocks(s) for inside in block)
    ]


def is_test(function: "Function") -> bool:
    """By its name."""
    return function.name.startswith("test") or function.name in _RUNNERS


def _gives(statement: _ast.stmt) -> bool:
    """Whether a function gives a value here."""
    if isinstance(statement, _ast.Return):
        return statement.value is not None
    return isinstance(statement, _ast.Expr) and isinstance(statement.value, _ast.Yield)


def _silences(statement: "_ast.Try | _ast.TryStar | _ast.With", test: bool) -> bool:
    """Whether an assertion that fails in its body is taken, and all goes on as if nothing had been.

    >>> import ast
    >>> forms = "except: pass", "except (E, Exception): print()", "except E: pass", "except Exception: raise"
    >>> [_silences(ast.parse("try: assert x\\n" + form).body[0], test=False) for form in forms]
    [True, True, False, False]
    >>> [_silences(ast.parse(f"with suppress({e}): assert x").body[0], test=False) for e in ("AssertionError", "E")]
    [True, False]
    """
    if isinstance(statement, _ast.With):
        calls = [item.context_expr for item in statement.items if called_name(item.context_expr) == "suppress"]
        return any(_takes(kind) for call in calls if isinstance(call, _ast.Call) for kind in call.args)
    taking = [handler for handler in statement.handlers if _takes(handler.type)]
    return bool(taking) and not _answers(taking[0], test)


def _takes(kinds: _ast.expr | None) -> bool:
    """Whether what an except clause names holds AssertionError."""
    if kinds is None:
        return True
    named = kinds.elts if isinstance(kinds, _ast.Tuple) else [kinds]
    names = [kind.attr if isinstance(kind, _ast.Attribute) else getattr(kind, "id", "") for kind in named]
    return not _TAKING.isdisjoint(names)


def _answers(handler: _ast.ExceptHandler, test: bool) -> bool:
    """Whether what follows depends on what was caught. What a test returns is seldom looked at."""
    answers = _ast.Raise if test else _ast.Raise | _ast.Return
    inside = [statement for block in blocks(handler, functions=False) for statement in block]
    return any(isinstance(statement, answers) or is_assertion(statement) for statement in inside)


def _own(body: list[_ast.stmt]) -> "Iterator[_ast.Assert]":
    """The assert statements of a block, but for those whose failure something inside of it is there for."""
    waiting = [*body]
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, _ast.Assert):
            yield statement
        elif isinstance(statement, _ast.Try | _ast.TryStar) and any(_takes(h.type) for h in statement.handlers):
            waiting += [*statement.orelse, *statement.finalbody, *(s for h in statement.handlers for s in h.body)]
        elif not (isinstance(statement, _ast.With) and _expects(statement)):
            waiting += [inside for block in blocks(statement, functions=False, deep=False) for inside in block]


def _expects(statement: _ast.With) -> bool:
    return any("raises" in called_name(item.context_expr).lower() for item in statement.items)
