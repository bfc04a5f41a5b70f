"""Import inference: a function gets the imports that bind its names in its own file, and no other."""

import ast
import builtins
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import python311
from consumers.extraction import parse
from consumers.imports import infer, read, undefined_names
from tests.tries import tries


def inferred(text: str) -> tuple[str, ...]:
    """The imports of the last function of a file."""
    module = parse(text)
    return infer(module.functions[-1].code, read(module.imports(), module.definitions()))


USES = "def f(x):\n    return {}\n"

RULES = [
    # what a function does not use is not imported
    ("import os\nimport re\n", "re.escape(x)", ("import re",)),
    ("import re\n", "x", ()),
    ("import re\n", "[re for re in x]", ()),
    ("import re\n", "(lambda re: re)(x)", ()),
    # each form of import
    ("import os.path\n", "os.path.join(x)", ("import os.path",)),
    ("import numpy as np\n", "np.zeros(x)", ("import numpy as np",)),
    ("import a.b as a\n", "a.c", ("import a.b as a",)),
    ("from typing import Any as A\n", "A", ("from typing import Any as A",)),
    ("from a.b import (\n    c,  # why\n    d as e,\n)\n", "c(e)", ("from a.b import c, d as e",)),
    ("import os, re as r\n", "r", ("import re as r",)),
    # several: in the order of the file, those from one module on one line
    ("from b import z\nimport re\nfrom b import a\n", "a(z, re)", ("from b import z, a", "import re")),
    ("import os\nimport os.path\n", "os.path.join(os.sep)", ("import os.path",)),
    ("import xml.dom\nimport xml.sax\nimport xml\n", "xml.dom(xml.sax)", ("import xml.dom", "import xml.sax")),
    ("import xml\nimport xml.dom.minidom\n", "xml.dom.minidom(x)", ("import xml.dom.minidom",)),
    ("import a.b\nimport a.bc\n", "a.bc(x)", ("import a.b", "import a.bc")),
    # one that stands there twice: its first place where it is spelled out, else its last
    ("import a.b\nimport re\nimport a.b\n", "a.b(re)", ("import a.b", "import re")),
    ("import a.b\nimport re\nimport a.b\n", "a(re)", ("import re", "import a.b")),
    ("import numpy as np\nimport re\nimport numpy as np\n", "np(re)", ("import re", "import numpy as np")),
    ("from a import b\nfrom c import b\nfrom a import b\n", "b", ("from a import b",)),
    # the last that always runs binds the name
    ("from a import f1\nfrom b import f1\n", "f1(x)", ("from b import f1",)),
    (
        "from a import json\ntry:\n    import ujson as json\nexcept ImportError:\n    pass\n",
        "json",
        ("from a import json",),
    ),
    # of alternatives the one from the standard library, else the first
    ("try:\n    import simplejson as json\nexcept ImportError:\n    import json\n", "json.loads(x)", ("import json",)),
    ("try:\n    import numpy as np\nexcept ImportError:\n    np = None\n", "np", ("import numpy as np",)),
    ("if x:\n    from a import b\nelse:\n    from c import b\n", "b", ("from a import b",)),
    ("if TYPE_CHECKING:\n    from typing import Any\n", "Any", ("from typing import Any",)),
    ("with suppress(ImportError):\n    import re\n", "re", ("import re",)),
    # a builtin that a compatibility package replaces stays the builtin; one of the standard library replaces it
    ("from six.moves import range\n", "range(x)", ()),
    ("from math import pow\n", "pow(x, 2)", ("from math import pow",)),
    # what cannot be resolved stays open
    ("from . import a\nfrom .b import c\n", "a(c)", ()),
    ("from typing import *\n", "List", ()),
    ("import re\ndef re(): pass\n", "re(x)", ()),
    ("import re\nre = 1\n", "re", ()),
    ("re = 1\nimport re\n", "re", ("import re",)),
    ("import re\nclass re: pass\n", "re", ()),
    ("def helper(): pass\n", "helper(x)", ()),
    ("def g():\n    import re\n", "re", ()),
    ("class A:\n    import re\n", "re", ()),
    ("import = 3\nimport re\n", "re", ("import re",)),
]


@pytest.mark.parametrize(("file", "expression", "lines"), RULES)
def test_imports_are_inferred_by_rule(file: str, expression: str, lines: tuple[str, ...]) -> None:
    assert inferred(file + USES.format(expression)) == lines


TYPED = "from typing import Any, Dict, List\n"


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        ("def f(x: List[Any]):\n    return x\n", ("from typing import Any, List",)),
        ("def f(x: 'List[int]') -> 'Any':\n    return x\n", ("from typing import Any, List",)),
        ("def f(x: Dict[str, 'List']):\n    return x\n", ("from typing import Dict, List",)),
        ("def f(x):\n    y: 'Any' = x\n    return y\n", ("from typing import Any",)),
        ("def f(x):\n    # type: (List[int]) -> Any\n    return x\n", ("from typing import Any, List",)),
        ("def f(x='Any'):\n    return 'List'\n", ()),
        ("@Any\ndef f(x=List):\n    return x\n", ("from typing import Any, List",)),
    ],
)
def test_names_in_annotations_are_used_in_a_string_and_in_a_comment_too(function: str, lines: tuple[str, ...]) -> None:
    assert inferred(TYPED + function) == lines


def test_unevaluated_annotations_of_the_file_stay_unevaluated_and_stand_first() -> None:
    file = "from __future__ import annotations, division\nimport re\n"
    assert inferred(file + "def f(x: re.Pattern):\n    return x\n") == (
        "from __future__ import annotations",
        "import re",
    )
    assert inferred(file + "def f(x):\n    return re\n") == ("import re",)
    assert inferred("from __future__ import division\ndef f(x: int):\n    return x\n") == ()


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def f(x):\n    return g(x)", {"g"}),
        ("def f(x):\n    return f(x)", set[str]()),
        ("def f(x):\n    def g(): return h\n    return g", {"h"}),
        ("def f(x):\n    class A(B):\n        y = z\n    return A", {"B", "z"}),
        ("def f(x):\n    return [y for y in x if z]", {"z"}),
        ("def f(x):\n    import re\n    return re", set[str]()),
        ("def f(x):\n    global g\n    g = x\n    return g", set[str]()),
        ("def f(x):\n    global g\n    return g", {"g"}),
        ("@d\ndef f(x: T = v) -> R:\n    return x", {"d", "T", "v", "R"}),
        ("def f(x):\n    return __name__ + __file__ + print(x)", set[str]()),
        ("from a import b\ndef f(x):\n    return b", set[str]()),
    ],
)
def test_undefined_names_are_those_that_nothing_binds(code: str, names: set[str]) -> None:
    assert undefined_names(code) == names


MODULES = ["os", "re", "json", "a.b", "a.c", "typing"]
NAMES = ["alpha", "beta", "gamma", "re", "json", "a", "len"]
FORMS = ["import {m}", "import {m} as {n}", "from {m} import {n}", "from {m} import x as {n}"]


@st.composite
def files(draw: st.DrawFn) -> str:
    lines: list[str] = []
    for _ in range(draw(st.integers(0, 6))):
        module, name = draw(st.sampled_from(MODULES)), draw(st.sampled_from(NAMES))
        form = draw(
            st.sampled_from(["import {m}", "import {m} as {n}", "from {m} import {n}", "from {m} import x as {n}"])
        )
        line = form.format(m=module, n=name)
        lines.append(f"try:\n    {line}\nexcept ImportError:\n    pass" if draw(st.booleans()) else line)
    used = draw(st.lists(st.sampled_from(NAMES), max_size=5))
    quoted = draw(st.lists(st.sampled_from(NAMES), max_size=2))
    arguments = ", ".join(f"p{n}: 'list[{name}]'" for n, name in enumerate(quoted))
    return "\n".join([*lines, f"def f({arguments}):", f"    return ({''.join(f'{name}, ' for name in used)})"]) + "\n"


@tries(300)
@given(files())
def test_code_with_its_imports_compiles_and_leaves_no_more_names_open_than_without(text: str) -> None:
    code = parse(text).functions[-1].code
    lines = inferred(text)
    whole = "\n".join((*lines, code))
    compile(whole, "seed", "exec", dont_inherit=True)
    module = parse(text)
    bindings = read(module.imports(), module.definitions()).bindings
    assert undefined_names(whole) == undefined_names(code) - bindings.keys()
    # Every line is one import, and every name of it is bound by an import of the file.
    for line in lines:
        (node,) = ast.parse(line).body
        assert isinstance(node, ast.Import | ast.ImportFrom)
        assert {a.asname or a.name.partition(".")[0] for a in node.names} <= bindings.keys()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the table is of Python 3.11")
def test_the_table_of_names_is_that_of_python_3_11() -> None:
    assert set(dir(builtins)) - {"__build_class__", "_"} == python311.BUILTINS
    assert sys.stdlib_module_names == python311.STANDARD_LIBRARY
