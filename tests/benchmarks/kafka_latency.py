"""How much later a record is there because a stage stands between: the commit interval is 200 ms.

    python -m tests.benchmarks.kafka_latency [--records 2000] [--per-s 100] [--address HOST:PORT]

Records of 1 KB are appended one by one at a steady rate. The latency of one runs from the answer of the broker to its
append until a consumer of committed records is handed the output of a no-op Map. Those of the first second, when the
stage has just begun, are left out. A record waits half an interval in the mean, and a whole one at most; what is above
that is the transaction and two ways through the broker.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.codec import decode, encode
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Map
from stream.topics import TOPICS
from tests.benchmarks._kafka import Inputs, broker, new_namespace
from tests.benchmarks.bus_rate import a_seed, copy

COMMIT_S = 0.2
PARTITIONS = 4


async def latencies_s(address: str, records: int, per_s: float) -> list[float]:
    namespace = new_namespace("latency")
    spec = StageSpec("typed", TOPICS["functions"], TOPICS["unique"], Map(copy, batch=64, concurrency=8))
    sent: dict[str, float] = {}
    seen: dict[str, float] = {}
    producer = AIOKafkaProducer(bootstrap_servers=[address], acks="all")
    consumer = AIOKafkaConsumer(
        f"{namespace}.unique",
        bootstrap_servers=[address],
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )

    async def append() -> None:
        began_s = time.perf_counter()
        for k in range(records):
            await asyncio.sleep(max(0.0, began_s + k / per_s - time.perf_counter()))
            seed = a_seed(k)
            await producer.send_and_wait(
                f"{namespace}.functions", encode(seed), key=seed.key.encode(), partition=k % PARTITIONS
            )
            sent[seed.key] = time.perf_counter()

    async def read() -> None:
        while len(seen) < records:
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                now_s = time.perf_counter()
                for record in batch:
                    assert record.value is not None
                    key = decode(record.value, Seed).key
                    assert key not in seen
                    seen[key] = now_s

    async with Inputs(address, namespace, PARTITIONS, records, 0).bus(namespace) as bus:
        await bus.create(spec.topics(), {spec.name: spec.input.name})
        await producer.start()
        await consumer.start()
        stats, stop = StageStats(spec.name), asyncio.Event()
        runner = asyncio.create_task(run_stage(bus, spec, Settings(commit_interval_s=COMMIT_S), stats, stop))
        async with asyncio.timeout(60 + 10 * records / per_s), asyncio.TaskGroup() as group:
            group.create_task(append())
            group.create_task(read())
        stop.set()
        await runner
        await producer.stop()
        await consumer.stop()
    first_s = min(sent.values())
    return [seen[key] - then_s for key, then_s in sent.items() if then_s > first_s + 1.0]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--per-s", type=float, default=100)
    parser.add_argument("--address", help="of a broker; else one is started")
    options = parser.parse_args()
    async with broker(options.address) as address:
        await latencies_s(address, 200, options.per_s)  # warms up
        found = await latencies_s(address, options.records, options.per_s)
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    print(json.dumps({
        "benchmark": "kafka_latency", "commit_interval_s": COMMIT_S,
        "p50_ms": round(cuts[49] * 1000), "p99_ms": round(cuts[98] * 1000), "max_ms": round(max(found) * 1000),
        "records": len(found), "per_s": options.per_s, "partitions": PARTITIONS, "seed": None,
        "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count(),
        "host": f"{platform.machine()} {platform.python_version()}",
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
