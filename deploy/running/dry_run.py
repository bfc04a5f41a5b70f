"""`seedstream up --dry-run`: what a run would take, before it is paid for. Sources are walked and cut into functions
in memory; no bus is made and no server is asked."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from rich.table import Table

from consumers import decontamination
from consumers.pool import Pool
from deploy.options import put_json
from deploy.planning.estimate import Asking, estimate
from deploy.planning.plan import Plan
from deploy.planning.recipe import SOURCE_TOPIC
from deploy.planning.stages import Clients
from deploy.streams import report
from producers.directory import Directory
from producers.source import Found
from stream.records import Seed
from stream.stage import Map

SAMPLE = 50  # functions at least that prompts are made of, where there are as many
CHUNK = 64  # files in memory at once


@dataclass(slots=True)
class Counted:
    """What the sources hold.

    >>> counted = Counted(); [counted.add(seed) for seed in range(1000)] and None
    >>> counted.functions, len(counted.sample), counted.sample[:3]
    (1000, 63, [0, 16, 32])
    """

    files: int = 0
    functions: int = 0
    rejected: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])  # by stage, by reason
    sample: list[Seed] = field(default_factory=list[Seed])
    step: int = 1  # every so many-th function is in the sample

    def add(self, seed: Seed) -> None:
        """Count a function, and keep it when it falls into the sample, which stays under twice SAMPLE."""
        if self.functions % self.step == 0:
            self.sample.append(seed)
        self.functions += 1
        if len(self.sample) == 2 * SAMPLE:
            self.sample, self.step = self.sample[::2], 2 * self.step

    def reject(self, stage: str, reason: str) -> None:
        """Count a file or function that was turned down."""
        self.rejected.setdefault(stage, Counter())[reason] += 1


async def dry_run(plan: Plan, paths: Sequence[Path], limit: int | None, as_json: bool) -> None:
    """Count, estimate and report.

    Raises:  WrongConfig for a source that is missing or holds nothing.
    """
    sources = [Directory(path, plan.recipe.source) for path in paths]
    counted = await count(plan, chain.from_iterable(source.found(()) for source in sources), limit)
    asking = await estimate(plan, counted.sample, counted.functions)
    if as_json:
        put_json(
            {
                "files": counted.files,
                "functions": counted.functions,
                "rejected": counted.rejected,
                "at_most": asking,
            }
        )
        return
    out = report.console()
    for source in sources:
        out.print(report.source_line(source.name, source.summary()))
    for stage, reasons in counted.rejected.items():
        out.print(f"rejected by {stage}: {', '.join(f'{reason} {n:,}' for reason, n in reasons.most_common())}")
    out.print(f"{counted.functions:,} functions of {counted.files:,} files pass the filters")
    if asking:
        out.print(_table(asking))
        out.print("An upper bound: as if every function became a seed, and every reply as long as it may get.")


async def count(plan: Plan, found: Iterator[Found], limit: int | None) -> Counted:
    """Cut at most `limit` of the files found into functions."""
    counted = Counted()
    first = [stage for stage in plan.recipe.stages if stage.reads.name == SOURCE_TOPIC]
    async with Pool(plan.config.processes) as pool:
        clients = Clients(plan.recipe.seed, {}, {}, decontamination.load(tuple(plan.decontamination)), pool)
        shapes = {stage.name: stage.kind.build(stage.params, clients) for stage in first}
        while counted.files != limit:
            room = CHUNK if limit is None else min(CHUNK, limit - counted.files)
            chunk = await asyncio.to_thread(_take, found, room)
            if not chunk:
                break
            files = [file for item in chunk for file in item.outcome.emitted]
            counted.files += len(files)
            for reject in (reject for item in chunk for reject in item.outcome.rejected):
                counted.reject(SOURCE_TOPIC, reject.reason)
            for name, shape in shapes.items():
                assert isinstance(shape, Map)  # no stage over files keeps a state
                for [outcome] in await asyncio.gather(*(shape.call([file]) for file in files)):
                    for seed in outcome.emitted:
                        counted.add(seed)
                    for reject in outcome.rejected:
                        counted.reject(name, reject.reason)
    return counted


def _take(found: Iterator[Found], count: int) -> list[Found]:
    return list(islice(found, count))


def _table(asking: Mapping[str, Asking]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("at most", "requests", "tokens in, about", "tokens out", "cost"):
        table.add_column(name, justify="left" if name == "at most" else "right")
    total = Asking(*(sum(getattr(a, name) for a in asking.values()) for name in Asking.__slots__))
    for stage, a in [*asking.items(), ("all", total)]:
        cost = f"{a.cost:,.2f}" if a.cost else ""
        table.add_row(stage, f"{a.requests:,}", f"{a.prompt_tokens:,}", f"{a.completion_tokens:,}", cost)
    return table
