"""`seedstream up`, `run` and `ingest`: a stream opened, its stages run in this process, its end reported."""

import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy

from consumers.llm.metrics import EndpointExporter
from consumers.llm.usage import Usage
from deploy.options import put_json, say
from deploy.planning.effective import begin, begun, check_named, stored_recipe
from deploy.planning.pipeline import Pipeline, build
from deploy.planning.plan import Plan
from deploy.planning.recipe import StagePlan
from deploy.running import work as running
from deploy.running.endpoint_view import tokens
from deploy.running.leftover import about_dead, about_no_examples, open_dead
from deploy.running.live import View
from deploy.signals import EXIT_INTERRUPTED
from deploy.streams import report
from deploy.streams.branch import check_stages, within
from deploy.streams.funnel import Count, funnel
from deploy.streams.outline import legs, outline
from deploy.streams.topics import wanted_by
from deploy.streams.where import Where
from deploy.training import beside as train_beside
from producers.directory import Directory
from stream import logs
from stream.bus import Bus, Stored
from stream.codec import decode
from stream.errors import WrongConfig
from stream.idle import lag
from stream.metrics import Exporter, serve
from stream.outcomes import StageSpec
from stream.records import Example, RecipeText
from stream.topics import TOPICS, full_name
from trainer.hyperparameters import Train

log = logging.getLogger(__name__)

EXAMPLES = TOPICS["examples"]
EXIT_DEAD = 1


@dataclass(frozen=True, slots=True)
class Start:
    """What a run is started with."""

    where: Where
    plan: Plan
    stages: Sequence[StagePlan]
    sources: Sequence[Path] = ()
    limit: int | None = None
    until_idle: bool = False
    metrics_port: int | None = None
    log_format: logs.Format = "console"
    as_json: bool = False

    @property
    def whole(self) -> bool:
        """Whether every stage of the recipe is run."""
        return len(self.stages) == len(self.plan.recipe.stages)


async def up(asked: Start) -> int:
    """Run until idle or told to stop, report, and return the exit code: 1 where a run until idle leaves inputs dead, of
    the namespace or, for a worker of some stages, of these.

    Raises:  Fatal: WrongConfig for what is wrong with sources, config, recipe or model; DependencyDown; InUse when
             another process runs the same stages.
    """
    # What is wrong with a source, or with the training, is found before anything is made.
    sources = [Directory(path, asked.plan.recipe.source) for path in asked.sources]
    train_beside.check(_training(asked))
    console = Console(stderr=True, highlight=False)
    # On a terminal, log lines go above the live view instead of through it.
    logs.start(asked.log_format, _secrets(asked.plan), _above(console) if console.is_terminal else None)
    async with _opened(asked) as (bus, pipeline, start):
        stats = running.new_stats(pipeline.specs)
        if start.metrics_port is not None:
            serve(start.metrics_port, Exporter(stats.values()), EndpointExporter(pipeline.snapshots))
        view = View(list(stats.values()), pipeline.snapshots)
        work = running.Work(
            specs=pipeline.specs,
            sources=sources,
            limit=start.limit,
            until_idle=start.until_idle,
            local=pipeline.local,
            copies=start.where.copies,
            flags=start.where.flags(),
        )
        async with train_beside.beside(bus, _training(start), start.where.folder, view.tell_training) as trainer:
            interrupted = await running.run(bus, work, start.plan.config.runner, stats, view, console)
            if trainer is not None and start.until_idle and not interrupted:
                interrupted = await trainer.finish()
        dead: Mapping[str, int] | None = None
        if start.until_idle and not interrupted:
            dead = await open_dead(bus, None if start.whole else [stage.name for stage in start.stages])
        await _tell_end(bus, start, sources, pipeline.used(), dead)
        if trainer is not None:
            trainer.raise_failure()
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DEAD if dead else 0


def _training(start: Start) -> Train:
    """Return how to train: not at all in a worker of some stages."""
    return start.plan.recipe.train if start.whole else Train()


def _above(console: Console) -> TextIO:
    return cast("TextIO", FileProxy(console, sys.stderr))


def _secrets(plan: Plan) -> list[str]:
    names = {end.key_env for end in (*plan.endpoints.values(), *plan.config.llm.values()) if end.key_env}
    names |= {name for name in (plan.config.kafka.password_env,) if name}
    return [os.environ[name] for name in names if name in os.environ]


@asynccontextmanager
async def _opened(asked: Start) -> AsyncGenerator[tuple[Bus, Pipeline, Start]]:
    """Open bus and pipeline. A bus is made, and a stream begins, only when all servers have answered: what is refused
    leaves nothing behind, and the name of a model which is not there is never written down. The start is given as
    this namespace runs it."""
    async with AsyncExitStack() as stack:
        bus = await asked.where.enter(stack)
        start = await _as_begun(bus, asked)
        pipeline = await stack.enter_async_context(build(start.plan, start.stages, start.where.folder))
        bus = bus or await stack.enter_async_context(asked.where.open(create=True))
        goes_on = await _begun(bus, asked)  # asked anew: another process may have begun it since
        wanted = wanted_by(start.plan.recipe)
        await bus.create(wanted.topics, wanted.readers)
        if goes_on:
            await _tell_rest(bus, pipeline.specs)
        else:
            await begin(bus, asked.plan.effective(), remedy=_remedy(asked))
        yield bus, pipeline, start


async def _as_begun(bus: Bus | None, asked: Start) -> Start:
    """Return the start as a namespace runs it.

    Raises:  WrongConfig for what it does not run; where no stream has begun, for what none begins with.
    """
    if bus is None or not await _begun(bus, asked):
        check_named(asked.plan.effective())
        return asked
    return _within(asked, await stored_recipe(bus))


async def _begun(bus: Bus, asked: Start) -> bool:
    return await begun(bus, asked.plan.effective(), _remedy(asked))


def _remedy(asked: Start) -> str:
    place = "--dir or --namespace" if isinstance(asked.where.bus, Path) else "--namespace"
    return f"Start it as before, or run the changed one in a new {place}"


def _within(asked: Start, stored: RecipeText | None) -> Start:
    """Return what a namespace runs of what was asked for: all of it, or the stages from where it was branched on.

    Raises:  WrongConfig for a source or a stage that is the parent's.
    """
    if stored is None or stored.first is None:
        return asked
    namespace = asked.where.namespace
    if asked.sources:
        theirs = full_name(namespace, stored.reads or "")
        raise WrongConfig(
            f"namespace {namespace} takes no sources: it reads {theirs}, so send them to namespace {stored.parent}"
        )
    recipe = within(asked.plan.recipe, stored)
    names = {stage.name for stage in asked.stages}
    if len(asked.stages) < len(asked.plan.recipe.stages):
        check_stages(stored, [stage.name for stage in recipe.stages], sorted(names), namespace)
    stages = [stage for stage in recipe.stages if stage.name in names]
    return replace(asked, plan=replace(asked.plan, recipe=recipe), stages=stages)


async def _tell_rest(bus: Bus, specs: Sequence[StageSpec]) -> None:
    """Say what an earlier run left."""
    left = {spec.name: await lag(bus, spec) for spec in specs}
    waiting = ", ".join(f"{name} {count:,}" for name, count in left.items() if count)
    most = "" if bus.dense else ", at most"  # offsets are counted, and a bus may need some for itself
    log.info("going on with namespace %s; inputs left by an earlier run%s: %s", bus.namespace, most, waiting or "none")


async def _tell_end(
    bus: Bus,
    start: Start,
    sources: Sequence[Directory],
    used: Mapping[str, Usage],
    dead: Mapping[str, int] | None,
) -> None:
    """Report the funnel over the whole history, one example, and what to do next. `dead` are the inputs that are dead,
    by stage, where a run has ended because nothing is left to do; else None."""
    specs = await outline(bus)
    counts = await funnel(bus, legs(specs))
    shown = await latest_example(bus) if start.whole else None  # a worker of some stages has none to show for it
    left = list(about_dead(dead or {}, {spec.name: spec.input.name for spec in specs}, start.where.flags()))
    makes_examples = any(spec.name == EXAMPLES.name for spec in start.stages)
    if dead is not None and start.whole and makes_examples and shown is None:
        left.insert(0, about_no_examples(counts))
    if start.as_json:
        put_json(
            {
                "namespace": bus.namespace,
                "stages": counts,
                "used": used,
                "example": shown.key if shown else None,
                "dead": dead,
            }
        )
        for line in left:
            say(line)
        return
    out = report.console()
    for source in sources:
        out.print(report.source_line(source.name, source.summary()))
    out.print(report.funnel_table(counts))
    total = sum(used.values(), Usage())
    if total.requests:
        out.print(f"this run: {total.requests:,} requests, {tokens(total)}")
    if shown is not None:
        out.print(report.example(shown))
    if dead is None and any(count.dead for count in counts):
        left.append(f"what became dead letters: seedstream dead {start.where.flags()}")
    for line in (*_next(start, counts, shown), *left):
        say(line)


def _next(start: Start, counts: Sequence[Count], shown: Example | None) -> Iterator[str]:
    where = start.where.flags()
    if shown is not None:
        yield f"the dataset as files:     seedstream export DIR {where}"
        yield f"all that led to it:       seedstream show {shown.key[: report.ID_CHARS]} {where}"
    if any(count.rejected for count in counts):
        yield f"what was turned down:     seedstream rejects {where}"
    if any(count.lag for count in counts) and not start.stages:
        yield f"the stages have work now: seedstream run STAGE … {where}"
    elif any(count.lag for count in counts):
        yield "there is work left:       start it again in the same way, and it goes on"


async def latest_example(bus: Bus) -> Example | None:
    """Return the example accepted last."""
    latest: Stored | None = None
    async for batch in bus.read(EXAMPLES.name):
        for stored in batch:
            if latest is None or stored.at_s >= latest.at_s:
                latest = stored
    return decode(latest.value, Example) if latest else None
