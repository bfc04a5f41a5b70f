"""How long answers took, in few numbers: a histogram with fixed buckets, as Prometheus has it. Pure."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

BOUNDS_S = (0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 4, 6, 10, 15, 25, 40, 60, 100, 150, 250, 400, 600)
"""Upper bounds of the buckets, in seconds. Each is at most 2 times the one before (from 0.15 s on, 1.7 times), and a
quantile is known that well. A short answer of a small model takes 0.05 s; 600 s is the default limit of a request."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """Answers by the time each took, between sending and the last byte of the reply. Frozen: a thread may read it."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)  # by bucket; the last one is above all bounds
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        """All answers."""
        return sum(self.counts)

    def seen(self, seconds: float) -> "Latencies":
        """Return these and one more."""
        counts = list(self.counts)
        counts[bisect_left(BOUNDS_S, seconds)] += 1
        return Latencies(tuple(counts), self.sum_s + seconds)

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies(tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)), self.sum_s + other.sum_s)

    def __sub__(self, earlier: "Latencies") -> "Latencies":
        """Return those that came since an earlier state of the same histogram."""
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Latencies(counts, self.sum_s - earlier.sum_s)

    def cumulative(self) -> Sequence[tuple[float, int]]:
        """Return each bound with the number of answers up to it; the last bound is infinite.

        >>> Latencies().seen(0.05).seen(700).cumulative()[0], Latencies().seen(0.05).seen(700).cumulative()[-1]
        ((0.05, 1), (inf, 2))
        """
        return list(zip((*BOUNDS_S, float("inf")), accumulate(self.counts), strict=True))

    def quantile_s(self, share: float) -> float | None:
        """Return the time within which `share` of the answers came, interpolated inside its bucket, as Prometheus'
        histogram_quantile does; the last bound where it lies above; None when there was no answer.

        >>> many = Latencies()
        >>> for tenths in range(1, 101): many = many.seen(tenths / 10)
        >>> many.quantile_s(0.5), many.quantile_s(0.95)
        (5.0, 9.5)
        >>> Latencies().seen(9999).quantile_s(0.5), Latencies().quantile_s(0.5)
        (600, None)
        """
        total = self.count
        if not total:
            return None
        rank, below, low_s = share * total, 0, 0.0
        for count, high_s in zip(self.counts, BOUNDS_S, strict=False):
            if below + count >= rank and count:
                return low_s + (high_s - low_s) * (rank - below) / count
            below, low_s = below + count, high_s
        return BOUNDS_S[-1]
