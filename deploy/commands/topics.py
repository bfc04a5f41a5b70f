"""`seedstream topics`: what stands on the bus, made and looked at by itself."""

import typer

from deploy.options import (
    NAMESPACE,
    BusUrl,
    ConfigFile,
    Dir,
    Json,
    Namespace,
    RecipeName,
    find,
    put_json,
    run_async,
    say,
)

app = typer.Typer(no_args_is_help=True, help="Make, list and check the topics of a stream.")

EXAMPLE = "Example: seedstream topics create --bus kafka://localhost:9092 --recipe selfcodealign"


@app.command(epilog=EXAMPLE)
def create(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make every topic of a recipe that is not there, and let the progress of every stage begin.

    `up` and `run` do the same: this is for a broker where they may not. One that is there is left as it is; exit 2 when
    it has not the one partition that the order of a stage needs.
    """
    from deploy.streams import topics

    made = run_async(topics.create(find(directory, bus, namespace, config), recipe, config))
    if as_json:
        put_json({"made": made})
        return
    for name in made:
        print(name)
    say(f"{len(made):,} topics made" if made else "all topics are there")


@app.command("list", epilog="Example: seedstream topics list --dir run")
def list_(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List the topics of a namespace: partitions, records, and how long these are kept.

    On Kafka each step of a worker takes an offset too, so there are somewhat fewer records than are shown.
    """
    from deploy.streams import topics

    lines = run_async(topics.listed(find(directory, bus, namespace, config)))
    if as_json:
        put_json(lines)
        return
    for line in lines:
        pruned = f", {line.pruned:,} pruned" if line.pruned else ""
        print(f"{line.topic}  {line.partitions} x  {line.records:,} records{pruned}  kept {line.kept}")


@app.command(epilog="Example: seedstream topics check --bus kafka://localhost:9092")
def check(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Compare what stands on the bus with what a stream needs. Exit 1 names each difference; nothing is changed."""
    from deploy.streams import topics

    found = run_async(topics.check(find(directory, bus, namespace, config), recipe, config))
    if as_json:
        put_json(found)
    else:
        for difference in found:
            print(difference)
        say(f"{len(found):,} differences" if found else "all topics are as they must be")
    if found:
        raise typer.Exit(1)
