"""`seedstream export`: the dataset as files."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.options import NAMESPACE, BusUrl, ConfigFile, Dir, Json, Namespace, find, put_json, run_async, say

app = typer.Typer()

Form = Annotated[
    Literal["columns", "messages", "preferences"],
    typer.Option(
        "--format",
        help="A column each for instruction and response; one of chat messages; or pairs of a passing and a failing "
        "response, from executions.",
    ),
]
TestShare = Annotated[
    float,
    # Without `min` and `max`: typer shows them as 0<=x<=1, and of the whole there would be nothing left to train on.
    typer.Option(
        "--test-share", help="A test split of this share, from 0 to below 1: rows alike stay together. [0: one split]"
    ),
]


@app.command(epilog="Example: seedstream export dataset --dir run --format messages --test-share 0.1")
def export(
    into: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to write: a new one, an empty one, or an earlier export, which is replaced."
        ),
    ],
    topic: Annotated[str | None, typer.Option("--topic", help="The topic to export. [examples]")] = None,
    form: Form = "columns",
    test_share: TestShare = 0.0,
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Write a topic as Parquet and JSONL with a dataset card, for `datasets.load_dataset`. Equal content gives equal
    bytes. With --config the card says what the models cost."""
    from deploy.dataset.export import Wanted, export_from
    from deploy.planning.settings import read

    prices = {end.model: end for end in read(config)[0].llm.values()}
    topic = topic or ("executions" if form == "preferences" else "examples")
    wanted = Wanted(form, test_share, prices)
    written = run_async(export_from(find(directory, bus, namespace, config), topic, into, wanted))
    if as_json:
        put_json({"rows": written.rows, "splits": written.splits, "files": [str(path) for path in written.files]})
        return
    for path in written.files:
        print(path)
    parts = [f"{rows:,} in {name}" for name, rows in written.splits.items()] if test_share else []
    say(f"{written.rows:,} rows{': ' if parts else ''}{', '.join(parts)}")
