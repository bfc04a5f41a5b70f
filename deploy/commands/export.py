"""`seedstream export`: the dataset as files."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deploy.options import NAMESPACE, BusUrl, Dir, Json, Namespace, bus_directory, put_json, say

app = typer.Typer()


@app.command(epilog="Example: seedstream export dataset --dir run")
def export(
    into: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; made when it is not there.")],
    topic: Annotated[str, typer.Option("--topic", help="The topic to export.")] = "examples",
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    as_json: Json = False,
) -> None:
    """Write a topic as Parquet and JSONL with a dataset card. Equal content gives equal bytes."""
    from deploy.export import export_from

    written = asyncio.run(export_from(bus_directory(directory, bus), namespace, topic, into))
    if as_json:
        put_json({"rows": written.rows, "files": [str(path) for path in written.files]})
        return
    for path in written.files:
        print(path)
    say(f"{written.rows:,} rows")
