"""`seedstream recipe`: what runs, as data."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.options import BusUrl, ConfigFile, Dir, Json, find, put_json, run_async, say

app = typer.Typer(no_args_is_help=True, help="List, show, copy and compare recipes.")

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="A recipe's name, or the path of a .toml.")]


@app.command("list", epilog="Example: seedstream recipe list")
def list_(as_json: Json = False) -> None:
    """List the recipes that come with seedstream."""
    from deploy.planning import recipe

    recipes = [recipe.load(name) for name in recipe.names()]
    if as_json:
        put_json(
            [{"name": r.name, "description": r.description, "stages": [s.name for s in r.stages]} for r in recipes]
        )
        return
    for r in recipes:
        print(f"{r.name}  {r.description}")
        print(f"    {' -> '.join((recipe.SOURCE_TOPIC, *(s.name for s in r.stages)))}")


@app.command(epilog="Example: seedstream recipe show selfcodealign --json")
def show(name: Name, as_json: Json = False) -> None:
    """Print a recipe: its file with all comments, or (--json) all that it decides, prompts as hashes."""
    from deploy.planning import recipe
    from deploy.planning.plan import Flags, plan

    planned = plan(Flags(recipe=name))
    if as_json:
        put_json(planned.effective())
        return
    chain = recipe.chain_of(recipe.find(name))
    print(chain[0].text, end="")
    for base in chain[1:]:
        say(f"it extends {base.name}")


@app.command(epilog="Example: seedstream recipe copy selfcodealign mine")
def copy(
    name: Name, directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory for the copy.")]
) -> None:
    """Copy a recipe with its prompts and worked examples, to be edited."""
    from deploy.planning.recipe_copy import copy as copy_recipe

    path = copy_recipe(name, directory)
    say(f"edit {path} and {path.parent / 'prompts'}, then: seedstream up --recipe {path} --source PATH --dir DIR")


@app.command(epilog="Example: seedstream recipe diff selfcodealign mine/selfcodealign.toml")
def diff(
    before: Name,
    after: Name,
    directory: Dir = None,
    bus: BusUrl = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """List every parameter that differs between two recipes. Exit 1 when one does.

    With --dir or --bus the two names are those of namespaces there: what these run.
    """
    from deploy.planning.effective import diff as differences
    from deploy.planning.plan import Flags, plan

    if directory is not None or bus is not None:
        from deploy.streams.looking import recipe_differences

        found = run_async(recipe_differences(find(directory, bus, before, config), before, after))
    else:
        one, other = (plan(Flags(recipe=name)).effective() for name in (before, after))
        found = [d for d in differences(one, other) if d.key != "name"]
    if as_json:
        put_json([{"key": d.key, "before": d.before, "after": d.now} for d in found])
    else:
        for difference in found:
            print(difference)
    if found:
        raise typer.Exit(1)
