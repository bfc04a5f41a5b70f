"""The config file, seedstream.toml: where and how fast the work is done. What the records look like is the recipe's,
but [stages], [source], seed and prompts may be set here over the recipe's own."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumers.llm.endpoint import Endpoint
from deploy.planning.placed import bus_placed, training_placed
from stream import config
from stream.config import Document
from stream.kafka.security import KafkaConfig
from stream.logs import Format
from stream.settings import SCORES, Settings
from stream.topics import MOST_PARTITIONS

DEFAULT_RECIPE = "selfcodealign"
DEFAULT_LLM = "main"
"""The endpoint of whoever names none, where there are several."""


@dataclass(frozen=True, slots=True)
class Box:
    """Table [sandbox]."""

    slots: int = os.cpu_count() or 1  # programs that run at once

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError("slots must be at least 1")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file. Every key has a default; an unknown one is refused."""

    recipe: str = DEFAULT_RECIPE
    bus: str | None = None  # as --bus
    llm: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])  # by name; a stage names one with llm =
    decontamination: tuple[str, ...] = ()  # files of benchmarks, relative to this file
    partitions: int = 1  # as kafka.partitions, of an embedded bus
    processes: int = os.cpu_count() or 1  # for parsing and import inference
    start_budget_s: float = 15.0  # how long a server may take to answer at the start
    log_format: Format = "console"
    metrics_port: int | None = None
    sandbox: Box = field(default_factory=Box)
    runner: Settings = field(default_factory=Settings)
    kafka: KafkaConfig = field(default_factory=KafkaConfig)
    # Over the recipe's own; read by deploy.planning.recipe.
    stages: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    source: dict[str, Any] = field(default_factory=dict[str, Any])
    train: dict[str, Any] = field(default_factory=dict[str, Any])
    seed: int | None = None
    prompts: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("partitions", MOST_PARTITIONS), ("processes", 1_024)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be from 1 to {most:,}")
        if self.metrics_port is not None and not 1 <= self.metrics_port <= 65_535:
            raise ValueError("metrics_port must be from 1 to 65535")

    @property
    def default_llm(self) -> Endpoint | None:
        """The endpoint of whoever names none: `main`, else the only one there is; None where no one is that."""
        only = next(iter(self.llm.values())) if len(self.llm) == 1 else None
        return self.llm.get(DEFAULT_LLM, only)


def read(path: Path | None) -> tuple[Config, Document | None]:
    """Read a config file, or the defaults where there is none. Paths in it are relative to its folder.

    Raises:  WrongConfig naming file, line and key.
    """
    found, document = _read(path)
    if document is not None and found.runner.stages:
        _check_stages(found.runner, document)
    return found, document


def _read(path: Path | None) -> tuple[Config, Document | None]:
    if path is None:
        return Config(), None
    document = training_placed(config.placed(config.read(path), path.parent, ("prompts", "recipe")), path.parent)
    document = bus_placed(document, path.parent)
    return config.convert(document.data, Config, [document]), document


def _check_stages(runner: Settings, document: Document) -> None:
    """Raises:  WrongConfig for a table [runner.stages.NAME] of no stage."""
    from deploy.planning.stages import KINDS  # here: it loads every stage, of which most commands know nothing

    known = {kind.topic for kind in KINDS}
    if (name := runner.unknown(known)) is not None:
        expected = config.suggestion(name, [*known, SCORES])
        config.refuse(f"unknown stage; {expected}", [document], ("runner", "stages", name))
