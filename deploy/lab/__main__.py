"""`python -m deploy.lab`: makes the lab model, and measures it."""

import asyncio
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)

BENCHMARK = "benchmark.jsonl"
JUDGED = 300

Directory = Annotated[Path, typer.Argument(metavar="DIR")]


@app.command()
def make(directory: Directory, tokens: Annotated[int | None, typer.Option(help="To train on.")] = None) -> None:
    """Make everything from scratch: corpus, tokenizer, model, benchmark and card. Takes a quarter of an hour."""
    # Threads that spin while they wait cost two thirds of the CPU time; it is read when torch is loaded.
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    from deploy.lab import benchmark, training
    from deploy.lab.card import card
    from deploy.lab.corpus import Corpus
    from deploy.lab.functions import standard_library
    from deploy.lab.judging import judge_auc

    directory.mkdir(parents=True, exist_ok=True)
    settings = training.Settings() if tokens is None else training.Settings(tokens=tokens)
    functions = standard_library("corpus")
    report = training.train(Corpus(settings.seed, functions), settings, directory)
    problems = list(benchmark.problems())
    (directory / BENCHMARK).write_bytes(
        b"".join(orjson.dumps(asdict(p), option=orjson.OPT_APPEND_NEWLINE) for p in problems)
    )
    judged = f"area under the curve of the judge, {JUDGED} held-out functions against docstrings that say nothing"
    figures = {
        "weighted loss, mean of the last steps": f"{report.loss:.3f}",
        judged: f"{judge_auc(directory, JUDGED):.3f}",
    }
    text = card(settings, report, len(functions), len(problems), platform.python_version(), figures)
    (directory / "README.md").write_text(text, encoding="utf-8")
    print(f"{directory}: {report}")


@app.command()
def judge(
    directory: Directory, functions: Annotated[int, typer.Option(help="How many, of those held out.")] = JUDGED
) -> None:
    """Measure the judge."""
    from deploy.lab.judging import judge_auc

    print(f"{judge_auc(directory, functions):.4f}")


@app.command()
def report(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A stream's directory.")]) -> None:
    """Hold what the model did in a stream against the oracle."""
    asyncio.run(_report(directory))


async def _report(directory: Path) -> None:
    from deploy.lab import report as reports
    from sandbox import Sandbox
    from stream.embedded import Embedded

    async with Embedded.open(directory, create=False) as bus, Sandbox(os.cpu_count() or 1) as box:
        for line in reports.lines(await reports.report(bus, box)):
            print(line)


if __name__ == "__main__":
    app()
