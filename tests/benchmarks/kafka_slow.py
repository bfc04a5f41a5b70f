"""10,000 records that take a second each, 2,000 in flight on one partition: how near to the ideal time.

    python -m tests.benchmarks.kafka_slow [--records 10000] [--in-flight 2000] [--address HOST:PORT]

The ideal is that of a scheduler without delay: records / in flight x one second. `of_ideal` is the time from the first
call until the last outcome is committed, divided by it; the goal is <= 1.1. Nothing else of its kind in Python has more
than one record of a partition in flight: there it would take 10,000 s.

The answer is checked: every input has one outcome, and none was called twice.
"""

import argparse
import asyncio
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence

from stream.garbage import seldom_collected
from stream.idle import lag
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import Seed
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.topics import TOPICS, foreign
from tests.benchmarks._kafka import Inputs, broker, filled, new_namespace

CALL_S = 1.0


async def one_run(inputs: Inputs, in_flight: int) -> dict[str, float]:
    calls: Counter[str] = Counter()
    first_s = 0.0
    now, most = 0, 0

    async def slow(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
        nonlocal first_s, now, most
        first_s = first_s or time.perf_counter()
        now += 1
        most = max(most, now)
        calls.update(seed.key for seed in seeds)
        await asyncio.sleep(CALL_S)
        now -= 1
        return [Outcome((seed,)) for seed in seeds]

    namespace, reads = new_namespace("slow"), foreign(TOPICS["functions"], inputs.namespace)
    spec = StageSpec("typed", reads, TOPICS["unique"], Map(slow, batch=1, concurrency=in_flight))
    async with inputs.bus(namespace) as bus:
        await bus.create([topic for topic in spec.topics() if topic is not reads], {spec.name: reads.name})
        stats, stop = StageStats(spec.name), asyncio.Event()
        cpu_s = time.process_time()
        runner = asyncio.create_task(run_stage(bus, spec, Settings(), stats, stop))
        while stats.read < inputs.records:
            await asyncio.sleep(0.01)
            if runner.done():
                runner.result()
        wall_s, cpu_s = time.perf_counter() - first_s, time.process_time() - cpu_s
        async with asyncio.timeout(10):  # after the clock: the last offset is a mark, not a record
            while await lag(bus, spec):
                await asyncio.sleep(0.05)
        stop.set()
        await runner
        causes = Counter([s.cause.offset async for batch in bus.read("unique") for s in batch if s.cause])
    assert len(causes) == inputs.records and set(causes.values()) == {1}
    assert len(calls) == inputs.records and set(calls.values()) == {1}
    return {"wall_s": wall_s, "cpu_s": cpu_s, "most_in_flight": most}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--address", help="of a broker; else one is started")
    options = parser.parse_args()
    ideal_s = options.records / options.in_flight * CALL_S
    async with broker(options.address) as address:
        await one_run(await filled(address, 1_000, 1), options.in_flight)  # warms up
        inputs = await filled(address, options.records, 1)
        with seldom_collected():  # as `seedstream run` does
            made = [await one_run(inputs, options.in_flight) for _ in range(options.runs)]
    runs = sorted(made, key=lambda run: run["wall_s"])
    median = runs[len(runs) // 2]
    print(json.dumps({
        "benchmark": "kafka_slow", "wall_s": round(median["wall_s"], 2), "ideal_s": ideal_s,
        "of_ideal": round(median["wall_s"] / ideal_s, 3),
        "spread": [round(run["wall_s"] / ideal_s, 3) for run in (runs[0], runs[-1])],
        "goal_met": median["wall_s"] <= 1.1 * ideal_s, "records": options.records, "in_flight": options.in_flight,
        "most_in_flight": median["most_in_flight"], "cpu_s": round(median["cpu_s"], 2), "partitions": 1,
        "call_s": CALL_S, "seed": None, "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count(),
        "host": f"{platform.machine()} {platform.python_version()}",
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
