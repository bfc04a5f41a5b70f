"""`seedstream up`, `run` and `ingest`: a stream opened, its stages run in this process, its end reported."""

import logging
import os
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy

from consumers.llm.usage import Usage
from deploy import live, report, running, train_beside
from deploy.effective import begin, begun
from deploy.funnel import Count, funnel
from deploy.live import View
from deploy.options import NAMESPACE, put_json, say
from deploy.outline import legs, outline
from deploy.pipeline import Pipeline, build
from deploy.plan import Plan
from deploy.recipe import SOURCE_TOPIC, Recipe, StagePlan
from producers.directory import Directory
from stream import logs
from stream.bus import Bus, Stored
from stream.codec import decode
from stream.embedded import Embedded
from stream.idle import lag
from stream.metrics import serve
from stream.outcomes import StageSpec
from stream.records import Example
from stream.topics import DEAD, RECIPE, REJECTS, TOPICS, Topic, state_topic
from trainer.hyperparameters import Train

log = logging.getLogger(__name__)

EXAMPLES = TOPICS["examples"]
REMEDY = "Start it as before, or run the changed one in a new --dir or --namespace"


@dataclass(frozen=True, slots=True)
class Start:
    """What a run is started with."""

    directory: Path
    namespace: str
    plan: Plan
    stages: Sequence[StagePlan]
    sources: Sequence[Path] = ()
    limit: int | None = None
    until_idle: bool = False
    metrics_port: int | None = None
    log_format: logs.Format = "console"
    as_json: bool = False


async def up(start: Start) -> int:
    """Run until idle or told to stop, report, and return the exit code.

    Raises:  Fatal: WrongConfig for what is wrong with sources, config, recipe or model; DependencyDown; InUse when
             another process runs the same stages.
    """
    # What is wrong with a source, or with the training, is found before anything is made.
    sources = [Directory(path, start.plan.recipe.source) for path in start.sources]
    train_beside.check(_training(start))
    console = Console(stderr=True, highlight=False)
    # On a terminal, log lines go above the live view instead of through it.
    logs.start(start.log_format, _secrets(start.plan), _above(console) if console.is_terminal else None)
    async with _opened(start) as (bus, pipeline):
        stats = running.new_stats(pipeline.specs)
        if start.metrics_port is not None:
            serve(stats.values(), start.metrics_port)
        view = View(list(stats.values()), lambda: sum(pipeline.used().values(), Usage()))
        work = running.Work(pipeline.specs, sources, start.limit, start.until_idle, pipeline.local)
        async with train_beside.beside(bus, _training(start), start.directory, view.tell_training) as trainer:
            interrupted = await running.run(bus, work, start.plan.config.runner, stats, view, console)
            if trainer is not None and start.until_idle and not interrupted:
                interrupted = await trainer.finish()
        await _tell_end(bus, start, sources, pipeline.used())
        if trainer is not None:
            trainer.raise_failure()
    return running.EXIT_INTERRUPTED if interrupted else 0


def _training(start: Start) -> Train:
    """Return how to train: not at all in a worker of some stages."""
    return start.plan.recipe.train if len(start.stages) == len(start.plan.recipe.stages) else Train()


def _above(console: Console) -> TextIO:
    return cast("TextIO", FileProxy(console, sys.stderr))


def _secrets(plan: Plan) -> list[str]:
    names = {end.key_env for end in (*plan.endpoints.values(), *plan.config.llm.values()) if end.key_env}
    return [os.environ[name] for name in names if name in os.environ]


@asynccontextmanager
async def _opened(start: Start) -> AsyncGenerator[tuple[Bus, Pipeline]]:
    """Open bus and pipeline. A stream begins only when all servers have answered, so that the name of a model which
    is not there is never written down."""
    recipe, config = start.plan.effective(), start.plan.config
    async with Embedded.open(start.directory, start.namespace, partitions=config.partitions) as bus:
        goes_on = await begun(bus, recipe, REMEDY)
        async with build(start.plan, start.stages, start.directory) as pipeline:
            await bus.create(topics_of(start.plan.recipe), readers_of(start.plan.recipe))
            if goes_on:
                await _tell_rest(bus, pipeline.specs)
            else:
                await begin(bus, recipe)
            yield bus, pipeline


def topics_of(recipe: Recipe) -> list[Topic]:
    """Return every topic that a stream of this recipe has, whichever of its stages run here."""
    states = [state_topic(stage.name) for stage in recipe.stages if stage.kind.fold]
    data = {topic.name: topic for stage in recipe.stages for topic in (stage.reads, stage.writes)}
    return [RECIPE, *data.values(), REJECTS, DEAD, state_topic(SOURCE_TOPIC), *states]


def readers_of(recipe: Recipe) -> dict[str, str]:
    """Return what each stage of this recipe reads, whichever of them run here."""
    return {stage.name: stage.reads.name for stage in recipe.stages}


async def _tell_rest(bus: Bus, specs: Sequence[StageSpec]) -> None:
    """Say what an earlier run left."""
    left = {spec.name: await lag(bus, spec) for spec in specs}
    waiting = ", ".join(f"{name} {count:,}" for name, count in left.items() if count)
    log.info("going on with namespace %s; inputs left by an earlier run: %s", bus.namespace, waiting or "none")


async def _tell_end(bus: Bus, start: Start, sources: Sequence[Directory], used: Mapping[str, Usage]) -> None:
    """Report the funnel over the whole history, one example, and what to do next."""
    counts = await funnel(bus, legs(await outline(bus)))
    whole = len(start.stages) == len(start.plan.recipe.stages)  # a worker of some stages has no example to show for it
    shown = await latest_example(bus) if whole else None
    if start.as_json:
        put_json(
            {
                "namespace": bus.namespace,
                "stages": counts,
                "used": used,
                "example": shown.key if shown else None,
            }
        )
        return
    out = report.console()
    for source in sources:
        out.print(report.source_line(source.name, source.summary()))
    out.print(report.funnel_table(counts))
    total = sum(used.values(), Usage())
    if total.requests:
        out.print(f"this run: {total.requests:,} requests, {live.tokens(total)}")
    if shown is not None:
        out.print(report.example(shown))
    for line in _next(start, counts, shown):
        say(line)


def _next(start: Start, counts: Sequence[Count], shown: Example | None) -> Iterator[str]:
    where = f"--dir {start.directory}" + ("" if start.namespace == NAMESPACE else f" --namespace {start.namespace}")
    if shown is not None:
        yield f"the dataset as files:     seedstream export DIR {where}"
        yield f"all that led to it:       seedstream show {shown.key[: report.ID_CHARS]} {where}"
    if any(count.rejected for count in counts):
        yield f"what was turned down:     seedstream rejects {where}"
    if any(count.dead for count in counts):
        yield f"what we failed (a defect): seedstream dead {where}"
    if any(count.lag for count in counts):
        yield "there is work left:       start it again in the same way, and it goes on"


async def latest_example(bus: Bus) -> Example | None:
    """Return the example accepted last."""
    latest: Stored | None = None
    async for batch in bus.read(EXAMPLES.name):
        for stored in batch:
            if latest is None or stored.at_s >= latest.at_s:
                latest = stored
    return decode(latest.value, Example) if latest else None
