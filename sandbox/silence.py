"""Assertions that fail where nobody looks: caught and printed, counted by unittest, lost in a thread.

What leaves the module is seen by all. These are not: a model likes to write tests that report a failure and go on. Not
every caught assertion is one of them, since a program may use them to decide, and test that it does: so those count
alone that stand in a `try` of their own function whose handler neither raises, nor returns, nor asserts anything.

Runs in the sandboxed interpreter: what it imports is imported for those programs only that do so themselves.
"""

import _ast

from sandbox.statements import blocks, called_name, is_assertion

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would cost 5 ms
    from collections.abc import Callable
    from typing import Any

_TAKING = {"AssertionError", "Exception", "BaseException"}


def silenced(found: list[list[_ast.stmt]]) -> list[_ast.Assert]:
    """Return each assert statement that may fail in silence, once."""
    within: dict[int, _ast.Assert] = {}
    for statement in (statement for block in found for statement in block):
        if isinstance(statement, _ast.Try | _ast.TryStar | _ast.With) and _silences(statement):
            inside = [statement.body, *blocks(*statement.body, functions=False)]
            within |= {id(s): s for block in inside for s in block if isinstance(s, _ast.Assert)}
    return [*within.values()]


def note(failed: set[int], source: bytes) -> None:
    """Fill `failed` when unittest counts a failure, or an assertion ends a thread, in a program that uses them."""
    if b"unittest" in source:
        _note_unittest(failed)
    if b"thread" in source:
        _note_threads(failed)


def _silences(statement: "_ast.Try | _ast.TryStar | _ast.With") -> bool:
    """Whether an assertion that fails in its body is taken, and all goes on as if nothing had been.

    >>> import ast
    >>> forms = "except: pass", "except (E, Exception): print()", "except E: pass", "except Exception: raise"
    >>> [_silences(ast.parse("try: assert x\\n" + form).body[0]) for form in forms]
    [True, True, False, False]
    >>> [_silences(ast.parse(f"with suppress({e}): assert x").body[0]) for e in ("AssertionError", "E")]
    [True, False]
    """
    if isinstance(statement, _ast.With):
        calls = [item.context_expr for item in statement.items if called_name(item.context_expr) == "suppress"]
        return any(_takes(kind) for call in calls if isinstance(call, _ast.Call) for kind in call.args)
    return any(_takes(handler.type) and not _answers(handler) for handler in statement.handlers)


def _takes(kinds: _ast.expr | None) -> bool:
    """Whether what an except clause names holds AssertionError."""
    if kinds is None:
        return True
    named = kinds.elts if isinstance(kinds, _ast.Tuple) else [kinds]
    return any(isinstance(kind, _ast.Name) and kind.id in _TAKING for kind in named)


def _answers(handler: _ast.ExceptHandler) -> bool:
    """Whether what follows depends on what was caught."""
    inside = (statement for block in blocks(handler, functions=False) for statement in block)
    return any(isinstance(s, _ast.Raise | _ast.Return) or is_assertion(s) for s in inside)


def _note_unittest(failed: set[int]) -> None:
    from unittest import TestResult

    def noting(method: "Callable[..., None]") -> "Callable[..., None]":
        def noted(*told: "Any") -> None:
            if told[-1] is not None:  # `addSubTest` is told of good ones too
                failed.add(1)
            method(*told)

        return noted

    for name in ("addError", "addFailure", "addSubTest", "addUnexpectedSuccess"):
        setattr(TestResult, name, noting(getattr(TestResult, name)))


def _note_threads(failed: set[int]) -> None:
    import threading

    shown = threading.excepthook

    def noted(ended: "Any") -> None:
        if ended.exc_type is not None and issubclass(ended.exc_type, AssertionError):
            failed.add(1)
        shown(ended)

    threading.excepthook = noted
