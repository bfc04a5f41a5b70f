"""Train and test share no near-duplicate, of whichever text, and a row's place follows from its group alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.near_duplicates import jaccard, shingles
from deploy.dataset.split import NGRAM, THRESHOLD, Split, Texts, drawn, split
from stream.errors import WrongConfig
from stream.records import digest
from tests.tries import tries


def words(seed: int, count: int = 40) -> list[str]:
    chosen = random.Random(seed)
    return [f"w{chosen.randrange(10_000)}" for _ in range(count)]


def row(number: int, **texts: str) -> tuple[str, Texts]:
    return digest("row", number), tuple(texts.items())


def clustered(clusters: int, size: int) -> list[tuple[str, Texts]]:
    """Rows in clusters: each differs from its cluster's first in a few words of one of its texts."""
    rows: list[tuple[str, Texts]] = []
    for c in range(clusters):
        for member in range(size):
            texts = {what: words(digits) for what, digits in (("seed", c), ("instruction", 10_000 + c))}
            if member:
                other = ("instruction", "seed")[member % 2]
                texts[other] = words(100_000 + 100 * c + member)  # alike in the one text alone
                texts[("seed", "instruction")[member % 2]][member] = "changed"
            rows.append(row(100 * c + member, **{what: " ".join(text) for what, text in texts.items()}))
    return sorted(rows)


def leaks(rows: list[tuple[str, Texts]], made: Split) -> list[tuple[str, str]]:
    """Every pair across the splits that is alike in any text, by comparing all with all."""
    return [
        (a, b)
        for a, texts in rows
        for b, others in rows
        if a in made.test and b not in made.test
        for (what, one), (same, other) in ((x, y) for x in texts for y in others)
        if what == same and jaccard(shingles(one, NGRAM), shingles(other, NGRAM)) >= THRESHOLD
    ]


def test_no_near_duplicate_stands_across_the_splits():
    rows = clustered(40, 3)
    made = split(rows, 0.3)
    assert leaks(rows, made) == []
    assert (made.components, made.largest) == (40, 3)
    assert 0.1 < len(made.test) / len(rows) < 0.5


def test_a_chain_of_near_duplicates_is_one_group_though_its_ends_are_not_alike():
    text = words(1, 100)
    chain = [row(n, instruction=" ".join(text[8 * n : 8 * n + 60])) for n in range(6)]
    assert jaccard(shingles(chain[0][1][0][1], NGRAM), shingles(chain[5][1][0][1], NGRAM)) < THRESHOLD
    others = [row(100 + n, instruction=" ".join(words(1000 + n))) for n in range(30)]
    made = split(sorted([*chain, *others]), 0.5)
    assert made.largest == 6 and made.components == 31
    assert len({key in made.test for key, _ in chain}) == 1


@given(st.randoms(use_true_random=False))
@tries(10)
def test_the_order_of_the_rows_changes_nothing(chance: random.Random):
    rows = clustered(12, 3)
    shuffled = rows[:]
    chance.shuffle(shuffled)
    assert split(shuffled, 0.4) == split(rows, 0.4)


def test_a_row_stays_where_it_is_when_others_come():
    rows = clustered(60, 2)
    fewer, more = split(rows[:60], 0.3), split(rows, 0.3)
    # A smaller key that joins a group can move it: those are the rows whose group grew.
    first = {key for key, _ in rows[:60]}
    grown = {key for key in first if (key in fewer.test) != (key in more.test)}
    assert len(grown) < 15 and leaks(rows, more) == []
    alone = [row(n, seed=" ".join(words(n))) for n in range(200)]
    assert split(alone[:100], 0.3).test == split(alone, 0.3).test & {key for key, _ in alone[:100]}


def test_the_share_is_kept_over_many_groups():
    keys = [digest("key", n) for n in range(5_000)]
    assert sum(drawn(key, 0.1) for key in keys) / 5_000 == pytest.approx(0.1, abs=0.015)
    assert not any(drawn(key, 0.0) for key in keys[:100])


def test_texts_of_another_kind_are_not_compared():
    made = split(
        [row(n, **{what: "the same words in each of them"}) for n, what in enumerate(("seed", "response"))], 0.5
    )
    assert made.components == 2


def test_a_split_without_rows_is_refused():
    alike = [row(n, seed="the same words in each of them") for n in range(4)]
    with pytest.raises(WrongConfig, match=r"of 4 rows in 1 groups of near-duplicates leaves the \w+ split empty"):
        split(alike, 0.5)
    assert split([], 0.5) == Split(0.5, frozenset(), 0, 0)


def test_rows_without_texts_cannot_be_split():
    with pytest.raises(WrongConfig, match="holds no texts"):
        split([("key", ())], 0.5)
