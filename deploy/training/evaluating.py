"""What `seedstream evaluate` does: a client and a sandbox built, each benchmark run, scores kept and shown.

`score` takes an endpoint, whoever serves it: a server that the user names, or one started here for a checkpoint.
"""

import os
import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import Template
from typing import Literal

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from consumers.llm.client import LLMClient
from consumers.llm.endpoint import Endpoint
from deploy.lab import BENCHMARK
from deploy.options import put_json, say
from deploy.planning.pipeline import reach
from deploy.planning.settings import DEFAULT_LLM, Config, read
from deploy.serving import checkpoint
from deploy.serving.checkpoint import Checkpoint
from deploy.serving.serve import vllm_server
from deploy.serving.server import Place
from deploy.streams import report
from deploy.streams.where import Where
from sandbox import Limits, Sandbox, SandboxRefused
from stream import logs
from stream.errors import DependencyDown, WrongConfig
from stream.records import Score
from stream.settings import DEFAULTS, SCORES, Settings
from trainer import plot
from trainer.asking import Asking, Chatting, Continuing, Templated
from trainer.benchmarks import Benchmark
from trainer.evaluate import UNANSWERED, Attempt, Evaluation, Job, Note, Samples, check_references, evaluate
from trainer.score_table import Grid, percent
from trainer.scores import publish, published

SHIPPED = {"lab": str(BENCHMARK)}
"""The benchmarks that come with us, beside those of `trainer.benchmarks`."""

KS = (1, 10, 100)
"""Reported where there are as many samples: those of Chen et al. 2021."""

OUTPUT_BYTES = 16 << 20
"""Of a program, kept: what a reference gives for all inputs of EvalPlus is printed."""

MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, whichever the model."""

    benchmarks: tuple[Benchmark, ...]
    asking: Asking
    samples: Samples
    ks: tuple[int, ...]
    out: Path  # the folder for answers, results and the plot
    cpu_s: float  # of a program
    stream: Where | None = None  # where scores are published
    settings: Settings = DEFAULTS  # how requests are retried


async def score(endpoint: Endpoint, model_id: str, plan: Plan, start_budget_s: float = 15.0) -> list[Score]:
    """Evaluate the model behind `endpoint` as `model_id`, and publish its scores where the plan names a stream.

    Raises:  WrongConfig, also when the server does not offer the model; BusMissing; DependencyDown; PipelineError.
    """
    if plan.stream is not None:
        async with plan.stream.open():
            pass  # found missing now, not after hours of work
    scores: list[Score] = []
    ends: list[str] = []
    try:
        with _bars(_secrets(endpoint)) as note:
            async with LLMClient(endpoint) as client, _sandbox(plan.cpu_s) as box:
                await reach(client.check, start_budget_s)
                client.check_room("scores", plan.samples.max_tokens)
                for benchmark in plan.benchmarks:
                    job = Job(model_id, benchmark, plan.asking, plan.samples, plan.ks)
                    place = plan.out / _slug(model_id) / _slug(benchmark.name)
                    llm = client.for_stage(SCORES, 0)
                    done = await evaluate(
                        llm, box, job, place.with_name(f"{place.name}.answers.jsonl"), note, plan.settings
                    )
                    ends.append(_keep(done, place))
                    await _publish(plan, done.score)
                    scores.append(done.score)
    finally:  # also what was done before another benchmark failed
        for line in ends:
            say(line)
    return scores


def local_model(model: str, llm: str | None) -> Checkpoint | None:
    """Return the model in a directory of that name; None where it is the name of one on a server.

    Raises:  WrongConfig when the directory holds none.
    """
    return checkpoint.read(Path(model)) if model and llm is None and Path(model).is_dir() else None


async def score_directory(model: Checkpoint, api: Literal["completions", "chat"], plan: Plan) -> list[Score]:
    """Evaluate the model in a directory, served here by vLLM meanwhile.

    Raises:  as `score`; DependencyDown also when it cannot be served.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    logs.start("console")
    async with vllm_server(model, Place(plan.out / "vllm.log")) as server:
        special = checkpoint.special_tokens(model.directory)
        endpoint = Endpoint(server.url, model.name, api, context=model.context, special_tokens=special)
        return await server.beside(score(endpoint, model.name, plan))


async def check(plan: Plan) -> list[tuple[str, Attempt]]:
    """Run the benchmarks' own solutions and return those that do not pass, each with its benchmark."""
    with _bars() as note:
        async with _sandbox(plan.cpu_s) as box:
            attempts = [(b.name, a) for b in plan.benchmarks for a in await check_references(b, box, note)]
    return [(name, attempt) for name, attempt in attempts if attempt.verdict != "pass"]


async def scores_of(where: Where) -> list[Score]:
    """Return the scores of a stream.

    Raises:  BusMissing.
    """
    async with where.open() as bus:
        return await published(bus)


def endpoint_of(model: str, llm: str | None, api: str | None, config_file: Path | None) -> tuple[Endpoint, Config]:
    """Return where `model` is asked: at the url of the flag, or at the config's endpoint of that model, else of that
    name. Of several with that model, or where no model is named, it is the config's default.

    Raises:  WrongConfig.
    """
    config, _ = read(config_file)
    chosen = "chat" if api == "chat" else "completions"
    if llm is not None:
        try:
            return Endpoint(llm, model, chosen), config
        except ValueError as err:
            raise WrongConfig(f"--llm {llm}: {err}") from err
    end = _configured(model, config) if model else config.default_llm
    if end is None:
        known = f"; {config_file} has {', '.join(config.llm) or 'none'}" if config_file else ""
        what = f"model {model}: name its" if model else "name the model to evaluate, and its"
        raise WrongConfig(f"{what} server with --llm URL, or as [llm.NAME] in a --config file{known}")
    return (replace(end, api=chosen) if api else end), config


def _configured(model: str, config: Config) -> Endpoint | None:
    """Return the endpoint of a model, or of that name; None where there is none, or several of which none is meant."""
    ends = {name: end for name, end in config.llm.items() if end.model == model}
    ends = ends or {name: end for name, end in config.llm.items() if name == model}
    if len(ends) == 1:
        return next(iter(ends.values()))
    return ends.get(model) or ends.get(DEFAULT_LLM)


def asking_of(api: str, template: Path | None) -> Asking:
    """Return how a model is asked.

    Raises:  WrongConfig for a template that cannot be used.
    """
    if template is None:
        return Chatting() if api == "chat" else Continuing()
    if api == "chat":
        raise WrongConfig(f"--template {template}: a chat model has its server's; it is for --api completions")
    try:
        text = Template(template.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise WrongConfig(f"--template {template} cannot be read: {err}") from err
    if not text.is_valid() or text.get_identifiers() != ["instruction"]:
        raise WrongConfig(f"--template {template}: expected a text with $instruction in it, and no other $name")
    return Templated(text)


def show(scores: Sequence[Score], plot_file: Path, as_json: bool, *, wanted: bool = False) -> None:
    """Print scores as a table and draw them.

    Raises:  WrongConfig when the picture was asked for (`wanted`) and cannot be drawn.
    """
    grid = Grid.of(scores)
    if as_json:
        put_json([asdict(s) for s in scores])
    else:
        out = report.console()
        out.print("pass@k in %, with its 95% interval:")
        out.print(_table(grid))
    for name in grid.changed:
        say(f"note: the scores on {name} are not of the same problems: the file has changed between them")
    try:
        plot.draw(grid, plot_file)
    except WrongConfig as err:
        if wanted:
            raise
        say(f"no plot: {err}")
    else:
        say(f"plot:    {plot_file}")


def _table(grid: Grid) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("model")
    for measure in grid.measures:
        table.add_column(f"{measure.benchmark} pass@{measure.k}\n{measure.setting}", justify="right")
    for model in grid.models:
        found = [grid.cells.get((model, measure)) for measure in grid.measures]
        table.add_row(model, *(percent(at) if at else "–" for at in found))
    return table


@asynccontextmanager
async def _sandbox(cpu_s: float) -> AsyncGenerator[Sandbox]:
    limits = Limits(
        cpu_s=cpu_s,
        address_space_bytes=MEMORY_BYTES,
        kept_output_bytes=OUTPUT_BYTES,
        max_output_bytes=OUTPUT_BYTES,
    )
    try:
        async with Sandbox(os.cpu_count() or 1, limits) as box:
            yield box
    except SandboxRefused as err:
        raise DependencyDown(f"no program can be run: {err}; see `seedstream doctor`") from err


@contextmanager
def _bars(secrets: Sequence[str] = ()) -> Generator[Note]:
    """Show on a terminal how far it is: a bar for answers, one for programs."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        logs.start("console", secrets)  # inside, so that its lines go above the bars
        bars: dict[str, TaskID] = {}

        def note(what: str, done: int, of: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=of)
            progress.update(bars[what], completed=done, total=of)

        yield note


def _keep(done: Evaluation, place: Path) -> str:
    """Write what became of each sample beside the answers, and return what to say of it."""
    path = place.with_name(f"{place.name}.{_slug(done.score.setting)}.results.jsonl")
    scratch = path.with_name(f".{path.name}")
    try:
        scratch.write_bytes(b"".join(orjson.dumps(_plain(a), option=orjson.OPT_APPEND_NEWLINE) for a in done.attempts))
        scratch.replace(path)
    except OSError as err:
        raise WrongConfig(f"{path} cannot be written: {err.strerror}") from err
    earlier = len(done.attempts) - done.asked
    before = f", {earlier:,} of them by an earlier run" if earlier else ""
    verdict = done.score.step.verdict
    unanswered = Counter(attempt.verdict for attempt in done.attempts if attempt.verdict in UNANSWERED)
    without = "".join(f", {count:,} without an answer: {why}" for why, count in sorted(unanswered.items()))
    return f"{done.score.benchmark}: {len(done.attempts):,} samples asked{before}; {verdict}{without}: {path}"


def _plain(attempt: Attempt) -> dict[str, object]:
    # A reply may hold half of a surrogate pair, which JSON in UTF-8 does not.
    fields = asdict(attempt)
    return {
        name: v.encode(errors="backslashreplace").decode() if isinstance(v, str) else v for name, v in fields.items()
    }


async def _publish(plan: Plan, done: Score) -> None:
    if plan.stream is not None:
        async with plan.stream.open() as bus:
            await publish(bus, done)


def _slug(name: str) -> str:
    """Return a name as a file's.

    >>> _slug("Qwen/Qwen2.5-Coder"), _slug("..")
    ('Qwen-Qwen2.5-Coder', '-')
    """
    return re.sub(r"[^\w.+\[\]-]+|^\.+", "-", name) or "-"


def _secrets(endpoint: Endpoint) -> list[str]:
    key = os.environ.get(endpoint.key_env or "", "").strip()
    return [key] if key else []
