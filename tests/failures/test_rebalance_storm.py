"""Failure 9 of ten: workers start and end all the time, and the input topic is given more partitions in the middle."""

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.new_partitions import NewPartitions

from deploy.local_kafka import LocalKafka
from stream.topics import TOPICS
from tests.failures.crew import Crew, Feed, Member, check_once, crew, until
from tests.failures.crew_member import NAME

BEFORE, AFTER = 4, 6  # partitions
CONCURRENCY = 16
MOST = 4  # workers at a time


async def add_partitions(kafka: LocalKafka, topic: str, count: int) -> None:
    """As `kafka-topics.sh --alter --partitions` does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count)})
    finally:
        await admin.close()


class Storm:
    """Starts a worker, or ends one that has work in flight, the dice say which; every other end is a SIGKILL."""

    def __init__(self, hands: Crew, dice: random.Random) -> None:
        self._hands = hands
        self._dice = dice
        self._ends = 0
        self.struck: list[int] = []  # records that were in flight, of each worker that was killed

    async def blow(self, generations: int, every_s: float) -> None:
        """Go on until the group has gone through so many generations more, and a worker was killed."""
        goal, kills = len(self._hands.generations()) + generations, len(self.struck) + 1
        end_s = time.monotonic() + 600
        while len(self._hands.generations()) < goal or len(self.struck) < kills:
            assert time.monotonic() < end_s, self._hands.said()
            await self._step()
            next_s = time.monotonic() + every_s
            await until("the time of the next step", lambda next_s=next_s: time.monotonic() > next_s)

    async def _step(self) -> None:
        working = self._hands.working
        busy = [member for member in working if member.stands()["in_flight"]]
        if len(busy) > 1 and (len(working) >= MOST or self._dice.random() < 0.5):
            await self._end(self._dice.choice(busy))
        elif len(working) < MOST:
            await self._hands.start()

    async def _end(self, victim: Member) -> None:
        self._ends += 1
        if self._ends % 2:
            self.struck.append(victim.stands()["in_flight"])
            await victim.kill()
        else:
            victim.signal(signal.SIGTERM)


async def storm(tmp_path: Path, kafka: LocalKafka, namespace: str, generations: int, every_s: float) -> None:
    async with crew(
        tmp_path, kafka.bootstrap, namespace, partitions=BEFORE, call_s=0.1, concurrency=CONCURRENCY
    ) as hands:
        source = Feed("one", pause_s=0.002)
        feeding = asyncio.create_task(hands.feed(source))
        blowing = Storm(hands, random.Random(6))
        await blowing.blow(generations // 2, every_s)
        source.enough.set()
        await feeding
        await add_partitions(kafka, f"{namespace}.{TOPICS['files'].name}", AFTER)
        async with hands.task.open() as wider:  # who feeds from now on knows of them
            hands.bus = wider
            assert len(await wider.progress(NAME, TOPICS["files"].name)) == AFTER
            source, earlier = Feed("two", pause_s=0.002), source
            feeding = asyncio.create_task(hands.feed(source))
            await blowing.blow(generations - generations // 2, every_s)
            await hands.start()
            source.enough.set()
            await feeding
            await hands.finished()
            await hands.dismissed()
            added = {s.partition async for batch in wider.read(TOPICS["files"].name) for s in batch} - {*range(BEFORE)}
            calls, inputs = hands.calls(), earlier.sent + source.sent
            print(
                f"{inputs} inputs, {len(hands.members)} workers, {len(hands.generations())} rebalances, "
                f"{blowing.struck} records in flight in those that were killed, {calls.total() - inputs} calls "
                f"made again; inputs in the added partitions {sorted(added)} too"
            )
            assert len(hands.generations()) >= generations
            assert added == {*range(BEFORE, AFTER)}
            await check_once(hands, inputs)
            assert calls.total() - inputs <= len(hands.generations()) * AFTER * CONCURRENCY


async def test_a_rebalance_storm_and_more_partitions_lose_nothing_and_double_nothing(
    tmp_path: Path, kafka: LocalKafka, namespace: str
) -> None:
    await storm(tmp_path, kafka, namespace, generations=6, every_s=1)


@pytest.mark.soak
async def test_a_long_rebalance_storm_does_not_either(tmp_path: Path, kafka: LocalKafka, namespace: str) -> None:
    await storm(tmp_path, kafka, namespace, generations=20, every_s=5)
