"""The proof of conservation, from the topics alone: every input of every stage was emitted, rejected with a reason, or
dead-lettered, once.

The proof holds on a stream that is running. Progress is read before the topics and again after them: what was finished
before must have all of its outcomes, and what has outcomes must be finished by then. Topics are read downstream first,
so whatever an outcome came from is in what is read later. A source's progress is its state log, read twice likewise.

Of inputs that the ledger says were proven before (`stream.ledger`), and may be deleted, the outcomes are counted: those
that stand and those that are gone make up what was made.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from stream.bus import Bus, Cause, Stored
from stream.codec import decode
from stream.errors import Permanent
from stream.ledger import Ledger, Origin, Tally, ledger, plus
from stream.outcomes import REPLAY, Position, StageSpec
from stream.progress import Progress
from stream.records import Audited, Counts, RecipeText, Rejected, StateChange
from stream.stage import Fold
from stream.topics import AUDIT, DEAD, JOB_TOPICS, RECIPE, REJECTS, TOPICS, state_topic


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

    book: Ledger
    holes: list[Hole] = field(default_factory=list[Hole])
    outcomes: dict[str, dict[Position, Seen]] = field(default_factory=dict[str, dict[Position, Seen]])  # by stage
    offsets: dict[tuple[str, int], set[int]] = field(default_factory=dict[tuple[str, int], set[int]])  # by log
    kept: dict[str, dict[Position, int]] = field(default_factory=dict[str, dict[Position, int]])  # state, how often
    standing: dict[Origin, Tally] = field(default_factory=dict[Origin, Tally])  # outcomes of what was proven before
    recipes: int = 0

    def hole(self, stage: str, position: Position, what: str) -> None:
        self.holes.append(Hole(stage, *position, what))

    def proven(self, stage: str, position: Position) -> bool:
        """Whether an input and its outcomes were proven before."""
        topic, partition, offset = position
        return offset < self.book.of((stage, topic, partition)).below


async def audit(bus: Bus, specs: Sequence[StageSpec], sources: Collection[str] = ("files",)) -> list[Hole]:
    """Return every hole in the namespace; none when conservation holds. `sources` are topics that producers fill."""
    while True:
        book = await ledger(bus)
        holes = await _audit(bus, specs, sources, book)
        if await ledger(bus) == book:  # else it was pruned meanwhile: what was missed may be what was deleted
            return holes


async def _audit(bus: Bus, specs: Sequence[StageSpec], sources: Collection[str], book: Ledger) -> list[Hole]:
    own = [name for name in await bus.topics() if name not in JOB_TOPICS and name != AUDIT.name]
    topics = _downstream_first(own, specs)
    before = {spec.name: await bus.progress(spec.name, spec.input.name) for spec in specs}
    logs = [state_topic(source).name for source in sources if state_topic(source).name in topics]
    sent = await _read(bus, logs, book)
    findings = await _read(bus, topics, book)
    after = {spec.name: await bus.progress(spec.name, spec.input.name) for spec in specs}
    for spec in specs:
        _check_stage(findings, spec, before[spec.name], after[spec.name])
        if isinstance(spec.shape, Fold):
            _check_kept(findings, spec, before[spec.name], after[spec.name])
    for source in sources:
        _check_source(findings, source, sent.kept.get(source, {}))
    known = {spec.name for spec in specs} | set(sources) | {REPLAY}
    for stage in findings.outcomes.keys() - known:
        for position in findings.outcomes[stage]:
            findings.hole(stage, position, "an outcome of a stage that this recipe does not have")
    for entry in book.entries.values():
        _check_sum(findings, entry, known)
    for position in findings.outcomes.get(REPLAY, {}):
        topic, partition, offset = position
        gone = offset < book.deleted(topic).get(partition, 0)
        if not gone and offset not in findings.offsets.get((topic, partition), ()):
            findings.hole(REPLAY, position, "a replayed input that never stood there")
    if findings.recipes != 1 and RECIPE.name in own:
        findings.hole("recipe", (RECIPE.name, 0, 0), f"{findings.recipes} recipes on record, 1 expected")
    return findings.holes


def _downstream_first(own: Collection[str], specs: Sequence[StageSpec]) -> list[str]:
    """Return the topics in the order in which they are read: every outcome before its input, state logs at last. Those
    of a parent namespace that a stage reads are among them."""
    topics = [*own, *(spec.input.name for spec in specs if "/" in spec.input.name)]
    flow: TopologicalSorter[str] = TopologicalSorter()
    for spec in specs:
        flow.add(spec.output.name, spec.input.name)
    order = [REJECTS.name, DEAD.name, *reversed([*flow.static_order()])]
    return [topic for topic in order if topic in topics] + [topic for topic in topics if topic not in order]


async def _read(bus: Bus, topics: Iterable[str], book: Ledger) -> Findings:
    findings = Findings(book)
    for topic in topics:
        async for batch in bus.read(topic, book.deleted(topic)):
            for stored in batch:
                _take(findings, topic, stored)
    return findings


def _take(findings: Findings, topic: str, stored: Stored) -> None:
    """Add one record to the findings."""
    findings.offsets.setdefault((topic, stored.partition), set()).add(stored.offset)
    if "/" in topic:
        return  # the parent's: what it is an outcome of, the parent's own audit tells
    here = (topic, stored.partition, stored.offset)
    cause = stored.cause
    at: Position = here if cause is None else (cause.topic, cause.partition, cause.offset)
    stage = topic if cause is None else cause.stage
    is_state = topic.endswith(".state")
    try:
        record = decode(stored.value, StateChange if is_state else TOPICS[topic].record)
    except Permanent as err:
        findings.hole(stage, at, f"what stands at {_at(here)} cannot be read: {err}")
        if cause is not None and not is_state:
            _take_outcome(findings, topic, cause, at, here)
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
    elif findings.proven(cause.stage, at):
        tally = findings.standing.setdefault((cause.stage, cause.topic, cause.partition), Tally())
        if isinstance(record, Rejected):
            tally.reject(record.reason)
        elif topic == DEAD.name:
            tally.dead += 1
        else:
            tally.emit(cause.i)
    else:
        _take_outcome(findings, topic, cause, at, here)


def _check_sum(findings: Findings, entry: Audited, stages: Collection[str]) -> None:
    """Hold what stands of the outcomes that were proven before, and what was deleted, against what was made."""
    origin = (entry.stage, entry.topic, entry.partition)
    position = (entry.topic, entry.partition, entry.below)
    if not entry.stage:
        return
    if entry.stage not in stages:
        findings.hole(entry.stage, position, "proven inputs of a stage that this recipe does not have")
    standing = findings.standing.get(origin, Tally()).counts()
    if plus(standing, entry.gone) != entry.made:
        findings.hole(
            entry.stage,
            position,
            f"of what was made from the inputs below, {_told(entry.made)}, there {_told(standing)} stand and "
            f"{_told(entry.gone)} were pruned",
        )


def _told(counts: Counts) -> str:
    return f"{counts.emitted} records, {sum(n for _, n in counts.rejected)} rejects, {counts.dead} dead letters"


def _take_outcome(findings: Findings, topic: str, cause: Cause, at: Position, here: Position) -> None:
    seen = findings.outcomes.setdefault(cause.stage, {}).setdefault(at, Seen(cause.n))
    seen.emitted |= topic not in {REJECTS.name, DEAD.name}
    if seen.n != cause.n:
        findings.hole(cause.stage, at, f"outcomes that disagree on their number: {seen.n} and {cause.n}")
    elif not 0 <= cause.i < cause.n:
        findings.hole(cause.stage, at, f"outcome {cause.i} of {cause.n}")
    elif seen.mask >> cause.i & 1:
        findings.hole(cause.stage, at, f"outcome {cause.i} of {cause.n} stands twice, the second time at {_at(here)}")
    else:
        seen.mask |= 1 << cause.i


def _check_stage(
    findings: Findings, spec: StageSpec, before: Mapping[int, Progress], after: Mapping[int, Progress]
) -> None:
    """Hold a stage's outcomes against its inputs and its progress."""
    outcomes = findings.outcomes.get(spec.name, {})
    for partition, progress in before.items():
        for offset in sorted(findings.offsets.get((spec.input.name, partition), ())):
            position = (spec.input.name, partition, offset)
            if offset in progress and not findings.proven(spec.name, position):
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


def _check_kept(
    findings: Findings, spec: StageSpec, before: Mapping[int, Progress], after: Mapping[int, Progress]
) -> None:
    """Hold a Fold's state log against what it emitted: each emitted input stands there once, and no other."""
    stage, log = spec.name, state_topic(spec.name).name
    kept = findings.kept.get(stage, {})
    emitted = {position for position, seen in findings.outcomes.get(stage, {}).items() if seen.emitted}
    for position, times in kept.items():
        topic, partition, offset = position
        if times > 1:
            findings.hole(stage, position, f"stands {times} times in {log}")
        if topic != spec.input.name or offset not in after.get(partition, Progress()):
            findings.hole(stage, position, f"stands in {log}, but is not finished")
        elif findings.proven(stage, position):
            continue
        elif offset in before.get(partition, Progress()) and position not in emitted:
            findings.hole(stage, position, f"stands in {log}, but was not emitted")
    for position in emitted - kept.keys():
        findings.hole(stage, position, f"was emitted, but does not stand in {log}")
    _check_log(findings, stage, lambda entry: entry.emitting)


def _check_source(findings: Findings, topic: str, before: Collection[Position]) -> None:
    """Hold what sources sent to `topic` against their state log: each item stands there once, with its outcomes.
    `before` are the items that stood there before the topics were read."""
    log = state_topic(topic).name
    kept = findings.kept.get(topic, {})
    outcomes = findings.outcomes.get(topic, {})
    for position, times in kept.items():
        if times > 1:
            findings.hole(topic, position, f"stands {times} times in {log}")
        if position in before and not findings.proven(topic, position):
            _check_whole(findings, topic, position, outcomes.get(position))
    for position in outcomes.keys() - kept.keys():
        findings.hole(topic, position, f"was sent, but does not stand in {log}")
    _check_log(findings, topic, lambda entry: entry.inputs)


def _check_log(findings: Findings, stage: str, expected: Callable[[Audited], int]) -> None:
    """Hold a state log, which is kept for ever, against the number of inputs proven before that must stand in it."""
    standing = Counter(position[:2] for position in findings.kept.get(stage, {}) if findings.proven(stage, position))
    for entry in findings.book.entries.values():
        if entry.stage == stage and standing[entry.topic, entry.partition] != expected(entry):
            found = standing[entry.topic, entry.partition]
            what = f"{expected(entry)} inputs below must stand in {state_topic(stage).name}, {found} do"
            findings.hole(stage, (entry.topic, entry.partition, entry.below), what)


def _at(position: Position) -> str:
    topic, partition, offset = position
    return f"{topic}[{partition}]@{offset}"


def _some(numbers: Iterable[int]) -> str:
    shown = [str(number) for number in numbers]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")
