"""The proof of conservation, from the topics alone: every input of every stage was emitted, rejected with a reason, or
dead-lettered, once.

Progress is read before the topics and again after them, so the proof holds on a stream that is running: what was
finished before must have all of its outcomes, and what has outcomes must be finished by then.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.bus import Bus, Cause, Stored
from stream.codec import decode
from stream.errors import Permanent
from stream.outcomes import StageSpec
from stream.progress import Progress
from stream.records import RecipeText, StateChange
from stream.stage import Fold
from stream.topics import RECIPE, TOPICS, state_topic

REPLAY = "replay"
"""Stage of the cause of a re-appended input; its position is where the input stood first."""

Position = tuple[str, int, int]  # topic (or source), partition, offset


@dataclass(frozen=True, slots=True)
class Hole:
    """One thing that does not hold, and where."""

    stage: str
    topic: str
    partition: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.topic}[{self.partition}]@{self.offset}: {self.what}"


@dataclass(slots=True)
class Seen:
    """The outcomes found for one input: `n` as the first one says, bit i of `mask` for outcome i."""

    n: int
    mask: int = 0
    emitted: bool = False


@dataclass(slots=True)
class Findings:
    """What one pass over the topics shows."""

    holes: list[Hole] = field(default_factory=list[Hole])
    outcomes: dict[str, dict[Position, Seen]] = field(default_factory=dict[str, dict[Position, Seen]])  # by stage
    offsets: dict[tuple[str, int], set[int]] = field(default_factory=dict[tuple[str, int], set[int]])  # by log
    kept: dict[str, dict[Position, int]] = field(default_factory=dict[str, dict[Position, int]])  # state, how often
    recipes: int = 0

    def hole(self, stage: str, position: Position, what: str) -> None:
        self.holes.append(Hole(stage, *position, what))


async def audit(bus: Bus, specs: Sequence[StageSpec], sources: Collection[str] = ("files",)) -> list[Hole]:
    """Return every hole in the namespace; none when conservation holds. `sources` are topics that producers fill."""
    before = {spec.name: await bus.progress(spec.name, spec.input.name) for spec in specs}
    findings = Findings()
    for topic in await bus.topics():
        async for batch in bus.read(topic):
            for stored in batch:
                _take(findings, topic, stored)
    after = {spec.name: await bus.progress(spec.name, spec.input.name) for spec in specs}
    for spec in specs:
        _check_stage(findings, spec, before[spec.name], after[spec.name])
        if isinstance(spec.shape, Fold):
            _check_kept(findings, spec.name)
    for source in sources:
        _check_source(findings, source)
    known = {spec.name for spec in specs} | set(sources) | {REPLAY}
    for stage in findings.outcomes.keys() - known:
        for position in findings.outcomes[stage]:
            findings.hole(stage, position, "an outcome of a stage that this recipe does not have")
    for position in findings.outcomes.get(REPLAY, {}):
        if position[2] not in findings.offsets.get(position[:2], ()):
            findings.hole(REPLAY, position, "a replayed input that never stood there")
    if findings.recipes != 1 and RECIPE.name in await bus.topics():
        findings.hole("recipe", (RECIPE.name, 0, 0), f"{findings.recipes} recipes on record, 1 expected")
    return findings.holes


def _take(findings: Findings, topic: str, stored: Stored) -> None:
    """Add one record to the findings."""
    findings.offsets.setdefault((topic, stored.partition), set()).add(stored.offset)
    here = (topic, stored.partition, stored.offset)
    cause = stored.cause
    at: Position = here if cause is None else (cause.topic, cause.partition, cause.offset)
    stage = topic if cause is None else cause.stage
    is_state = topic.endswith(".state")
    try:
        record = decode(stored.value, StateChange if is_state else TOPICS[topic].record)
    except Permanent as err:
        findings.hole(stage, at, f"what stands at {topic}[{stored.partition}]@{stored.offset} cannot be read: {err}")
        return
    if record.key != stored.key:
        findings.hole(stage, at, f"the record {record.key} at {_at(here)} stands under the key {stored.key}")
    if isinstance(record, RecipeText):
        findings.recipes += 1
    elif cause is None:
        findings.hole(stage, at, "a record without a cause")
    elif isinstance(record, StateChange):
        kept = findings.kept.setdefault(cause.stage, {})
        for entry in record.entries:
            position = (cause.topic, cause.partition, entry.offset)
            kept[position] = kept.get(position, 0) + 1
    else:
        _take_outcome(findings, topic, cause, at, here)


def _take_outcome(findings: Findings, topic: str, cause: Cause, at: Position, here: Position) -> None:
    seen = findings.outcomes.setdefault(cause.stage, {}).setdefault(at, Seen(cause.n))
    bit = 1 << cause.i
    if seen.n != cause.n:
        findings.hole(cause.stage, at, f"outcomes that disagree on their number: {seen.n} and {cause.n}")
    elif not 0 <= cause.i < cause.n:
        findings.hole(cause.stage, at, f"outcome {cause.i} of {cause.n}")
    elif seen.mask & bit:
        findings.hole(cause.stage, at, f"outcome {cause.i} of {cause.n} stands twice, the second time at {_at(here)}")
    seen.mask |= bit
    seen.emitted |= topic not in {"rejects", "dead"}


def _check_stage(
    findings: Findings, spec: StageSpec, before: Mapping[int, Progress], after: Mapping[int, Progress]
) -> None:
    """Hold a stage's outcomes against its inputs and its progress."""
    outcomes = findings.outcomes.get(spec.name, {})
    for partition, progress in before.items():
        for offset in sorted(findings.offsets.get((spec.input.name, partition), ())):
            position = (spec.input.name, partition, offset)
            if offset in progress:
                _check_whole(findings, spec.name, position, outcomes.get(position))
    for position in outcomes:
        topic, partition, offset = position
        if topic != spec.input.name or offset not in findings.offsets.get((topic, partition), ()):
            findings.hole(spec.name, position, "an outcome without its input")
        elif offset not in after.get(partition, Progress()):
            findings.hole(spec.name, position, "an outcome of an input that is not finished")


def _check_whole(findings: Findings, stage: str, position: Position, seen: Seen | None) -> None:
    if seen is None:
        findings.hole(stage, position, "finished, but without an outcome")
    elif seen.mask != (1 << seen.n) - 1:
        missing = [i for i in range(seen.n) if not seen.mask >> i & 1]
        findings.hole(stage, position, f"finished, but outcome {_some(missing)} of {seen.n} is missing")


def _check_kept(findings: Findings, stage: str) -> None:
    """Hold a Fold's state log against what it emitted: each emitted input stands there once, and no other."""
    kept = findings.kept.get(stage, {})
    emitted = {position for position, seen in findings.outcomes.get(stage, {}).items() if seen.emitted}
    for position, times in kept.items():
        if times > 1:
            findings.hole(stage, position, f"stands {times} times in {state_topic(stage).name}")
        if position not in emitted:
            findings.hole(stage, position, f"stands in {state_topic(stage).name}, but was not emitted")
    for position in emitted - kept.keys():
        findings.hole(stage, position, f"was emitted, but does not stand in {state_topic(stage).name}")


def _check_source(findings: Findings, topic: str) -> None:
    """Hold what sources sent to `topic` against their state log: each item stands there once, with its outcomes."""
    kept = findings.kept.get(topic, {})
    outcomes = findings.outcomes.get(topic, {})
    for position, times in kept.items():
        if times > 1:
            findings.hole(topic, position, f"stands {times} times in {state_topic(topic).name}")
        _check_whole(findings, topic, position, outcomes.get(position))
    for position in outcomes.keys() - kept.keys():
        findings.hole(topic, position, f"was sent, but does not stand in {state_topic(topic).name}")


def _at(position: Position) -> str:
    topic, partition, offset = position
    return f"{topic}[{partition}]@{offset}"


def _some(numbers: Iterable[int]) -> str:
    shown = [str(number) for number in numbers]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")
