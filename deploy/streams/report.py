"""What the commands print for people: the funnel, an example with its lineage, samples of rejects."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import indent
from types import MappingProxyType
from typing import cast

import msgspec
from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from deploy.streams.funnel import Count
from deploy.streams.lineage import Found
from deploy.streams.record_parts import steps_of
from producers.source import Summary
from stream.records import DeadLetter, Example, File, Record, Rejected, Step

ID_CHARS = 12
NOBODY: Mapping[str, Sequence[Collection[int]]] = MappingProxyType({})
REASONS = 3  # that the funnel names for a stage
LINES = 12  # of an evidence that are shown


def console() -> Console:
    """Return stdout for people. Where it is no terminal nothing is coloured or cut to a width: it will be searched."""
    out = Console(highlight=False, markup=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, no_color=True, width=10_000)


Workers = Mapping[str, Sequence[Collection[int]]]
"""`Bus.workers`."""


def funnel_table(counts: Iterable[Count], rates: Mapping[str, float] | None = None, workers: Workers = NOBODY) -> Table:
    """Show what came in, what came out, and why the rest did not; with `rates`, inputs per second by stage; with
    `workers`, how many it has, and how many partitions each."""
    table = Table(box=None, pad_edge=False)
    also = [*(["per s"] if rates is not None else []), *(["workers"] if workers else [])]
    for name in ("stage", "in", "out", "rejected", "dead", "lag", *also, "reasons"):
        left = name in ("stage", "workers", "reasons")
        table.add_column(name, justify="left" if left else "right", no_wrap=name == "stage")
    for c in counts:
        rate = [f"{rates.get(c.stage, 0):,.1f}"] if rates is not None else []
        numbers = (c.done, c.out, c.rejected.total(), c.dead, c.lag)
        own = [_hands(workers.get(c.stage, ()))] if workers else []
        table.add_row(c.stage, *(f"{number:,}" for number in numbers), *rate, *own, _reasons(c))
    return table


def _hands(workers: Collection[Collection[int]]) -> str:
    """Return how many workers there are, and how many partitions each has.

    >>> _hands([[0, 1], [2]]), _hands([])
    ('2 (2+1)', '')
    """
    return f"{len(workers)} ({'+'.join(str(len(own)) for own in workers)})" if workers else ""


def comparison(before: str, old: Iterable[Count], now: str, new: Iterable[Count]) -> Table:
    """Show the funnels of two namespaces beside each other: of each, what came in and which share of that came out."""
    table = Table(box=None, pad_edge=False)
    for name in ("stage", *(f"{namespace} {what}" for namespace in (before, now) for what in ("in", "out", "share"))):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=name == "stage")
    by_stage = [{count.stage: count for count in counts} for counts in (old, new)]
    for stage in dict.fromkeys([*by_stage[0], *by_stage[1]]):
        cells: list[str] = []
        for counts in by_stage:
            c = counts.get(stage)
            share = f"{c.out / c.done:.1%}" if c and c.done else ""
            cells += [f"{c.done:,}", f"{c.out:,}", share] if c else ["", "", ""]
        table.add_row(stage, *cells)
    return table


def _reasons(count: Count) -> str:
    ordered = count.rejected.most_common()
    rest = sum(n for _, n in ordered[REASONS:])
    return ", ".join([*(f"{reason} {n:,}" for reason, n in ordered[:REASONS]), *([f"others {rest:,}"] if rest else [])])


def source_line(name: str, found: Summary) -> str:
    """Say what became of everything that a source came upon in this run."""
    parts = [f"{found.emitted:,} new files"]
    parts += [f"{found.known:,} sent before"] if found.known else []
    parts += [f"{count:,} rejected for {reason}" for reason, count in sorted(found.rejected.items())]
    parts += [f"{count:,} skipped as {kind}" for kind, count in sorted(found.skipped.items())]
    parts += [f"note: {note}" for note in sorted(found.notes)]
    return f"{name}: {', '.join(parts)}"


def example(shown: Example) -> RenderableType:
    """Show one example in full, with its lineage."""
    instruction, seed = shown.instruction, shown.instruction.concepts.seed
    asked = f"{instruction.category}, {instruction.difficulty}, {', '.join(instruction.concepts.concepts)}"
    return Group(
        _heading(f"seed: {seed.name}, {place(seed.file, seed.line)}"),
        code(seed.code, seed.file.language),
        _heading(f"instruction: {asked}"),
        Text(instruction.text),
        _heading(f"response: sample {shown.response.index}"),
        Text(shown.response.text),
        _heading(f"tests: {shown.execution.verdict}"),
        code(shown.response.tests, instruction.language),
        _heading("lineage"),
        *(Text(step_line(step)) for step in steps_of(shown)),
        Text(f"example {shown.key}"),
    )


def _heading(text: str) -> Text:
    return Text(f"\n── {text}", style="bold")


def code(text: str, language: str) -> Text:
    """Return code with its colours."""
    highlighter = Syntax("", language, theme="ansi_dark", background_color="default")
    coloured = highlighter.highlight(text)
    coloured.rstrip()
    return coloured


def record(found: Record) -> RenderableType:
    """Show one record of any topic."""
    if isinstance(found, Example):
        return example(found)
    return Group(*(_field(name, value) for name, value in _flat(msgspec.to_builtins(found))))


def _field(name: str, value: object) -> Text:
    text = str(value)
    shown = f"\n{indent(text, '    ')}" if "\n" in text else text
    return Text.assemble((f"{name}: ", "bold"), shown)


def _flat(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    """Yield each field of a record with its path.

    >>> dict(_flat({"a": {"b": 1}, "c": [{"d": 2}], "e": [3]}))
    {'a.b': 1, 'c[0].d': 2, 'e': [3]}
    """
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from _flat(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in cast("Sequence[object]", value)):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _flat(item, f"{at}[{index}]")
    else:
        yield at, value


def place(file: File, line: int) -> str:
    """Name where code stands."""
    revision = f" of {file.repository} at {(file.revision or '')[:ID_CHARS]}" if file.repository else ""
    return f"{file.path}:{line} in {file.source}{revision}, licence {file.licence}"


def step_line(step: Step) -> str:
    """Name one step of a lineage.

    >>> step_line(Step("seeds", 1, "a" * 64, "qwen", 7, "yes"))
    'seeds version 1, prompt aaaaaaaaaaaa, model qwen, seed 7: yes'
    """
    asked = f", prompt {step.prompt_sha256[:ID_CHARS]}" if step.prompt_sha256 else ""
    by = f", model {step.model}" if step.model else ""
    sampled = f", seed {step.sampling_seed}" if step.sampling_seed is not None else ""
    return f"{step.stage} version {step.version}{asked}{by}{sampled}{f': {step.verdict}' if step.verdict else ''}"


def evidence(text: str) -> Text:
    """Show the first lines of what a reject or a dead letter holds."""
    lines = text.splitlines()
    more = [f"… {len(lines) - LINES:,} more lines"] if len(lines) > LINES else []
    return Text(indent("\n".join(lines[:LINES] + more), "    "))


def tree(found: Sequence[Found]) -> RenderableType:
    """Show a record and what was made from it, topic by topic."""
    lines: list[RenderableType] = []
    for name, group in groupby(found, key=lambda f: f.topic.name):
        members = list(group)
        lines.append(Text(f"{name}: {len(members):,}", style="bold"))
        lines += [Text(f"  {found_line(f)}") for f in members]
    return Group(*lines)


def found_line(found: Found) -> str:
    """Name one record and its position."""
    stored, record = found.stored, found.record
    where = f"{stored.key[:ID_CHARS]} at {found.topic.name}[{stored.partition}]@{stored.offset}"
    if isinstance(record, Rejected):
        return f"{where} by {record.stage}: {record.reason}: {record.evidence.splitlines()[0][:100]}"
    if isinstance(record, DeadLetter):
        return f"{where} by {record.stage}: {record.error.splitlines()[0][:100]}"
    return where
