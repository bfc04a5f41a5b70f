"""The statements of a program, and which of them are assertions. Runs in the sandboxed interpreter."""

import _ast

_FUNCTIONS = _ast.FunctionDef | _ast.AsyncFunctionDef | _ast.ClassDef


def blocks(*roots: _ast.AST, functions: bool = True, deep: bool = True) -> list[list[_ast.stmt]]:
    """Every list of statements below some nodes; not those of functions and classes, where `functions` is false; of
    statements inside only where `deep`. Expressions hold none, so they are not looked into."""
    found: list[list[_ast.stmt]] = []
    waiting = [*roots]
    while waiting:
        node = waiting.pop()
        if not functions and isinstance(node, _FUNCTIONS):
            continue
        for field in ("body", "orelse", "finalbody"):
            block: list[_ast.stmt] | None = getattr(node, field, None)
            if block:
                found.append(block)
                waiting += block if deep else ()
        for field in ("handlers", "cases"):
            waiting += getattr(node, field, ())
    return found


def is_assertion(statement: _ast.stmt) -> bool:
    """An assert statement, or a call of something named so: `self.assertEqual(…)`, `with case.assertRaises(…):`.

    >>> import ast
    >>> [is_assertion(ast.parse(s).body[0]) for s in ("assert x", "case.assertEqual(1, 2)", "f(assertion)")]
    [True, True, False]
    """
    if isinstance(statement, _ast.Assert):
        return True
    if isinstance(statement, _ast.Expr):
        called = [statement.value]
    elif isinstance(statement, _ast.With | _ast.AsyncWith):
        called = [item.context_expr for item in statement.items]
    else:
        return False
    return any(called_name(expression).startswith("assert") for expression in called)


def called_name(expression: _ast.expr) -> str:
    """The last name of what an expression calls; "" where it calls nothing that has one."""
    if isinstance(expression, _ast.Await):
        expression = expression.value
    if not isinstance(expression, _ast.Call):
        return ""
    function = expression.func
    if isinstance(function, _ast.Attribute):
        return function.attr
    return function.id if isinstance(function, _ast.Name) else ""
