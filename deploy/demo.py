"""`make demo`: the whole stream on real files of the standard library, to a dataset.

With the lab model, which is shipped and served by vLLM here; or with the user's own server (`--llm URL --model M`), on
fewer files, since its tokens may cost something.
"""

import asyncio
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.funnel import done_and_lag
from deploy.outline import legs, outline
from deploy.recipe import SOURCE_TOPIC
from sandbox import Sandbox
from stream.embedded import Embedded
from stream.errors import BusMissing

FILES, FILES_OWN_SERVER = 600, 100
DEMO = Path("demo")
SEEDSTREAM = str(Path(sys.executable).with_name("seedstream"))


def main(
    llm: Annotated[str | None, typer.Option(help="A server of one's own.")] = None,
    model: Annotated[str | None, typer.Option(help="Its model.")] = None,
    api: Annotated[Literal["completions", "chat"], typer.Option(help="How it is asked.")] = "completions",
) -> None:
    """Run the demo, or go on with it."""
    if (llm is None) != (model is None):
        raise typer.BadParameter("a server needs both: make demo LLM=http://localhost:8000 MODEL=name")
    own = ["--llm", llm, "--model", model, "--api", api] if llm and model else []
    directory = DEMO / (re.sub(r"[^\w.-]+", "-", model) if model else "lab")
    try:
        code = asyncio.run(demo(directory, own))
    except KeyboardInterrupt:
        code = 130
    raise typer.Exit(code)


async def demo(directory: Path, own: list[str]) -> int:
    """Do what is left to do in `directory`, show it, and return the exit code."""
    library = sysconfig.get_path("stdlib")
    files = FILES_OWN_SERVER if own else FILES
    sent, lag = await state(directory)
    where = ["--dir", str(directory)]
    if sent >= files and not lag:
        print(f"all is done: {sent:,} files have gone through every stage. Remove {directory} to see it again.\n")
        code = await seedstream("status", *where)
    else:
        rest = ["--source", library, "--limit", str(files - sent)] if sent < files else []
        recipe = "selfcodealign" if own else "lab"
        code = await seedstream("up", "--recipe", recipe, *rest, *where, "--until-idle", *own)
    dataset = directory / "dataset"
    if code == 0:
        code = await seedstream("export", str(dataset), *where)
    if code == 0:
        if not own:
            print()
            await tell_truth(directory)
        print(f"\nthe dataset and its description: {dataset}   the stream: {directory}")
    return code


async def state(directory: Path) -> tuple[int, int]:
    """Return how many files were sent, and how many inputs no stage has finished yet."""
    try:
        async with Embedded.open(directory, create=False) as bus:
            if SOURCE_TOPIC not in await bus.topics():
                return 0, 0
            lags = [(await done_and_lag(bus, leg.stage, leg.reads))[1] for leg in legs(await outline(bus)) if leg.reads]
            return sum((await bus.ends(SOURCE_TOPIC)).values()), sum(lags)
    except BusMissing:
        return 0, 0


async def tell_truth(directory: Path) -> None:
    """Print what only the lab's oracle knows: how many of the examples are right."""
    from deploy.lab.report import lines, report

    async with Embedded.open(directory, create=False) as bus, Sandbox(os.cpu_count() or 1) as box:
        for line in lines(await report(bus, box)):
            print(line)


async def seedstream(*arguments: str) -> int:
    """Run a command as a user would, on this terminal, and return its exit code."""
    print("$ seedstream", *arguments, flush=True)
    process = await asyncio.create_subprocess_exec(SEEDSTREAM, *arguments)
    return await process.wait()


if __name__ == "__main__":
    typer.run(main)
