"""Paths in a file are relative to its own folder: those of a recipe or a config file, put so that they can be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stream.config import Document


def placed(document: Document, folder: Path) -> Document:
    """Return the document with its paths relative to where we are: a folder of prompts, which is written with a "/",
    and a base model, which is a folder where there is one, else a name on the hub."""
    changed: dict[str, Any] = {}
    prompts, train = document.data.get("prompts"), document.data.get("train")
    if isinstance(prompts, str) and "/" in prompts:
        changed["prompts"] = str(folder / prompts)
    if isinstance(train, dict):
        table = cast("Mapping[str, Any]", train)
        base = table.get("base")
        if isinstance(base, str) and (folder / base).is_dir():
            changed["train"] = {**table, "base": str(folder / base)}
    return Document(document.name, document.text, {**document.data, **changed})
