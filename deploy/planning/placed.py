"""Paths in a recipe or a config file are relative to the folder of the file."""

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


def bus_placed(document: Document, folder: Path) -> Document:
    """Return the document with the path of an embedded bus, and kafka.ca, taken from `folder`."""
    data = dict(document.data)
    bus, kafka = data.get("bus"), data.get("kafka")
    if isinstance(bus, str) and bus.removeprefix("embedded:") not in ("", bus):
        data["bus"] = f"embedded:{folder / bus.removeprefix('embedded:')}"
    if isinstance(kafka, dict):
        table = cast("Mapping[str, Any]", kafka)
        if isinstance(ca := table.get("ca"), str):
            data["kafka"] = {**table, "ca": str(folder / ca)}
    return dataclasses.replace(document, data=data)
