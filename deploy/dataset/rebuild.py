"""How an exported topic is made again, as commands: from the namespace that takes the sources, over those that were
branched from it, down to the one that was exported."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deploy.planning import recipe as recipes
from deploy.planning.effective import Difference, diff, stored_recipe
from deploy.streams.where import NAMESPACE
from stream.bus import Bus
from stream.records import RecipeText


@dataclass(frozen=True, slots=True)
class Generation:
    """A namespace, and what it runs."""

    namespace: str
    stored: RecipeText

    @property
    def recipe(self) -> dict[str, Any]:
        return json.loads(self.stored.text)

    @property
    def config(self) -> str:
        """The config file that its commands name, where they need one."""
        return f"{self.namespace}.toml"


async def generations(bus: Bus) -> list[Generation]:
    """Return the namespace of a bus, last, after all that it goes back to; none where it has not begun."""
    found: list[Generation] = []
    namespace: str | None = bus.namespace
    while namespace is not None and (stored := await stored_recipe(bus, namespace)) is not None:
        found.insert(0, Generation(namespace, stored))
        namespace = stored.parent
    return found


def commands(line: Sequence[Generation], sources: Sequence[str]) -> list[str]:
    """Return the commands that run each of `line` as it ran. Upper case stands for what no topic knows."""
    found: list[str] = []
    for each in line:
        stored, recipe, settings = each.stored, _recipe(each.stored.name), _settings(line[0], each)
        if stored.first is not None and stored.parent is not None:
            place = f"--dir run{in_namespace(stored.parent)}"
            found.append(f"seedstream replay {stored.first} --into {each.namespace} {recipe} {place}{settings}")
        if _is_read(each, line):
            given = "" if stored.first else "".join(f" --source {source}" for source in _named(sources))
            place = f"--dir run{in_namespace(each.namespace)}"
            found.append(f"seedstream up {recipe}{given} {place}{settings} --until-idle")
    return found


def differences(first: Generation, each: Generation) -> list[Difference]:
    """Return what a namespace runs otherwise than the first one of its line."""
    return [found for found in diff(first.recipe, each.recipe) if found.key != "name"]


def in_namespace(namespace: str) -> str:
    return f" --namespace {namespace}" if namespace != NAMESPACE else ""


def _is_read(each: Generation, line: Sequence[Generation]) -> bool:
    """Whether what a namespace makes is wanted: a child of a child may read where its parent reads."""
    homes = {other.stored.reads.rpartition("/")[0] for other in line if other.stored.reads}
    return each is line[-1] or each.namespace in homes


def _named(sources: Sequence[str]) -> list[str]:
    return [shlex.quote(source) for source in sources] if 0 < len(sources) <= 3 else ["SOURCE"]


def _recipe(name: str) -> str:
    return f"--recipe {name}" if name in recipes.names() else f"--recipe {shlex.quote(f'{name}.toml')}"


def _settings(first: Generation, each: Generation) -> str:
    """Return what makes of a recipe of that name the one that ran."""
    recipe, flags = each.recipe, ""
    asks = [stage["asks"] for stage in recipe["stages"].values() if "asks" in stage]
    asked = {(str(ask["model"]), str(ask["api"])) for ask in asks}
    if recipe["decontamination"] or len(asked) > 1 or _is_configured(first, each):
        flags += f" --config {each.config}"
    if len(asked) == 1:
        [(model, api)] = asked
        flags += f" --llm URL --model {shlex.quote(model)}" + ("" if api == "completions" else f" --api {api}")
    return flags


def _is_configured(first: Generation, each: Generation) -> bool:
    """Whether a namespace runs the recipe of the first one, changed in more than the model. It is held against the
    first one: what a parent runs otherwise its children do too."""
    changed = [found for found in differences(first, each) if not found.key.endswith((".asks.model", ".asks.api"))]
    return bool(changed) and each.stored.name == first.stored.name
