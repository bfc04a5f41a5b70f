"""pass@k, and how sure it is. Pure.

Source: Chen et al. 2021 (arXiv:2107.03374), equation 1. The interval is over problems, as if the benchmark's had been
drawn from many more like them:

- Where each problem's value is 0 or 1, as with one greedy sample, their sum is binomial, and the interval is Wilson's
  (1927). It stays inside [0, 1] and keeps a width where all or none passed; a bootstrap would give [0, 0] there.
- Else it is the percentile bootstrap (Efron 1979) over problems: their values have no simple distribution. The draws
  are those of a fixed seed, so equal results give equal intervals.
"""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from stream.records import PassAt

Z95 = 1.959963984540054
"""The .975 quantile of the normal distribution."""

RESAMPLES = 10_000
_CHUNK = 500  # resamples drawn at once: with 1,000 problems, 4 MB


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the chance that at least one of `k` samples passes, of which `c` among `n` did: 1 - C(n-c, k) / C(n, k).

    >>> pass_at_k(10, 3, 1), pass_at_k(5, 2, 2), pass_at_k(5, 4, 2)
    (0.3, 0.7, 1.0)

    Raises:  ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"expected 0 <= c <= n and 1 <= k <= n, got n = {n}, c = {c}, k = {k}")
    total = math.comb(n, k)
    return (total - math.comb(n - c, k)) / total  # of integers: exact until the division


def estimate(samples: int, passed: Sequence[int], k: int) -> PassAt:
    """Return pass@k over the problems of a benchmark; of each, `passed` of `samples` did.

    >>> estimate(1, [1, 0, 1, 1], 1)
    PassAt(k=1, value=0.75, low=0.300642, high=0.954413)

    Raises:  ValueError when there is no problem; as `pass_at_k`.
    """
    if not passed:
        raise ValueError("expected at least one problem")
    values = [pass_at_k(samples, c, k) for c in passed]
    mean = fmean(values)
    binary = all(value in (0.0, 1.0) for value in values)
    low, high = wilson(round(sum(values)), len(values)) if binary else bootstrap(values)
    return PassAt(k, round(mean, 6), round(low, 6), round(high, 6))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95% interval of a binomial share.

    >>> [round(bound, 4) for bound in wilson(0, 164)]
    [0.0, 0.0229]
    """
    share, z2 = successes / trials, Z95 * Z95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    # At the ends the bound is the share itself, but for rounding.
    return (centre - half if successes else 0.0), (centre + half if successes < trials else 1.0)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of a mean: the percentiles of the means of RESAMPLES resamples.

    Cost:  O(RESAMPLES * len(values)) time, .1 s for 1,000 values.
    """
    array = np.asarray(values, dtype=np.float64)
    # The one generator of numpy whose stream is frozen for good.
    draws = np.random.RandomState(0)
    means = np.concatenate(
        [array[draws.randint(0, array.size, (_CHUNK, array.size))].mean(axis=1) for _ in range(RESAMPLES // _CHUNK)]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
