"""Config: unknown, missing and ill-typed keys are refused, by file, line, table and key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import Document, Keys, convert, dotted, merge, parse, read
from stream.errors import WrongConfig


@dataclass(frozen=True, slots=True)
class Endpoint:
    url: str
    model: str
    context: int = 4096
    api: Literal["chat", "completions"] = "completions"

    def __post_init__(self) -> None:
        if self.context < 1:
            raise ValueError("context must be at least 1")


@dataclass(frozen=True, slots=True)
class Settings:
    llm: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    licences: tuple[str, ...] = ()
    every: float = 0.2
    cap: int | None = None


def load(text: str) -> Settings:
    document = parse(text, "a.toml")
    return convert(document.data, Settings, [document])


def test_a_file_of_known_keys_becomes_the_dataclass_with_defaults_filled_in():
    settings = load('licences = ["MIT"]\nevery = 1\n[llm.local]\nurl = "http://x"\nmodel = "m"\n')
    assert settings == Settings({"local": Endpoint("http://x", "m")}, ("MIT",), 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("evry = 1", "a.toml, line 1, evry: unknown key; did you mean every?"),
        ("\n\nzebra = 1", "a.toml, line 3, zebra: unknown key; expected one of cap, every, licences, llm"),
        ('every = "fast"', "a.toml, line 1, every: expected float, got str"),
        ("every = nan", "a.toml, line 1, every: expected a finite number, got nan"),
        ("every = -inf", "a.toml, line 1, every: expected a finite number, got -inf"),
        ("cap = true", "a.toml, line 1, cap: expected int, got bool"),
        ("# a\nlicences = [\n  'MIT',\n  2,\n]", "a.toml, line 2, licences[1]: expected str, got int"),
        ("licences = 3", "a.toml, line 1, licences: expected array, got int"),
        ("[llm.a]\nurl = 'x'", "a.toml, line 1, llm.a: the key model is missing"),
        ("[llm.a]\nurl = 'x'\nmodle = 'm'", "a.toml, line 3, llm.a.modle: unknown key; did you mean model?"),
        (
            "[llm.a]\nurl = 'x'\nmodel = 'm'\napi = 'chatty'",
            "a.toml, line 4, llm.a.api: expected one of chat, completions, got 'chatty'",
        ),
        ("[llm.a]\nurl='x'\nmodel='m'\ncontext=0", "a.toml, line 1, llm.a: context must be at least 1"),
        ("llm = 3", "a.toml, line 1, llm: expected a table, got int"),
        ("[llm]\na = 3", "a.toml, line 2, llm.a: expected a table, got int"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line_table_key_and_what_was_expected(text: str, message: str):
    with pytest.raises(WrongConfig) as refused:
        load(text)
    assert str(refused.value) == message


def test_what_is_not_toml_is_refused_with_its_line():
    with pytest.raises(WrongConfig, match=r"a\.toml is not TOML: .*line 2"):
        load("every = 1\nevery 2\n")


@pytest.mark.parametrize("text", ["a = " + "[" * 2_000 + "]" * 2_000, "a = " + "1" * 5_000])
def test_what_is_too_deep_or_too_long_to_be_read_is_refused_by_name(text: str):
    with pytest.raises(WrongConfig, match=r"^a\.toml is not TOML: .*(recursion|digits)"):
        load(text)


def test_a_missing_file_and_one_that_is_not_utf8_are_refused_by_name(tmp_path: Path):
    with pytest.raises(WrongConfig, match=r"none\.toml cannot be read: No such file"):
        read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(WrongConfig, match=r"latin\.toml is not UTF-8: .* at byte 5"):
        read(tmp_path / "latin.toml")


def test_an_error_names_the_document_in_which_the_key_stands():
    child, base = parse("every = 2", "child.toml"), parse("\ncap = 'x'", "base.toml")
    with pytest.raises(WrongConfig, match=r"^base\.toml, line 2, cap: expected int, got str$"):
        convert(merge(base.data, child.data), Settings, [child, base])


NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.one_of(
    st.integers(-5, 5).map(str),
    st.sampled_from(["'#'", "[\n 1,\n # [b]\n 2,\n]", '"""\na = 1\n[c]\n"""', "{ x = 1, y = [2] }", "'''\n\n'''"]),
)


@st.composite
def toml(draw: st.DrawFn) -> tuple[str, dict[Keys, int]]:
    """A TOML text, and for each of its keys the line on which its statement begins."""
    lines: list[str] = []
    where: dict[Keys, int] = {}
    for table in draw(st.lists(NAMES, unique=True, max_size=3)):
        lines += draw(st.lists(st.sampled_from(["", "# a = 1", "  "]), max_size=2))
        lines.append(f"[{table}]")
        where[table,] = len(lines)
        for key in draw(st.lists(NAMES, unique=True, max_size=3)):
            lines += draw(st.lists(st.sampled_from(["", "# [a]"]), max_size=1))
            where[table, key] = len(lines) + 1
            lines += f"{key} = {draw(VALUES)}".split("\n")
    return "\n".join(lines), where


@given(toml())
def test_the_line_of_every_key_is_the_one_its_statement_begins_on(case: tuple[str, dict[Keys, int]]):
    text, where = case
    document: Document = parse(text)
    assert {keys: document.line(keys) for keys in where} == where


TABLES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


@given(TABLES, TABLES)
def test_a_merge_gives_each_key_of_the_child_and_keeps_all_others_of_the_base(
    base: dict[str, object], over: dict[str, object]
):
    def leaves(table: dict[str, object], at: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
        found: dict[tuple[str, ...], object] = {}
        for key, value in table.items():
            found |= leaves(value, (*at, key)) if isinstance(value, dict) and value else {(*at, key): value}
        return found

    merged = leaves(merge(base, over))
    assert merge(base, {}) == base and merge({}, over) == over
    assert {k: v for k, v in leaves(over).items() if v != {}}.items() <= merged.items()
    assert set(merged) <= set(leaves(base)) | set(leaves(over))


def test_keys_read_as_a_path():
    assert dotted(("llm", "local", "url", 0)) == "llm.local.url[0]"
