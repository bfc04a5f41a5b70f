"""What the looking commands do: open a stream's bus, read, and print."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from rich.live import Live
from rich.text import Text

from deploy.options import put_json, say
from deploy.planning.effective import Difference, diff, stored_recipe
from deploy.streams import report, samples
from deploy.streams.funnel import Count, Funnel, funnel
from deploy.streams.lineage import in_order, lineage
from deploy.streams.names import check_names, check_stage
from deploy.streams.outline import legs, outline
from deploy.streams.where import Where
from stream.audit import audit
from stream.bus import Bus
from stream.config import suggestion
from stream.errors import WrongConfig
from stream.outcomes import StageSpec
from stream.replay import Fate, Selection
from stream.replay import replay as replay_inputs
from stream.topics import DEAD, REJECTS

LOOK_S = 2.0


@asynccontextmanager
async def opened(where: Where) -> AsyncGenerator[tuple[Bus, Sequence[StageSpec]]]:
    """Open the bus of a stream that has begun.

    Raises:  BusMissing; WrongConfig when no stream has begun there.
    """
    async with where.open() as bus:
        yield bus, await outline(bus)


async def status(where: Where, as_json: bool) -> None:
    async with opened(where) as (bus, specs):
        counts = await funnel(bus, legs(specs))
        workers = await bus.workers([spec.name for spec in specs])
    if as_json:
        put_json(_as_json(counts, workers))
    else:
        report.console().print(report.funnel_table(counts, workers=workers))


def _as_json(
    counts: Sequence[Count], workers: report.Workers, rates: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    return [
        msgspec.to_builtins(count)
        | {"workers": workers.get(count.stage, ())}
        | ({} if rates is None else {"per_s": rates.get(count.stage, 0.0)})
        for count in counts
    ]


async def compare(where: Where, other: str, as_json: bool) -> None:
    """Show the funnels of two namespaces beside each other, and in what their recipes differ."""
    before, now = await _counted(where.of(other)), await _counted(where)
    differences = await recipe_differences(where, other, where.namespace)
    if as_json:
        put_json({other: before, where.namespace: now, "recipe": [str(difference) for difference in differences]})
        return
    out = report.console()
    out.print(report.comparison(other, before, where.namespace, now))
    for difference in differences:
        out.print(str(difference))


async def _counted(where: Where) -> list[Count]:
    async with opened(where) as (bus, specs):
        return await funnel(bus, legs(specs))


async def recipe_differences(where: Where, before: str, now: str) -> list[Difference]:
    """Return every parameter in which the recipes of two namespaces differ.

    Raises:  WrongConfig when one has not begun.
    """
    texts: list[Mapping[str, Any]] = []
    async with where.of(now).open() as bus:
        for name in (before, now):
            stored = await stored_recipe(bus, name)
            if stored is None:
                raise WrongConfig(f"namespace {name} holds no stream; {suggestion(name, list(await bus.namespaces()))}")
            texts.append(json.loads(stored.text))
    return [difference for difference in diff(*texts) if difference.key != "name"]


class Look(NamedTuple):
    """What one look at a stream saw: its funnel, inputs per second since the look before, and who works."""

    counts: list[Count]
    rates: Mapping[str, float]
    workers: report.Workers


async def watch(where: Where, as_json: bool) -> None:
    """Show the funnel and its rates until interrupted: in its place on a terminal, one after the other elsewhere."""
    out = report.console()
    async with opened(where) as (bus, specs), contextlib.aclosing(_looks(bus, specs)) as looks:
        if as_json:
            async for look in looks:
                put_json(_as_json(look.counts, look.workers, look.rates), one_line=True)
        elif not out.is_terminal:
            async for look in looks:
                out.print(report.funnel_table(*look))
                sys.stdout.flush()
        else:
            with Live(Text("counting …"), console=out, auto_refresh=False) as live:
                async for look in looks:
                    live.update(report.funnel_table(*look), refresh=True)


async def _looks(bus: Bus, specs: Sequence[StageSpec]) -> AsyncGenerator[Look]:
    whole = Funnel(bus, legs(specs))
    before: list[Count] = []
    looked_s = time.monotonic()
    while True:
        started_s = time.monotonic()
        counts = await whole.count()
        workers = await bus.workers([spec.name for spec in specs])
        rates = {b.stage: (c.done - b.done) / (started_s - looked_s) for b, c in zip(before, counts, strict=False)}
        yield Look(counts, rates, workers)
        before, looked_s = counts, started_s
        await asyncio.sleep(LOOK_S)


async def show(where: Where, record_id: str, as_json: bool) -> None:
    async with opened(where) as (bus, _):
        found = await lineage(bus, record_id, await in_order(bus))
    if as_json:
        put_json(
            [
                {
                    "topic": f.topic.name, "partition": f.stored.partition, "offset": f.stored.offset,
                    "depth": f.depth, "record": msgspec.to_builtins(f.record),
                }
                for f in found
            ]
        )  # fmt: skip
        return
    out = report.console()
    # Of the records with this id the one nearest the end: it embeds all the others.
    own = [f for f in found if f.stored.key.startswith(record_id)]
    data = [f for f in own if f.topic not in (REJECTS, DEAD)]
    out.print(report.record((data or own)[-1].record))
    out.print(report.tree(found))


async def rejects(where: Where, stage: str | None, reason: str | None, count: int, as_json: bool) -> None:
    async with opened(where) as (bus, _):
        await check_names(bus, stage, reason)
        groups = await samples.rejects(bus, stage, reason, count)
    if as_json:
        put_json(groups)
        return
    for group in groups:
        _print_group(group, f"{group.count:,}", [(s.record_id, s.evidence) for s in group.samples])
    if not groups:
        say("none")


async def dead(where: Where, stage: str | None, count: int, as_json: bool) -> bool:
    """Return whether one is open."""
    async with opened(where) as (bus, specs):
        await check_names(bus, stage)
        groups = await samples.dead(bus, specs, stage, count)
    is_open = any(group.fate is Fate.OPEN for group in groups)
    if as_json:
        put_json(groups)
        return is_open
    for group in groups:
        many = f"{group.count:,} {group.fate.replace('_', ' ')}"
        _print_group(group, many, [(s.record_id, s.error) for s in group.samples])
    if not is_open:
        say("none is open" if groups else "none")
    return is_open


def _print_group(group: samples.Group[Any], many: str, shown: Sequence[tuple[str, str]]) -> None:
    out = report.console()
    out.print(f"{group.stage}: {group.reason}: {many}", style="bold")
    for record_id, text in shown:
        out.print(f"  {record_id}")
        out.print(report.evidence(text))


async def holes(where: Where) -> list[str]:
    """Return what does not hold, one line each."""
    async with opened(where) as (bus, specs):
        return [str(hole) for hole in await audit(bus, specs)]


async def replay(where: Where, stage: str, dead: bool, reason: str | None, ids: Sequence[str]) -> int:
    """Append inputs of a stage again; return how many."""
    selection = Selection(dead, reason, ids)
    async with opened(where) as (bus, specs):
        known = {spec.name: spec for spec in specs}
        check_stage(bus, stage, known)  # before what has reasons: no replay takes what a source turned down
        await check_names(bus, stage, reason)
        return await replay_inputs(bus, known[stage], selection)
