"""The options that several commands share, and what they mean."""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from deploy.streams.where import Where

Dir = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The stream's directory, with its bus; beside --bus for local files."),
]
BusUrl = Annotated[
    str | None,
    typer.Option("--bus", metavar="URL", help="The bus, where it is not in --dir: kafka://HOST:PORT or embedded:PATH."),
]
Namespace = Annotated[str, typer.Option("--namespace", help="The namespace: one runs one recipe.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A seedstream.toml: bus, endpoints, decontamination, limits."),
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
UntilIdle = Annotated[
    bool, typer.Option("--until-idle", help="End when nothing is left to do; with 1 when an input is dead.")
]
StartBudget = Annotated[
    float | None,
    typer.Option("--start-budget", min=0, help="Seconds that a server may take to answer at the start. [15]"),
]
CpuS = Annotated[float, typer.Option("--cpu-s", min=0.1, max=3600, help="CPU seconds that a program may take.")]
Json = Annotated[bool, typer.Option("--json", help="Report as JSON on stdout.")]
LogFormat = Annotated[Literal["console", "json"] | None, typer.Option("--log-format", help="How logs are written.")]
MetricsPort = Annotated[int | None, typer.Option(min=1, max=65535, help="Serve Prometheus metrics on this port.")]

NAMESPACE = "main"

T = TypeVar("T")


def find(directory: Path | None, bus: str | None, namespace: str, config: Path | None) -> "Where":
    """Return where the stream is that the options name.

    Raises:  as `deploy.streams.where.find`.
    """
    from deploy.streams import where  # it imports the buses, which `--help` has no use for

    return where.find(directory, bus, namespace, config)


def find_named(directory: Path | None, bus: str | None, namespace: str, config: Path | None) -> "Where | None":
    """As `find`; None where neither an option nor the config file names a stream."""
    from deploy.planning import settings

    named = directory or bus or settings.read(config)[0].bus
    return find(directory, bus, namespace, config) if named else None


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Do work to its end. asyncio is imported here: it would take a tenth of the time of `--help`."""
    import asyncio

    return asyncio.run(work)


def say(line: str) -> None:
    """Tell the user something beside the output: on stderr, so that stdout can be piped."""
    print(line, file=sys.stderr, flush=True)


def put_json(value: object, *, one_line: bool = False) -> None:
    """Print a report for programs; of many, each on `one_line`."""
    import orjson

    form = orjson.OPT_NON_STR_KEYS if one_line else orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2
    print(orjson.dumps(value, option=form).decode(), flush=one_line)
