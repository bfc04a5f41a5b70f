"""Scores as a grid: a row a model, a column a benchmark and what was measured on it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.records import PassAt, Score


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """What a column shows."""

    benchmark: str
    setting: str
    k: int

    def __str__(self) -> str:
        return f"{self.benchmark} pass@{self.k}, {self.setting}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Models in the order of the scores, measures sorted by name; what was not measured has no cell."""

    models: tuple[str, ...]
    measures: tuple[Measure, ...]
    cells: Mapping[tuple[str, Measure], PassAt]
    changed: tuple[str, ...]  # benchmarks whose problems are not the same in all scores

    @staticmethod
    def of(scores: Sequence[Score]) -> "Grid":
        cells = {
            (score.model_id, Measure(score.benchmark, score.setting, at.k)): at
            for score in scores
            for at in score.pass_at
        }
        editions: dict[str, set[str]] = {}
        for score in scores:
            editions.setdefault(score.benchmark, set()).add(score.benchmark_sha256)
        return Grid(
            tuple(dict.fromkeys(score.model_id for score in scores)),
            tuple(sorted({measure for _, measure in cells})),
            cells,
            tuple(sorted(name for name, hashes in editions.items() if len(hashes) > 1)),
        )


def percent(at: PassAt) -> str:
    """Write a share with its interval.

    >>> percent(PassAt(1, 0.725609, 0.652692, 0.788165))
    '72.6 (65.3–78.8)'
    """
    return f"{100 * at.value:.1f} ({100 * at.low:.1f}–{100 * at.high:.1f})"
