"""Failure 10 of ten: while the trainer scans `examples` the topic is compacted, and the broker that it reads from
dies."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local_kafka import LocalKafka
from stream.bus import Stored
from stream.codec import encode
from stream.kafka.bus import Kafka
from stream.kafka.layout import DAY_MS, configs
from stream.kafka.security import KafkaConfig
from stream.kafka.wire import partition_of
from stream.records import Example, Execution, Step
from stream.topics import TOPICS
from tests.brokers import MakeKafka
from tests.patience import PATIENCE_S
from tests.records import instruction, response
from trainer.snapshot import ROWS, take

EXAMPLES = TOPICS["examples"]
KEYS = 1_500
AGAIN = 500  # of them are written once more while the scan is under way
PARTITIONS = 2
BYTES = 2_000  # of each record, at least; no compression helps
SEGMENT_BYTES = 1 << 20


def example(number: int, version: int) -> Example:
    text = f"version {version} {secrets.token_hex(BYTES // 2)}"
    said = replace(response(), text=text)
    return Example(instruction(f"Task {number}.", index=number), said, Execution(0, "pass", ""), Step("examples", 1))


class Held:
    """A bus whose reader waits in the middle of a topic until it may go on."""

    def __init__(self, bus: Kafka) -> None:
        self._bus = bus
        self.waits = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.records = 0  # that the reader got

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncIterator[Sequence[Stored]]:
        async for batch in self._bus.read(topic, start):
            self.records += len(batch)
            yield batch
            self.waits.set()
            await self.may_go_on.wait()


async def write(kafka: LocalKafka, topic: str, examples: Iterable[Example], at_ms: int | None) -> None:
    """Write records as of a time; None is now."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    async with producer:
        sent = [
            await producer.send(
                topic, encode(each), key=(key := each.key.encode()), partition=partition_of(key, PARTITIONS),
                timestamp_ms=at_ms,
            )
            for each in examples
        ]  # fmt: skip
        await asyncio.gather(*sent)


async def compact_now(kafka: LocalKafka, topic: str) -> None:
    """Let the cleaner take what it may at once. How old a record must be for it stays as it is."""
    quick = {"segment.bytes": str(SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.001"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        wanted = {**configs(EXAMPLES, 3), **quick}
        [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)])
        assert [resource[0] for resource in answer.resources] == [0], answer
    finally:
        await admin.close()


async def leader(kafka: LocalKafka, topic: str, partition: int) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        [found] = await admin.describe_topics([topic])
        return next(p["leader"] for p in found["partitions"] if p["partition"] == partition)
    finally:
        await admin.close()


async def standing(bus: Kafka, ends: Mapping[int, int]) -> int:
    """Return how many records stand below these ends."""
    return sum([sum(s.offset < ends[s.partition] for s in batch) async for batch in bus.read(EXAMPLES.name)])


async def test_a_snapshot_is_whole_when_its_topic_is_compacted_and_a_replica_dies_during_the_scan(
    tmp_path: Path, own_kafka: MakeKafka, namespace: str
) -> None:
    kafka = await asyncio.to_thread(own_kafka, 3, properties={"log.cleaner.backoff.ms": "200"})
    topic = f"{namespace}.{EXAMPLES.name}"
    config = KafkaConfig(partitions=PARTITIONS, session_s=2)
    async with Kafka.open(f"kafka://{kafka.bootstrap}", namespace, config=config) as bus:
        await bus.create([EXAMPLES])
        days_ago_ms = int(time.time() * 1000) - 3 * DAY_MS
        for version in (1, 2):
            await write(kafka, topic, (example(n, version) for n in range(KEYS)), days_ago_ms)
        ends = await bus.ends(EXAMPLES.name)
        before = await standing(bus, ends)
        assert before == 2 * KEYS

        held = Held(bus)
        scan = asyncio.create_task(take(held, EXAMPLES.name, None, tmp_path))  # type: ignore[arg-type]
        await held.waits.wait()
        got = held.records
        await compact_now(kafka, topic)
        # Of some keys newer records come, beyond the ends that the scan goes to; so many that segments are closed.
        for _ in range(4):
            await write(kafka, topic, (example(n, 3) for n in range(AGAIN)), None)
        end_s = time.monotonic() + PATIENCE_S
        while (after := await standing(bus, ends)) > KEYS + AGAIN:
            assert time.monotonic() < end_s, f"not compacted: {after} of {before} records are left"
            await asyncio.sleep(0.2)
        victim = await leader(kafka, topic, 0)
        await asyncio.to_thread(kafka.node(victim).kill)
        held.may_go_on.set()
        async with asyncio.timeout(PATIENCE_S):
            manifest = await scan

        rows = [json.loads(line) for line in (tmp_path / ROWS).read_bytes().splitlines()]
        versions = {row["id"]: row["response"].split()[1] for row in rows}
        print(
            f"the scan had {got} of {before} records when compaction left {after} below its ends; node {victim}, which "
            f"it read from, died; it got {held.records} records in all, {len(rows)} keys; ends {manifest.ends}"
        )
        assert got < before / 2
        assert held.records < before
        assert manifest.ends == tuple(ends.values())
        assert versions == {example(n, 0).key: "2" for n in range(KEYS)}
