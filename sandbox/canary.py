"""Find a program's assertions, and make its canary: the same program, which must fail at its end.

A program that «passes» although `assert False` was appended to it forged its pass: it skipped lines with a trace
function, wrote to our pipe, replaced what it is checked with. The canary also notes whether any assertion was passed,
and whether one failed where nobody looks (`sandbox.silence`), and fails at its end only after the first and without
the second: a test function that nobody calls tests nothing, and a test that prints its failure has failed.

Runs in the sandboxed interpreter: `_ast` is compiled into it, `ast` would cost 6 ms.
"""

import _ast

from sandbox.silence import silenced, tests
from sandbox.statements import blocks, is_assertion


def parse(source: bytes, file: str) -> _ast.Module:
    """Raises:  SyntaxError, ValueError, RecursionError, MemoryError, as compile does."""
    tree = compile(source, file, "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, _ast.Module)
    return tree


def has_assertion(tree: _ast.Module) -> bool:
    return any(is_assertion(statement) for block in blocks(tree) for statement in block)


def marks(nonce: bytes) -> tuple[str, str]:
    """Return the names of two sets that the canary fills, to be looked up among the builtins: for assertions that were
    passed, and for those that failed in silence. No program can name them beforehand."""
    return f"passed_{nonce.hex()}", f"failed_{nonce.hex()}"


def plant(tree: _ast.Module, nonce: bytes) -> None:
    """Turn a program into its canary: mark each assertion that was passed, and each one that failed in silence; at the
    end fail, if there was one of the first and none of the second."""
    passes, failures = marks(nonce)
    passed = parse(f"{passes}.add(1)".encode(), "canary").body[0]
    failed = parse(f"{failures}.add(1)".encode(), "canary").body[0]
    assert isinstance(failed, _ast.Expr)
    for assertion in silenced(tree):
        assertion.test = _ast.BoolOp(_ast.Or(), [assertion.test, failed.value], **_place(assertion.test))
    for function, kind in tests(tree):
        function.body = _told(function.body, kind, failures)
    for block in blocks(tree):
        block[:] = [part for s in block for part in ((s, passed) if is_assertion(s) else (s,))]
    tree.body += parse(f"assert not {passes} or {failures}".encode(), "canary").body


def _told(body: list[_ast.stmt], kind: str, failures: str) -> list[_ast.stmt]:
    """Return a function's body so that it tells of what leaves it. Its docstring stays the first statement."""
    telling = parse(f"try: pass\nexcept {kind}:\n    {failures}.add(1)\n    raise".encode(), "canary").body[0]
    assert isinstance(telling, _ast.Try)
    has_docstring = isinstance(body[0], _ast.Expr) and isinstance(body[0].value, _ast.Constant)
    telling.body = body[has_docstring:]
    return [*body[:has_docstring], telling]


def _place(of: _ast.expr) -> dict[str, int]:
    return {"lineno": of.lineno, "col_offset": of.col_offset}
