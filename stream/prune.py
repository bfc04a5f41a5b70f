"""Pruning: the only thing that ever deletes, and only what every stage of every live namespace has passed.

First the whole namespace is audited; where something does not hold nothing is deleted, so that no evidence goes. Then
the ledger is moved up over the inputs that are finished and old enough: they are proven now, and their outcomes
counted. A record is deleted when it is old enough, all of its readers have it behind them, proven, and the input that
it was made from is proven too: what is missing later is then never mistaken for a loss. The same holds for rejects and
dead letters, which no stage reads. The ledger is written before anything is deleted.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from stream.audit import Hole, audit
from stream.bus import Bus, Message, Stored
from stream.codec import decode, encode
from stream.ledger import Ledger, Origin, Tally, further, ledger, plus
from stream.outcomes import REPLAY, StageSpec
from stream.progress import Progress
from stream.records import Audited, Rejected, StateChange
from stream.topics import AUDIT, DEAD, REJECTS, Topic, foreign, state_topic

SOURCES = ("files",)


@dataclass(frozen=True, slots=True)
class Part:
    """One namespace."""

    bus: Bus
    specs: Sequence[StageSpec]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune has deleted, or would; nothing where there are holes."""

    records: Mapping[str, int] = field(default_factory=dict[str, int])  # by topic, upstream first
    holes: Sequence[tuple[str, Hole]] = ()  # each with its namespace


async def prune(home: Part, children: Sequence[Part], before_s: float, *, dry_run: bool = False) -> Pruned:
    """Delete what was appended before `before_s` (seconds since the epoch) and is no longer needed. `children` are the
    namespaces with a stage that reads a topic of `home`.

    Raises:  InUse while another prune of one of them is under way.
    """
    async with AsyncExitStack() as stack:
        parts = (home, *children)
        appenders = [await stack.enter_async_context(part.bus.appender(AUDIT.name)) for part in parts]
        steps = [await _proven(part, before_s) for part in parts]
        holes = [(step.part.bus.namespace, hole) for step in steps for hole in step.holes]
        if holes:
            return Pruned(holes=holes)
        deletion = await _deletion(steps[0], steps[1:], before_s)
        if not dry_run:
            steps[0].moved.update(deletion.entries)
            for appender, step in zip(appenders, steps, strict=True):
                await step.part.bus.create([AUDIT])
                if step.moved:
                    messages = [Message(AUDIT.name, entry.key, encode(entry)) for entry in step.moved.values()]
                    await appender.append(messages)
            for topic, offsets in deletion.offsets.items():
                await home.bus.delete_before(topic, offsets)
        return Pruned(deletion.records)


# --- what is proven


@dataclass(slots=True)
class Step:
    """The ledger of a namespace, moved up as far as its audit proves."""

    part: Part
    book: Ledger
    moved: dict[Origin, Audited] = field(default_factory=dict[Origin, Audited])
    holes: Sequence[Hole] = ()


async def _proven(part: Part, before_s: float) -> Step:
    """Audit a namespace, and move its ledger up over the inputs that are finished and older than `before_s`."""
    bus, specs = part.bus, part.specs
    book = await ledger(bus)
    progress = {spec.name: await bus.progress(spec.name, spec.input.name) for spec in specs}
    holes = await audit(bus, specs, SOURCES)
    if holes:
        return Step(part, book, holes=holes)
    inputs: dict[Origin, int] = {}
    below: dict[Origin, int] = {}
    for spec in specs:
        await _inputs(part, spec, book, progress[spec.name], before_s, inputs, below)
    for source in SOURCES:
        await _items(part, source, book, before_s, inputs, below)
    made = await _made(part, book, below)
    moved = {
        origin: further(book.of(origin), offset, inputs[origin], made.get(origin, Tally()))
        for origin, offset in below.items()
        if offset > book.of(origin).below
    }
    return Step(part, book.with_all(moved), moved)


async def _inputs(
    part: Part, spec: StageSpec, book: Ledger, progress: Mapping[int, Progress], before_s: float,
    inputs: dict[Origin, int], below: dict[Origin, int],
) -> None:  # fmt: skip
    """Find how far the inputs of a stage are finished and old enough, and count them."""
    origins = {partition: (spec.name, spec.input.name, partition) for partition in progress}
    ended: set[int] = set()
    async for batch in part.bus.read(spec.input.name, {p: book.of(origin).below for p, origin in origins.items()}):
        for stored in batch:
            if stored.partition in ended or stored.partition not in progress:  # added since: nothing there is finished
                continue
            if stored.at_s >= before_s or stored.offset >= progress[stored.partition].watermark:
                ended.add(stored.partition)
                continue
            origin = origins[stored.partition]
            inputs[origin] = inputs.get(origin, 0) + 1
            below[origin] = stored.offset + 1


async def _items(
    part: Part, source_topic: str, book: Ledger, before_s: float, inputs: dict[Origin, int], below: dict[Origin, int]
) -> None:
    """As `_inputs`, for what sources have sent: their state log is their input, and stays."""
    log = state_topic(source_topic).name
    if log not in await part.bus.topics():
        return
    ended: set[str] = set()
    async for batch in part.bus.read(log):
        for stored in batch:
            cause = stored.cause
            assert cause is not None  # audited
            if stored.at_s >= before_s or cause.topic in ended:
                ended.add(cause.topic)
                continue
            origin = (source_topic, cause.topic, cause.partition)
            for entry in decode(stored.value, StateChange).entries:
                if entry.offset >= book.of(origin).below:
                    inputs[origin] = inputs.get(origin, 0) + 1
                    below[origin] = max(below.get(origin, 0), entry.offset + 1)


async def _made(part: Part, book: Ledger, below: Mapping[Origin, int]) -> Mapping[Origin, Tally]:
    """Count the outcomes of the inputs from the ledger's end up to `below`."""
    made: dict[Origin, Tally] = {}
    for topic in _own(part):
        async for batch in part.bus.read(topic.name, book.deleted(topic.name)):
            for stored in batch:
                origin = _origin(stored)
                if origin and book.of(origin).below <= _offset(stored) < below.get(origin, 0):
                    _count(made.setdefault(origin, Tally()), topic, stored)
    return made


# --- what is deleted


@dataclass(slots=True)
class Deletion:
    """What is to go, upstream first."""

    offsets: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])  # by topic and partition
    records: dict[str, int] = field(default_factory=dict[str, int])
    entries: dict[Origin, Audited] = field(default_factory=dict[Origin, Audited])  # of the ledger


async def _deletion(home: Step, children: Sequence[Step], before_s: float) -> Deletion:
    found = Deletion()
    gone: dict[Origin, Tally] = {}
    for topic in _own(home.part):
        if topic.retention != "pruned":
            continue
        named = foreign(topic, home.part.bus.namespace).name
        readers = [*_readers(home, topic.name), *(reader for child in children for reader in _readers(child, named))]
        if not readers and topic not in (REJECTS, DEAD):
            continue  # the end of the stream: nobody has taken it yet
        await _prefix(home, topic, readers, before_s, found, gone)
    for origin, tally in gone.items():
        entry = home.book.of(origin)
        found.entries[origin] = replace(entry, gone=plus(entry.gone, tally.counts()))
    return found


def _readers(step: Step, topic: str) -> list[Mapping[int, int]]:
    """Return of each stage that reads a topic how far its inputs are proven, by partition."""
    return [
        {p: entry.below for (name, read, p), entry in step.book.entries.items() if (name, read) == (spec.name, topic)}
        for spec in step.part.specs
        if spec.input.name == topic
    ]


async def _prefix(
    home: Step, topic: Topic, readers: Sequence[Mapping[int, int]], before_s: float,
    found: Deletion, gone: dict[Origin, Tally],
) -> None:  # fmt: skip
    """Find how far a topic can be deleted, and count what goes."""
    bus, book = home.part.bus, home.book
    before = book.deleted(topic.name)
    ended: set[int] = set()
    offsets = dict(before)
    count: dict[int, int] = {}
    async for batch in bus.read(topic.name, before):
        for stored in batch:
            p, origin = stored.partition, _origin(stored)
            needed = stored.at_s >= before_s or any(stored.offset >= reader.get(p, 0) for reader in readers)
            if p in ended or needed or (origin is not None and _offset(stored) >= book.of(origin).below):
                ended.add(p)
                continue
            offsets[p] = stored.offset + 1
            count[p] = count.get(p, 0) + 1
            if origin is not None:
                _count(gone.setdefault(origin, Tally()), topic, stored)
    for p, records in count.items():
        entry = book.of(("", topic.name, p))
        found.entries["", topic.name, p] = replace(entry, below=offsets[p], inputs=entry.inputs + records)
    found.records[topic.name] = sum(count.values())
    found.offsets[topic.name] = offsets  # also where nothing is new: an earlier prune may have been killed before it


def _own(part: Part) -> list[Topic]:
    """Return the topics of a namespace that hold outcomes, upstream first."""
    data = {topic.name: topic for spec in part.specs for topic in (spec.input, spec.output)}
    return [topic for topic in (*data.values(), REJECTS, DEAD) if "/" not in topic.name]


def _origin(stored: Stored) -> Origin | None:
    """Return whose outcome a record is; None of a replayed input, which is the outcome of nothing."""
    cause = stored.cause
    assert cause is not None  # audited
    return None if cause.stage == REPLAY else (cause.stage, cause.topic, cause.partition)


def _offset(stored: Stored) -> int:
    assert stored.cause is not None
    return stored.cause.offset


def _count(tally: Tally, topic: Topic, stored: Stored) -> None:
    assert stored.cause is not None
    if topic == REJECTS:
        tally.reject(decode(stored.value, Rejected).reason)
    elif topic == DEAD:
        tally.dead += 1
    else:
        tally.emit(stored.cause.i)
