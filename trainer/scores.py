"""Topic `scores`: written after each evaluation, read for the table and the plot."""

from stream.bus import Bus, Message
from stream.codec import decode, encode
from stream.records import Score
from stream.topics import TOPICS

SCORES = TOPICS["scores"]


async def publish(bus: Bus, score: Score) -> None:
    """Append a score. It takes the place of an earlier one of the same model, benchmark and setting.

    Raises:  InUse while another process publishes one; as `Appender.append`.
    """
    await bus.create([SCORES])
    async with bus.appender(SCORES.name) as appender:
        await appender.append([Message(SCORES.name, score.key, encode(score))])


async def published(bus: Bus) -> list[Score]:
    """Return the scores that hold, in the order in which each was first published."""
    if SCORES.name not in await bus.topics():
        return []
    latest: dict[str, Score] = {}
    async for batch in bus.read(SCORES.name):
        latest |= {stored.key: decode(stored.value, Score) for stored in batch}
    return list(latest.values())
