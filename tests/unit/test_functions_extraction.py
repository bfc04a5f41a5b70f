"""Extraction sees the functions and docstrings that Python itself sees."""

import ast
import sysconfig
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from consumers.extraction import parse
from tests.tries import tries

DOCSTRINGS = [
    '"""Doc."""',
    "'''Doc\n\ndef not_a_function(x):\n    'no'\n'''",
    "'Doc'",
    '"Doc"',
    'r"""\\d"""',
    "u'Doc'",
    "'a' 'b'",
    "'a' \\\n    'b'",
    "('a'\n    'b')",
    "(('a'))",
    "''",
    "'Doc'; pass",
    "# comment\n    'Doc'",
    "'Doc'  # comment",
    'f"""Doc"""',
    "rb'Doc'",
    "'a' f'b'",
    "'Doc',",
    "('Doc',)",
    "'Doc'.strip()",
    "'a' + 'b'",
    "-1",
    "pass",
    "x: str = 'Doc'",
    "...",
    "await_ = 'Doc'",
]
HEADERS = [
    "def {name}():",
    "def {name}(a, *, b: 'int' = 1) -> str:",
    "async def {name}(self, /):",
    "def {name}(\na=(1,\n2),\n):",
    "def   {name} ( x = '\\'' ) :  # comment",
    "def {name}(x={{'def g(x):': 1}}):",
    "def\f{name}():",
    "def\\\n{name}():",
    "async\\\ndef {name}():",
]
MARGINS = ["", "", "", "\f", "\f\f", "  \t\f", "\\\n", "\\\n\\\n\f", "# art \\\n", "\f# art \\\n"]
"""What may stand before a statement at module level: a form feed sends the tokenizer back to column 0."""

DECORATORS = ["", "@d\n", "@d.e(1)\n@d  # why\n", "@d(\n'''\ndef no(): 'no'\n''')\n"]
OTHERS = [
    "x = 1",
    "x = '''\ndef hidden(x):\n    \"\"\"Doc.\"\"\"\n'''",
    'y = "# no comment"',
    "z = 'it\\'s'",
    "# it's a comment with a quote",
    "import os",
    "class A:\n    def method(self):\n        '''Doc.'''",
    "@d\nclass A(\nB,\nC):\n    '''\ndef hidden(): 'no'\n    '''\n    x = [\n1,\n]",
    "class A: pass",
    "class A:\n    pass\n\f    import no\n\n    \f\n\\\n    import no",
    "class A:\n    pass\n    \\\ndef no(): 'no'",
    "class A\\\n(B): x = 1 \\\n+ \\\n2",
    "class A: pass\n'a string'; import re",
    "class Añ:\n    pass",
    "# art \\",
    "x = 1 \\\n+ 2  # art \\",
    "x = 1 \\\n\\\n\\\n+ 2",
    "x = '# \\\n'",
    "import re as regex, os.path",
    "if x:\n    from a import b\n    class A:\n        import no",
    "class A:\n    x = 1 + \\\n2",
    "class A:\n    # def no(): 'no'\n# at column 0\n    y = \"'''\"",
    "if x:\n    def inner(): 'Doc'\nelse:\n    pass",
    "(\n1)",
    "'a module docstring'",
    "classes = [\nclass_\n]",
    "\f",
    "",
]


@st.composite
def modules(draw: st.DrawFn) -> str:
    """Valid modules: every function has a name of its own."""
    parts: list[str] = []
    for number in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            header = draw(st.sampled_from(HEADERS)).format(name=f"f{number}")
            rest = draw(st.sampled_from(["", "\n    return 1", "\n    # trailing", "\n\n    x = '''\nclass B:\n'''"]))
            statement = f"{draw(st.sampled_from(DECORATORS))}{header}\n    {draw(st.sampled_from(DOCSTRINGS))}{rest}"
        else:
            statement = draw(st.sampled_from(OTHERS))
        parts.append(draw(st.sampled_from(MARGINS)) + statement if statement else statement)
    return "\n".join(parts) + draw(st.sampled_from(["", "\n"]))


def seen_by_python(text: str) -> list[tuple[str, int, bool, str]]:
    return [
        (
            node.name,
            min([node.lineno, *(d.lineno for d in node.decorator_list)]),
            ast.get_docstring(node) is not None,
            ast.dump(node),
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def seen_by_us(text: str) -> list[tuple[str, int, bool, str]]:
    return [(f.name, f.line, f.has_docstring, ast.dump(ast.parse(f.code).body[0])) for f in parse(text).functions]


def imports_seen_by_python(text: str) -> list[str]:
    """Those of module level, in blocks too, and of no inner scope."""
    found: list[str] = []
    pending: list[ast.AST] = [ast.parse(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(ast.unparse(node))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            pending.extend(reversed(list(ast.iter_child_nodes(node))))
    return found


@tries(500)
@given(modules())
def test_imports_are_those_that_python_runs_with_the_module(text: str) -> None:
    module = parse(text)
    if module.functions:  # without one nothing is parsed
        assert [ast.unparse(ast.parse(found.text)) for found in module.imports()] == imports_seen_by_python(text)


@tries(500)
@given(modules())
def test_functions_lines_docstrings_and_code_are_those_that_python_sees(text: str) -> None:
    assert seen_by_us(text) == seen_by_python(text)
    assert parse(text).broken_line is None


@tries(300)
@given(st.text(alphabet=st.sampled_from(list("def class async()[]:'\"#\\\n\t\f @=,1{}")), max_size=200))
def test_no_text_makes_extraction_fail(text: str) -> None:
    for function in parse(text).functions:
        assert function.code in text
        assert function.line <= text.count("\n") + 1


def test_every_function_of_the_standard_library_is_seen_as_python_sees_it() -> None:
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = sorted(root.glob("*.py"))[::2] + sorted((root / "email").glob("*.py"))
    functions = 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert seen_by_us(text) == seen_by_python(text), path
        functions += len(seen_by_python(text))
    assert functions > 300
