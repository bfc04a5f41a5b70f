"""Paths in the table [train] of a recipe or a config file are relative to the folder of the file."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from stream.config import Document


def training_placed(document: Document, folder: Path) -> Document:
    """Return the document with accelerate's config and the base model of its table [train] taken from `folder`, where
    they are there: a base that is no folder is a name on the hub."""
    train = document.data.get("train")
    if not isinstance(train, dict):
        return document
    table = cast("Mapping[str, Any]", train)
    named = {key: value for key in ("base", "accelerate") if isinstance(value := table.get(key), str)}
    paths = {key: str(folder / value) for key, value in named.items() if (folder / value).exists()}
    return dataclasses.replace(document, data={**document.data, "train": {**table, **paths}})
