"""Chance that is the same in every process: all draws come from a hash of what is asked."""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """A row of draws, fixed by `parts`."""

    def __init__(self, *parts: object) -> None:
        self._random = random.Random(hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest())

    def share(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()

    def number(self, least: int, most: int) -> int:
        """Return a whole number of least..most."""
        return self._random.randint(least, most)

    def one(self, choices: Sequence[T]) -> T:
        """Return one of `choices`."""
        return self._random.choice(choices)

    def some(self, choices: Sequence[T], count: int) -> list[T]:
        """Return `count` different ones of `choices`, in any order."""
        return self._random.sample(choices, count)

    def word(self, letters: int = 6) -> str:
        """Return a short name of its own.

        >>> Dice("a").word() == Dice("a").word() != Dice("b").word()
        True
        """
        return "".join(self._random.choice("abcdefghijkmnopqrstuvwxyz") for _ in range(letters))

    def lognormal(self, mean: float, sigma: float) -> float:
        """Return a lognormal number of the given mean; `sigma` is the deviation of its logarithm."""
        return mean * math.exp(self._random.gauss(-(sigma**2) / 2, sigma))
