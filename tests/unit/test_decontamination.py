"""Known strings are found lower-cased, as substrings, and a wrong file of them is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.decontamination import Decontamination, Known, load
from stream.errors import WrongConfig


def known(*texts: str) -> Decontamination:
    return Decontamination([Known(text, "benchmark.txt", number) for number, text in enumerate(texts, 1)])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1  # Check if in given list", 1),
        ("CHECK IF IN GIVEN LIST", 1),
        ("check if in  given list", None),
        ("Größe: İstanbul", 2),
        ("", None),
    ],
)
def test_a_known_string_is_found_lower_cased_anywhere(text: str, line: int | None) -> None:
    found = known("Check if in given list", "größe: İSTANBUL").find(text)
    assert (found.line if found else None) == line


@given(st.lists(st.text("ab \n", min_size=1, max_size=5), min_size=1, max_size=5), st.text("abAB \n", max_size=30))
def test_exactly_the_texts_that_hold_a_known_string_are_found(texts: list[str], text: str) -> None:
    found = known(*texts).find(text)
    assert (found is not None) == any(entry.lower() in text.lower() for entry in texts)
    assert found is None or found.text.lower() in text.lower()


def test_without_files_nothing_is_found_and_it_says_so() -> None:
    nothing = load([])
    assert nothing.find("anything") is None
    assert str(nothing) == "no decontamination: no file of benchmark strings is configured"


def test_a_lone_surrogate_matches_nothing_else() -> None:
    assert known("abc").find("\ud800 ab") is None


def test_both_forms_of_file_are_read_with_their_line_numbers(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "b.jsonl"
    plain.write_text("first string\n\n  second string \n")
    lines.write_text('{"text": "def f(x):\\r\\n    return x\\n", "task": 3}\n')
    strings = load([plain, lines])
    assert len(strings) == 3
    assert str(strings) == f"decontamination against 3 strings from {plain}, {lines}"
    second = strings.find("a SECOND string.")
    assert second == Known("second string", str(plain), 3)
    assert strings.find("def f(x):\n    return x") == Known("def f(x):\n    return x", str(lines), 1)


def test_a_byte_order_mark_is_no_part_of_the_first_string(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.txt", tmp_path / "b.jsonl"
    plain.write_text("first string\nsecond string\n", encoding="utf-8-sig")
    lines.write_text('{"text": "third string"}\n', encoding="utf-8-sig")
    for text in ("first string", "second string", "third string"):
        assert load([plain, lines]).find(f"# {text}") is not None


@pytest.mark.parametrize("newline", ["\\n", "\\r\\n", "\\r"])
def test_newlines_of_any_system_are_those_of_a_seed(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "def f(x):{newline}    return x"}}')
    assert load([path]).find("def f(x):\n    return x") is not None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x", "expected a .jsonl or .txt file"),
        ("a.jsonl", b'{"text": "ok"}\n{"text": ', "line 2: not JSON"),
        ("a.jsonl", b'\n{"code": "x"}', "line 2: expected an object whose field `text` is a string that is not empty"),
        ("a.jsonl", b'{"text": " "}', "line 1: expected an object whose field `text`"),
        ("a.jsonl", b'["text"]', "line 1: expected an object"),
        ("a.txt", b"ok\n\xff", "not UTF-8 at byte 3"),
        ("a.txt", b"\xef\xbb\xbfok\n\xff", "not UTF-8 at byte 6"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WrongConfig) as raised:
        load([path])
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongConfig, match="No such file"):
        load([tmp_path / "none.txt"])
