"""The funnel as a picture: a bar a stage, what came out of it and what was turned down, with the reasons."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.streams.funnel import Count

REASONS = 4
"""That a bar names; the others are one more part."""

_OUT, _DEAD = "#3b6ea5", "#b5495b"
_REJECTED = ("#e08e45", "#eeb27c", "#f3cda6", "#f8e2cb", "#d9d9d9")


def draw(counts: Sequence[Count], path: Path) -> bool:
    """Write the funnel as a PNG file and return whether matplotlib is there to draw it. Equal counts give equal bytes,
    with the same matplotlib."""
    try:
        figures: Any = importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    figure: Any = figures.Figure(figsize=(9.0, 0.7 + 0.6 * len(counts)), layout="constrained")
    axes: Any = figure.subplots()
    longest = max((sum(n for _, n, _ in _parts(count)) for count in counts), default=0) or 1
    for y, count in enumerate(counts):
        left = 0
        for _, n, colour in _parts(count):
            axes.barh(y, n, left=left, height=0.45, color=colour, edgecolor="white", linewidth=0.5)
            left += n
        axes.annotate(_words(count), (0, y + 0.24), (3, -2), textcoords="offset points", va="top", fontsize=8)
    axes.set_yticks(range(len(counts)), [count.stage for count in counts])
    axes.set_xlim(0, 1.01 * longest)
    axes.set_ylim(len(counts) - 0.35, -0.45)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title("out (blue), turned down by reason (orange), dead (red)", fontsize=9, loc="left")
    figure.savefig(path, dpi=140, metadata={"Software": None})
    return True


def _parts(count: Count) -> list[tuple[str, int, str]]:
    """Return the parts of a bar: what it stands for, how long it is, its colour."""
    ordered = sorted(count.rejected.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ordered[REASONS:])
    named = [*ordered[:REASONS], ("others", rest)]
    rejected = [(reason, n, colour) for (reason, n), colour in zip(named, _REJECTED, strict=False) if n]
    return [("out", count.out, _OUT), *rejected, *([("dead", count.dead, _DEAD)] if count.dead else [])]


def _words(count: Count) -> str:
    return ", ".join(f"{n:,} {what}" for what, n, _ in _parts(count))
