"""The whole standard library of the running interpreter through the stages `functions` and `typed`, and the funnel.

    python -m tests.benchmarks.stdlib_funnel

Each stage's `call` is used as the runner would: files one by one, functions in the stage's batches. The answer is
checked: no input is without an outcome, every part of a file has an id of its own, every seed that passes compiles.
The funnel goes to stderr, by reason.
"""

import asyncio
import os
import sys
import time
import warnings
from collections import Counter

from consumers import functions, typed
from consumers.decontamination import load
from consumers.pool import Pool
from consumers.pyright_cli import PyrightCLI
from stream.records import Seed, SourceFile
from tests.benchmarks._corpus import report, standard_library


async def extract(sources: list[SourceFile], pool: Pool) -> tuple[list[Seed], Counter[str]]:
    stage = functions.stage(functions.Params(), pool, load([]))
    permits = asyncio.Semaphore(stage.concurrency)
    seeds: list[Seed] = []
    reasons: Counter[str] = Counter()

    async def one(source: SourceFile) -> None:
        async with permits:
            (outcome,) = await stage.call([source])
        ids = [seed.seed_id for seed in outcome.emitted] + [r.record_id or "" for r in outcome.rejected]
        assert ids, source.file.path
        assert len(set(ids)) == len(ids), source.file.path
        seeds.extend(outcome.emitted)
        reasons.update(reject.reason for reject in outcome.rejected)

    async with asyncio.TaskGroup() as group:
        for source in sources:
            group.create_task(one(source))
    return seeds, reasons


async def check(seeds: list[Seed], pool: Pool) -> tuple[list[Seed], Counter[str]]:
    checker = PyrightCLI()
    await checker.check()
    stage = typed.stage(typed.Params(), checker, pool)
    passed: list[Seed] = []
    reasons: Counter[str] = Counter()
    for start in range(0, len(seeds), stage.batch):
        batch = seeds[start : start + stage.batch]
        outcomes = await stage.call(batch)
        assert len(outcomes) == len(batch)
        for outcome in outcomes:
            passed.extend(outcome.emitted)
            reasons.update(reject.reason for reject in outcome.rejected)
    return passed, reasons


def funnel(stage: str, inputs: int, what: str, passed: int, reasons: Counter[str]) -> None:
    print(f"{stage}: {inputs:,} {what} -> {passed:,} functions", file=sys.stderr)
    for reason, count in reasons.most_common():
        print(f"  {count:7,}  {reason}", file=sys.stderr)


async def run() -> None:
    sources = standard_library()
    async with Pool(len(os.sched_getaffinity(0))) as pool:
        started_s = time.perf_counter()
        seeds, refused = await extract(sources, pool)
        extracted_s = time.perf_counter()
        passed, failed = await check(seeds, pool)
        checked_s = time.perf_counter()
    warnings.simplefilter("ignore")  # of the compiler, about the library's own tests
    for seed in passed:
        compile(seed.code, seed.name, "exec", dont_inherit=True)
        assert [step.stage for step in seed.steps] == ["functions", "typed"]
    funnel("functions", len(sources), "files", len(seeds), refused)
    funnel("typed", len(seeds), "functions", len(passed), failed)
    report(
        "stdlib_funnel",
        files=len(sources),
        functions=len(seeds),
        typed=len(passed),
        rejects={**refused, **failed},
        files_per_s=round(len(sources) / (extracted_s - started_s)),
        functions_checked_per_s=round(len(seeds) / (checked_s - extracted_s)),
    )


if __name__ == "__main__":
    asyncio.run(run())
