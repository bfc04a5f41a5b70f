"""Reading a topic from where one likes to its end, outside of any group."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream.bus import Stored
from stream.errors import BrokerDown
from stream.kafka.errors import translated
from stream.kafka.place import Place
from stream.kafka.wire import stored

BATCH = 500
HELD_MS = 100  # what a broker may hold a fetch back that brings nothing
POLL_MS = 10
"""How long to wait for records of a partition, before it is looked whether its position has moved over marks alone:
aiokafka waits on then."""
STALLED_S = 60.0
"""Longer than any transaction can be open."""


async def read(place: Place, topic: str, start: Mapping[int, int] | None) -> AsyncGenerator[Sequence[Stored]]:
    """See `Bus.read`.

    The end is the high watermark, and reading goes on until the *position* reaches it: what an open transaction holds
    back is waited for, and the last record is not the last offset (control records).
    """
    name, count = place.full(topic), await place.count(topic)
    ends = await place.admin.ends(name, range(count))
    starts = await place.admin.starts(name, range(count))
    first = {partition: max(starts[partition], (start or {}).get(partition, 0)) for partition in range(count)}
    wanted = [partition for partition in range(count) if first[partition] < ends[partition]]
    if not wanted:
        return
    consumer = AIOKafkaConsumer(
        isolation_level="read_committed", auto_offset_reset="earliest", enable_auto_commit=False,
        fetch_max_wait_ms=HELD_MS, **place.cluster.client,
    )  # fmt: skip
    try:
        with translated(f"reading {name}"):
            await consumer.start()
        # All at once: a broker holds a fetch back while there is nothing more, and the next one waits behind it.
        consumer.assign([TopicPartition(name, partition) for partition in wanted])
        for partition in wanted:
            consumer.seek(TopicPartition(name, partition), first[partition])
        for partition in wanted:
            tp = TopicPartition(name, partition)
            async for batch in _partition(place, consumer, tp, first[partition], ends[partition]):
                yield batch
    finally:
        await consumer.stop()


async def _partition(
    place: Place, consumer: AIOKafkaConsumer, tp: TopicPartition, start: int, end: int
) -> AsyncIterator[Sequence[Stored]]:
    position, since_s = start, time.monotonic()
    while position < end:
        with translated(f"reading {tp.topic}[{tp.partition}]"):
            found = await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=BATCH)
            now = await consumer.position(tp)
        if now > position:
            position, since_s = now, time.monotonic()
        elif time.monotonic() - since_s > STALLED_S:
            raise BrokerDown(
                f"reading {tp.topic}[{tp.partition}]: nothing between {position} and {end} for {STALLED_S:.0f} s"
            )
        else:
            place.raise_if_down()
        if batch := [stored(record) for record in found.get(tp, ()) if record.offset < end]:
            yield batch
