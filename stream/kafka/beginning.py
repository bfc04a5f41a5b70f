"""The first progress of a stage on a partition: where its records begin, and only where nothing was ever done.

A topic may be given more partitions while stages run (`kafka-topics.sh --alter --partitions`). Nobody has a progress on
a new one, and it must not be mistaken for one whose progress the brokers have dropped: what tells them apart are the
outcomes that the stage has made from it, and where those were pruned, the ledger.
"""

from collections.abc import Collection

from aiokafka.structs import TopicPartition

from stream.codec import decode
from stream.kafka import reader
from stream.kafka.lease import committed, lost
from stream.kafka.owner import Mark, Owner
from stream.kafka.place import Place
from stream.progress import Progress
from stream.records import Audited
from stream.topics import AUDIT


async def taken(place: Place, owner: Owner, stage: str, topic: str, partition: int) -> Progress:
    """Return the progress of a partition whose `owner` has begun: what is committed, or a first one where the stage has
    progress on others of the topic.

    Raises:  ProgressLost when the stage has made anything from it: that would be made again; BrokerDown.
    """
    name, group = place.full(topic), place.group(stage)
    # The one of it that we were given may be so new that who answers has not heard of it.
    count = max(await place.count(topic), partition + 1)
    found = await place.admin.committed(group, name, range(count))
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
    """Tell whether a stage has ever made anything from one of these partitions of a topic.

    Cost:  reads all there is, unless no record ever stood in them: asked only where progress lacks.
    """
    if not any((await place.admin.ends(place.full(topic), partitions)).values()):
        return False
    if await _were_pruned(place, stage, topic, partitions):
        return True
    prefix = place.full("")
    for name in await place.admin.topics(prefix):
        async for batch in reader.read(place, name.removeprefix(prefix), None):
            for stored in batch:
                cause = stored.cause
                if cause and (cause.stage, cause.topic) == (stage, topic) and cause.partition in partitions:
                    return True
    return False


async def _were_pruned(place: Place, stage: str, topic: str, partitions: Collection[int]) -> bool:
    """Tell whether the ledger has proven inputs of these partitions: their outcomes may be deleted, the inputs be kept
    for another namespace. An entry only ever moves up, so each one says it, also where a newer one stands."""
    if not await place.admin.partitions(place.full(AUDIT.name)):
        return False
    async for batch in reader.read(place, AUDIT.name, None):
        for stored in batch:
            entry = decode(stored.value, Audited)
            if (entry.stage, entry.topic) == (stage, topic) and entry.partition in partitions and entry.below:
                return True
    return False
