"""From a source into a topic: every item once, across crashes and runs.

A source is like a Fold over itself: what it has sent stands in a state log, written in the same step as the records.
Its items are numbered in the order in which they were first sent; that number is the offset in their `Cause`.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from stream import logs
from stream.bus import Appender, Bus, Message
from stream.codec import decode
from stream.errors import Fatal, Permanent, TooLarge
from stream.metrics import StageStats
from stream.outcomes import acceptable, dead_letter, outcome_messages, state_message, topics
from stream.records import FileId, Kept, SourceFile, StateChange
from stream.retry import Gate
from stream.stage import Outcome
from stream.topics import Topic, state_topic

CHUNK = 64  # items in one step at most


class Item(Protocol):
    """One thing that a source found, with what became of it."""

    @property
    def file_id(self) -> FileId: ...

    @property
    def outcome(self) -> Outcome[SourceFile]: ...


class Source(Protocol):
    """Where code comes from. `found` blocks, is called in a thread, and leaves out the ids in `known`."""

    @property
    def name(self) -> str: ...

    def found(self, known: Collection[FileId]) -> Iterator[Item]: ...


@dataclass(slots=True)
class Sent:
    """What one source has sent so far."""

    ids: set[FileId] = field(default_factory=set[FileId])
    next: int = 0  # number of the next item


async def sent(bus: Bus, topic: str) -> defaultdict[str, Sent]:
    """Return what each source has sent to `topic`, by the source's name; nothing for one that is not known yet."""
    sources: defaultdict[str, Sent] = defaultdict(Sent)
    async for batch in bus.read(state_topic(topic).name):
        for stored in batch:
            if stored.cause is None:
                continue
            source = sources[stored.cause.topic]
            for entry in decode(stored.value, StateChange).entries:
                source.ids.add(FileId(entry.record_id))
                source.next = max(source.next, entry.offset + 1)
    return sources


def take(items: Iterator[Item], limit: int) -> list[Item]:
    """Return the next items, `limit` at most."""
    return list(islice(items, limit))


async def ingest(
    bus: Bus, topic: Topic, sources: Sequence[Source], stats: StageStats, stop: asyncio.Event, limit: int | None = None
) -> int:
    """Send what the sources have found and not sent before; return the number of new records, at most `limit`.

    Stops early, in good order, once `stop` is set. Raises:  Fatal; InUse when another process feeds `topic`.
    """
    gate = Gate(stats)
    start = stats.emitted
    with logs.of_stage(stats.stage):
        async with bus.appender(topic.name) as appender:
            before = await sent(bus, topic.name)
            for source in sources:
                room = None if limit is None else limit - (stats.emitted - start)
                await _ingest_one(appender, topic, source, before[source.name], stats, stop, gate, room)
    return stats.emitted - start


class _Numbered(NamedTuple):
    """An item with its number and what became of it."""

    number: int
    file_id: FileId
    messages: list[Message]
    reasons: list[str]  # of its rejects


async def _ingest_one(
    appender: Appender,
    topic: Topic,
    source: Source,
    before: Sent,
    stats: StageStats,
    stop: asyncio.Event,
    gate: Gate,
    room: int | None,
) -> None:
    items = source.found(before.ids)
    while not stop.is_set() and room != 0:
        size = CHUNK if room is None else min(CHUNK, room)
        chunk = await asyncio.to_thread(take, items, size)
        if not chunk:
            return
        numbered: list[_Numbered] = []
        for item in chunk:
            if item.file_id in before.ids:
                continue  # come upon twice: by another source of this name, or on another path
            numbered.append(_numbered(topic, source, before.next, item))
            before.ids.add(item.file_id)
            before.next += 1
        if not numbered:
            continue
        written, reasons = await _append(appender, topic, source, numbered, gate)
        stats.committed(len(numbered), written, topic.name, reasons)
        room = None if room is None else room - written[topic.name]


def _numbered(topic: Topic, source: Source, number: int, item: Item) -> _Numbered:
    position = (source.name, 0, number)
    try:
        messages = outcome_messages(topic.name, topic.name, position, item.file_id, item.outcome)
    except Permanent as err:
        return _Numbered(number, item.file_id, dead_letter(topic.name, position, item.file_id, b"", err), [])
    return _Numbered(number, item.file_id, messages, [reject.reason for reject in item.outcome.rejected])


async def _append(
    appender: Appender, topic: Topic, source: Source, numbered: Sequence[_Numbered], gate: Gate
) -> tuple[Counter[str], list[str]]:
    """Append items and their entries in the state log as one step, those that the bus would not take as dead letters;
    return how many messages went to each topic, and the reasons of the rejects."""

    def fitted(item: _Numbered) -> _Numbered:
        position, messages = (source.name, 0, item.number), item.messages
        fitting = acceptable(topic.name, position, item.file_id, messages[0].value, messages, appender.refusal)
        return item if fitting is messages else item._replace(messages=fitting, reasons=[])

    state = state_message(topic.name, source.name, 0, [Kept(item.number, item.file_id, "") for item in numbered])
    items = [fitted(item) for item in numbered]
    while True:
        messages = [*(message for item in items for message in item.messages), state]
        try:
            await gate.call(lambda: appender.append(messages))  # noqa: B023 - awaited here
        except TooLarge as err:  # the limit of a topic is another than it was
            mended = [fitted(item) for item in items]
            if mended == items:
                raise Fatal(f"topic {topic.name}: the bus refuses a step, and no item in it: {err}") from err
            items = mended
        else:
            return topics(messages), [reason for item in items for reason in item.reasons]
