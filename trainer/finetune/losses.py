"""The losses of a training: from the trainer's log to numbers, a CSV and a picture."""

import csv
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("step", "epoch", "loss", "learning_rate", "grad_norm", "held_out_loss")

Log = Sequence[Mapping[str, Any]]
"""transformers' log_history: an entry for each step, and for each evaluation."""


def steps(log: Log) -> tuple[float, ...]:
    """Return the loss of each step."""
    return tuple(float(entry["loss"]) for entry in log if "loss" in entry)


def held_out(log: Log) -> tuple[float, ...]:
    """Return the loss of each evaluation."""
    return tuple(float(entry["eval_loss"]) for entry in log if "eval_loss" in entry)


def write_csv(log: Log, path: Path) -> None:
    """Write a row for each step, with the held-out loss after it where there is one."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for entry in log:
            if "loss" in entry or "eval_loss" in entry:
                named = {**entry, "held_out_loss": entry.get("eval_loss")}
                rows.writerow([named.get(column) for column in COLUMNS])


def draw(log: Log, path: Path, unit: str) -> None:
    """Draw the losses over the steps; they are a mean for each `unit`."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    trained = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
    apart = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
    axes.plot([s for s, _ in trained], [loss for _, loss in trained], label="training", linewidth=1)
    if apart:
        axes.plot([s for s, _ in apart], [loss for _, loss in apart], "o-", label="held out")
        axes.legend()
    axes.set(xlabel="optimizer step", ylabel=f"loss, nats per {unit}")
    axes.grid(alpha=0.3)
    # No time, no version: equal losses give equal pictures.
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)
