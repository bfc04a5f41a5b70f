"""Programs/s and CPU per program of the sandbox, against bare `python -I -S FILE` on the same programs.

    python -m tests.benchmarks.sandbox_rate [--programs 200] [--rounds 5]

The answer is checked first: every program of the mix gets the verdict it was made for, here and bare (an exit code is
all bare Python can say). Rounds of the two take turns, so that a busy machine slows both; `ratio` is ours over bare,
of CPU and of programs per second in each round. Every passing program is run twice here, once as its canary.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from sandbox import Sandbox

SEED = 3407
SLOTS = len(os.sched_getaffinity(0))

SOLUTION = '''
from typing import List, Optional
import collections, math

def solve_{k}(numbers: List[int], threshold: Optional[int] = None) -> List[int]:
    """Return the numbers above a threshold, each once, in the order they first came."""
    threshold = {k} if threshold is None else threshold
    seen = collections.OrderedDict()
    for number in numbers:
        if number > threshold and math.isfinite(number):
            seen.setdefault(number, True)
    return list(seen)

def check(candidate):
    assert candidate([1, {k} + 1, {k} + 2, {k} + 1]) == [{k} + 1, {k} + 2]
    assert candidate([], 3) == []
    assert candidate(list(range(100)), 97) == [98, {last}]

check(solve_{k})
'''


def mix(count: int) -> list[tuple[str, str]]:
    """HumanEval-sized programs that end, with the verdict of each: 6 in 10 pass, as of a fair model."""
    draw = random.Random(SEED)
    programs: list[tuple[str, str]] = []
    for k in range(1, count + 1):
        right = draw.random() < 0.6
        source = SOLUTION.format(k=k, last=99 if right else 100)
        programs.append((source, "pass" if right else "assertion"))
    return programs


async def sandboxed(programs: list[tuple[str, str]], box: Sandbox) -> list[str]:
    return [result.verdict.value for result in await asyncio.gather(*(box.run(source) for source, _ in programs))]


async def bare(programs: list[tuple[str, str]], folder: Path) -> list[str]:
    slots = asyncio.Semaphore(SLOTS)

    async def run(k: int) -> str:
        async with slots:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(folder / f"{k}.py"), stderr=subprocess.DEVNULL
            )
            return "assertion" if await process.wait() else "pass"

    return list(await asyncio.gather(*(run(k) for k in range(len(programs)))))


def cpu_s() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


async def measure(run: Callable[[], Awaitable[list[str]]], programs: list[tuple[str, str]]) -> tuple[float, float]:
    """Return programs/s and CPU ms per program, of this process and all it started."""
    before_s, began_s = cpu_s(), time.perf_counter()
    verdicts = await run()
    wall_s, used_s = time.perf_counter() - began_s, cpu_s() - before_s
    assert verdicts == [verdict for _, verdict in programs], "a program got a verdict it was not made for"
    return len(programs) / wall_s, 1000 * used_s / len(programs)


async def compare(count: int, rounds: int) -> dict[str, object]:
    programs = mix(count)
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k, (source, _) in enumerate(programs):
            (folder / f"{k}.py").write_text(source, encoding="utf-8")
        async with Sandbox(slots=SLOTS) as box:
            for turn in range(rounds + 1):
                ours = await measure(lambda: sandboxed(programs, box), programs)
                theirs = await measure(lambda: bare(programs, folder), programs)
                if turn == 0:
                    continue  # warms the page cache and the compiled modules
                for key, value in (
                    ("programs_per_s", ours[0]),
                    ("cpu_ms", ours[1]),
                    ("bare_programs_per_s", theirs[0]),
                    ("bare_cpu_ms", theirs[1]),
                    ("ratio_rate", ours[0] / theirs[0]),
                    ("ratio_cpu", ours[1] / theirs[1]),
                ):
                    figures.setdefault(key, []).append(value)
    return {
        key: {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}
        for key, values in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = asyncio.run(compare(arguments.programs, arguments.rounds))
    settings = {"programs": arguments.programs, "rounds": arguments.rounds, "slots": SLOTS, "seed": SEED}
    host = (
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    print(json.dumps({"benchmark": "sandbox_rate", **figures, **settings, "host": host}))


if __name__ == "__main__":
    main()
