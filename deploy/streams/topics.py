"""The topics of a stream: which there are, who reads them, and what `seedstream topics` says about them."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from deploy.planning import recipe as recipes
from deploy.planning import settings
from deploy.planning.effective import stored_recipe
from deploy.planning.recipe import SOURCE_TOPIC, Recipe
from deploy.streams.branch import within
from deploy.streams.outline import outline
from deploy.streams.where import Where
from stream.bus import Bus
from stream.config import suggestion
from stream.errors import WrongConfig
from stream.outcomes import StageSpec
from stream.stage import Fold
from stream.topics import AUDIT, DEAD, JOB_TOPICS, RECIPE, REJECTS, TOPICS, Topic, full_name, state_topic

KEPT = {"pruned": "until pruned", "compacted": "compacted", "forever": "for ever"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stream has on its bus."""

    topics: Sequence[Topic]
    readers: Mapping[str, str]  # the topic that each stage reads: whose progress there is


def wanted_by(recipe: Recipe) -> Wanted:
    """Return what a stream of this recipe has, whichever of its stages run here."""
    return _wanted([(stage.name, stage.reads, stage.writes, stage.kind.fold) for stage in recipe.stages])


def topics_of(recipe: Recipe) -> Sequence[Topic]:
    """Return every topic that a stream of this recipe has."""
    return wanted_by(recipe).topics


def _wanted_by_specs(specs: Sequence[StageSpec]) -> Wanted:
    return _wanted([(spec.name, spec.input, spec.output, isinstance(spec.shape, Fold)) for spec in specs])


def _wanted(stages: Sequence[tuple[str, Topic, Topic, bool]]) -> Wanted:
    """Put it together from the stages: name, input, output, and whether it is a Fold. What a Fold reads has one
    partition: its order is the order."""
    data: dict[str, Topic] = {}
    for _, reads, writes, _ in stages:
        data.setdefault(reads.name, reads)
        data.setdefault(writes.name, writes)
    for _, reads, _, is_fold in stages:
        if is_fold:
            data[reads.name] = dataclasses.replace(reads, partitions=1)
    own = [topic for topic in data.values() if "/" not in topic.name]
    sources = [state_topic(SOURCE_TOPIC)] if SOURCE_TOPIC in data else []
    states = [state_topic(name) for name, _, _, is_fold in stages if is_fold]
    return Wanted(
        [RECIPE, AUDIT, *own, REJECTS, DEAD, *sources, *states], {name: reads.name for name, reads, _, _ in stages}
    )


async def _wanted_in(bus: Bus | None, recipe: str | None, config: Path | None) -> Wanted:
    """Return what a namespace has: by the recipe it runs, or by the one that flag or file name for it."""
    read, document = settings.read(config)
    stored = await stored_recipe(bus) if bus is not None else None
    if bus is not None and stored is not None and recipe is None:
        return _wanted_by_specs(await outline(bus))
    loaded = recipes.load(recipe or read.recipe, document)
    return wanted_by(within(loaded, stored) if stored else loaded)


def _jobs() -> list[Topic]:
    return [TOPICS[name] for name in sorted(JOB_TOPICS)]


async def create(where: Where, recipe: str | None, config: Path | None) -> list[str]:
    """Make every topic of a namespace, those of jobs among them; return the full names of those that were not there.

    Raises:  WrongConfig for one that stands with another number of partitions than it must have.
    """
    async with AsyncExitStack() as stack:
        bus = await where.enter(stack)
        wanted = await _wanted_in(bus, recipe, config)  # what is refused makes no bus
        bus = bus or await stack.enter_async_context(where.open(create=True))
        before = await bus.topics()
        topics = [*wanted.topics, *_jobs()]
        await bus.create(topics, wanted.readers)
        return [full_name(where.namespace, topic.name) for topic in topics if topic.name not in before]


@dataclass(frozen=True, slots=True)
class Line:
    """A topic as it stands."""

    topic: str
    partitions: int
    records: int  # offsets in use: where the bus needs some for itself, a few less are records
    pruned: int  # offsets before the first record
    kept: str


async def listed(where: Where) -> list[Line]:
    """Return the topics of a namespace, in the order of the stream.

    Raises:  WrongConfig when it has none.
    """
    async with where.open() as bus:
        found = await bus.topics()
        if not found:
            others = list(await bus.namespaces())
            hint = suggestion(where.namespace, others) if others else "`seedstream topics create` makes them"
            raise WrongConfig(f"namespace {where.namespace} has no topics; {hint}")
        lines: list[Line] = []
        for name in [name for name in TOPICS if name in found] + [name for name in found if name not in TOPICS]:
            starts, ends = await bus.starts(name), await bus.ends(name)
            pruned = sum(starts.values())
            topic = TOPICS.get(name) or state_topic(name)
            full = full_name(where.namespace, name)
            lines.append(Line(full, found[name], sum(ends.values()) - pruned, pruned, KEPT[topic.retention]))
        return lines


async def check(where: Where, recipe: str | None, config: Path | None) -> Sequence[str]:
    """Return in what the topics of a namespace differ from what its recipe needs. Changes nothing."""
    async with where.open() as bus:
        wanted = await _wanted_in(bus, recipe, config)
        there = await bus.topics()
        topics = [*wanted.topics, *(topic for topic in _jobs() if topic.name in there)]
        return await bus.differences(topics, wanted.readers)
