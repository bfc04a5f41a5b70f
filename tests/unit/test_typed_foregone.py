"""A verdict given without pyright is the verdict that pyright gives, however a function tries to be unreachable."""

import ast
from pathlib import Path

import pytest

from consumers.foregone import NEVER_RETURN, bundled_stubs, foregone_error, foregone_errors
from consumers.pyright_cli import PyrightCLI, package_folder

FOREGONE, ASKED = "foregone", "asked"


def f(*lines: str, header: str = "def f(x, y=None, *args, z: int | str = 1, **kwargs):", imports: str = "") -> str:
    return "\n".join((*filter(None, [imports]), header, *(f"    {line}" for line in lines)))


FUNCTIONS = [
    # Not self-contained, beyond doubt.
    (FOREGONE, f("return helper(x)")),
    (FOREGONE, f("return x", header="@decorate\ndef f(x):")),
    (FOREGONE, f("return x", header="def f(x: Missing):")),
    (FOREGONE, f("return x", header="def f(x) -> Missing:")),
    (FOREGONE, f("return x", header="def f(x=MISSING):")),
    (FOREGONE, f("return x", header="async def f(*, x=missing()):")),
    (FOREGONE, f("y: Missing = 1", "return y")),
    (FOREGONE, f("if x:", "    return helper(x)", "return x")),
    (FOREGONE, f("if x:", "    return 1", "return helper(x)")),
    (FOREGONE, f("if helper(x):", "    return 1", "return x")),
    (FOREGONE, f("if x > 1:", "    return 1", "elif not y:", "    return helper(x)", "return x")),
    (FOREGONE, f("for i in x:", "    helper(i)", "return x")),
    (FOREGONE, f("while x:", "    x = helper(x)", "return x")),
    (FOREGONE, f("while x:", "    break", "else:", "    helper()", "return x")),
    (FOREGONE, f("try:", "    return unicode(x)", "except NameError:", "    return x")),
    (FOREGONE, f("try:", "    return 1", "except Missing:", "    return x")),
    (FOREGONE, f("try:", "    return 1", "except ValueError:", "    return helper(x)")),
    (FOREGONE, f("try:", "    return 1", "except ValueError:", "    pass", "return helper(x)")),
    (FOREGONE, f("try:", "    return x", "finally:", "    helper()")),
    (FOREGONE, f("with lock:", "    return x")),
    (FOREGONE, f("with open(x) as file:", "    return helper(file)")),
    (FOREGONE, f("return [helper(i) for i in x if i]")),
    (FOREGONE, f("return {i: helper(i) for i in x for j in i if j}")),
    (FOREGONE, f("return lambda: helper(x)")),
    (FOREGONE, f("def inner():", "    return helper(x)", "return inner")),
    (FOREGONE, f("class A(Base):", "    pass", "return A")),
    (FOREGONE, f("class A:", "    def m(self):", "        return helper(self)", "return A")),
    (FOREGONE, f("return x and helper(x)")),
    (FOREGONE, f("return helper(x) if y else x")),
    (FOREGONE, f("return f'{helper(x)}'")),
    (FOREGONE, f("assert x, 'why'", "return helper(x)")),
    (FOREGONE, f("x.append(1)", "print(x)", "return helper(x)")),
    (FOREGONE, f("return helper(re.escape(x))", imports="import re")),
    (FOREGONE, f("global seen", "return seen")),
    (FOREGONE, f("raise Missing(x)")),
    (FOREGONE, f("match missing:", "    case 1:", "        return x", "return x")),
    (FOREGONE, f("y = x  # type: ignore", "return helper(y)")),
    (FOREGONE, f("return x.f(missing)", header="def f(x):")),
    (FOREGONE, f("if sys.platform == 'win32':", "    pass", "return helper(x)", imports="import sys")),
    (FOREGONE, f("if sys.version_info < (3,):", "    x = 1", "return helper(x)", imports="import sys")),
    (FOREGONE, f("return x", header="def f(x: Missing):", imports="from __future__ import annotations")),
    (FOREGONE, f("if TYPE_CHECKING:", "    return x", "return x")),
    # Imports of what the standard library does not have.
    (FOREGONE, f("import numpy", "return x")),
    (FOREGONE, f("try:", "    import simplejson", "except ImportError:", "    pass", "return x")),
    (FOREGONE, f("from yaml import (dump,", "  load)", "return x")),
    (FOREGONE, f("return np.sum(x)", imports="import numpy as np")),
    (FOREGONE, f("return dump(x)", imports="from yaml import dump")),
    (FOREGONE, f("return x", imports="import numpy.linalg")),
    # Nothing undefined.
    (ASKED, f("return x")),
    (ASKED, f("return __name__, __file__, __doc__, reveal_type(x)")),
    (ASKED, f("global seen", "seen = x", "return seen")),
    (ASKED, f("def g(): return g", "return g")),
    (ASKED, f("return [i for i in x]")),
    (ASKED, f("return WindowsError, ellipsis, function")),
    (ASKED, f("class A:", "    y = __qualname__, __module__", "    def m(self): return __class__", "return A")),
    (ASKED, f("class A:", "    def m(self): return __f(self)", "return A", header="def __f(x):")),
    # Silenced.
    (ASKED, f("return helper(x)  # type: ignore")),
    (ASKED, "# type: ignore\n" + f("return helper(x)")),
    (ASKED, f("return np.sum(x)", imports="import numpy as np  # type: ignore")),
    (ASKED, f("from yaml import (  # type: ignore", "    dump,", ")", "return dump(x)")),
    (ASKED, f("if z is None:", "    import numpy", "return x")),
    (ASKED, f("return x", "import numpy")),
    (ASKED, f("return (", "    helper(  # type: ignore", "        x))")),
    (ASKED, "# pyright: ignore\n" + f("return helper(x)")),
    (ASKED, "# pyright: basic, reportUndefinedVariable=false\n" + f("return helper(x)")),
    (ASKED, f("return helper(x)", header="@no_type_check\ndef f(x):", imports="from typing import no_type_check")),
    # Unreachable, or so pyright thinks.
    (ASKED, f("return x", "return helper(x)")),
    (ASKED, f("raise ValueError(x)", "return helper(x)")),
    (ASKED, f("if x:", "    return 1", "else:", "    raise ValueError", "return helper(x)")),
    (ASKED, f("for i in x:", "    continue", "    helper(i)", "return x")),
    (ASKED, f("for i in x:", "    break", "    helper(i)", "return x")),
    (ASKED, f("while True:", "    x += 1", "return helper(x)")),
    (ASKED, f("while 1:", "    x += 1", "return helper(x)")),
    (ASKED, f("while False:", "    helper(x)", "return x")),
    (ASKED, f("if 0:", "    helper(x)", "return x")),
    (ASKED, f("if not True:", "    helper(x)", "return x")),
    (ASKED, f("if x and False:", "    helper(x)", "return x")),
    (ASKED, f("return False and helper(x)")),
    (ASKED, f("return True or helper(x)")),
    (ASKED, f("return x if True else helper(x)")),
    (ASKED, f("return [helper(i) for i in x if False]")),
    (ASKED, f("assert False", "return helper(x)")),
    (ASKED, f("assert 0, helper(x)", "return x")),
    (ASKED, f("try:", "    return 1", "finally:", "    pass", "return helper(x)")),
    (ASKED, f("try:", "    return 1", "except ValueError:", "    raise", "else:", "    helper(x)")),
    (ASKED, f("with x:", "    return 1", "return helper(x)")),
    (ASKED, f("sys.exit(1)", "return helper(x)", imports="import sys")),
    (ASKED, f("leave(1)", "return helper(x)", imports="from sys import exit as leave")),
    (ASKED, f("s.exit(1)", "return helper(x)", imports="import sys as s")),
    (ASKED, f("leave = sys.exit", "leave(1)", "return helper(x)", imports="import sys")),
    (ASKED, f("(x or sys).exit(1)", "return helper(x)", imports="import sys")),
    (ASKED, f("partial(sys.exit, 1)()", "return helper(x)", imports="import sys\nfrom functools import partial")),
    (ASKED, f("exit()", "return helper(x)")),
    (ASKED, f("y = [quit(), helper(x)]", "return y")),
    (ASKED, f("os.abort()", "return helper(x)", imports="import os")),
    (
        ASKED,
        f(
            "x.error('usage')",
            "return helper(x)",
            header="def f(x: ArgumentParser):",
            imports="from argparse import ArgumentParser",
        ),
    ),
    (
        ASKED,
        f(
            "self.fail('no')",
            "return helper(self)",
            header="def f(self: TestCase):",
            imports="from unittest import TestCase",
        ),
    ),
    (ASKED, f("def stop(): raise ValueError", "stop()", "return helper(x)")),
    (ASKED, f("class A:", "    def stop(self): raise ValueError", "A().stop()", "return helper(x)")),
    (ASKED, f("stop = lambda: exit()", "stop()", "return helper(x)")),
    (ASKED, f("if x:", "    exit()", "else:", "    exit()", "return helper(x)")),
    (ASKED, f("assert_never(x)", "return helper(x)", imports="from typing import assert_never")),
    # Decided by types.
    (ASKED, f("if isinstance(z, (int, str)):", "    return 1", "return helper(z)")),
    (
        ASKED,
        f("if isinstance(z, int):", "    return 1", "elif isinstance(z, str):", "    raise", "return helper(z)"),
    ),
    (ASKED, f("if z is None:", "    return helper(z)", "return z")),
    (ASKED, f("return z is None and helper(z)")),
    (ASKED, f("return helper(z) if z is None else z")),
    (ASKED, f("assert z is None", "return helper(z)")),
    (ASKED, f("assert not isinstance(z, (int, str)), z", "return helper(z)")),
    (ASKED, f("while z is None:", "    helper(z)", "return z")),
    (
        ASKED,
        f("match z:", "    case int():", "        return 1", "    case str():", "        raise", "return helper(z)"),
    ),
    (ASKED, f("match z:", "    case None:", "        return helper(z)", "return z")),
    (ASKED, f("if z == 1 and isinstance(z, str):", "    return helper(z)", "return z")),
    (ASKED, f("w: int = x", "if w is None:", "    return helper(w)", "return w")),
    (ASKED, f("if not re:", "    return helper(x)", "return x", imports="import re")),
    (ASKED, f("def g(): return 1", "if not g:", "    return helper(x)", "return g")),
    (ASKED, f("if (w := z) is None:", "    return helper(w)", "return w")),
    (ASKED, f("return [helper(i) for i in x if z is None]")),
    (ASKED, f("if sys.platform == 'win32':", "    return helper(x)", "return x", imports="import sys")),
    (ASKED, f("if sys.version_info < (3,):", "    return helper(x)", "return x", imports="import sys")),
    (ASKED, f("if os.name == 'nt':", "    return helper(x)", "return x", imports="import os")),
    (ASKED, f("if s.version_info[0] < 3:", "    return helper(x)", "return x", imports="import sys as s")),
    (ASKED, f("if platform == 'win32':", "    return helper(x)", "return x", imports="from sys import platform")),
    (ASKED, f("if t.TYPE_CHECKING:", "    return x", "return helper(x)", imports="import typing as t")),
    (ASKED, f("if TYPE_CHECKING:", "    return x", "return helper(x)", imports="from typing import TYPE_CHECKING")),
]
CODES = [code for _, code in FUNCTIONS]


async def test_every_foregone_verdict_is_the_one_that_pyright_gives() -> None:
    stubs = bundled_stubs()
    answers = await PyrightCLI().errors(CODES)
    for (expected, code), errors in zip(FUNCTIONS, answers, strict=True):
        found = foregone_error(code, stubs)
        assert (found is not None) == (expected == FOREGONE), code
        if found is not None:
            assert errors, f"pyright passes this:\n{code}"
            assert found.line in {error.line for error in errors}, code


async def test_functions_that_hide_an_undefined_name_from_pyright_are_among_these() -> None:
    # Otherwise the list above would prove nothing: most of its second half must pass, undefined name and all.
    asked = [code for expected, code in FUNCTIONS if expected == ASKED and "helper" in code]
    passed = [errors for errors in await PyrightCLI().errors(asked) if not errors]
    assert len(passed) > 40


def test_code_that_is_no_python_is_left_to_pyright() -> None:
    deep = (
        "def f(x):\n    if x:\n        return 1\n" + "    elif x:\n        return 1\n" * 3_000 + "    return helper(x)"
    )
    assert foregone_errors(["def f(:", "x = '\0'", deep]) == [None, None, None]


def test_every_function_of_the_stubs_that_never_returns_is_known() -> None:
    found: set[str] = set()
    for path in (package_folder() / "dist" / "dist" / "typeshed-fallback" / "stdlib").rglob("*.pyi"):
        text = path.read_text(encoding="utf-8")
        if "NoReturn" in text or "Never" in text:
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.returns is None:
                    continue
                if ast.unparse(node.returns).rpartition(".")[2] in ("NoReturn", "Never"):
                    found.add(node.name)
    assert "exit" in found
    assert found <= NEVER_RETURN


@pytest.mark.parametrize("name", ["print", "ellipsis", "WindowsError", "ExceptionGroup"])
def test_what_the_stubs_define_is_never_undefined(name: str) -> None:
    assert name in bundled_stubs().builtins
    assert "T" not in bundled_stubs().builtins


def test_the_folder_of_stubs_names_the_modules_of_the_standard_library() -> None:
    assert {"re", "os", "xml", "typing_extensions"} <= bundled_stubs().modules
    assert not {"numpy", "yaml", "pytest"} & bundled_stubs().modules
    assert Path(package_folder()).is_dir()
