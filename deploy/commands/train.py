"""`seedstream train`: a checkpoint from the examples of a stream."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.options import NAMESPACE, BusUrl, ConfigFile, Dir, Json, Namespace, RecipeName, find, run_async
from stream.errors import WrongConfig

app = typer.Typer()

Base = Annotated[
    str | None, typer.Option("--base", metavar="MODEL", help="A folder with a causal language model, or its hub name.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="The folder to publish to; replaced whole where it is ours.")
]
Method = Annotated[
    Literal["sft", "dpo"] | None,
    typer.Option("--method", help="On examples; or on pairs of a passing and a failing response. [sft]"),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="JSONL with prompt, chosen, rejected, for --method dpo."),
]
Rebuild = Annotated[
    Path | None,
    typer.Option("--rebuild", metavar="MODEL_DIR", help="Train as this published model was, on the same rows."),
]
Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="One of the table train, over it. Repeatable.")
]
Restart = Annotated[bool, typer.Option("--restart", help="Forget an unfinished training of this --out.")]


@app.command(epilog="Example: seedstream train --dir run --base Qwen/Qwen2.5-Coder-7B --out checkpoint --set epochs=2")
def train(
    out: Out,
    base: Base = None,
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    method: Method = None,
    data: Data = None,
    rebuild: Rebuild = None,
    settings: Set = [],  # noqa: B006 - typer copies it
    restart: Restart = False,
    as_json: Json = False,
) -> None:
    """Train a checkpoint on a snapshot of the examples, and publish it with its card. Killed, the same command goes on.

    How is said by the table train of recipe or config; its defaults are StarCoder2-Instruct's. It ends with a record
    in topic models, and a folder that transformers and vLLM load.
    """
    from deploy.training.alone import Flags, Order, train_once

    if data is not None and rebuild is not None:
        raise WrongConfig("--data and --rebuild name two sources: give one of them")
    flags = Flags(base, method, recipe, config, settings, rebuild)
    order = Order(out, data, restart)
    raise typer.Exit(run_async(train_once(find(directory, bus, namespace, config), flags, order, as_json)))
