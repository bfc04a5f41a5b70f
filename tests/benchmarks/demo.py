"""`make demo` after installation: how long it takes, and how much memory all of its processes hold.

    python -m tests.benchmarks.demo

Runs the demo in an empty folder, as `make demo` does, and looks at the processes below it every half second. The
answer is checked first: what the issue asks for came out. `peak_rss_gib` counts what several processes share once for
each of them, `peak_pss_gib` once. Goals: at most 8 minutes and 7 GiB on 2 cores, at least 60 examples from 40 seeds in
20 files.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.lab.report import report as lab_report
from sandbox import Sandbox
from stream.embedded import Embedded
from tests.benchmarks._corpus import report

LOOK_S = 0.5
GOALS = "wall_s <= 480, peak_rss_gib <= 7, examples >= 60, seeds >= 40, files >= 20"


def tree(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in children.read_text(encoding="ascii").split():
                yield from tree(int(child))


def resident_kib(pid: int) -> tuple[int, int]:
    """RSS and PSS of a process; nothing of one that has just ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
        return sizes.get("Rss", 0), sizes.get("Pss", 0)
    return 0, 0


async def run(folder: Path) -> tuple[float, float, float]:
    """Return wall time, and the peaks of RSS and PSS in GiB."""
    started_s, peak_rss, peak_pss = time.perf_counter(), 0, 0
    demo = await asyncio.create_subprocess_exec(sys.executable, "-m", "deploy.demo", cwd=folder, stdout=sys.stderr)
    while demo.returncode is None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(demo.wait(), LOOK_S)
        sizes = [resident_kib(pid) for pid in tree(demo.pid)]
        peak_rss = max(peak_rss, sum(rss for rss, _ in sizes))
        peak_pss = max(peak_pss, sum(pss for _, pss in sizes))
    assert demo.returncode == 0
    return time.perf_counter() - started_s, peak_rss / 2**20, peak_pss / 2**20


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wall_s, rss_gib, pss_gib = await run(folder)
        async with Embedded.open(folder / "demo" / "lab", create=False) as bus, Sandbox(os.cpu_count() or 1) as box:
            found = await lab_report(bus, box)
    assert found.kept.part >= 60 and found.seeds >= 40 and found.files >= 20, found
    report(
        "demo",
        wall_s=round(wall_s, 1),
        peak_rss_gib=round(rss_gib, 2),
        peak_pss_gib=round(pss_gib, 2),
        examples=found.kept.part,
        seeds=found.seeds,
        files=found.files,
        concepts_valid=round(found.concepts_valid.value, 3),
        instructions_valid=round(found.instructions_valid.value, 3),
        own_tests_pass=round(found.own_tests_pass.value, 3),
        kept=round(found.kept.value, 3),
        kept_correct=str(found.kept_correct),
        drawn_correct=str(found.drawn_correct),
        goal=GOALS,
    )


if __name__ == "__main__":
    asyncio.run(main())
