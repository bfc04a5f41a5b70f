"""The first progress of a stage on a partition: where its records begin, and only where nothing was ever done.

A topic may be given more partitions while stages run (`kafka-topics.sh --alter --partitions`). Nobody has a progress on
a new one, and it must not be mistaken for one whose progress the brokers have dropped: what tells them apart are the
outcomes that the stage has made from it.
"""

from collections.abc import Collection

from aiokafka.structs import TopicPartition

from stream.kafka import reader
from stream.kafka.lease import committed, lost
from stream.kafka.owner import Mark, Owner
from stream.kafka.place import Place
from stream.progress import Progress


async def taken(place: Place, owner: Owner, stage: str, topic: str, partition: int) -> Progress:
    """Return the progress of a partition whose `owner` has begun: what is committed, or a first one where the stage has
    progress on others of the topic.

    Raises:  ProgressLost when the stage has made anything from it: that would be made again; BrokerDown.
    """
    name, group = place.full(topic), place.group(stage)
    if partition >= place.partitions[name]:
        await place.load([name])
    found = await place.admin.committed(group, name, range(place.partitions[name]))
    if found[partition] is None and any(found.values()):
        if await has_outcomes(place, stage, topic, [partition]):
            raise lost(place, group, f"{name}[{partition}]")
        await begin(place, owner, stage, topic, partition)
    return await committed(place, group, TopicPartition(name, partition))


async def begin(place: Place, owner: Owner, stage: str, topic: str, partition: int) -> None:
    """Commit a first progress as the partition's `owner`, who has begun."""
    name, group = place.full(topic), place.group(stage)
    start = (await place.admin.starts(name, [partition]))[partition]
    await owner.write([], {}, Mark(group, name, partition, start, Progress().bitmap()))


async def has_outcomes(place: Place, stage: str, topic: str, partitions: Collection[int]) -> bool:
    """Tell whether anything on the bus was made by a stage from one of these partitions of a topic.

    Cost:  reads all there is, unless no record ever stood in them: asked only where progress lacks.
    """
    if not any((await place.admin.ends(place.full(topic), partitions)).values()):
        return False
    prefix = place.full("")
    for name in await place.admin.topics(prefix):
        async for batch in reader.read(place, name.removeprefix(prefix), None):
            for stored in batch:
                cause = stored.cause
                if cause and (cause.stage, cause.topic) == (stage, topic) and cause.partition in partitions:
                    return True
    return False
