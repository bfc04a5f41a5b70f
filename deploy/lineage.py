"""One record's lineage: up, the parents it embeds; down, what was made from it, found by the positions that every
message names as its cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.audit import REPLAY, Position
from stream.bus import Bus, Stored
from stream.codec import decode
from stream.errors import WrongConfig
from stream.records import Record
from stream.topics import DEAD, REJECTS, TOPICS, Topic

MIN_ID_CHARS = 6
SOURCE_TOPIC = "files"


@dataclass(frozen=True, slots=True)
class Found:
    """A record at its position."""

    topic: Topic
    stored: Stored
    record: Record
    depth: int  # 0 for the record that was asked for, 1 for what was made from it, ...


async def lineage(bus: Bus, record_id: str, topics: Sequence[Topic]) -> list[Found]:
    """Return the records whose id begins with `record_id` and all that was made from them, in the order of the
    stream. `topics` is that order. Reads each of them whole.

    Raises:  WrongConfig when nothing has this id, or records with different ids do.
    """
    if len(record_id) < MIN_ID_CHARS:
        raise WrongConfig(f"{record_id!r} is too short: expected at least {MIN_ID_CHARS} characters of an id")
    depths: dict[Position, int] = {}  # of the positions of what was found
    found: list[Found] = []
    for topic in (*topics, REJECTS, DEAD):
        async for batch in bus.read(topic.name):
            for stored in batch:
                depth = _depth(stored, record_id, depths)
                if depth is not None:
                    depths[topic.name, stored.partition, stored.offset] = depth
                    found.append(Found(topic, stored, decode(stored.value, topic.record), depth))
    ids = {f.stored.key for f in found if f.depth == 0}
    if not found:
        raise WrongConfig(f"no record's id begins with {record_id}")
    if len(ids) > 1:
        some = ", ".join(i[: len(record_id) + 4] for i in sorted(ids)[:3])
        raise WrongConfig(f"{record_id} is the beginning of {len(ids)} ids ({some}, …): write more of it")
    return found


def _depth(stored: Stored, record_id: str, depths: Mapping[Position, int]) -> int | None:
    cause = stored.cause
    # The causes of what a source sent are items of the source, not positions in a topic.
    if cause is not None and cause.stage != SOURCE_TOPIC:
        above = depths.get((cause.topic, cause.partition, cause.offset))
        if above is not None:
            return above if cause.stage == REPLAY else above + 1  # replayed: the same record at a new position
    return 0 if stored.key.startswith(record_id) else None


def in_order(names: Sequence[str]) -> list[Topic]:
    """Return the data topics among `names` in the order of the stream."""
    return [topic for topic in TOPICS.values() if topic.name in names and topic not in (REJECTS, DEAD)]
