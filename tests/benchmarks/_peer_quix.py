"""The copy of `kafka_rate` by Quix Streams, exactly once: `python _peer_quix.py ADDRESS FROM TO RECORDS COMMIT_S`.

Runs where quixstreams and orjson are; ends after RECORDS, or with 0 once nothing has come for a while.
"""

import json
import sys
import tempfile
import time

import orjson
from quixstreams import Application, __version__


def main(address: str, source: str, target: str, records: str, commit_s: str) -> None:
    clock: list[float] = []
    done = 0

    def copy(value: bytes) -> bytes:
        nonlocal done
        if not clock:
            clock.extend((time.perf_counter(), time.process_time()))
            print("begun", flush=True)
        done += 1
        return orjson.dumps(orjson.loads(value))

    with tempfile.TemporaryDirectory() as state:
        app = Application(
            broker_address=address, consumer_group=f"quix-{target}", auto_offset_reset="earliest", state_dir=state,
            processing_guarantee="exactly-once", commit_interval=float(commit_s), auto_create_topics=False,
            producer_extra_config={"compression.type": "zstd"}, loglevel="ERROR",
        )  # fmt: skip
        frame = app.dataframe(app.topic(source, value_deserializer="bytes", key_deserializer="bytes"))
        frame.apply(copy).to_topic(app.topic(target, value_serializer="bytes", key_serializer="bytes"))
        app.run(count=int(records), timeout=0 if int(records) else 10, collect=False)
    now = time.perf_counter(), time.process_time()
    wall_s, cpu_s = (end - start for end, start in zip(now, clock or now, strict=True))
    print(json.dumps({"records": done, "wall_s": wall_s, "cpu_s": cpu_s, "version": __version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
