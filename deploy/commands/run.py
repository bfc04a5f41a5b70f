"""Commands that run a stream: up, run, ingest."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.options import (
    NAMESPACE,
    Api,
    BusUrl,
    ConfigFile,
    Dir,
    Json,
    Limit,
    LLMUrl,
    LogFormat,
    MetricsPort,
    Model,
    Namespace,
    RecipeName,
    StartBudget,
    UntilIdle,
    find,
    run_async,
)
from stream.errors import WrongConfig

app = typer.Typer()

Sources = Annotated[list[Path], typer.Option("--source", metavar="PATH", help="A folder or file of code. Repeatable.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count inputs, estimate tokens and cost; make nothing.")]
UP = "Example: seedstream up --source ~/code --dir run --llm http://localhost:8000 --model qwen --until-idle"


@app.command(epilog=UP)
def up(
    source: Sources = [],  # noqa: B006 - typer copies it
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    llm: LLMUrl = None,
    model: Model = None,
    api: Api = None,
    limit: Limit = None,
    until_idle: UntilIdle = False,
    dry_run: DryRun = False,
    start_budget_s: StartBudget = None,
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    as_json: Json = False,
) -> None:
    """Run every stage of a recipe in this process: code in, examples out. Goes on where an earlier run ended."""
    from deploy.planning.plan import Flags, plan

    planned = plan(Flags(recipe, config, llm, model, api, start_budget_s))
    if dry_run:
        from deploy.running.dry_run import dry_run as count

        if not source:
            raise WrongConfig("--dry-run counts what sources hold: name one with --source PATH")
        run_async(count(planned, source, limit, as_json))
        return
    from deploy.running.up import Start
    from deploy.running.up import up as run_all

    start = Start(
        where=find(directory, bus, namespace, config),
        plan=planned,
        stages=planned.recipe.stages,
        sources=source,
        limit=limit,
        until_idle=until_idle,
        metrics_port=metrics_port or planned.config.metrics_port,
        log_format=log_format or planned.config.log_format,
        as_json=as_json,
    )
    raise typer.Exit(run_async(run_all(start)))


@app.command(epilog="Example: seedstream run functions typed --dir run --config seedstream.toml")
def run(
    stages: Annotated[list[str], typer.Argument(metavar="STAGE…", help="Each is named by the topic it writes.")],
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    llm: LLMUrl = None,
    model: Model = None,
    api: Api = None,
    until_idle: UntilIdle = False,
    start_budget_s: StartBudget = None,
    metrics_port: MetricsPort = None,
    log_format: LogFormat = None,
    as_json: Json = False,
) -> None:
    """Run some stages of a stream: a worker. Other processes on this machine may run the others."""
    from deploy.planning.plan import Flags, plan
    from deploy.running.up import Start, up

    planned = plan(Flags(recipe, config, llm, model, api, start_budget_s))
    start = Start(
        where=find(directory, bus, namespace, config),
        plan=planned,
        stages=[planned.recipe.stage(name) for name in dict.fromkeys(stages)],
        until_idle=until_idle,
        metrics_port=metrics_port or planned.config.metrics_port,
        log_format=log_format or planned.config.log_format,
        as_json=as_json,
    )
    raise typer.Exit(run_async(up(start)))


@app.command(epilog="Example: seedstream ingest ~/code ~/more --dir run --config seedstream.toml")
def ingest(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE…", help="Folders or files of code.")],
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    recipe: RecipeName = None,
    config: ConfigFile = None,
    llm: LLMUrl = None,
    model: Model = None,
    api: Api = None,
    limit: Limit = None,
    log_format: LogFormat = None,
    as_json: Json = False,
) -> None:
    """Send the files of sources into a stream, those alone that it has not had yet."""
    from deploy.planning.plan import Flags, plan
    from deploy.running.up import Start, up

    planned = plan(Flags(recipe, config, llm, model, api))
    start = Start(
        where=find(directory, bus, namespace, config),
        plan=planned,
        stages=[],
        sources=sources,
        limit=limit,
        until_idle=True,
        log_format=log_format or planned.config.log_format,
        as_json=as_json,
    )
    raise typer.Exit(run_async(up(start)))
