"""Near-duplicates of text: which of those kept before is at least this similar? MinHash with banding finds candidates
(Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), the shingle sets themselves
decide. So no text is dropped without a kept one that is similar enough, and a similar one is missed with the known
probability of the bands alone.

The band table is our own: datasketch's `MinHashLSH` has no bound on a bucket, and common boilerplate then makes
every look-up slower than the one before.

All hashes are fixed for good, as a state log outlives processes and versions: tokens are cut from UTF-8 bytes, so no
edition of Unicode matters, shingles are hashed with BLAKE2b, and the permutations are datasketch's `affine32` of
seed 1.
"""

import base64
import re
from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

POSTING_CAP = 64
"""Kept texts that one bucket names at most, the first ones. More share a bucket only through common boilerplate, and
each of them stands in the buckets of other bands as well."""

_TOKEN = re.compile(rb"[0-9a-z_\x80-\xff]+")
_CHUNK = 4096  # shingles hashed at once: with 128 permutations, 2 MB


@dataclass(frozen=True, slots=True)
class Sketch:
    """A text as the index sees it."""

    shingles: NDArray[np.uint32]  # [n], sorted, distinct, n >= 1
    keys: tuple[bytes, ...]  # [bands]


@dataclass(frozen=True, slots=True)
class Match:
    """A kept text, and its Jaccard similarity to the one asked about, 0 to 1."""

    id: str
    similarity: float


def shingles(text: str, ngram: int) -> NDArray[np.uint32]:
    """Return the hashes of a text's n-grams of tokens, sorted and distinct; never empty.

    A token is a run of ASCII letters (in lower case), digits, underscores and bytes of other characters. A text of
    fewer tokens than `ngram` has one shingle of them all, and a text without tokens one of what is not white space.

    >>> len(shingles("one two three four five six", 5)), len(shingles("one two", 5)), len(shingles("", 5))
    (2, 1, 1)
    """
    raw = text.encode("utf-8", "surrogatepass").lower()
    tokens = _TOKEN.findall(raw) or [b"".join(raw.split())]
    grams = {b" ".join(tokens[i : i + ngram]) for i in range(max(1, len(tokens) - ngram + 1))}
    hashes = b"".join([blake2b(gram, digest_size=4).digest() for gram in grams])
    return np.unique(np.frombuffer(hashes, dtype="<u4")).astype(np.uint32)


def jaccard(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Return the similarity of two sets of shingles, each sorted and distinct.

    >>> jaccard(shingles("a b c d e f", 5), shingles("a b c d e g", 5)) == 1 / 3
    True
    """
    common = int(np.intersect1d(a, b, assume_unique=True).size)
    return common / (a.size + b.size - common)


class NearDuplicates:
    """The texts kept so far. Not thread-safe.

    Cost:    one MinHash of O(shingles * num_perm) per text; a look-up compares with at most bands * POSTING_CAP texts,
             0.3 in the mean on code.
    Raises:  ValueError when `bands` times `rows` exceeds `num_perm`.
    """

    def __init__(self, threshold: float, ngram: int, num_perm: int, bands: int, rows: int) -> None:
        if bands * rows > num_perm:
            raise ValueError(f"{bands} bands of {rows} rows need {bands * rows} permutations, got {num_perm}")
        from datasketch import MinHash  # scipy comes with it, half the start of a command that needs neither

        self._threshold = threshold
        self._ngram = ngram
        self._bands = bands
        self._rows = rows
        # The hash function is the identity, as shingles are hashes already.
        self._empty = MinHash(num_perm, seed=1, hashfunc=int, scheme="affine32")
        self._ids: list[str] = []
        self._shingles: list[NDArray[np.uint32]] = []
        self._tables: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(bands)]

    def sketch(self, text: str) -> Sketch:
        """Return what is compared of a text. Pure."""
        return self._sketch(shingles(text, self._ngram))

    def nearest(self, sketch: Sketch) -> Match | None:
        """Return the most similar of the kept texts found, of equals the first kept; None below the threshold."""
        return max(self.near(sketch), key=lambda match: match.similarity, default=None)

    def near(self, sketch: Sketch) -> list[Match]:
        """Return every kept text found that is similar enough, first kept first."""
        found = {n for key, table in zip(sketch.keys, self._tables, strict=True) for n in table.get(key, ())}
        matches = (Match(self._ids[n], jaccard(sketch.shingles, self._shingles[n])) for n in sorted(found))
        return [match for match in matches if match.similarity >= self._threshold]

    def add(self, id_: str, sketch: Sketch) -> None:
        """Keep a text."""
        number = len(self._ids)
        self._ids.append(id_)
        self._shingles.append(sketch.shingles)
        for key, table in zip(sketch.keys, self._tables, strict=True):
            if len(table[key]) < POSTING_CAP:
                table[key].append(number)

    def restore(self, entry: str) -> None:
        """Keep what `dump` wrote. Restoring entries in their order gives an index that answers as the first one did.

        Raises:  ValueError when it is no such entry.
        """
        id_, _, shingles_ = entry.rpartition(" ")
        try:
            raw = base64.b64decode(shingles_, validate=True)
        except ValueError:
            raw = b""
        if not id_ or not raw or len(raw) % 4:
            raise ValueError(f"no entry of near-duplicates: {entry[:80]!r}")
        self.add(id_, self._sketch(np.frombuffer(raw, dtype="<u4").astype(np.uint32)))

    def _sketch(self, hashes: NDArray[np.uint32]) -> Sketch:
        minhash = self._empty.copy()
        for start in range(0, hashes.size, _CHUNK):
            minhash.update_batch(hashes[start : start + _CHUNK].tolist())
        signature = np.asarray(minhash.hashvalues, dtype="<u4").tobytes()
        width = 4 * self._rows
        return Sketch(hashes, tuple(signature[band * width : (band + 1) * width] for band in range(self._bands)))


def dump(id_: str, sketch: Sketch) -> str:
    """Return a kept text as one line: its id, and its shingle hashes in base64. 5.3 bytes a shingle."""
    return f"{id_} {base64.b64encode(sketch.shingles.astype('<u4').tobytes()).decode()}"
