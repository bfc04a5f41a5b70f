"""Records/s of a no-op Map on Kafka: 1 KB records, decoded and encoded, a commit every 200 ms, exactly once.

    python -m tests.benchmarks.kafka_rate [--records 300000] [--rounds 5] [--address HOST:PORT] [--peers]

Beside it, in the same rounds and in turns, the same copy by a plain aiokafka consumer and producer without
transactions; `of_plain` is ours divided by theirs, round by round, the goal is >= 0.8. With --peers also FastStream and
Quix Streams, each at its strongest guarantee, in a virtual environment of their own; and what of a copy is lost and
doubled when one of them is killed in the middle of it.

The answer is checked first: every record comes out once, in the bytes it went in.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.garbage import seldom_collected
from tests.benchmarks import _peers
from tests.benchmarks._copies import COMMIT_S, Copied, ours, plain
from tests.benchmarks._kafka import Inputs, broker, filled

PARTITIONS = 4
FEW = 2_000

Copy = Callable[[Inputs], Awaitable[Copied]]


async def values(address: str, topic: str) -> Counter[bytes]:
    """Return the committed values of a topic, and how often each is there."""
    consumer = AIOKafkaConsumer(bootstrap_servers=[address], isolation_level="read_committed")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())] or [
            TopicPartition(topic, p) for p in range(PARTITIONS)
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends, found = await consumer.end_offsets(partitions), Counter[bytes]()
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found.update(record.value for record in batch if record.value is not None)
        return found
    finally:
        await consumer.stop()


async def check(inputs: Inputs, copied: Copied) -> None:
    assert await values(inputs.address, copied.output) == await values(inputs.address, inputs.topic)


def summary(copies: Sequence[Copied]) -> dict[str, object]:
    rates = [copied.per_s for copied in copies]
    return {
        "records_per_s": round(statistics.median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "records_per_cpu_s": round(statistics.median(copied.per_cpu_s for copied in copies)),
        "records": copies[0].records,
    }


def ratios(one: Sequence[float], other: Sequence[float]) -> dict[str, object]:
    found = [a / b for a, b in zip(one, other, strict=True)]
    return {"median": round(statistics.median(found), 3), "spread": [round(min(found), 3), round(max(found), 3)]}


async def measured(copies: Mapping[str, Copy], inputs: Inputs, rounds: int) -> dict[str, list[Copied]]:
    found: dict[str, list[Copied]] = {name: [] for name in copies}
    for number in range(rounds):
        for name in list(copies) if number % 2 else reversed(list(copies)):
            found[name].append(await copies[name](inputs))
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--address", help="of a broker; else one is started")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    copies: dict[str, Copy] = {"ours": ours, "plain": plain}
    async with broker(options.address) as address:
        few = await filled(address, FEW, PARTITIONS)
        for copy in copies.values():  # warms up, and checks the answer
            await check(few, await copy(few))
        inputs = await filled(address, options.records, PARTITIONS)
        with seldom_collected():  # as `seedstream run` does; the plain client gains by it too
            found = await measured(copies, inputs, options.rounds)
        report: dict[str, object] = {name: summary(made) for name, made in found.items()}
        one, other = found["ours"], found["plain"]
        of_plain = ratios([c.per_s for c in one], [c.per_s for c in other])
        report |= {
            "of_plain": of_plain,
            "of_plain_per_cpu_s": ratios([c.per_cpu_s for c in one], [c.per_cpu_s for c in other]),
        }
        if options.peers:
            report["peers"] = await _peers.all_measured(inputs, options.rounds, summary, values)
    print(json.dumps({
        "benchmark": "kafka_rate", **report, "goal_met": of_plain["median"] >= 0.8, "partitions": PARTITIONS,
        "record_bytes": round(inputs.record_bytes), "commit_s": COMMIT_S, "seed": None,
        "load": round(os.getloadavg()[0], 1), "cores": os.cpu_count(),
        "host": f"{platform.machine()} {platform.python_version()}",
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
