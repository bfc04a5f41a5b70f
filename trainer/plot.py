"""A picture of scores: a group of bars a measure, a bar a model, with 95% intervals."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from stream.errors import WrongConfig
from stream.records import PassAt
from trainer.score_table import Grid, Measure

_ROW_INCHES = 0.36
_COLOURS = ("#3b6ea5", "#e08e45", "#5a9367", "#b5495b", "#7f6ba8", "#8c8c8c")  # told apart also without red or green


@dataclass(frozen=True, slots=True)
class _Row:
    """One bar."""

    y: float
    model: str
    measure: Measure
    at: PassAt


def _rows(grid: Grid) -> list[_Row]:
    """Return the bars from the top, with a gap between measures."""
    rows: list[_Row] = []
    for gap, measure in enumerate(grid.measures):
        for model in grid.models:
            at = grid.cells.get((model, measure))
            if at is not None:
                rows.append(_Row(len(rows) + 0.7 * gap, model, measure, at))
    return rows


def draw(grid: Grid, path: Path) -> None:
    """Write the grid as a PNG file. Equal grids give equal bytes, with the same matplotlib.

    Raises:  WrongConfig when there is no score, matplotlib is not installed, or the file is none of a
             PNG's name or cannot be written.
    """
    if not grid.cells:
        raise WrongConfig("there is no score to draw")
    if path.suffix.lower() != ".png":
        raise WrongConfig(f"{path}: expected a name that ends in .png")
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError as err:
        raise WrongConfig('the plot needs matplotlib: pip install "seedstream[train]"') from err
    rows = _rows(grid)
    # Bars lie, so that long names of benchmarks and models can be read.
    figure: Any = figures.Figure(figsize=(8.0, 1.5 + _ROW_INCHES * (rows[-1].y + 1)), layout="constrained")
    axes: Any = figure.subplots()
    for number, model in enumerate(grid.models):
        own = [row for row in rows if row.model == model]
        ys, values = [row.y for row in own], [100 * row.at.value for row in own]
        below = [100 * (row.at.value - row.at.low) for row in own]
        above = [100 * (row.at.high - row.at.value) for row in own]
        axes.barh(ys, values, height=0.85, color=_COLOURS[number % len(_COLOURS)], label=model)
        axes.errorbar(values, ys, xerr=[below, above], fmt="none", ecolor="black", elinewidth=1, capsize=3)
        for row, value in zip(own, values, strict=True):
            place = (100 * row.at.high, row.y)
            axes.annotate(f"{value:.1f}", place, (5, 0), textcoords="offset points", va="center", fontsize=9)
    middles = [fmean(row.y for row in rows if row.measure == measure) for measure in grid.measures]
    axes.set_yticks(middles, [f"{m.benchmark}, pass@{m.k}\n{m.setting}" for m in grid.measures])
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("problems solved, %, with 95% interval")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=min(3, len(grid.models)), frameon=False)
    try:
        figure.savefig(path, dpi=150, metadata={"Software": None})
    except OSError as err:
        raise WrongConfig(f"{path} cannot be written: {err.strerror}") from err
