"""`seedstream prune`: the one command that deletes."""

from typing import Annotated

import typer

from deploy.options import NAMESPACE, BusUrl, ConfigFile, Dir, Json, Namespace, find, run_async

app = typer.Typer()

KeepDays = Annotated[float, typer.Option("--keep-days", min=0, metavar="D", help="Keep what is younger than D days.")]


@app.command(epilog="Example: seedstream prune --keep-days 30 --dir run")
def prune(
    keep_days: KeepDays,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go; delete nothing.")] = False,
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Delete what every stage has passed, those of namespaces branched from this one too, and is older than D days.

    The whole namespace is audited first, and what is proven is counted in topic audit: exit 1, and nothing deleted,
    names what does not hold. Examples, models, scores and state logs are kept for ever.
    """
    from deploy.streams.pruning import pruned, tell

    where = find(directory, bus, namespace, config)
    found = run_async(pruned(where, keep_days, dry_run))
    tell(found, where, dry_run, as_json)
    if found.holes:
        raise typer.Exit(1)
