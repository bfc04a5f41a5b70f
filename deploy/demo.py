"""`make demo`: the whole stream on real files of the standard library, to a dataset and a checkpoint.

With the lab model, which is shipped, served by vLLM here and trained on what it made; or with the user's own server
(`--llm URL --model M`), on fewer files, since its tokens may cost something, and to a dataset alone.
"""

import asyncio
import os
import re
import signal
import sys
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

import typer

from consumers import prompt
from consumers.llm.render import completion_text
from deploy.lab import MODEL
from deploy.planning.recipe import SOURCE_TOPIC
from deploy.streams.outline import outline
from sandbox import Sandbox
from stream.embedded import Embedded
from stream.errors import BusMissing
from stream.idle import lag

FILES, FILES_OWN_SERVER = 600, 100
DEMO = Path("demo")
CHECKPOINT = "checkpoint"
BASE = os.path.relpath(MODEL)  # as it stands in the checkpoint's card
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
    if code == 0 and not own:
        print()
        await tell_truth(directory)
        print()
        code = await trained(directory, where)
    if code == 0:
        print(f"\nthe dataset and its card:    {dataset}/README.md")
        if not own:
            print(f"the checkpoint and its card: {directory / CHECKPOINT}/README.md")
    return code


async def trained(directory: Path, where: list[str]) -> int:
    """Train the lab model on the examples, score both on the lab's benchmark, each asked as it was made to be, and
    return the exit code."""
    if await scored(directory) >= 2:
        return await seedstream("scores", *where, "--plot", str(directory / "evaluation" / "scores.png"))
    checkpoint, one_shot = directory / CHECKPOINT, directory / "one-shot.txt"
    one_shot.write_text(one_shot_template(), encoding="utf-8")
    scoring = ["--max-tokens", "200", "--out", str(directory / "evaluation"), *where]
    for command in (
        ["train", "--base", BASE, "--out", str(checkpoint), *where],
        ["evaluate", BASE, "--template", str(one_shot), *scoring],
        ["evaluate", str(checkpoint), "--api", "chat", *scoring],
    ):
        if code := await seedstream(*command):
            return code
    return 0


def one_shot_template() -> str:
    """Return the recipe's prompt for a response, with a place for the instruction."""
    few_shot = prompt.load("lab", "responses")
    mark = "\0instruction\0"
    asked = completion_text(few_shot.prompt(1, 1, {"instruction": mark}))
    return asked.replace("$", "$$").replace(mark, "$instruction")


async def scored(directory: Path) -> int:
    """Return how many scores stand in a stream."""
    async with Embedded.open(directory, create=False) as bus:
        return sum((await bus.ends("scores")).values()) if "scores" in await bus.topics() else 0


async def state(directory: Path) -> tuple[int, int]:
    """Return how many files were sent, and how many inputs no stage has finished yet."""
    try:
        async with Embedded.open(directory, create=False) as bus:
            if SOURCE_TOPIC not in await bus.topics():
                return 0, 0
            lags = [await lag(bus, spec) for spec in await outline(bus)]
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
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # from a terminal it comes to the command too
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    try:
        return await process.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


if __name__ == "__main__":
    typer.run(main)
