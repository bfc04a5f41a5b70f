"""kill -9 with 500 calls of a model in flight: what they cost a second time."""

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from deploy.local_kafka import LocalKafka
from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.server import ScriptedLLM, Service
from stream.records import derived_id, sampling_seed
from stream.settings import Settings
from tests.failures.steered_stage import INPUT, PATIENCE_S, STAGE, check_all, feed, founded, until_true
from tests.integration.processes import SEEDSTREAM, seedstream
from tests.stage_runs import all_of, seeds

RECORDS, IN_FLIGHT = 900, 600
SLACK_S = 4.0
"""What a commit may take, beside the interval between two, and three times what one took just before."""

CONFIG = """
[llm.main]
url = "{url}"
model = "scripted"
concurrency = {in_flight}
concurrency_min = {in_flight}

[kafka]
partitions = 2
session_s = 6
"""


class Watched(ScriptedLLM):
    """Knows when it answered which request, by its sampling seed."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults, service=Service(slots=2 * IN_FLIGHT))
        self.answered_s: dict[int, float] = {}

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._answer(request)
        self.answered_s[json.loads(await request.read())["seed"]] = time.monotonic()
        return answer

    @property
    def asked(self) -> Counter[int]:
        """How often each request was asked, by its sampling seed."""
        return Counter({call.seed: count for call, count in self.calls.counts.items() if call.seed is not None})


async def test_kill_with_500_calls_in_flight_costs_a_finished_record_nothing_and_another_one_attempt(
    kafka: LocalKafka, namespace: str, tmp_path: Path
) -> None:
    url, config = f"kafka://{kafka.bootstrap}", tmp_path / "seedstream.toml"
    records = [replace(seed, index=k) for k, seed in enumerate(seeds(RECORDS))]
    number: dict[str, int] = {seed.seed_id: sampling_seed(derived_id(seed.seed_id, STAGE, 0), 3407) for seed in records}
    run = ["run", STAGE, "--bus", url, "--namespace", namespace, "--config", str(config), "--until-idle"]
    server = Watched(Fault(stage=STAGE, slow_s=600, share=0.75))
    async with founded(url, namespace) as bus, server:
        config.write_text(CONFIG.format(url=server.url, in_flight=IN_FLIGHT), encoding="utf-8")
        began_s = time.monotonic()
        await feed(bus, records)
        one_step_s = time.monotonic() - began_s
        worker = await asyncio.create_subprocess_exec(SEEDSTREAM, *run, stderr=asyncio.subprocess.PIPE)

        async def finished() -> set[str]:
            progress = await bus.progress(STAGE, INPUT.name)
            return {s.key for s in await all_of(bus, INPUT.name) if s.offset in progress[s.partition]}

        async def is_the_moment() -> bool:
            assert worker.returncode is None
            return server.in_flight >= 500 and len(await finished()) >= 100

        try:
            await until_true(is_the_moment)
        finally:
            worker.kill()
        killed_s, in_flight = time.monotonic(), server.in_flight
        await asyncio.wait_for(worker.communicate(), PATIENCE_S)
        before, answered_s = server.asked, dict(server.answered_s)
        known = {number[key] for key in await finished()}
        assert in_flight >= 500 and max(before.values()) == 1

        server.faults = Faults()
        code, _, err = await seedstream(*run)
        assert code == 0, err
        await check_all(bus, records)

    total = server.asked
    twice = {seed for seed, count in total.items() if count > 1}
    answered_twice = {seed for seed in twice if seed in answered_s}
    print(
        f"killed with {in_flight} calls in flight and {len(known)} of {len(answered_s)} answered records committed: "
        f"{len(twice)} calls were made again, {len(answered_twice)} of them had been answered"
    )
    assert total.keys() == set(number.values())
    assert not twice & known  # a finished record is not paid again
    assert max(total.values()) == 2  # another one loses one attempt
    oldest_s = max((killed_s - answered_s[seed] for seed in answered_twice), default=0.0)
    assert oldest_s < Settings().commit_interval_s + SLACK_S + 3 * one_step_s
