"""The copy of `kafka_rate` by FastStream: `python _peer_faststream.py ADDRESS FROM TO RECORDS COMMIT_S`.

It has no transactions: an offset is committed after its output was written, by an idempotent producer. Runs where
faststream and orjson are; ends after RECORDS, or with 0 once nothing has come for a while.
"""

import asyncio
import json
import logging
import sys
import time
from importlib.metadata import version

import orjson
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage


async def raw(message: KafkaMessage) -> bytes:
    """A decoder that leaves decoding to the copy."""
    return message.body


async def main(address: str, source: str, target: str, records: str, _: str) -> None:
    logging.disable(logging.INFO)
    broker = KafkaBroker(address, enable_idempotence=True, acks="all", compression_type="zstd", logger=None)
    app = FastStream(broker)
    clock: list[float] = []
    last = [time.perf_counter()]
    done = 0

    @broker.subscriber(
        source, group_id=f"faststream-{target}", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR,
        isolation_level="read_committed", decoder=raw,
    )  # fmt: skip
    async def copy(message: KafkaMessage) -> None:
        nonlocal done
        if not clock:
            clock.extend((time.perf_counter(), time.process_time()))
            print("begun", flush=True)
        raw = message.raw_message
        await broker.publish(orjson.dumps(orjson.loads(message.body)), target, key=raw.key, partition=raw.partition)
        done, last[0] = done + 1, time.perf_counter()
        if done == int(records):
            app.exit()

    async def give_up() -> None:
        while int(records) or time.perf_counter() - last[0] < 10:
            await asyncio.sleep(0.1)
        app.exit()

    idle = asyncio.create_task(give_up())
    await app.run()
    idle.cancel()
    wall_s, cpu_s = (last[0] - clock[0], time.process_time() - clock[1]) if clock else (0.0, 0.0)
    print(json.dumps({"records": done, "wall_s": wall_s, "cpu_s": cpu_s, "version": version("faststream")}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
