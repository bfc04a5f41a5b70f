"""What `seedstream prune` does: the namespace and those that read its topics, opened together."""

import time
from contextlib import AsyncExitStack

from deploy.options import put_json, say
from deploy.planning.effective import stored_recipe
from deploy.streams.outline import outline
from deploy.streams.where import Where
from stream.bus import Bus, Stored
from stream.codec import decode
from stream.errors import BadRecord
from stream.prune import Part, Pruned, prune
from stream.records import RecipeText
from stream.topics import RECIPE, foreign, full_name

DAY_S = 86_400.0


async def pruned(where: Where, keep_days: float, dry_run: bool) -> Pruned:
    """Prune a namespace. Raises:  as `stream.prune.prune`; WrongConfig when it has not begun."""
    before_s = time.time() - keep_days * DAY_S
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(where.open())
        home = Part(bus, await outline(bus))
        parts: list[Part] = []
        for name in await children(bus):
            child = await stack.enter_async_context(where.of(name).open())
            parts.append(Part(child, await outline(child)))
        return await prune(home, parts, before_s, dry_run=dry_run)


async def children(bus: Bus) -> list[str]:
    """Return the namespaces with a stage that reads a topic of this one."""
    found: list[str] = []
    for name in sorted(await bus.namespaces()):
        stored = await _recipe(bus, name)
        if stored is not None and (stored.reads or "").rpartition("/")[0] == bus.namespace:
            found.append(name)
    return found


async def _recipe(bus: Bus, namespace: str) -> RecipeText | None:
    """Return what a namespace runs; None where it is none of ours: on a shared cluster a topic of somebody else may be
    called `shop.recipe`.

    Raises:  BadRecord where one of ours stands among what cannot be read: what that namespace needs is not known, and
             must not be deleted; NewerSchema.
    """
    try:
        return await stored_recipe(bus, namespace)
    except BadRecord as err:
        async for batch in bus.read(foreign(RECIPE, namespace).name):
            if any(map(_is_ours, batch)):
                raise BadRecord(f"what namespace {namespace} runs cannot be told: {err}") from err
        return None


def _is_ours(stored: Stored) -> bool:
    try:
        decode(stored.value, RecipeText)
    except BadRecord:
        return False
    return True


def tell(found: Pruned, where: Where, dry_run: bool, as_json: bool) -> None:
    """Say what was deleted, or what does not hold."""
    holes = [f"{namespace}: {hole}" for namespace, hole in found.holes]
    records = {full_name(where.namespace, topic): count for topic, count in found.records.items()}
    if as_json:
        put_json({"pruned": records, "holes": holes})
        return
    for line in holes:
        print(line)
    if holes:
        say(f"{len(holes):,} holes: nothing was pruned, so that what shows them stays")
        return
    for name, count in records.items():
        if count:
            print(f"{name}  {count:,} records")
    total = sum(records.values())
    verb = "would be" if dry_run else "were"
    say(f"{total:,} records {verb} pruned" if total else "nothing is old enough and passed by every stage")
