"""Commands that look at a stream and change nothing: status, show, rejects, dead, audit. A running `up` is not
disturbed by them."""

from typing import Annotated

import typer

from deploy.options import NAMESPACE, BusUrl, ConfigFile, Dir, Json, Namespace, find, put_json, run_async, say
from stream.errors import WrongConfig

app = typer.Typer()

Stage = Annotated[str | None, typer.Option("--stage", help="Of this stage alone.")]
Samples = Annotated[int, typer.Option("--samples", min=0, help="How many of each group are shown, the latest.")]


@app.command(epilog="Example: seedstream status --dir run --watch")
def status(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Again and again, with rates, until Ctrl-C; with --json a line for each look."),
    ] = False,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="NAMESPACE", help="Beside that of another namespace.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the funnel of a stream: what came into each stage, what came out, why the rest did not, and the lag."""
    from deploy.streams import looking

    stream = find(directory, bus, namespace, config)
    if watch and compare is not None:
        raise WrongConfig("--watch shows one namespace: leave out --compare")
    if compare is not None:
        run_async(looking.compare(stream, compare, as_json))
    elif watch:
        run_async(looking.watch(stream, as_json))
    else:
        run_async(looking.status(stream, as_json))


@app.command(epilog="Example: seedstream show 3f9a1c --dir run")
def show(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="A record's id, or its first characters.")],
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show one record with its lineage: up to its file, and down to all that was made from it."""
    from deploy.streams import looking

    run_async(looking.show(find(directory, bus, namespace, config), record_id, as_json))


@app.command(epilog="Example: seedstream rejects --dir run --stage responses --reason no_tests")
def rejects(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    stage: Stage = None,
    reason: Annotated[str | None, typer.Option("--reason", help="For this reason alone.")] = None,
    samples: Samples = 2,
    as_json: Json = False,
) -> None:
    """Show what was turned down, by stage and reason, with samples."""
    from deploy.streams import looking

    run_async(looking.rejects(find(directory, bus, namespace, config), stage, reason, samples, as_json))


@app.command(epilog="Example: seedstream dead --dir run")
def dead(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    stage: Stage = None,
    samples: Samples = 2,
    as_json: Json = False,
) -> None:
    """Show the records that we failed, by stage and error, with samples, and which were replayed since. Exit 1 when one
    is open: it was not."""
    from deploy.streams import looking

    if run_async(looking.dead(find(directory, bus, namespace, config), stage, samples, as_json)):
        raise typer.Exit(1)


@app.command(epilog="Example: seedstream audit --dir run")
def audit(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Prove that each input of each stage was emitted, rejected or dead-lettered, once. Exit 1 names what was not."""
    from deploy.streams import looking

    holes = run_async(looking.holes(find(directory, bus, namespace, config)))
    if as_json:
        put_json(holes)
    else:
        for hole in holes:
            print(hole)
        say(f"{len(holes):,} holes" if holes else "every input has its outcomes, once")
    if holes:
        raise typer.Exit(1)
