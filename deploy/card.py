"""The dataset card: what an exported folder holds, for the person who opens it. Pure; no time, no host."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.columns import Column
from deploy.parquet import arrow_type
from stream.topics import Topic

COUNTED = ("language", "category", "difficulty", "licence", "model", "stage", "reason")
"""Columns whose values the card counts, where the topic has them."""
MOST = 20  # values of one column that are listed


@dataclass(frozen=True, slots=True)
class FileLine:
    """One file of the folder."""

    name: str
    size_bytes: int
    sha256: str


def card(
    topic: Topic,
    columns: Sequence[Column[Any]],
    rows: int,
    tally: Mapping[str, Counter[str]],
    files: Sequence[FileLine],
    recipe: str | None,
) -> str:
    """Return the card as Markdown. `recipe` is the effective recipe as canonical JSON, where the bus has one."""
    parts = [
        f"# {topic.name}\n\n{rows:,} rows, sorted by {topic.key}. Both files hold the same rows in the same order.",
        _table(
            ("file", "bytes", "sha256"), [(f"`{file.name}`", f"{file.size_bytes:,}", file.sha256) for file in files]
        ),
        "## Columns",
        _table(
            ("column", "type", "what it holds"),
            [(f"`{c.name}`", _cell(str(arrow_type(c.type))), c.doc) for c in columns],
        ),
    ]
    if rows and tally:
        parts.append("## What is in it")
        parts += [_table((name, "rows"), _counts(counter)) for name, counter in tally.items()]
    if recipe is not None:
        pretty = json.dumps(json.loads(recipe), indent=2, sort_keys=True, ensure_ascii=False)
        parts.append(f"## The recipe it was made with\n\n```json\n{pretty}\n```")
    return "\n\n".join(parts) + "\n"


def _counts(counter: Counter[str]) -> list[tuple[str, str]]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    shown = [(_cell(value), f"{n:,}") for value, n in ordered[:MOST]]
    rest = ordered[MOST:]
    return shown + ([(f"{len(rest)} others", f"{sum(n for _, n in rest):,}")] if rest else [])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
