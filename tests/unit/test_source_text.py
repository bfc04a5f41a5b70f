"""Bytes to text: declared encodings, line ends, and what is no text."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.source import Reason
from producers.text import decode
from stream.stage import Reject


def rejected(content: bytes) -> Reject:
    result = decode(content)
    assert isinstance(result, Reject)
    return result


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"x = '\xc3\xa9'\n", "x = '\xe9'\n"),
        (codecs.BOM_UTF8 + b"x = 1\n", "x = 1\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "# -*- coding: latin-1 -*-\nx = '\xe9'\n"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1251 :\nx = '\xe9'\n", None),
        ("# coding: shift_jis\nx = '\u65e5\u672c'\n".encode("shift_jis"), "# coding: shift_jis\nx = '\u65e5\u672c'\n"),
        ("# coding: gb18030\nx = '\u4e2d'\n".encode("gb18030"), "# coding: gb18030\nx = '\u4e2d'\n"),
        ("# coding: iso2022_jp\nx = '\u65e5'\n".encode("iso2022_jp"), "# coding: iso2022_jp\nx = '\u65e5'\n"),
        (b"", ""),
    ],
)
def test_a_file_is_read_in_the_encoding_it_declares(content: bytes, text: str | None) -> None:
    assert decode(content) == (text if text is not None else content.decode("cp1251"))


@pytest.mark.parametrize(
    ("content", "reason", "evidence"),
    [
        (b"x = '\xe9'\n", Reason.ENCODING, "utf-8: byte 0xe9 at offset 5"),
        (b"\n\n\nx = '\xe9'\n", Reason.ENCODING, "utf-8: byte 0xe9 at offset 8"),
        (b"# coding: ascii\nx = '\xe9'\n", Reason.ENCODING, "ascii: byte 0xe9 at offset 21"),
        (b"# coding: klingon\n", Reason.ENCODING, "klingon"),
        (codecs.BOM_UTF8 + b"# coding: latin-1\n", Reason.ENCODING, "encoding problem"),
        (b"# coding: rot13\nx\n", Reason.ENCODING, "rot13, which is no encoding"),
        (b"# coding: zlib\nx\n", Reason.ENCODING, "zlib, which is no encoding"),
        (b"# coding: punycode\nx\n", Reason.ENCODING, "punycode, which is no encoding"),
        (b"# coding: unicode-escape\n\\ud800\n", Reason.ENCODING, "no encoding of source text"),
        (b"# coding: utf-7\n+2AA-\n", Reason.ENCODING, "lone surrogate"),
        (b"# coding: utf-7\n+AAA-\n", Reason.BINARY, "NUL"),
        (b"x = '\xed\xa0\x80'\n", Reason.ENCODING, "utf-8: byte 0xed at offset 5"),  # a surrogate in UTF-8
        (b"x = 1\0\n", Reason.BINARY, "NUL byte at offset 5"),
        ("x = 1\n".encode("utf-16"), Reason.BINARY, "NUL byte"),
    ],
)
def test_what_is_no_text_is_rejected_and_the_evidence_says_where(content: bytes, reason: Reason, evidence: str) -> None:
    reject = rejected(content)
    assert reject.reason == reason
    assert evidence in reject.evidence


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_each_kind_of_line_end_becomes_a_newline_and_lines_keep_their_numbers(end: bytes) -> None:
    text = decode(end.join([b"'''", b"two", b"'''", b"x = 4", b""]))
    assert text == "'''\ntwo\n'''\nx = 4\n"


def test_what_ends_no_line_in_python_stays() -> None:
    text = "x = 1\f\nx = '\u2028\x85\v'\n"
    assert decode(text.encode()) == text


def test_a_very_long_coding_line_makes_no_long_evidence() -> None:
    assert len(rejected(b"# coding: " + b"x" * 500_000).evidence) < 500


@given(st.binary(max_size=200))
def test_any_bytes_give_a_clean_text_or_a_reject(content: bytes) -> None:
    result = decode(content)
    if isinstance(result, Reject):
        result.evidence.encode()
    else:
        assert "\0" not in result
        assert "\r" not in result
        result.encode()


ENCODINGS = ["ascii", "big5", "cp037", "cp500", "euc_kr", "hz", "idna", "iso8859_15", "koi8_r", "mac_roman", "utf_7"]


@given(
    st.sampled_from([*ENCODINGS, "utf_8_sig", "utf_16", "utf_32", "cp65001", "base64", "mbcs"]), st.binary(max_size=99)
)
def test_any_declaration_gives_a_clean_text_or_a_reject(encoding: str, body: bytes) -> None:
    result = decode(f"# coding: {encoding}\n".encode() + body)
    if not isinstance(result, Reject):
        assert not {"\0", "\r"} & set(result)
        result.encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff"), max_size=200))
def test_utf_8_text_without_carriage_returns_comes_through_unchanged(text: str) -> None:
    content = ("#\n#\n" + text).encode()
    assert decode(content) == "#\n#\n" + text
