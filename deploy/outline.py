"""The stages of a stream as its own stored recipe names them: enough to count, audit and replay, which ask nothing of
a stage but what it reads and whether it keeps a state. So a stream can be looked at without recipe, config or model."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from deploy.effective import stored_recipe
from deploy.funnel import Leg
from deploy.recipe import SOURCE_TOPIC
from deploy.stages import KINDS
from stream.bus import Bus
from stream.errors import WrongConfig
from stream.outcomes import StageSpec
from stream.stage import Decision, Fold, Map, Outcome
from stream.topics import TOPICS


async def outline(bus: Bus) -> list[StageSpec]:
    """Return the stages of a stream, upstream first. They cannot be run.

    Raises:  WrongConfig when the stream has not begun, or has a stage that this seedstream does not know.
    """
    stored = await stored_recipe(bus)
    if stored is None:
        raise WrongConfig(f"namespace {bus.namespace} holds no stream: `seedstream up` begins one")
    stages: dict[str, dict[str, Any]] = json.loads(stored.text)["stages"]
    folds = {(kind.topic, kind.variant): kind.fold for kind in KINDS}
    specs: list[StageSpec] = []
    for name, stage in stages.items():
        key = (name, stage["variant"])
        if key not in folds:
            raise WrongConfig(f"the stream has a stage {name} ({stage['variant']}) that this seedstream does not know")
        specs.append(StageSpec(name, TOPICS[stage["reads"]], TOPICS[name], _FOLD if folds[key] else _MAP))
    order = list(TOPICS)
    return sorted(specs, key=lambda spec: order.index(spec.name))


def legs(specs: Sequence[StageSpec]) -> list[Leg]:
    """Return what a funnel is made of: the sources, then the stages."""
    return [Leg(SOURCE_TOPIC, None), *(Leg(spec.name, spec.input.name) for spec in specs)]


def _never(*_: object) -> NoReturn:
    raise AssertionError("a stage of an outline is never run")


async def _never_called(_: Sequence[Any]) -> Sequence[Outcome[Any]]:
    return _never()


def _never_decided(_: None, __: Sequence[Any]) -> Sequence[Decision[Any]]:
    return _never()


_MAP: Map[Any, Any] = Map(_never_called)
_FOLD: Fold[Any, Any, None] = Fold(lambda: None, _never_decided, _never)
