"""Failure 6 of ten: the broker that coordinates the transactions, and the one that coordinates the group, die."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from deploy.local_kafka import LocalKafka
from tests.brokers import MakeKafka
from tests.failures.crew import PATIENCE_S, Crew, Feed, Member, check_once, crew, until
from tests.failures.crew_member import NAME

GROUP, TRANSACTION = 0, 1  # kinds of coordinator, in FindCoordinator

MORE = 200
"""Inputs to be finished after a death: far more than were in flight."""


async def coordinator(kafka: LocalKafka, key: str, kind: int) -> int:
    """Return the number of the node that coordinates a group or a transactional id."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        return await admin.find_coordinator(key, kind)
    finally:
        await admin.close()


async def in_sync(kafka: LocalKafka) -> None:
    """Wait until every replica is in sync again: the next death must not leave fewer than two."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                topics = await admin.describe_topics(None)
                partitions = [partition for topic in topics for partition in topic["partitions"]]
                if all(len(partition["isr"]) == 3 for partition in partitions):
                    return
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def killed_in_a_commit(hands: Crew, kafka: LocalKafka, number: int) -> Sequence[int]:
    """Kill a node while a commit is under way; return the partitions whose commit failed for it or was held up."""
    await until("a commit is under way", lambda: any(member.writing() for member in hands.members))
    at_s = time.time()
    await asyncio.to_thread(kafka.node(number).kill)
    await until("a second has gone by", lambda: time.time() > at_s + 1)
    return sorted(partition for member in hands.members for partition in member.hurt_writes(at_s))


def has(member: Member) -> Sequence[int]:
    """The partitions that a worker was given last."""
    return next((line["partitions"] for line in reversed(member.events("assigned"))), ())


async def test_processing_goes_on_exactly_once_when_the_coordinators_die_in_a_commit(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    kafka = await asyncio.to_thread(own_kafka, 3)
    # A session longer than a death is felt: no partition changes hands for it.
    task = {"call_s": 0.02, "concurrency": 8, "settings": {"commit_interval_s": 0.05}, "session_s": 30.0}
    async with crew(tmp_path, kafka.bootstrap, namespace, partitions=2, **task) as hands:
        for _ in range(2):
            await hands.start()
        # Before there is any input: what the first one has in flight when the second one joins is called again.
        await until("each has a partition", lambda: all(len(has(member)) == 1 for member in hands.members))
        source = Feed(pause_s=0.001)
        feeding = asyncio.create_task(hands.feed(source))
        await until("both have partitions and commit", lambda: all(m.stands()["read"] > 20 for m in hands.members))
        for kind, key in ((TRANSACTION, f"{namespace}.{NAME}.files.0"), (GROUP, f"{namespace}.{NAME}")):
            number = await coordinator(kafka, key, kind)
            began_s = time.monotonic()
            held = await killed_in_a_commit(hands, kafka, number)
            assert held, "its death did no commit any harm"
            done = hands.read
            await until("processing goes on without it", lambda done=done: hands.read > done + MORE)
            took_s = time.monotonic() - began_s
            print(
                f"node {number}, coordinator of {key}, died and held up or failed the commits of partitions {held}; "
                f"{MORE} more inputs were done {took_s:.1f} s later, on the other two"
            )
            assert await coordinator(kafka, key, kind) != number
            if kind == TRANSACTION:  # the other one may stay away until all is done
                await asyncio.to_thread(kafka.node(number).start)
                await in_sync(kafka)
        source.enough.set()
        await feeding
        await hands.finished()
        await hands.dismissed()
        await check_once(hands, source.sent)
        calls = hands.calls()
        again = {number: count for number, count in calls.items() if count > 1}
        print(f"{source.sent} inputs, {calls.total()} calls")
        assert not again, f"no worker died, so no call is made twice: {again}"
