"""Train and test without leakage: rows of which any text is a near-duplicate stand in one split.

The near-duplicates are the edges of a graph; a connected component goes to one split as a whole, drawn by the hash of
its smallest key. So a row stays where it is when others come, unless they join its component to another.

Source of the threshold: SelfCodeAlign's for seeds. With 42 bands of 3 rows a pair of .5 is found in .996 of the cases,
one of .6 in .9999, and what is found is compared exactly.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from consumers.near_duplicates import NearDuplicates
from stream.errors import WrongConfig
from stream.records import digest

THRESHOLD = 0.5
"""Jaccard similarity of 5-grams of tokens."""
NGRAM, NUM_PERM, BANDS, ROWS = 5, 128, 42, 3

Texts = Sequence[tuple[str, str]]
"""What of a row is compared with the same of others, and its text."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows are for testing. All others are for training."""

    share: float  # that was asked for
    test: frozenset[str]  # keys
    components: int
    largest: int  # rows of the largest component


class _Components:
    """Disjoint sets of keys; each is named by its smallest key."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def add(self, key: str) -> None:
        self._above.setdefault(key, key)

    def join(self, a: str, b: str) -> None:
        first, second = sorted((self.name(a), self.name(b)))
        self._above[second] = first

    def name(self, key: str) -> str:
        while self._above[key] != key:
            self._above[key] = key = self._above[self._above[key]]
        return key

    def names(self) -> dict[str, str]:
        return {key: self.name(key) for key in self._above}


def split(rows: Iterable[tuple[str, Texts]], share: float) -> Split:
    """Draw the test rows among (key, texts).

    Memory:  some 5 bytes a shingle and 2 KB a text.
    Raises:  WrongConfig when a row has no text, or a split would be empty.
    """
    components = _Components()
    kept: dict[str, NearDuplicates] = {}
    for key, texts in rows:
        if not texts:
            raise WrongConfig("--test-share: this topic holds no texts whose near-duplicates could be kept together")
        components.add(key)
        for what, text in texts:
            index = kept.setdefault(what, NearDuplicates(THRESHOLD, NGRAM, NUM_PERM, BANDS, ROWS))
            sketch = index.sketch(text)
            for match in index.near(sketch):
                components.join(key, match.id)
            index.add(key, sketch)
    names = components.names()
    test = frozenset(key for key, name in names.items() if drawn(name, share))
    sizes = Counter(names.values())
    if names and not 0 < len(test) < len(names):
        empty = "train" if test else "test"
        raise WrongConfig(
            f"--test-share {share:g} of {len(names):,} rows in {len(sizes):,} groups of near-duplicates leaves the "
            f"{empty} split empty: take another share, or more rows"
        )
    return Split(share, test, len(sizes), max(sizes.values(), default=0))


def drawn(name: str, share: float) -> bool:
    """Whether a component is for testing.

    >>> sum(drawn(str(n), 0.1) for n in range(1000))
    88
    """
    return int(digest("split", name)[:16], 16) < share * 2**64
