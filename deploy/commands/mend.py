"""Commands to work on a stage with: try, replay."""

from typing import Annotated

import typer

from deploy.options import (
    NAMESPACE,
    Api,
    BusUrl,
    ConfigFile,
    Dir,
    Json,
    LLMUrl,
    Model,
    Namespace,
    RecipeName,
    StartBudget,
    find,
    put_json,
    run_async,
    say,
)
from stream.errors import WrongConfig

app = typer.Typer()

Stage = Annotated[str, typer.Argument(metavar="STAGE", help="The stage, named by the topic it writes.")]
Into = Annotated[
    str | None, typer.Option("--into", metavar="NAMESPACE", help="A new namespace, which runs the stage anew on all.")
]
ShowPrompt = Annotated[bool, typer.Option("--show-prompt", help="Print what would be asked, and ask nothing.")]


@app.command("try", epilog="Example: seedstream try concepts --show-prompt < seeds.jsonl")
def try_(
    stage: Stage,
    show_prompt: ShowPrompt = False,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    llm: LLMUrl = None,
    model: Model = None,
    api: Api = None,
    start_budget_s: StartBudget = None,
) -> None:
    """Run one stage on records from stdin, outside of any stream: to work on a prompt or a filter.

    A line is a record as JSON, as `seedstream export DIR --topic T` writes it to T.jsonl. Each outcome is a line of
    JSON on stdout: {"emitted": […], "rejected": […]}. Exit 1 when a line could not be used.
    """
    from deploy.planning.plan import Flags, plan
    from deploy.running.trying import try_stage

    planned = plan(Flags(recipe, config, llm, model, api, start_budget_s))
    bad = run_async(try_stage(planned, planned.recipe.stage(stage), show_prompt))
    if bad:
        say(f"{bad:,} lines could not be used")
        raise typer.Exit(1)


@app.command(epilog="Example: seedstream replay responses --reason no_tests --dir run")
def replay(
    stage: Stage,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Records, by their whole ids.")] = [],  # noqa: B006
    dead: Annotated[bool, typer.Option("--dead", help="All dead letters of the stage.")] = False,
    reason: Annotated[str | None, typer.Option("--reason", help="All that it rejected for this reason.")] = None,
    into: Into = None,
    recipe: RecipeName = None,
    llm: LLMUrl = None,
    model: Model = None,
    api: Api = None,
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Give a stage again what ended in nothing but rejects or dead letters. The next `up` or `run` takes it; a stage
    that paused because of dead letters resumes.

    With --into a new namespace begins: the stage, and all below it, run there anew on all that it reads here, with the
    recipe, prompts or model that are named now. What they made here stays.
    """
    where = find(directory, bus, namespace, config)
    if into is not None:
        from deploy.planning.plan import Flags
        from deploy.streams.branching import branch, tell

        if dead or reason or ids:
            raise WrongConfig("--into runs a stage anew on all that it reads: give it no --dead, --reason or ids")
        tell(run_async(branch(where, stage, into, Flags(recipe, config, llm, model, api))), where.of(into), as_json)
        return
    from deploy.streams.looking import replay as replay_stage

    if recipe or llm or model or api:
        raise WrongConfig("a stage with another recipe or model runs in a namespace of its own: name one with --into")
    count = run_async(replay_stage(where, stage, dead, reason, ids))
    if as_json:
        put_json({"replayed": count})
    else:
        print(f"{count:,} inputs of {stage} stand in its topic again")
