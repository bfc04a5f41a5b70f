"""Recipes are data: which stages run, what each reads, with which parameters and prompts.

A recipe is a TOML file, one of ours by name or one of the user's by path. `extends` merges it over another one, and
the config file's own [stages], [source], seed and prompts go over that. It is checked whole before anything starts: a
wrong word in the last stage is found before the first one is paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.planning.placed import training_placed
from deploy.planning.stages import KINDS, Kind
from producers.rules import Rules
from stream import config
from stream.config import Document, Keys
from stream.errors import WrongConfig
from stream.topics import TOPICS, Topic
from trainer.hyperparameters import Train

BUILT_IN = Path(__file__).parents[1] / "recipes"
SOURCE_TOPIC = "files"
"""The one topic that sources write."""
KEYS = ("stages", "source", "seed", "prompts", "train")
"""What a config file may say over the recipe's own."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage of a recipe."""

    kind: Kind[Any]
    reads: Topic
    params: Any  # a kind.params
    llm: str | None  # the endpoint it asks, by its name in the config

    @property
    def name(self) -> str:
        return self.kind.topic

    @property
    def writes(self) -> Topic:
        return TOPICS[self.kind.topic]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe: its stages stand in the order of the stream."""

    name: str
    description: str
    seed: int  # of every sampling
    prompts: str  # the name of a built-in set of prompts, or the path of a folder
    model: str | None  # to serve where no other is named: the name of one that is shipped, or the path of a directory
    source: Rules
    stages: tuple[StagePlan, ...]
    train: Train = field(default_factory=Train)  # off unless it names a base model

    def stage(self, name: str) -> StagePlan:
        """Return the stage of that name.

        Raises:  WrongConfig when the recipe has none.
        """
        for plan in self.stages:
            if plan.name == name:
                return plan
        known = [plan.name for plan in self.stages]
        raise WrongConfig(f"recipe {self.name} has no stage {name}; {config.suggestion(name, known)}")


@dataclass(frozen=True, slots=True)
class _Top:
    """The top of a recipe file. A stage's table is its parameters, and what it reads, its variant and its endpoint."""

    stages: dict[str, dict[str, Any]]
    seed: int
    prompts: str
    description: str = ""
    extends: str | None = None
    model: str | None = None
    source: Rules = field(default_factory=Rules)
    train: Train = field(default_factory=Train)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a stage's table says besides the parameters."""

    reads: str
    variant: str | None = None
    llm: str | None = None


def names() -> list[str]:
    """Return the names of the recipes that come with seedstream."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def find(recipe: str) -> Path:
    """Return the file of a recipe: a path where it has a "/" or ends in .toml, else a built-in name.

    Raises:  WrongConfig when there is none.
    """
    if "/" in recipe or recipe.endswith(".toml"):
        return Path(recipe)
    if recipe in names():
        return BUILT_IN / f"{recipe}.toml"
    raise WrongConfig(
        f"no recipe is named {recipe} ({config.suggestion(recipe, names())}); the path of one ends in .toml"
    )


def load(recipe: str, over: Document | None = None) -> Recipe:
    """Read and check a recipe whole; `over` is a config file whose keys (those in KEYS alone) go before its own.

    Raises:  WrongConfig naming file, line and key, for an unknown key, stage, variant or topic, a topic that no one
             writes, records of another type, or a circle.
    """
    chain = chain_of(find(recipe))
    documents = [*([over] if over else []), *chain]
    merged: dict[str, Any] = {}
    for document in reversed(documents):
        mine = {k: v for k, v in document.data.items() if document is not over or k in KEYS}
        merged = config.merge(merged, mine)
    top = config.convert(merged, _Top, documents)
    plans = {name: _plan(name, table, documents) for name, table in top.stages.items()}
    stages = _in_order(plans, documents)
    name = Path(chain[0].name).stem
    return Recipe(name, top.description, top.seed, top.prompts, top.model, top.source, stages, top.train)


def chain_of(path: Path) -> list[Document]:
    """Read a recipe and those it extends, itself first. The paths in each are relative to its own folder."""
    documents: list[Document] = []
    seen: list[Path] = []
    while True:
        if path.resolve() in seen:
            config.refuse("these recipes extend each other in a circle", [documents[-1]], ("extends",))
        seen.append(path.resolve())
        document = config.placed(config.read(path), path.parent, ("prompts", "model"))
        document = training_placed(document, path.parent)
        documents.append(document)
        base = document.data.get("extends")
        if base is None:
            return documents
        if not isinstance(base, str):
            config.refuse("expected the name or the path of a recipe", [document], ("extends",))
        path = path.parent / base if "/" in base or base.endswith(".toml") else find(base)


def _plan(name: str, table: Mapping[str, Any], documents: Sequence[Document]) -> StagePlan:
    keys: Keys = ("stages", name)
    variants = {kind.variant: kind for kind in KINDS if kind.topic == name}
    if not variants:
        known = sorted({kind.topic for kind in KINDS})
        config.refuse(f"there is no such stage; {config.suggestion(name, known)}", documents, keys)
    outside = {key: value for key, value in table.items() if key in _Place.__slots__}
    place = config.convert(outside, _Place, documents, keys)
    if place.variant not in variants:
        known = " or ".join(v for v in variants if v) or "none, this stage has one form"
        config.refuse(f"expected variant = {known}", documents, (*keys, "variant") if place.variant else keys)
    kind = variants[place.variant]
    if place.reads not in TOPICS:
        message = f"there is no topic {place.reads}; {config.suggestion(place.reads, list(TOPICS))}"
        config.refuse(message, documents, (*keys, "reads"))
    got, wanted = TOPICS[place.reads].record, kind.reads
    if got is not wanted:
        message = f"{place.reads} holds {got.__name__} records, {name} takes {wanted.__name__}"
        config.refuse(message, documents, (*keys, "reads"))
    if place.llm is not None and not kind.asks:
        config.refuse("this stage asks no model", documents, (*keys, "llm"))
    inside = {key: value for key, value in table.items() if key not in outside}
    return StagePlan(kind, TOPICS[place.reads], config.convert(inside, kind.params, documents, keys), place.llm)


def _in_order(plans: Mapping[str, StagePlan], documents: Sequence[Document]) -> tuple[StagePlan, ...]:
    """Return the stages upstream first: those that read the source, those that read these, and so on."""
    ordered: list[StagePlan] = []
    written = {SOURCE_TOPIC}
    rest = list(plans.values())
    while ready := [plan for plan in rest if plan.reads.name in written]:
        ordered += ready
        written |= {plan.name for plan in ready}
        rest = [plan for plan in rest if plan not in ready]
    for plan in rest:
        if plan.reads.name not in plans:
            message = f"nothing writes {plan.reads.name}: the recipe has no such stage"
            config.refuse(message, documents, ("stages", plan.name, "reads"))
    if rest:
        circle = ", ".join(plan.name for plan in rest)
        config.refuse(f"these stages wait for each other: {circle}", documents, ("stages", rest[0].name, "reads"))
    return tuple(ordered)
