"""Records/s of a no-op Map over the embedded bus: 1 KB records, decoded and encoded, a commit every 200 ms.

    python -m tests.benchmarks.bus_rate [--records 1000000]

The answer is checked first: every record comes out once, in the bytes it went in. Memory is the resident set sampled
along the run; flat means that the second half needs no more than the first.
"""

import argparse
import asyncio
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from stream.bus import Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.garbage import seldom_collected
from stream.idle import lag
from stream.metrics import StageStats
from stream.outcomes import StageSpec
from stream.records import File, Seed, Step, digest, file_id, seed_id
from stream.runner import run_stage
from stream.settings import Settings
from stream.stage import Map, Outcome
from stream.topics import TOPICS

BATCH = 256


def a_seed(k: int) -> Seed:
    """A record of about 1 KB."""
    file = file_id("bench", f"{k}.py", b"")
    code = f"def f_{k}(x):\n" + f"    # {digest(k)}\n" * 5
    where = File(file, "bench", f"{k}.py", "python", None, None, "MIT")
    return Seed(seed_id(file, 0), where, 0, 1, "function", f"f_{k}", code, digest(code), (), (Step("functions", 1),))


async def copy(seeds: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    return [Outcome((seed,)) for seed in seeds]


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


async def one_run(records: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        async with Embedded.open(Path(folder)) as bus:
            spec = StageSpec("typed", TOPICS["functions"], TOPICS["typed"], Map(copy, batch=BATCH, concurrency=8))
            await bus.create(spec.topics())
            size = 0
            async with bus.appender("functions") as appender:
                for first in range(0, records, 2_000):
                    seeds = [a_seed(k) for k in range(first, min(first + 2_000, records))]
                    messages = [Message("functions", seed.key, encode(seed)) for seed in seeds]
                    size += sum(len(message.value) for message in messages)
                    await appender.append(messages)
            stats, stop = StageStats("typed"), asyncio.Event()
            memory: list[float] = []
            started_s, cpu_s = time.perf_counter(), time.process_time()
            runner = asyncio.create_task(run_stage(bus, spec, Settings(), stats, stop))
            while stats.read < records:
                await asyncio.sleep(0.05)
                memory.append(resident_mib())
                if runner.done():
                    runner.result()
            wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
            stop.set()
            await runner
            assert await lag(bus, spec) == 0
            if records <= 100_000:
                await check(bus, records)
            half = len(memory) // 2
            return {
                "records_per_s": records / wall_s,
                "records_per_cpu_s": records / cpu_s,
                "record_bytes": size / records,
                "first_half_mib": max(memory[: half or 1]),
                "second_half_mib": max(memory[half:]),
            }


async def check(bus: Embedded, records: int) -> None:
    inputs = {stored.offset: stored.value async for batch in bus.read("functions") for stored in batch}
    outputs = {
        stored.cause.offset: stored.value async for batch in bus.read("typed") for stored in batch if stored.cause
    }
    assert len(inputs) == records
    assert inputs == outputs


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    await one_run(20_000)  # warms up, and checks the answer
    with seldom_collected():  # as `seedstream run` does
        short = [await one_run(100_000) for _ in range(args.runs)]
        long = await one_run(args.records)
    rates = [run["records_per_s"] for run in short]
    print(json.dumps({
        "benchmark": "bus_rate", "records_per_s": round(statistics.median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "records_per_cpu_s": round(statistics.median(run["records_per_cpu_s"] for run in short)),
        "record_bytes": round(short[0]["record_bytes"]), "long_records": args.records,
        "long_records_per_s": round(long["records_per_s"]),
        "long_first_half_mib": round(long["first_half_mib"]), "long_second_half_mib": round(long["second_half_mib"]),
        "seed": None, "host": f"{platform.machine()} {platform.python_version()}",
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
