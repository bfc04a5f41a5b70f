"""From a source into a topic: every item once, across crashes and runs.

A source is like a Fold over itself: what it has sent stands in a state log, written in the same step as the records.
Its items are numbered in the order in which they were first sent; that number is the offset in their `Cause`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from stream.bus import Appender, Bus, Message
from stream.codec import decode
from stream.errors import Permanent
from stream.metrics import StageStats
from stream.outcomes import dead_letter, outcome_messages, state_message, topics
from stream.records import FileId, Kept, SourceFile, StateChange
from stream.retry import Gate
from stream.stage import Outcome
from stream.topics import Topic, state_topic

CHUNK = 64  # items in one step at most

log = logging.getLogger(__name__)


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
    async with bus.appender(topic.name) as appender:
        before = await sent(bus, topic.name)
        for source in sources:
            room = None if limit is None else limit - (stats.emitted - start)
            await _ingest_one(appender, topic, source, before[source.name], stats, stop, gate, room)
    return stats.emitted - start


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
        messages: list[Message] = []
        entries: list[Kept] = []
        reasons: list[str] = []
        for item in chunk:
            if item.file_id in before.ids:
                continue  # come upon twice: by another source of this name, or on another path
            position = (source.name, 0, before.next)
            try:
                messages += outcome_messages(topic.name, topic.name, position, item.file_id, item.outcome)
                reasons += [reject.reason for reject in item.outcome.rejected]
            except Permanent as err:
                messages += dead_letter(topic.name, position, item.file_id, b"", err)
            entries.append(Kept(before.next, item.file_id, ""))
            before.ids.add(item.file_id)
            before.next += 1
        if not entries:
            continue
        messages.append(state_message(topic.name, source.name, 0, entries))
        await gate.call(lambda: appender.append(messages))  # noqa: B023 - awaited here
        written = topics(messages)
        stats.committed(len(entries), written, topic.name, reasons)
        room = None if room is None else room - written[topic.name]
