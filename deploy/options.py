"""The options that several commands share, and what they mean."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from stream.errors import WrongConfig

Dir = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="The stream's directory. One directory, one bus file.")
]
BusUrl = Annotated[
    str | None, typer.Option("--bus", metavar="URL", help="The bus, where it is not in --dir: embedded:PATH.")
]
Namespace = Annotated[str, typer.Option("--namespace", help="The namespace: one runs one recipe.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A seedstream.toml: endpoints, decontamination, limits."),
]
RecipeName = Annotated[str | None, typer.Option("--recipe", metavar="NAME|FILE", help="What runs. [selfcodealign]")]
LLMUrl = Annotated[
    str | None, typer.Option("--llm", metavar="URL", help="An OpenAI-compatible server, for every stage that asks one.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="The model's name on that server; without --llm a directory, to be served by vLLM."),
]
Api = Annotated[
    Literal["completions", "chat"] | None, typer.Option("--api", help="How it is asked: a base or a chat model.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Send at most this many new files.")]
UntilIdle = Annotated[bool, typer.Option("--until-idle", help="End when nothing is left to do.")]
StartBudget = Annotated[
    float | None,
    typer.Option("--start-budget", min=0, help="Seconds that a server may take to answer at the start. [15]"),
]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON on stdout.")]
LogFormat = Annotated[Literal["console", "json"] | None, typer.Option("--log-format", help="How logs are written.")]
MetricsPort = Annotated[int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port.")]

NAMESPACE = "main"

T = TypeVar("T")


def bus_directory(directory: Path | None, bus: str | None) -> Path:
    """Return the directory of the embedded bus that `--dir` or `--bus` names.

    Raises:  WrongConfig when neither or both do, or another kind of bus is meant.
    """
    if bus is None:
        if directory is None:
            raise WrongConfig("name the stream's directory: --dir DIR")
        return directory
    kind, _, rest = bus.partition(":")
    if kind == "kafka":
        raise WrongConfig(f"--bus {bus}: Apache Kafka is not in this version; use embedded:PATH")
    if kind != "embedded" or not rest:
        raise WrongConfig(f"--bus {bus}: expected embedded:PATH")
    if directory is not None and directory != Path(rest):
        raise WrongConfig(f"--bus {bus} and --dir {directory} name two places: give one of them")
    return Path(rest)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end. asyncio is imported here: it would take a tenth of the time of `--help`."""
    import asyncio

    return asyncio.run(work)


def say(line: str) -> None:
    """Tell the user something beside the output: on stderr, so that stdout can be piped."""
    print(line, file=sys.stderr, flush=True)


def put_json(value: object) -> None:
    """Print a report for programs."""
    import orjson

    print(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
