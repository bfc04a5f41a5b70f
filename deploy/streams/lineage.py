"""One record's lineage: up, the parents it embeds; down, what was made from it, found by the positions that every
message names as its cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.planning.effective import stored_recipe
from deploy.streams.outline import reads_of
from stream.bus import Bus, Stored
from stream.codec import decode
from stream.errors import WrongConfig
from stream.outcomes import REPLAY, Position
from stream.records import Record
from stream.topics import AUDIT, DEAD, RECIPE, REJECTS, TOPICS, Topic, foreign

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
        home, _, _ = topic.name.rpartition("/")
        async for batch in bus.read(topic.name):
            for stored in batch:
                depth = _depth(stored, record_id, depths, home)
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


def _depth(stored: Stored, record_id: str, depths: Mapping[Position, int], home: str) -> int | None:
    cause = stored.cause
    # The causes of what a source sent are items of the source, not positions in a topic.
    if cause is not None and cause.stage != SOURCE_TOPIC:
        # What stands in another namespace names its own topics there as if they were ours.
        topic = f"{home}/{cause.topic}" if home and "/" not in cause.topic else cause.topic
        above = depths.get((topic, cause.partition, cause.offset))
        if above is not None:
            return above if cause.stage == REPLAY else above + 1  # replayed: the same record at a new position
    return 0 if stored.key.startswith(record_id) else None


async def in_order(bus: Bus) -> list[Topic]:
    """Return the topics that can be searched, in the order of the stream: those of the parents that it goes back to,
    down to the one that a stage here reads, and the data of this namespace."""
    own = await bus.topics()
    others = (REJECTS, DEAD, RECIPE, AUDIT)
    return [*await _above(bus), *(topic for topic in TOPICS.values() if topic.name in own and topic not in others)]


async def _above(bus: Bus) -> list[Topic]:
    stored = await stored_recipe(bus)
    found: list[Topic] = []
    while stored is not None and stored.reads is not None:
        home, _, name = stored.reads.rpartition("/")
        stored = await stored_recipe(bus, home)
        reads = reads_of(stored) if stored else {}
        chain = [name]
        while chain[-1] in reads and "/" not in reads[chain[-1]]:
            chain.append(reads[chain[-1]])
        found = [foreign(TOPICS[topic], home) for topic in reversed(chain)] + found
    return found
