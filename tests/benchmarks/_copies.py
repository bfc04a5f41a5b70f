"""Two ways to copy a topic, record by record, decoded and encoded: a stage of ours, and a plain consumer and producer.

The clock runs from the first record that is there to the last one that is written and whose offset is committed.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.codec import decode, encode
from stream.idle import lag
from stream.kafka.owner import BATCH_BYTES
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.topics import TOPICS, foreign
from tests.benchmarks._kafka import Inputs, new_namespace

COMMIT_S = 0.2
MAP_BATCH = 256


@dataclass(frozen=True, slots=True)
class Copied:
    """One copy, and what it took."""

    output: str  # the topic's full name
    records: int
    wall_s: float
    cpu_s: float  # of the client

    @property
    def per_s(self) -> float:
        return self.records / self.wall_s

    @property
    def per_cpu_s(self) -> float:
        return self.records / self.cpu_s


class Clock:
    """Starts once, at the first record."""

    def __init__(self) -> None:
        self._wall_s: float | None = None
        self._cpu_s = 0.0

    def start(self) -> None:
        if self._wall_s is None:
            self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def copied(self, output: str, records: int) -> Copied:
        assert self._wall_s is not None
        return Copied(output, records, time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s)


async def ours(inputs: Inputs) -> Copied:
    """A no-op Map through `run_stage`."""
    clock, namespace = Clock(), new_namespace("ours")

    async def copy(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        clock.start()
        return [Outcome((seed,)) for seed in seeds]

    reads = foreign(TOPICS["functions"], inputs.namespace)
    spec = StageSpec("typed", reads, TOPICS["unique"], Map(copy, batch=MAP_BATCH, concurrency=8))
    async with inputs.bus(namespace) as bus:
        await bus.create([topic for topic in spec.topics() if topic is not reads], {spec.name: reads.name})
        stats, stop = StageStats(spec.name), asyncio.Event()
        runner = asyncio.create_task(run_stage(bus, spec, Settings(commit_interval_s=COMMIT_S), stats, stop))
        while stats.read < inputs.records:
            await asyncio.sleep(0.02)
            if runner.done():
                runner.result()
        copied = clock.copied(f"{namespace}.unique", stats.read)
        stop.set()
        await runner
        assert await lag(bus, spec) == 0
    return copied


async def plain(inputs: Inputs) -> Copied:
    """aiokafka alone, no transactions: at least once. Offsets are committed as often as ours."""
    clock, namespace = Clock(), new_namespace("plain")
    output = f"{namespace}.unique"
    async with inputs.bus(namespace) as bus:
        await bus.create([TOPICS["unique"]])
    consumer = AIOKafkaConsumer(
        inputs.topic, bootstrap_servers=[inputs.address], group_id=namespace, enable_auto_commit=False,
        auto_offset_reset="earliest",
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=[inputs.address], acks="all", compression_type="zstd", max_batch_size=BATCH_BYTES
    )
    await consumer.start()
    await producer.start()
    done, sent, due_s = 0, [], 0.0
    try:
        while done < inputs.records:
            for tp, records in (await consumer.getmany(timeout_ms=500, max_records=2_000)).items():
                clock.start()
                for record in records:
                    value = encode(decode(record.value, Seed))
                    sent.append(await producer.send(output, value, key=record.key, partition=tp.partition))
                done += len(records)
            if time.perf_counter() > due_s or done == inputs.records:
                await asyncio.gather(*sent)
                await consumer.commit()
                sent, due_s = [], time.perf_counter() + COMMIT_S
        return clock.copied(output, done)
    finally:
        await consumer.stop()
        await producer.stop()
