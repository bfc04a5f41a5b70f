"""`seedstream evaluate` and `seedstream scores`."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.options import (
    NAMESPACE,
    Api,
    BusUrl,
    ConfigFile,
    CpuS,
    Dir,
    Json,
    LLMUrl,
    Namespace,
    StartBudget,
    find,
    find_named,
    run_async,
    say,
)
from stream.errors import WrongConfig

app = typer.Typer()

Benchmarks = Annotated[
    list[str],
    typer.Option(
        "--benchmark",
        metavar="NAME|FILE",
        help="lab, humaneval, mbpp, humaneval+, mbpp+, or a file in their form. Repeatable. [lab]",
    ),
]
File = Annotated[
    Path | None, typer.Option("--file", metavar="PATH", help="The benchmark's file, or a folder that has it. [the hub]")
]
TemplateFile = Annotated[
    Path | None, typer.Option("--template", metavar="FILE", help="A prompt with $instruction, as the model was tuned.")
]
Ks = Annotated[list[int], typer.Option("--k", min=1, help="Report pass@k. Repeatable. [1, 10, 100]")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where answers, results and the plot are kept.")]
EXAMPLE = (
    "Example: seedstream evaluate Qwen/Qwen2.5-Coder-7B --benchmark humaneval --file HumanEval.jsonl.gz "
    "--llm http://localhost:8000"
)


@app.command(epilog=EXAMPLE)
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="The model's name on the server; or a directory, served by vLLM.")
    ] = "",
    benchmark: Benchmarks = [],  # noqa: B006 - typer copies it
    file: File = None,
    llm: LLMUrl = None,
    api: Api = None,
    template: TemplateFile = None,
    config: ConfigFile = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Of each problem.")] = 1,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", min=0, max=1, help="Nucleus sampling.")] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of a reply.")] = 1_024,
    seed: Annotated[int, typer.Option("--seed", help="Sampling seeds are hashes of it and of what is asked.")] = 3407,
    k: Ks = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first problems alone.")] = None,
    cpu_s: CpuS = 10.0,
    out: Out = Path("evaluation"),
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    start_budget_s: StartBudget = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run the benchmark's own solutions instead: each must pass.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a model on a benchmark: pass@k, each program run in the sandbox. Goes on where a killed run ended.

    Where a stream is named (--dir, --bus, or `bus` in the config file) the score is published in it, and all of its
    scores are shown.
    """
    from deploy.planning.settings import read
    from deploy.training import evaluating
    from stream.settings import SCORES
    from trainer import benchmarks
    from trainer.evaluate import Job, Samples

    if not model and not check and (llm is not None or config is None):
        raise WrongConfig("name the model to evaluate, as its server does")
    stream = find_named(directory, bus, namespace, config)
    local = evaluating.local_model(model, llm)
    settings = read(config)[0]
    asked = (model or not check) and not local
    endpoint = evaluating.endpoint_of(model, llm, api, config)[0] if asked else None
    try:
        drawn = Samples(samples, temperature, top_p, max_tokens, seed)
    except ValueError as err:
        raise WrongConfig(f"--samples {samples}, --temperature {temperature:g}, --top-p {top_p:g}: {err}") from err
    asking = evaluating.asking_of(endpoint.api if endpoint else api or "completions", template)
    ks = tuple(k) or tuple(each for each in evaluating.KS if each <= samples)
    loaded = tuple(benchmarks.load(evaluating.SHIPPED.get(name, name), file) for name in benchmark or ["lab"])
    loaded = tuple(each.first(limit) for each in loaded)
    try:
        Job(model, loaded[0], asking, drawn, ks)
    except ValueError as err:
        raise WrongConfig(f"--k {max(ks)}: {err}") from err
    plan = evaluating.Plan(loaded, asking, drawn, ks, out, cpu_s, stream, settings.runner.of(SCORES))
    if check:
        failed = run_async(evaluating.check(plan))
        for name, attempt in failed:
            print(f"{name} {attempt.task_id}: {attempt.verdict}: {' '.join(attempt.detail.split())}")
        total = sum(len(each.problems) for each in loaded)
        say(f"{total - len(failed):,} of {total:,} solutions pass")
        raise typer.Exit(1 if failed else 0)
    if local is not None:
        scores = run_async(evaluating.score_directory(local, api or "completions", plan))
    else:
        assert endpoint is not None
        budget_s = settings.start_budget_s if start_budget_s is None else start_budget_s
        scores = run_async(evaluating.score(endpoint, endpoint.model, plan, budget_s))
    shown = run_async(evaluating.scores_of(stream)) if stream else scores
    evaluating.show(shown, out / "scores.png", as_json)


@app.command(epilog="Example: seedstream scores --dir run")
def scores(
    directory: Dir = None,
    bus: BusUrl = None,
    namespace: Namespace = NAMESPACE,
    config: ConfigFile = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="The picture to draw. [scores.png]")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the models of a stream scored, as a table and as a picture."""
    from deploy.training import evaluating

    found = run_async(evaluating.scores_of(find(directory, bus, namespace, config)))
    if not found:
        raise WrongConfig("no model of this stream has a score: `seedstream evaluate MODEL --dir DIR` makes one")
    evaluating.show(found, plot or Path("scores.png"), as_json, wanted=plot is not None)
