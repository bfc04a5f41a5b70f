"""Paths in a file are relative to its own folder: those of a recipe or a config file, put so that they can be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stream.config import Document


def placed(document: Document, folder: Path) -> Document:
    """Return the document with its paths relative to where we are: a folder of prompts, which is written with a "/",
    accelerate's config, and a base model, which is a folder where there is one, else a name on the hub."""
    changed: dict[str, Any] = {}
    prompts, train = document.data.get("prompts"), document.data.get("train")
    if isinstance(prompts, str) and "/" in prompts:
        changed["prompts"] = str(folder / prompts)
    if isinstance(train, dict):
        table = cast("Mapping[str, Any]", train)
        named = {key: value for key in ("base", "accelerate") if isinstance(value := table.get(key), str)}
        changed["train"] = {**table, **{key: str(folder / v) for key, v in named.items() if (folder / v).exists()}}
    return Document(document.name, document.text, {**document.data, **changed})
