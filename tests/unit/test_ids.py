"""Ids must never change: every record on every bus is known by one."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.records import FileId, derived_id, digest, file_id, sampling_seed, seed_id

part = st.text() | st.binary() | st.integers()
parts = st.lists(st.text(max_size=6), max_size=4).map(tuple)


@given(parts, parts)
def test_two_tuples_have_one_digest_only_when_they_are_equal(a: tuple[str, ...], b: tuple[str, ...]) -> None:
    assert (digest(*a) == digest(*b)) == (a == b)


def test_no_two_ways_to_cut_a_text_into_parts_have_one_digest() -> None:
    cuts = {("1:a1:b",), ("1:a", "1:b"), ("a", "b"), ("ab",), ("", "ab"), ("ab", ""), ("", "a", "b"), ("1", ":a1:b")}
    assert len({digest(*cut) for cut in cuts}) == len(cuts)


@given(st.lists(part, max_size=4))
def test_an_id_is_64_hex_digits_and_the_same_every_time(items: list[str | bytes | int]) -> None:
    assert re.fullmatch("[0-9a-f]{64}", digest(*items))
    assert digest(*items) == digest(*items)


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (digest(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (digest("a", b"b", 1), "ca9a09c531af529797bd93e27316dffde9f6b09a1721b30941121a4e61976390"),
        (file_id("src", "a/é.py", b"x = 1\n"), "814ffdf334dfd4472cc0c565f2b1f477e6d3dbeb32eda448f652224451d1c9c5"),
        (seed_id(FileId("f" * 64), 3), "e12f5ec866f4df472e9a26599455b5d2c741e2bb94a7d19a68bbde3a1f0c4ca3"),
        (derived_id("e" * 64, "concepts", 0), "121733283dde714e7089da42e71eedcbb568134ac0a22d47b8ba61bd017ece26"),
    ],
)
def test_ids_are_the_same_in_every_version(found: str, known: str) -> None:
    assert found == known


def test_the_sampling_seed_is_the_same_in_every_version() -> None:
    assert sampling_seed("e" * 64, 3407) == 782377975


@given(st.text(), st.integers())
def test_a_sampling_seed_fits_the_int_of_a_server_in_c(request_id: str, recipe_seed: int) -> None:
    assert 0 <= sampling_seed(request_id, recipe_seed) < 2**31


def test_what_differs_in_one_part_has_another_id() -> None:
    ids = {file_id(source, path, content) for source, path, content in product("st", "pq", (b"c", b"d"))}
    assert len(ids) == 8
    assert len({derived_id(parent, stage, index) for parent, stage, index in product("ab", "st", (0, 1))}) == 8
