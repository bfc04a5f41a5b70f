"""How busy the LLM client keeps a server of 64 slots, and what a request costs it.

    python -m tests.benchmarks.llm_client [--records 300] [--service-s 1.0]

Each record goes through three stages that depend on each other: one request, one request, ten requests. Service times
are lognormal with sigma 1. The server is a process of its own. `of_ideal` is the wall time of a scheduler without
delay, which always gives a free slot to the most urgent request that is ready, divided by the wall time measured; the
goal is >= 0.98. Its order is the client's own and not the best there is: chance can make the client a little faster.
`cpu_s_per_1000` is the CPU time of the client's process per 1,000 requests; the goal is <= 0.8. `cpu_s_bare` is that
of aiohttp alone, with a semaphore, in the same run: on a busy machine both are dearer.

The answer is checked first: every reply is the one that the script gives for its prompt and seed.
"""

import argparse
import asyncio
import heapq
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from consumers.llm.render import completion_text
from consumers.llm.request import LLM, Completion, Prompt, Request, Sampling, TooLong
from deploy.scripted_llm import question, replies
from deploy.scripted_llm.server import service_s
from stream.garbage import seldom_collected

SLOTS = 64
FAN_OUT = (1, 1, 10)
SAMPLING = Sampling(temperature=0.7, max_tokens=512)
FILLER = "A prompt of a few worked examples is some thousand characters long. " * 60


@dataclass(frozen=True, slots=True)
class Run:
    wall_s: float
    cpu_s: float
    ideal_s: float
    mean_in_flight: float
    busy_s: float  # of all slots together


def requests_of(run: int, record: int, stage: int) -> list[Request]:
    prompt = Prompt(FILLER, (), f"Run {run}, record {record}, stage {stage}?")
    return [Request(f"{run}/{record}/{stage}/{sample}", prompt, SAMPLING, sample) for sample in range(FAN_OUT[stage])]


def seconds_of(request: Request, mean_s: float) -> float:
    return service_s(completion_text(request.prompt), request.seed, mean_s, sigma=1.0)


def ideal_wall_s(run: int, records: int, mean_s: float) -> float:
    """Simulate a scheduler without any delay, by the client's own order of urgency."""
    ready = [(0, record, 0) for record in range(records)]
    heapq.heapify(ready)
    left = {(record, stage): FAN_OUT[stage] for record in range(records) for stage in range(len(FAN_OUT))}
    running: list[tuple[float, int, int]] = []
    now_s = 0.0
    while ready or running:
        while ready and len(running) < SLOTS:
            minus_stage, record, sample = heapq.heappop(ready)
            seconds = seconds_of(requests_of(run, record, -minus_stage)[sample], mean_s)
            heapq.heappush(running, (now_s + seconds, record, -minus_stage))
        now_s, record, stage = heapq.heappop(running)
        left[record, stage] -= 1
        if left[record, stage] == 0 and stage + 1 < len(FAN_OUT):
            for sample in range(FAN_OUT[stage + 1]):
                heapq.heappush(ready, (-stage - 1, record, sample))
    return now_s


async def one_record(stages: list[LLM], run: int, record: int) -> list[tuple[Request, Completion | TooLong]]:
    answered: list[tuple[Request, Completion | TooLong]] = []
    for stage, llm in enumerate(stages):
        asked = requests_of(run, record, stage)
        answered += zip(asked, await llm.complete(f"{run}/{record}/{stage}", asked), strict=True)
    return answered


def check(request: Request, result: Completion | TooLong) -> None:
    assert isinstance(result, Completion)
    about = question.of_completion(completion_text(request.prompt))
    assert result.text == replies.whole(about, request.seed, replies.Shares())
    assert result.finish_reason == "stop"


async def one_run(url: str, run: int, records: int, mean_s: float) -> Run:
    async with LLMClient(Endpoint(url, "scripted")) as client:
        stages = [client.for_stage(name, depth) for depth, name in enumerate(("one", "two", "ten"))]
        started_s, cpu_s = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one_record(stages, run, record)) for record in range(records)]
        wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
        in_flight = client.snapshot().total.seconds / wall_s
    for task in tasks:
        for request, result in task.result():
            check(request, result)
    every = [request for r in range(records) for stage in range(len(FAN_OUT)) for request in requests_of(run, r, stage)]
    busy_s = sum(seconds_of(request, mean_s) for request in every)
    return Run(wall_s, cpu_s, ideal_wall_s(run, records, mean_s), in_flight, busy_s)


async def bare_cpu_s(url: str, run: int, records: int) -> float:
    """Return the CPU time that the same requests cost without all that makes a client."""
    permits = asyncio.Semaphore(SLOTS * 5 // 4)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def ask(request: Request) -> None:
            async with permits:
                fields = {"model": "scripted", "prompt": completion_text(request.prompt), "seed": request.seed}
                async with http.post(f"{url}/v1/completions", json=fields | {"max_tokens": 512}) as reply:
                    assert (await reply.json())["choices"]

        async def one(record: int) -> None:
            for stage in range(len(FAN_OUT)):
                await asyncio.gather(*(ask(request) for request in requests_of(run, record, stage)))

        cpu_s = time.process_time()
        await asyncio.gather(*(one(record) for record in range(records)))
        return time.process_time() - cpu_s


@asynccontextmanager
async def server(mean_s: float) -> AsyncGenerator[str]:
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--slots", str(SLOTS)]
    with subprocess.Popen([*command, "--service-s", str(mean_s)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--service-s", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    async with server(options.service_s) as url:
        await one_run(url, -1, 10, options.service_s)  # warm-up
        with seldom_collected():  # as `seedstream run` does
            runs = [await one_run(url, run, options.records, options.service_s) for run in range(options.runs)]
        few = options.records // 4
        bare_s = await bare_cpu_s(url, options.runs, few) / (few * sum(FAN_OUT)) * 1000
    requests = options.records * sum(FAN_OUT)
    of_ideal = [run.ideal_s / run.wall_s for run in runs]
    cpu = [run.cpu_s / requests * 1000 for run in runs]
    print(
        json.dumps(
            {
                "benchmark": "llm_client",
                "of_ideal": round(statistics.median(of_ideal), 4),
                "of_ideal_spread": [round(min(of_ideal), 4), round(max(of_ideal), 4)],
                "utilisation": round(statistics.median(run.busy_s / run.wall_s for run in runs) / SLOTS, 4),
                "cpu_s_per_1000": round(statistics.median(cpu), 3),
                "cpu_s_per_1000_spread": [round(min(cpu), 3), round(max(cpu), 3)],
                "cpu_s_bare": round(bare_s, 3),
                "in_flight_per_slot": round(statistics.median(run.mean_in_flight for run in runs) / SLOTS, 2),
                "wall_s": round(statistics.median(run.wall_s for run in runs), 1),
                "requests": requests,
                "slots": SLOTS,
                "service_s": options.service_s,
                "goals_met": statistics.median(of_ideal) >= 0.98 and statistics.median(cpu) <= 0.8,
                "seed": "fixed by prompt",
                "host": f"{platform.machine()} python {platform.python_version()}",
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
