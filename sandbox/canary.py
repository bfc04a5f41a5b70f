"""Find a program's assertions, and make its canary: the same program, which must fail at its end.

A program that «passes» although `assert False` was appended to it forged its pass: it skipped lines with a trace
function, wrote to our pipe, replaced what it is checked with. The canary also notes whether any assertion was
reached, and fails only then: a test function that nobody calls tests nothing.

Runs in the sandboxed interpreter: `_ast` is compiled into it, `ast` would cost 6 ms.
"""

import _ast

REACHED = "__reached__"
"""The name of a set that the canary fills, looked up among the builtins."""


def parse(source: bytes, file: str) -> _ast.Module:
    """Raises:  SyntaxError, ValueError, RecursionError, MemoryError, as compile does."""
    tree = compile(source, file, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, _ast.Module)
    return tree


def has_assertion(tree: _ast.Module) -> bool:
    return any(_is_assertion(statement) for block in _blocks(tree) for statement in block)


def plant(tree: _ast.Module) -> None:
    """Turn a program into its canary: mark each assertion that was passed, and fail at the end if there was one."""
    mark = parse(f"{REACHED}.add(1)".encode(), "canary").body[0]
    for block in _blocks(tree):
        block[:] = [part for s in block for part in ((s, mark) if _is_assertion(s) else (s,))]
    tree.body += parse(f"assert not {REACHED}".encode(), "canary").body


def _blocks(tree: _ast.Module) -> list[list[_ast.stmt]]:
    """Every list of statements. Expressions hold none, so they are not looked into."""
    found: list[list[_ast.stmt]] = []
    waiting: list[_ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for field in ("body", "orelse", "finalbody"):
            block: list[_ast.stmt] | None = getattr(node, field, None)
            if block:
                found.append(block)
                waiting += block
        for field in ("handlers", "cases"):
            waiting += getattr(node, field, ())
    return found


def _is_assertion(statement: _ast.stmt) -> bool:
    """An assert statement, or a call of something named so: `self.assertEqual(…)`, `with case.assertRaises(…):`.

    >>> [_is_assertion(parse(s, "f").body[0]) for s in (b"assert x", b"case.assertEqual(1, 2)", b"f(assertion)")]
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
    return any(_called_name(expression).startswith("assert") for expression in called)


def _called_name(expression: _ast.expr) -> str:
    if isinstance(expression, _ast.Await):
        expression = expression.value
    if not isinstance(expression, _ast.Call):
        return ""
    function = expression.func
    if isinstance(function, _ast.Attribute):
        return function.attr
    return function.id if isinstance(function, _ast.Name) else ""
