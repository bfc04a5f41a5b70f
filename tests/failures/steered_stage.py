"""The stage that most tests of failures run, the stream it is a part of, and the proof that nothing went wrong."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from stream.audit import audit
from stream.bus import Bus, Cause, Message
from stream.codec import decode, encode
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.outcomes import StageSpec, state_message
from stream.records import Kept, Record, Seed
from stream.stage import Map
from stream.topics import DEAD, REJECTS, TOPICS, state_topic
from tests.patience import PATIENCE_S
from tests.stage_runs import all_of, check_conserved

INPUT, OUTPUT, SOURCE = TOPICS["unique"], TOPICS["seeds"], "src"
STAGE = "seeds"


def spec(shape: Map[Any, Any]) -> StageSpec:
    return StageSpec(STAGE, INPUT, OUTPUT, shape)


async def _never(_: Sequence[Any]) -> Sequence[Any]:
    raise AssertionError("this stage is never run")


LOOKED_AT = spec(Map(_never))


@contextlib.asynccontextmanager
async def founded(url: str, namespace: str, partitions: int = 2) -> AsyncGenerator[Bus]:
    """A bus with the topics of the stage and its source."""
    async with Kafka.open(url, namespace, config=KafkaConfig(partitions=partitions, session_s=2.0)) as bus:
        await bus.create([INPUT, OUTPUT, REJECTS, DEAD, state_topic(INPUT.name)], {STAGE: INPUT.name})
        yield bus


async def feed(bus: Bus, records: Sequence[Record], first: int = 0) -> None:
    """Append inputs, as a source does whose items from `first` on they are."""
    messages = [
        Message(INPUT.name, record.key, encode(record), Cause(INPUT.name, SOURCE, 0, k, 0, 1))
        for k, record in enumerate(records, first)
    ]
    kept = [Kept(k, record.key, "") for k, record in enumerate(records, first)]
    async with bus.appender("source") as appender:
        await appender.append([*messages, state_message(INPUT.name, SOURCE, 0, kept)])


async def until(condition: Callable[[], bool], why: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; `why` is what to show when it never does."""
    end_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end_s, why()
        await asyncio.sleep(0.01)


async def until_true(question: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """As `until`, for what has to be asked for."""
    async with asyncio.timeout(patience_s):
        while not await question():
            await asyncio.sleep(0.1)


async def held_back(bus: Bus, topic: str = OUTPUT.name) -> int:
    """How many offsets of a topic stand behind an open transaction: there is one when there are any."""
    assert isinstance(bus, Kafka)
    place = bus._place  # pyright: ignore[reportPrivateUsage] - the bus itself does not say
    ends = await bus.ends(topic)
    stable = await place.admin.stable_ends(place.full(topic), ends)
    return sum(ends[partition] - stable[partition] for partition in ends)


async def check_all(bus: Bus, records: Sequence[Seed]) -> None:
    """Check that each of the inputs has one outcome in committed output, that these are all, and that audit holds."""
    await check_conserved(bus, LOOKED_AT)
    assert await audit(bus, [LOOKED_AT], [INPUT.name]) == []
    assert sorted(s.key for s in await all_of(bus, INPUT.name)) == sorted(record.key for record in records)
    # The audit goes by positions; this goes by what a reader of the topic sees.
    out = [decode(stored.value, Seed).name for stored in await all_of(bus, OUTPUT.name)]
    assert len(out) == len(set(out))
