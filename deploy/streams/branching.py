"""What `seedstream replay STAGE --into NAMESPACE` does: a new namespace begins beside the old one."""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from deploy.options import put_json, say
from deploy.planning import recipe as recipes
from deploy.planning import settings
from deploy.planning.effective import SHOWN, begin, diff, filled, stored_recipe
from deploy.planning.plan import Flags, Plan, plan
from deploy.planning.recipe import SOURCE_TOPIC, Recipe
from deploy.streams.branch import parents_topic, within
from deploy.streams.outline import reads_of
from deploy.streams.topics import wanted_by
from deploy.streams.where import Where
from stream.bus import Bus
from stream.errors import WrongConfig
from stream.ledger import ledger
from stream.records import RecipeText
from stream.topics import AUDIT, checked_namespace, full_name


@dataclass(frozen=True, slots=True)
class Branched:
    """A namespace that has begun."""

    namespace: str
    parent: str
    stages: tuple[str, ...]  # that run there, the first one first
    reads: str  # the topic of the first one, by its name on the bus
    waiting: int  # offsets of that topic
    dense: bool  # whether each of them holds a record
    pruned: int  # records of that topic that are gone


async def branch(where: Where, stage: str, into: str, flags: Flags) -> Branched:
    """Begin namespace `into` at a stage, with the recipe of the flags.

    Raises:  WrongConfig when the namespace has begun, or is the same; when recipe or parent have no such stage; when
             the recipe differs from the parent's above the stage, where it would have no effect; InUse while the
             parent is pruned.
    """
    if checked_namespace(into) == where.namespace:
        raise WrongConfig(f"--into {into}: that is the namespace it would be read from; name a new one")
    async with AsyncExitStack() as stack:
        parent = await stack.enter_async_context(where.open())
        stored = await stored_recipe(parent)
        if stored is None:
            raise WrongConfig(f"namespace {where.namespace} holds no stream: there is nothing to replay")
        child = await stack.enter_async_context(where.of(into).open(create=True))
        if await stored_recipe(child) is not None:
            raise WrongConfig(f"namespace {into} exists already: name a new one with --into")
        planned = plan(_with_recipe(flags, stored))
        first = planned.recipe.stage(stage)
        own = [SOURCE_TOPIC] if stored.first is None else []
        own += [name for name in reads_of(stored) if name in await parent.topics()]
        reads = parents_topic(where.namespace, stored, own, first.reads.name)
        record = dataclasses.replace(stored, name=planned.recipe.name, parent=where.namespace, first=stage, reads=reads)
        recipe = within(planned.recipe, record)
        text = _checked(json.loads(stored.text), planned, recipe)
        await stack.enter_async_context(parent.appender(AUDIT.name))  # not while it is pruned
        pruned = await _settle(parent, reads) if reads in _names(where.namespace, own) else 0
        if first.kind.fold and len(await child.starts(reads)) != 1:
            raise WrongConfig(f"stage {stage} needs the order of one partition: {full_name(into, reads)} has several")
        wanted = wanted_by(recipe)
        await child.create(wanted.topics, wanted.readers)
        await begin(child, text, record)
        starts, ends = await child.starts(reads), await child.ends(reads)
        waiting = sum(end - starts[partition] for partition, end in ends.items())
        names = tuple(plan.name for plan in recipe.stages)
        return Branched(into, where.namespace, names, full_name(into, reads), waiting, child.dense, pruned)


def _with_recipe(flags: Flags, stored: RecipeText) -> Flags:
    """Return the flags with the parent's recipe where they and the config file name none."""
    document = settings.read(flags.config)[1]
    if flags.recipe is not None or (document is not None and "recipe" in document.data):
        return flags
    if stored.name not in recipes.names():
        raise WrongConfig(
            f"the stream runs recipe {stored.name}, which is a file: name it, or the new one, with --recipe"
        )
    return dataclasses.replace(flags, recipe=stored.name)


def _checked(before: Mapping[str, Any], planned: Plan, recipe: Recipe) -> Mapping[str, Any]:
    """Return the effective recipe of the new namespace: what it does not name is taken from the parent's.

    Raises:  WrongConfig when it differs from the parent's where it would have no effect.
    """
    now = filled(before, planned.effective())
    names = [stage.name for stage in recipe.stages]

    def above(effective: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {"source": effective["source"]}
        if not any(stage.kind.decontaminates for stage in recipe.stages):
            found["decontamination"] = effective["decontamination"]
        return found | {"stages": {name: of for name, of in effective["stages"].items() if name not in names}}

    differences = diff(above(before), above(now))
    if differences:
        some = "; ".join(map(str, differences[:SHOWN]))
        raise WrongConfig(
            f"above stage {names[0]} nothing runs anew, and the recipe differs there from its parent's: {some}. Replay "
            "the first stage that is to change, or take that back"
        )
    return now


def _names(namespace: str, own: list[str]) -> list[str]:
    return [f"{namespace}/{name}" for name in own]


async def _settle(parent: Bus, reads: str) -> int:
    """Delete what a prune has begun to delete from the topic, and return how many of its records are pruned."""
    topic = reads.rpartition("/")[2]
    book = await ledger(parent)
    await parent.delete_before(topic, book.deleted(topic))
    return sum(entry.inputs for (stage, name, _), entry in book.entries.items() if not stage and name == topic)


def tell(begun: Branched, where: Where, as_json: bool) -> None:
    """Say what began."""
    if as_json:
        put_json(begun)
        return
    first, *rest = begun.stages
    count = f"{'' if begun.dense else 'at most '}{begun.waiting:,} records"
    print(f"namespace {begun.namespace} begins: {first} reads {count} of {begun.reads}")
    if begun.pruned:
        say(f"{begun.pruned:,} more were pruned from it, and cannot be read again")
    if rest:
        say(f"below it run:             {', '.join(rest)}")
    say(f"run it, as you named it:  seedstream up {where.flags()} …")
    say(f"hold it against the old:  seedstream status {where.flags()} --compare {begun.parent}")
