"""The stages of a stream as its own stored recipe names them: enough to count, audit and replay, which ask nothing of
a stage but what it reads, whether it keeps a state, and for what it rejects. So a stream can be looked at without
recipe, config or model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from deploy.planning.effective import stored_recipe
from deploy.planning.recipe import SOURCE_TOPIC
from deploy.planning.stages import KINDS, Kind
from deploy.streams.branch import below, topic_of
from deploy.streams.funnel import Leg
from producers.source import Reason as SourceReason
from stream.bus import Bus
from stream.errors import WrongConfig
from stream.outcomes import StageSpec
from stream.records import RecipeText
from stream.stage import Decision, Fold, Map, Outcome
from stream.stage import Reason as RunnerReason
from stream.topics import TOPICS


async def outline(bus: Bus) -> list[StageSpec]:
    """Return the stages of a stream, upstream first. They cannot be run.

    Raises:  WrongConfig when the stream has not begun, or has a stage that this seedstream does not know.
    """
    stored = await _stored(bus)
    kinds = _kinds(stored)
    return [
        StageSpec(name, topic_of(reads), TOPICS[name], _FOLD if kinds[name].fold else _MAP)
        for name, reads in reads_of(stored).items()
    ]


async def reasons(bus: Bus) -> Mapping[str, Sequence[str]]:
    """Return the reasons for which each stage of a stream rejects, its sources among them.

    Raises:  as `outline`.
    """
    stored = await _stored(bus)
    found = {SOURCE_TOPIC: [*SourceReason]} if SOURCE_TOPIC in reads_of(stored).values() else {}
    return found | {
        name: [*kind.reasons, *(RunnerReason if kind.fold else ())] for name, kind in _kinds(stored).items()
    }


async def _stored(bus: Bus) -> RecipeText:
    stored = await stored_recipe(bus)
    if stored is None:
        raise WrongConfig(f"namespace {bus.namespace} holds no stream: `seedstream up` begins one")
    return stored


def _kinds(stored: RecipeText) -> dict[str, Kind[Any]]:
    """Return what each stage that runs in the namespace of a recipe on record is."""
    stages: dict[str, dict[str, Any]] = json.loads(stored.text)["stages"]
    known = {(kind.topic, kind.variant): kind for kind in KINDS}
    found: dict[str, Kind[Any]] = {}
    for name in reads_of(stored):
        variant = stages[name]["variant"]
        if (name, variant) not in known:
            raise WrongConfig(f"the stream has a stage {name} ({variant}) that this seedstream does not know")
        found[name] = known[name, variant]
    return found


def reads_of(stored: RecipeText) -> dict[str, str]:
    """Return each stage that runs in the namespace of a recipe on record with the topic it reads, upstream first."""
    stages: dict[str, dict[str, Any]] = json.loads(stored.text)["stages"]
    order = list(TOPICS)
    reads = {name: str(stages[name]["reads"]) for name in sorted(stages, key=order.index)}
    if stored.first is None or stored.reads is None:
        return reads
    return {name: reads[name] for name in below(stored.first, reads)} | {stored.first: stored.reads}


def legs(specs: Sequence[StageSpec]) -> list[Leg]:
    """Return what a funnel is made of: the sources, where the namespace has any, then the stages."""
    sources = [Leg(SOURCE_TOPIC, None)] if any(spec.input.name == SOURCE_TOPIC for spec in specs) else []
    return [*sources, *(Leg(spec.name, spec.input.name) for spec in specs)]


def _never(*_: object) -> NoReturn:
    raise AssertionError("a stage of an outline is never run")


async def _never_called(_: Sequence[Any]) -> Sequence[Outcome[Any]]:
    return _never()


def _never_decided(_: None, __: Sequence[Any]) -> Sequence[Decision[Any]]:
    return _never()


_MAP: Map[Any, Any] = Map(_never_called)
_FOLD: Fold[Any, Any, None] = Fold(lambda: None, _never_decided, _never)
