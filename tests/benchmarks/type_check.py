"""Functions type-checked per CPU-second: stage `typed` against pyright alone in the reference's batches of 250.

    python -m tests.benchmarks.type_check [--functions 2000] [--rounds 3]

The same functions, as many as the stage takes in a batch, drawn with a fixed seed from those that stage `functions`
emits for the standard library and for the packages installed with us: of the first many pass, of the second most need
a helper or a third package. CPU seconds are those of this process and of its children. The answer is checked first,
and in every round: the verdicts are identical. Rounds take turns; `ratio` is ours over the reference; the goal is 4.
"""

import argparse
import asyncio
import random
import resource
import sys
from collections.abc import Awaitable, Callable

from consumers import functions, typed
from consumers.foregone import foregone_errors
from consumers.functions import cut
from consumers.pyright_cli import PyrightCLI
from stream.records import Seed
from tests.benchmarks._corpus import installed_packages, report, spread, standard_library

SEED = 3407
REFERENCE_BATCH = 250


async def reference(codes: list[str]) -> list[bool]:
    checker = PyrightCLI([sys.executable, "-m", "pyright"])  # the installed command, as the reference calls it
    passed: list[bool] = []
    for start in range(0, len(codes), REFERENCE_BATCH):
        found = await checker.errors(codes[start : start + REFERENCE_BATCH])
        passed += [not errors for errors in found]
    return passed


async def ours(codes: list[str]) -> list[bool]:
    # What `typed.stage` does, without its process pool: a child that lives on cannot be accounted for.
    passed = [error is None for error in foregone_errors(codes)]
    asked = [index for index, is_open in enumerate(passed) if is_open]
    for index, errors in zip(asked, await PyrightCLI().errors([codes[index] for index in asked]), strict=True):
        passed[index] = not errors
    return passed


def cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


async def measured(check: Callable[[list[str]], Awaitable[list[bool]]], codes: list[str]) -> tuple[float, list[bool]]:
    started_s = cpu_s()
    passed = await check(codes)
    return len(codes) / (cpu_s() - started_s), passed


async def run(count: int, rounds: int) -> None:
    parts = [part for source in standard_library() + installed_packages() for part in cut(source, functions.Params())]
    seeds = [part.code for part in parts if isinstance(part, Seed)]
    codes = random.Random(SEED).sample(seeds, count)
    expected = await reference(codes)  # the answer, and the warm-up
    assert await ours(codes) == expected
    pairs: list[tuple[float, float]] = []
    for _ in range(rounds):
        mine, my_verdicts = await measured(ours, codes)
        other, other_verdicts = await measured(reference, codes)
        assert my_verdicts == other_verdicts == expected
        pairs.append((mine, other))
    report(
        "type_check",
        functions=count,
        passed=sum(expected),
        asked=sum(error is None for error in foregone_errors(codes)),
        functions_per_cpu_s=spread([mine for mine, _ in pairs], 0),
        reference_per_cpu_s=spread([other for _, other in pairs], 0),
        ratio=spread([mine / other for mine, other in pairs]),
        goal="ratio >= 4",
        seed=SEED,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--functions", type=int, default=typed.Params().batch)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    asyncio.run(run(given.functions, given.rounds))


if __name__ == "__main__":
    main()
