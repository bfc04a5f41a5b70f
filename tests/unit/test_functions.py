"""Files -> functions: every filter, by its reason, and what a file as a whole can be."""

import asyncio
from pathlib import Path

import pytest

from consumers import functions
from consumers.decontamination import Decontamination, Known
from consumers.functions import Params, Reason, Refusal, cut
from consumers.pool import Pool
from stream.records import File, Seed, SourceFile, Step, file_id, seed_id
from tests.patience import PATIENCE_S

GOOD = '''def area(width, height):
    """Return the area of a rectangle."""
    return width * height
'''


def source(text: str, *, language: str = "python") -> SourceFile:
    content = text.encode("utf-8", "surrogatepass")
    file = File(file_id("here", "a.py", content), "here", "a.py", language, None, None, "MIT")
    return SourceFile(file, text)


def one(text: str, params: Params | None = None) -> Seed | Refusal:
    (part,) = cut(source(text), params or Params())
    return part


def seed(text: str) -> Seed:
    part = one(text)
    assert isinstance(part, Seed), part
    return part


def refusal(text: str, params: Params | None = None) -> Refusal:
    part = one(text, params)
    assert isinstance(part, Refusal)
    return part


def body(*lines: str, header: str = "def f(x):") -> str:
    return "\n".join((header, *(f"    {line}" for line in lines))) + "\n"


DOC = '"""Doc."""'

REFUSED = [
    (Reason.NO_DOCSTRING, body("return x")),
    (Reason.NO_DOCSTRING, body('f"""Doc."""', "return x")),
    (Reason.NO_DOCSTRING, body("b'Doc.'", "return x")),
    (Reason.NO_DOCSTRING, body("'Doc' f'{x}'", "return x")),
    (Reason.NO_DOCSTRING, body("'Doc',", "return x")),
    (Reason.NO_DOCSTRING, body("('Doc',)", "return x")),
    (Reason.NO_DOCSTRING, body("'Doc'.strip()", "return x")),
    (Reason.NO_DOCSTRING, body("x = 'Doc'", "return x")),
    (Reason.NO_DOCSTRING, body("y = 1", DOC, "return x")),
    (Reason.NO_RETURN_VALUE, body(DOC, "print(x)")),
    (Reason.NO_RETURN_VALUE, body(DOC, "return")),
    (Reason.NO_RETURN_VALUE, body(DOC, "return  # nothing")),
    (Reason.NO_RETURN_VALUE, body(DOC, "def inner():", "    return 1", "inner()")),
    (Reason.NO_RETURN_VALUE, body(DOC, "call(lambda: x)")),
    (Reason.NO_RETURN_VALUE, body(DOC, "class A:", "    def g(self):", "        return 1")),
    (Reason.NO_RETURN_VALUE, body(DOC, "yield x")),
    (Reason.NO_ARGUMENTS, body(DOC, "return 1", header="def f():")),
    (Reason.NO_ARGUMENTS, body(DOC, "return 1", header="def f() -> int:")),
    (Reason.NO_ARGUMENTS, body(DOC, "return 1", header="async def f(  # none\n):")),
    (Reason.BANNED_WORD, body(DOC, "return x  # TODO")),
    (Reason.BANNED_WORD, body('"""Fixme: say more."""', "return x")),
    (Reason.BANNED_WORD, body(DOC, "return x.debug")),
    (Reason.BANNED_IMPORT, body(DOC, "import argparse", "return x")),
    (Reason.BANNED_IMPORT, body(DOC, "from os.path import join", "return join(x)")),
    (Reason.BANNED_IMPORT, "import sys\n" + body(DOC, "return sys.argv[x]")),
    (Reason.BANNED_IMPORT, "from matplotlib import pyplot as plt\n" + body(DOC, "return plt.plot(x)")),
    (Reason.TOO_LONG, body(DOC, *["x += 1"] * 148, "return x")),
    (Reason.TOO_LARGE, body(DOC, f"return {'x' * 65_536}")),
    (Reason.SYNTAX_ERROR, body(DOC, "y = = 1", "return x")),
    (Reason.SYNTAX_ERROR, body(DOC, "print x", "return x")),
    (Reason.SYNTAX_ERROR, body(DOC, "break", "return x")),
    (Reason.SYNTAX_ERROR, body(DOC, "return await x")),
    (Reason.SYNTAX_ERROR, body(DOC, "return '\0'")),
    (Reason.SYNTAX_ERROR, body(DOC, f"return {'(' * 30_000}{')' * 30_000}")),
    (Reason.SYNTAX_ERROR, body(DOC, f"return {'-' * 30_000}x")),
    (Reason.SYNTAX_ERROR, body(DOC, "return '\ud800'")),
    (Reason.NO_FUNCTIONS, ""),
    (Reason.NO_FUNCTIONS, "x = 1\nclass A:\n    def f(self, x):\n        'Doc.'\n        return x\n"),
    (Reason.NO_FUNCTIONS, "if True:\n    def f(x):\n        'Doc.'\n        return x\n"),
]


@pytest.mark.parametrize(("reason", "text"), REFUSED, ids=lambda value: value if isinstance(value, Reason) else "")
def test_each_rule_turns_a_function_down_by_its_name(reason: Reason, text: str) -> None:
    found = refusal(text)
    assert found.reason == reason
    assert 0 < len(found.evidence) < 400


KEPT = [
    body("'Doc.'", "return x"),
    body('"Doc."', "return x"),
    body("'''Doc.'''", "return x"),
    body('r"""Doc \\d."""', "return x"),
    body("U'Doc.'", "return x"),
    body("'Doc ' 'of two'", "return x"),
    body("('Doc '", " 'in brackets')", "return x"),
    body("''", "return x"),
    body("# first of all", DOC, "return x"),
    body(DOC, "if x:", "    return 1"),
    body(DOC, "try:", "    return x", "finally:", "    pass"),
    body(DOC, "match x:", "    case 1:", "        return x"),
    body(DOC, "return x", header="async def f(*, x):"),
    body(DOC, *["x += 1"] * 147, "return x"),
    "def f(x): 'Doc.'; return x\n",
    "@decorate\n@decorate(1)\n" + body(DOC, "return x"),
    "\ufeff" + body(DOC, "return x"),
    body(DOC, "return '\\d'"),
]


@pytest.mark.parametrize("text", KEPT)
def test_a_function_that_no_rule_turns_down_is_a_seed(text: str) -> None:
    assert seed(text).code == text.removeprefix("\ufeff").rstrip("\n")


def test_a_seed_carries_its_whole_lineage() -> None:
    text = "# a comment\nimport re\n\n\n@cache\ndef f(x):\n    'Doc.'\n    return re.escape(x)\n"
    found = seed(text)
    assert found.line == 5
    assert found.name == "f"
    assert found.kind == "function"
    assert found.imports == ("import re",)
    assert found.code == "import re\n\n\n@cache\ndef f(x):\n    'Doc.'\n    return re.escape(x)"
    assert found.steps == (Step("functions", functions.VERSION),)
    assert found.file == source(text).file
    assert found.seed_id == seed_id(found.file.file_id, 0)


def test_the_index_counts_every_function_before_any_filter() -> None:
    found = cut(source("def a(): pass\n" + GOOD + "def b(): pass\n" + GOOD.replace("area", "again")), Params())
    file = found[1].file if isinstance(found[1], Seed) else None
    assert file is not None
    ids = [part.seed_id if isinstance(part, Seed) else part.record_id for part in found]
    assert ids == [seed_id(file.file_id, index) for index in range(4)]
    assert [part.index for part in found if isinstance(part, Seed)] == [1, 3]
    assert [part.line for part in found if isinstance(part, Seed)] == [2, 6]


def test_a_broken_function_does_not_lose_the_others() -> None:
    parts = cut(source(GOOD + "def b(:\n    'Doc.'\n    return 1\n" + GOOD), Params())
    assert [part.reason if isinstance(part, Refusal) else part.name for part in parts] == [
        "area",
        Reason.SYNTAX_ERROR,
        "area",
    ]


def test_text_at_module_level_that_is_no_python_is_one_reject_of_the_file() -> None:
    parts = cut(source("here is = = no python\n" + GOOD), Params())
    assert [part.name for part in parts if isinstance(part, Seed)] == ["area"]
    (file_reject,) = [part for part in parts if isinstance(part, Refusal)]
    assert file_reject.reason == Reason.SYNTAX_ERROR
    assert file_reject.record_id is None
    assert "line 1: here is = = no python" in file_reject.evidence


def test_a_file_in_another_language_is_rejected_whole() -> None:
    assert cut(source("fn main() {}", language="rust"), Params()) == [
        Refusal(Reason.NOT_PYTHON, "language is 'rust'", None)
    ]


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_newlines_of_other_systems_give_the_same_code_and_line(newline: str) -> None:
    text = "\n\n" + GOOD
    assert seed(text.replace("\n", newline)).code == seed(text).code
    assert seed(text.replace("\n", newline)).line == 3


def test_the_limits_are_the_recipes() -> None:
    assert refusal(GOOD, Params(max_lines=2)).reason == Reason.TOO_LONG
    assert refusal(GOOD, Params(max_seed_bytes=20)).reason == Reason.TOO_LARGE
    assert refusal(GOOD, Params(banned_words=("rectangle",))).reason == Reason.BANNED_WORD
    with_import = "import re\n" + GOOD.replace("width *", "re.escape(width) *")
    assert refusal(with_import, Params(banned_imports=("re",))).reason == Reason.BANNED_IMPORT


def test_the_size_of_a_seed_counts_its_imports() -> None:
    text = "import re\n" + body(DOC, "return re.escape(x)")
    size = len(seed(text).code.encode())
    assert isinstance(one(text, Params(max_seed_bytes=size)), Seed)
    assert refusal(text, Params(max_seed_bytes=size - 1)).reason == Reason.TOO_LARGE


def test_a_file_of_ten_thousand_functions_is_one_outcome_with_as_many_parts() -> None:
    parts = cut(source(GOOD * 10_000), Params())
    assert len(parts) == 10_000
    assert all(isinstance(part, Seed) for part in parts)
    last = parts[-1]
    assert isinstance(last, Seed)
    assert last.line == 3 * 9_999 + 1


HOSTILE = {
    "a line of a megabyte": (f"x = '{'a' * 1_000_000}'\n" + GOOD, ["area"]),
    "a string of a megabyte that never ends": (GOOD + f"x = '''{'a' * 1_000_000}\n", ["area", Reason.SYNTAX_ERROR]),
    "brackets nested 100,000 deep": (f"x = {'(' * 100_000}{')' * 100_000}\n" + GOOD, ["area"]),
    "100,000 quotes": ("'''" * 100_000 + "\n" + GOOD, ["area"]),
    "a string in a class that never ends": ("class A:\n    x = 'it\n" + GOOD, ["area"]),
    "half a megabyte of quotes that never end": (GOOD + '"""' + '"\\' * 250_000, ["area", Reason.SYNTAX_ERROR]),
    "100,000 imports of one name": ("import a\n" * 100_000 + GOOD.replace("width *", "a *"), ["area"]),
    "4,000 functions after 40,000 imports of one package": (
        "import a.b\n" * 40_000 + GOOD.replace("width *", "a.b *") * 4_000,
        ["area"] * 4_000,
    ),
    "4,000 functions after 20,000 submodules of one package": (
        "".join(f"import a.b{n}\n" for n in range(20_000)) + GOOD.replace("width *", "a.b7 *") * 4_000,
        ["area"] * 4_000,
    ),
    "a function that spells out 2,500 submodules": (
        "".join(f"import a.b{n}\n" for n in range(2_500))
        + GOOD.replace("width *", f"[{', '.join(f'a.b{n}' for n in range(2_500))}] *"),
        ["area"],
    ),
    "blocks nested 2,000 deep": (
        GOOD + "".join(f"{' ' * n}if x:\n" for n in range(2_000)),
        ["area", Reason.SYNTAX_ERROR],
    ),
}


@pytest.mark.parametrize(("text", "parts"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_file_neither_crashes_nor_vanishes(text: str, parts: list[str]) -> None:
    found = cut(source(text), Params())
    assert [part.name if isinstance(part, Seed) else part.reason for part in found] == parts


async def test_the_stage_emits_seeds_and_rejects_with_the_id_of_each_part() -> None:
    known = Known("return the area of a CIRCLE", "benchmark.txt", 7)
    circle = GOOD.replace("rectangle", "circle").replace("area(", "round(")
    async with Pool(1) as pool:
        stage = functions.stage(Params(), pool, Decontamination([known]))
        (outcome,) = await asyncio.wait_for(stage.call([source(GOOD + circle + "def g(): pass\n")]), PATIENCE_S)
    assert [found.name for found in outcome.emitted] == ["area"]
    contaminated, bare = outcome.rejected
    file = outcome.emitted[0].file
    assert (contaminated.reason, contaminated.record_id) == (Reason.CONTAMINATED, seed_id(file.file_id, 1))
    assert "benchmark.txt, line 7" in contaminated.evidence
    assert (bare.reason, bare.record_id) == (Reason.NO_DOCSTRING, seed_id(file.file_id, 2))


async def test_equal_files_give_equal_seeds_in_every_process() -> None:
    text = Path(functions.__file__).read_text(encoding="utf-8")
    async with Pool(2) as pool:
        stage = functions.stage(Params(), pool, Decontamination([]))
        several = await asyncio.gather(*(stage.call([source(text)]) for _ in range(4)))
    (first,) = several[0]
    assert all(outcome.emitted == first.emitted for (outcome,) in several)
    assert [(r.reason, r.evidence) for r in first.rejected] == [
        (part.reason, part.evidence) for part in cut(source(text), Params()) if isinstance(part, Refusal)
    ]
