"""The index alone. What stage `unique` makes of it is in test_unique."""

import hashlib
import os
import random
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import near_duplicates
from consumers.near_duplicates import Match, NearDuplicates, dump, jaccard, shingles

TOKENS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.lists(TOKENS, max_size=14).map(" ".join)


def index(threshold: float = 0.5) -> NearDuplicates:
    return NearDuplicates(threshold, ngram=5, num_perm=128, bands=32, rows=4)


def keep(kept: NearDuplicates, id_: str, text: str) -> None:
    kept.add(id_, kept.sketch(text))


def similar(a: str, b: str) -> float:
    return jaccard(shingles(a, 5), shingles(b, 5))


def program(seed: int, lines: int = 30) -> str:
    chosen = random.Random(seed)
    return "\n".join(
        f"    v{chosen.randrange(500)} = f{chosen.randrange(500)}(v{chosen.randrange(500)})" for _ in range(lines)
    )


def test_shingles_are_the_distinct_runs_of_five_tokens() -> None:
    assert shingles("a b c d e f", 5).size == 2
    assert shingles("a b c d e", 5).size == 1
    assert shingles("a a a a a a a a", 5).size == 1
    assert np.array_equal(shingles("a(b) + c.d == e", 5), shingles("a b c d e", 5))
    assert np.array_equal(shingles("F O R x Y", 5), shingles("f o r X y", 5))
    assert similar("a b c d e f", "a b c d e") == 1 / 2


@pytest.mark.parametrize("text", ["x", "x y", "x y z", "x y z w"])
def test_a_text_of_one_to_four_tokens_equals_itself_alone(text: str) -> None:
    assert shingles(text, 5).size == 1
    assert similar(text, f"  {text}\n") == 1
    assert similar(text, f"{text} q") == 0


@pytest.mark.parametrize("text", ["", " \n", "+", "...", "λ", "\0", "\ud800", "'''"])
def test_a_text_without_tokens_has_a_shingle_too(text: str) -> None:
    kept = index()
    assert kept.nearest(kept.sketch(text)) is None
    keep(kept, "first", text)
    assert kept.nearest(kept.sketch(text)) == Match("first", 1.0)


def test_texts_of_different_punctuation_are_no_duplicates() -> None:
    assert similar("+++", "---") == 0
    assert similar("", "+") == 0
    assert similar("", " \n") == 1


def test_layout_makes_no_difference() -> None:
    text = program(1)
    for changed in (
        text.replace("\n", "\r\n"),
        text.replace("    ", "\t"),
        text.replace("    ", " " * 12),
        f"\n{text}\n",
    ):
        assert similar(text, changed) == 1


def test_other_spellings_of_a_character_are_other_text_and_none_is_refused() -> None:
    for text in ("İstanbul été", "日本語 のコード", "\ud800 lone \udfff", "K kelvin", "🙂🙂"):
        for form in ("NFC", "NFD"):
            kept = index()
            keep(kept, "first", unicodedata.normalize(form, text))
            assert kept.nearest(kept.sketch(unicodedata.normalize(form, text))) == Match("first", 1.0)
    assert similar("été été été", unicodedata.normalize("NFD", "été été été")) == 0


def test_the_same_text_under_another_id_is_found_under_the_first() -> None:
    kept = index()
    keep(kept, "first", program(1))
    keep(kept, "second", program(2))
    assert kept.nearest(kept.sketch(program(1))) == Match("first", 1.0)


def test_the_most_similar_is_named_and_of_equals_the_first() -> None:
    text = program(1, lines=100)
    kept = index()
    keep(kept, "half", "\n".join(text.splitlines()[:60]))
    keep(kept, "most", "\n".join(text.splitlines()[:90]))
    keep(kept, "same as most", "\n".join(text.splitlines()[:90]))
    match = kept.nearest(kept.sketch(text))
    assert match is not None
    assert match.id == "most"
    assert match.similarity == similar(text, "\n".join(text.splitlines()[:90]))


def test_a_chain_is_cut_where_its_ends_are_not_similar() -> None:
    a = program(1, lines=100).splitlines()
    b, c = [*a[30:], *program(2, 20).splitlines()], [*a[60:], *program(3, 30).splitlines()]
    a_, b_, c_ = ("\n".join(lines) for lines in (a, b, c))
    assert similar(a_, b_) >= 0.5
    assert similar(a_, c_) < 0.5
    kept = index()
    keep(kept, "a", a_)
    assert kept.nearest(kept.sketch(b_)) is not None
    assert kept.nearest(kept.sketch(c_)) is None, "b was not kept, so nothing kept is near c"


@given(st.lists(TEXTS, max_size=20), st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_nothing_is_named_that_is_not_similar_enough(texts: list[str], threshold: float) -> None:
    kept = index(threshold)
    known: dict[str, str] = {}
    for n, text in enumerate(texts):
        match = kept.nearest(kept.sketch(text))
        best = max((similar(text, other) for other in known.values()), default=0.0)
        if match is not None:
            assert match.similarity == similar(text, known[match.id]) >= threshold
        elif best == 1:
            raise AssertionError("an equal text was kept and not found")
        keep(kept, str(n), text)
        known[str(n)] = text


def test_of_pairs_just_over_the_threshold_96_percent_are_found() -> None:
    found = total = 0
    for seed in range(400):
        lines = program(seed, lines=60).splitlines()
        other = "\n".join([*lines[:44], *program(10_000 + seed, lines=12).splitlines()])
        if similar("\n".join(lines), other) < 0.5:
            continue
        kept = index()
        keep(kept, "first", "\n".join(lines))
        total += 1
        found += kept.nearest(kept.sketch(other)) is not None
    assert total > 300
    assert found / total >= 0.96


def test_hashes_are_the_same_for_good() -> None:
    # A state log holds them: when this fails, no restored state means what it meant. Computed apart from our code.
    text = "def double(x): return 2 * x"
    grams = (b"def double x return 2", b"double x return 2 x")
    hashes = sorted(int.from_bytes(hashlib.blake2b(gram, digest_size=4).digest(), "little") for gram in grams)
    assert shingles(text, 5).tolist() == hashes == [1739231981, 3262650027]
    keys = b"".join(index().sketch(text).keys)
    assert keys[:16].hex() == "01dc991f4a374ac8d0b252ab74a22641"
    assert hashlib.sha256(keys).hexdigest()[:16] == "e1f110130d3db756"


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_another_process_makes_the_same_hashes(hash_seed: str) -> None:
    code = (
        "from consumers.near_duplicates import NearDuplicates, dump\n"
        "kept = NearDuplicates(.5, 5, 128, 32, 4)\n"
        f"sketch = kept.sketch({program(0)!r})\n"
        "print(dump('id', sketch), b''.join(sketch.keys).hex())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    sketch = index().sketch(program(0))
    assert run.stdout.split("\n")[0] == f"{dump('id', sketch)} {b''.join(sketch.keys).hex()}"


@given(st.lists(TEXTS, min_size=1, max_size=12), TEXTS)
def test_a_restored_index_answers_as_the_first_one(texts: list[str], asked: str) -> None:
    first, restored = index(), index()
    for n, text in enumerate(texts):
        sketch = first.sketch(text)
        first.add(f"id {n}", sketch)
        restored.restore(dump(f"id {n}", sketch))
    assert restored.nearest(restored.sketch(asked)) == first.nearest(first.sketch(asked))


@pytest.mark.parametrize("entry", ["", "id", "id ", "id !!!!", "id é", " AAAAAA==", "id AAA="])
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="no entry of near-duplicates"):
        index().restore(entry)


def test_a_mega_bucket_holds_no_more_than_its_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    # One row and one band make a bucket of every text whose smallest hash is that of the shared beginning.
    kept = NearDuplicates(0.9, ngram=5, num_perm=2, bands=1, rows=1)
    compared = 0

    def counting(a: np.ndarray, b: np.ndarray) -> float:
        nonlocal compared
        compared += 1
        return jaccard(a, b)

    monkeypatch.setattr(near_duplicates, "jaccard", counting)
    most = 0
    for n in range(2000):
        compared = 0
        sketch = kept.sketch(f"the very same first line w{n} x{n}")
        assert kept.nearest(sketch) is None
        most = max(most, compared)
        kept.add(str(n), sketch)
    assert most == near_duplicates.POSTING_CAP


def test_a_text_of_one_megabyte_is_indexed() -> None:
    text = " ".join(f"word{n % 70_000}" for n in range(130_000))
    line = "x" * 1_000_000
    kept = index()
    for id_, long in (("text", text), ("line", line), ("signs", "+" * 1_000_000)):
        assert kept.nearest(kept.sketch(long)) is None
        keep(kept, id_, long)
        assert kept.nearest(kept.sketch(long)) == Match(id_, 1.0)


def test_more_bands_than_permutations_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bands of 5 rows need 160 permutations, got 128"):
        NearDuplicates(0.5, 5, 128, 32, 5)


def test_every_kept_text_that_is_similar_enough_is_found_first_kept_first() -> None:
    kept = index()
    texts = {"one": program(1), "other": program(2), "like one": f"{program(1)}\nend", "also": program(1).upper()}
    for id_, text in texts.items():
        keep(kept, id_, text)
    assert [match.id for match in kept.near(kept.sketch(program(1)))] == ["one", "like one", "also"]
    assert kept.nearest(kept.sketch(program(1))) == Match("one", 1.0)
    assert kept.near(kept.sketch(program(3))) == []
