"""What `seedstream prune` does: the namespace and those that read its topics, opened together."""

import time
from contextlib import AsyncExitStack

from deploy.options import put_json, say
from deploy.planning.effective import stored_recipe
from deploy.streams.outline import outline
from deploy.streams.where import Where
from stream.bus import Bus
from stream.prune import Part, Pruned, prune
from stream.topics import full_name

DAY_S = 86_400.0


async def pruned(where: Where, keep_days: float, dry_run: bool) -> Pruned:
    """Prune a namespace. Raises:  as `stream.prune.prune`; WrongConfig when it has not begun."""
    before_s = time.time() - keep_days * DAY_S
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(where.open())
        home = Part(bus, await outline(bus))
        children: list[Part] = []
        for name in await _children(bus):
            child = await stack.enter_async_context(where.of(name).open())
            children.append(Part(child, await outline(child)))
        return await prune(home, children, before_s, dry_run=dry_run)


async def _children(bus: Bus) -> list[str]:
    """Return the namespaces with a stage that reads a topic of this one."""
    found: list[str] = []
    for name in sorted(await bus.namespaces()):
        stored = await stored_recipe(bus, name)
        if stored is not None and (stored.reads or "").rpartition("/")[0] == bus.namespace:
            found.append(name)
    return found


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
