"""A topic takes less than its writers know: a step whose batch the broker refuses is aborted as a whole, and tried
again without what is too large."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from deploy.local_kafka import LocalKafka
from stream.bus import Bus
from stream.kafka.bus import Kafka
from stream.kafka.layout import configs
from stream.records import Seed
from tests.failures.steered import calls, crew
from tests.failures.steered_stage import INPUT, OUTPUT, check_all, feed, founded, until_true
from tests.failures.steered_worker import Plan
from tests.stage_runs import all_of, dead, emitted, seeds

LIMIT, LIMIT_BYTES = "max.message.bytes", 1_000
CODE_BYTES = 5_000


async def limit(bus: Bus, kafka: LocalKafka) -> None:
    """Lower the size that the output takes, and wait until the broker says so."""
    assert isinstance(bus, Kafka)
    topic = f"{bus.namespace}.{OUTPUT.name}"
    lowered = {**configs(OUTPUT, 1), LIMIT: f"{LIMIT_BYTES}"}
    client: Any = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, lowered)])
    await client.close()

    async def is_known() -> bool:
        admin = bus._place.admin  # pyright: ignore[reportPrivateUsage]
        return (await admin.configs([topic]))[topic][LIMIT] == lowered[LIMIT]

    await until_true(is_known)


async def after_the_limit_fell(
    kafka: LocalKafka, namespace: str, tmp_path: Path, records: list[Seed], dead_letters: int
) -> None:
    """Have finished records committed under a limit that the worker does not know of."""
    url = f"kafka://{kafka.bootstrap}"
    async with founded(url, namespace, partitions=1) as bus, crew(tmp_path) as workers:
        await feed(bus, records)
        worker = await workers.start("worker", Plan(url, namespace, commits=False))
        await worker.until(lambda: len(worker.names("answered")) == len(records))
        await worker.told("committing")
        await limit(bus, kafka)
        worker.order("commits open")
        await workers.done(bus)
        await worker.stop()
        # The tenure is told of messages that are too large, not of batches: those are the bus's own affair.
        assert bool(worker.all("refused")) == bool(dead_letters)
        first = min(stored.offset for stored in await all_of(bus, OUTPUT.name))
        print(f"{first} transactions were aborted before the one that holds the outputs")
        assert first >= 1  # where an aborted one has left its mark
        await check_all(bus, records)
        letters = await dead(bus)
        assert sorted(letter.record_id for letter in letters) == sorted(
            record.seed_id for record in records if len(record.code) == CODE_BYTES
        )
        assert len(letters) == dead_letters
        for letter in letters:
            assert letter.error.startswith("TooLarge: a message of 5,")
            assert f"for topic {namespace}.{OUTPUT.name}, which takes 1,000 (max.message.bytes)" in letter.error
        small = [int(record.name) for record in records if len(record.code) < CODE_BYTES]
        assert sorted(await emitted(bus, OUTPUT.name)) == small
        assert set(calls([worker]).values()) == {1}
        assert len(await all_of(bus, INPUT.name)) == len(records)


async def test_a_step_with_messages_above_a_limit_that_fell_is_aborted_and_they_alone_are_dead(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    large = random.Random(1).randbytes(CODE_BYTES // 2).hex()
    records = [replace(seed, code=large) if k % 8 == 3 else seed for k, seed in enumerate(seeds(40))]
    await after_the_limit_fell(kafka, namespace, tmp_path, records, dead_letters=5)


async def test_a_step_of_small_messages_is_cut_into_batches_as_small_as_a_limit_that_fell(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    await after_the_limit_fell(kafka, namespace, tmp_path, seeds(40), dead_letters=0)
