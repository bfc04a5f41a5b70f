"""The model card: what a published checkpoint is, what it was made from, and how to make it again. Pure: no time, no
host."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stream.records import Model
from trainer.work import Result

SHOWN_IDS = 20


def card(
    model: Model,
    result: Result,
    licences: Mapping[str, int],
    template: str,
    retracted: Sequence[str] = (),
    on_hub: bool = False,
) -> str:
    """Return the card as Markdown. `licences` counts the rows of each, `retracted` names rows of an older manifest that
    could not be built again; `on_hub` says that the base's name is one on the hub."""
    settings: dict[str, Any] = json.loads(model.hyperparameters)
    parts = [
        _front(model, on_hub),
        f"# {model.directory.rstrip('/').rpartition('/')[2]}\n\n{_what(model, result, settings)}",
        _ask(template),
        "## What it was trained on",
        _data(model, result),
        *([_left_out(result, settings["max_length"])] if result.left_out else []),
        *([_retracted(retracted)] if retracted else []),
        "Licences of the files that the rows were made from:",
        _table(("licence", "rows"), [(licence, f"{count:,}") for licence, count in licences.items()]),
        "## How it was trained",
        _losses(model, result),
        "![losses](training/loss.png)",
        _table(("hyper-parameter", "value"), _flat(settings)),
        f"Libraries: {', '.join(f'{name} {version}' for name, version in result.versions.items())}.",
        "## How to make it again",
        _again(model),
    ]
    return "\n\n".join(parts) + "\n"


def _front(model: Model, on_hub: bool) -> str:
    base = [f"base_model: {model.base}"] if on_hub else []  # the hub takes no path there
    tags = ("code", "seedstream", json.loads(model.hyperparameters)["method"])
    lines = ["library_name: transformers", "pipeline_tag: text-generation", *base, "tags:", *(f"- {t}" for t in tags)]
    return "\n".join(["---", *lines, "---"])


def _what(model: Model, result: Result, settings: Mapping[str, Any]) -> str:
    kind = "fine-tuned on instructions" if settings["method"] == "sft" else "trained on preferences"
    return (
        f"`{model.base}`, {kind}: {result.parameters:,} parameters, {result.trained:,} rows, {result.steps:,} "
        f"optimizer steps. Model id `{model.model_id}`."
    )


def _ask(template: str) -> str:
    fence = "`" * (1 + max(2, *map(len, re.findall("`+", template)), 0))
    return (
        "It answers one instruction in this form, which its chat template writes too:\n\n"
        f"{fence}\n{template.strip(chr(10))}\n{fence}"
    )


def _data(model: Model, result: Result) -> str:
    manifest = model.manifest
    ends = ", ".join(map(str, manifest.ends)) or "none: it is a file"
    rows = [
        ("source", f"`{manifest.source}` of namespace `{manifest.namespace}`"),
        ("end offsets", ends),
        ("rows", f"{manifest.keys:,}"),
        ("tokens an epoch", f"{result.tokens:,}"),
        ("sha256 of the rows", f"`{manifest.sha256}`"),
        ("sha256 of the recipe", f"`{manifest.recipe_sha256}`"),
        ("sha256 of the base", f"`{model.base_sha256}`"),
        ("sha256 of these weights", f"`{model.weights_sha256}`"),
    ]
    return _table(("", ""), rows)


def _left_out(result: Result, max_length: int) -> str:
    return (
        f"{len(result.left_out):,} rows are longer than {max_length:,} tokens and were left out: "
        f"{_some(result.left_out)}."
    )


def _retracted(retracted: Sequence[str]) -> str:
    return f"{len(retracted):,} rows of the manifest that this was rebuilt from were retracted: {_some(retracted)}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_IDS:,} more" if len(names) > SHOWN_IDS else ""
    return ", ".join(f"`{name}`" for name in names[:SHOWN_IDS]) + more


def _losses(model: Model, result: Result) -> str:
    said = (
        [f"Loss {model.losses[0]:.4f} at the first step, {model.losses[-1]:.4f} at the last."] if model.losses else []
    )
    if model.held_out_losses:
        said.append(
            f"On rows held out: {model.held_out_losses[0]:.4f} before the training, {model.held_out_losses[-1]:.4f} "
            "after it."
        )
    return " ".join([*said, "Every step stands in `training/losses.csv`."])


def _flat(settings: Mapping[str, Any], at: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(cast("dict[str, Any]", value), f"{at}{name}.")
        elif name != "template":
            rows.append((f"`{at}{name}`", "not set" if value is None else json.dumps(value)))
    return rows


def _again(model: Model) -> str:
    if not model.manifest.ends:
        return f"`seedstream train --data {model.manifest.source} --base BASE --out NEW`, with the values above."
    return (
        "The manifest, and the hash of each row, stand in `training/`. On the stream that it was made from,\n\n"
        "```\nseedstream train --dir DIR --rebuild THIS_FOLDER --out NEW\n```\n\n"
        "builds the same rows, byte for byte, or names those that were retracted since, and trains on them again with "
        "the hyper-parameters of this model (`--base`, where the base stands elsewhere now)."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
