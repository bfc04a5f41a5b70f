"""The dataset card: what an exported folder holds, where it comes from and how to make it again, for the person who
opens it and for `datasets.load_dataset`. Pure; no time, no host: the same topics give the same card."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consumers.llm.endpoint import Endpoint
from deploy.dataset.card_header import header
from deploy.dataset.columns import Column
from deploy.dataset.parquet import arrow_type
from deploy.dataset.rebuild import Generation, commands, differences, in_namespace
from deploy.dataset.split import BANDS, THRESHOLD, Split
from deploy.dataset.tally import Tally
from deploy.streams.story import Story, cost
from stream.records import Example, digest
from stream.topics import Topic

MOST = 20  # values of one column that are listed
FUNNEL = "funnel.png"
SAME_ROWS = "The Parquet and the JSONL file of a split hold the same rows in the same order."
IS_CARD = re.compile(r"^[\d,]+ rows, sorted by .+ hold the same rows in the same order\.$", re.MULTILINE)
"""What no other file says, and every card has said since the first version: by it an earlier export is known."""


@dataclass(frozen=True, slots=True)
class FileLine:
    """One file of the folder."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What there is to say."""

    topic: Topic
    columns: Sequence[Column[Any]]
    files: Sequence[FileLine]
    data_files: Mapping[str, str]  # the Parquet file of each split
    tally: Tally
    split: Split | None
    story: Story | None  # None where the stream's own story is not known
    line: Sequence[Generation]  # the stream's namespace, last, and those it was branched from; empty without a story
    picture: bool  # of the funnel
    prices: Mapping[str, Endpoint]  # by model
    options: str  # of the export, as on the command line


def card(c: Contents) -> str:
    """Return the card as Markdown, with its head in YAML."""
    rows = c.tally.rows.total()
    conversations = c.topic.record is Example
    parts = [
        header(c.data_files, rows, c.tally.licences, conversations=conversations),
        f"# {c.topic.name}\n\n{rows:,} rows, sorted by {c.topic.key}. {SAME_ROWS}",
        _table(("file", "bytes", "sha256"), [(f"`{f.name}`", f"{f.size_bytes:,}", f.sha256) for f in c.files]),
        *_splits(c),
        "## Columns",
        _table(
            ("column", "type", "what it holds"),
            [(f"`{column.name}`", str(arrow_type(column.type)), column.doc) for column in c.columns],
        ),
    ]
    if c.tally.values:
        parts.append("## What is in it")
        parts += [_table((name, "rows"), _counts(counter)) for name, counter in c.tally.values.items()]
    return "\n\n".join([*parts, *_origin(c), *(_told(c, c.story) if c.story else [])]) + "\n"


def _splits(c: Contents) -> list[str]:
    if c.split is None:
        return []
    share = len(c.split.test) / max(1, c.tally.rows.total())
    return [
        "## Splits",
        _table(("split", "rows"), [(name, f"{c.tally.rows[name]:,}") for name in c.data_files]),
        "Rows of which any text (seed, instruction or response) is a near-duplicate of the other's stand in one "
        f"split: Jaccard similarity of 5-grams of tokens {THRESHOLD:g} and more, found by MinHash in {BANDS} bands and "
        f"compared exactly. The rows fall into {c.split.components:,} groups of near-duplicates, the largest of "
        f"{c.split.largest:,}; each group is drawn by the hash of its smallest id. Asked for {c.split.share:g} of the "
        f"rows for testing, got {share:.3f}.",
    ]


def _origin(c: Contents) -> list[str]:
    """Where the rows come from, as they say themselves."""
    parts: list[str] = []
    if c.tally.licences:
        parts += [
            "## Licences and sources",
            "Each row goes back to one file of the source; the licence is that file's.",
            _table(("licence", "rows"), _counts(c.tally.licences)),
            _table(
                ("source", "repository", "revision", "rows"),
                _first([(*source, f"{n:,}") for source, n in sorted(c.tally.sources.items())], 4),
            ),
        ]
        if c.tally.seeds:
            parts.append(f"{len(c.tally.seeds):,} different seeds stand behind the rows.")
    if c.tally.made:
        made = [(m.stage, str(m.version), m.prompt_sha256[:16], m.model, f"{n:,}") for m, n in c.tally.made.items()]
        parts += [
            "## Models and prompts",
            "Every step behind the rows: the version of its code, the sha256 of its prompt template with its worked "
            "examples (first 16 digits), the model as the server named it.",
            _table(("stage", "version", "prompt", "model", "rows"), made),
        ]
    return parts


def _told(c: Contents, story: Story) -> list[str]:
    """What the stream says of itself."""
    return [
        *_funnel(c, story),
        *_decontamination(story),
        "## Seeds",
        f"The seed of the recipe is {story.recipe.get('seed')}. The sampling seed of a request is a hash of it and of "
        "the request's id, which follows from the record that it is for; it stands in each step of a row. The draws of "
        "worked examples, category and difficulty are hashes of it. No clock and no random source has a part in them.",
        *_tokens(c, story),
        *_rebuild(c, story),
    ]


def _funnel(c: Contents, story: Story) -> list[str]:
    rows = [
        (
            count.stage, f"{count.done:,}", f"{count.out:,}", f"{count.rejected.total():,}", f"{count.dead:,}",
            f"{count.lag:,}",
            ", ".join(f"{reason} {n:,}" for reason, n in sorted(count.rejected.items(), key=lambda i: (-i[1], i[0]))),
        )
        for count in story.counts
    ]  # fmt: skip
    picture = (
        f"![What came out of each stage, and what was turned down]({FUNNEL})"
        if c.picture
        else "(Without its picture: matplotlib was not installed where this was exported.)"
    )
    return [
        "## The funnel",
        picture,
        "What came into each stage of the stream, what came out, and why the rest did not. Parts of one input are "
        "turned down each for itself.",
        _table(("stage", "in", "out", "turned down", "dead", "not done yet", "reasons"), rows),
    ]


def _decontamination(story: Story) -> list[str]:
    files: Mapping[str, str] = story.recipe.get("decontamination") or {}
    if not files:
        return [
            "## Decontamination",
            "**None.** No benchmark was named to keep out, so problems of one may be in here.",
        ]
    return [
        "## Decontamination",
        "No seed holds a string of these files of benchmarks, exact but for upper and lower case. What models wrote "
        "was not held against them.",
        _table(("file", "sha256"), sorted(files.items())),
    ]


def _tokens(c: Contents, story: Story) -> list[str]:
    rows: list[tuple[str, ...]] = []
    total = 0.0
    for asked in story.asked:
        about, money = asked.about, cost(asked, c.prices)
        total += money or 0.0
        known = [f"{asked.replies:,}", f"{asked.prompt_tokens:,}", f"{asked.completion_tokens:,}"]
        guess = [f"{about[0]:,}", f"{about[1]:,}"] if about else ["", ""]
        price = "" if money is None else f"{money:,.2f}"
        rows.append((asked.stage, asked.model, *known, f"{asked.turned_down:,}", *guess, price))
    head = ("stage", "model", "replies", "tokens in", "out", "turned down", "all in, about", "all out, about", "cost")
    uncounted = sum(asked.uncounted for asked in story.asked)
    lines = [
        "Tokens of the replies that were taken, as the server counted them. Of a reply that was turned down no topic "
        "keeps the tokens: «about» is as if it took as many as the others.",
        *([f"{uncounted:,} of the replies have no tokens on record, and count likewise."] if uncounted else []),
        f"The cost is about {total:,.2f}, at the prices given at the export."
        if total
        else "The cost is not known: no topic keeps prices (`--config` names a file that does).",
    ]
    return ["## Tokens and cost", " ".join(lines), _table(head, rows)]


def _rebuild(c: Contents, story: Story) -> list[str]:
    canonical = json.dumps(story.recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    name = str(story.recipe.get("name"))
    made_by = commands(c.line, sorted({source.name for source in c.tally.sources}))
    place = f"--dir run{in_namespace(story.namespace)}"
    made_by.append(f"seedstream export DATASET {place} --topic {c.topic.name}{c.options}")
    pretty = json.dumps(story.recipe, indent=2, sort_keys=True, ensure_ascii=False)
    return [
        "## How to make it again",
        "```\n" + "\n".join(made_by) + "\n```",
        *_settings(c.line, made_by),
        f"From the same stream the export gives the same bytes. A new run of recipe `{name}` on the same sources, at "
        "the revisions above, asks the same questions with the same sampling seeds under the same ids; the rows are "
        "the same as far as the model's server answers the same. `seedstream recipe diff` says what a recipe at hand "
        f"differs in; the one below has the sha256 {digest(canonical)[:16]}….",
        f"## The recipe it was made with\n\n```json\n{pretty}\n```",
    ]


def _settings(line: Sequence[Generation], made_by: Sequence[str]) -> list[str]:
    """What stands in the config files that the commands name, and what differs from namespace to namespace."""
    parts: list[str] = []
    files = [f"`{each.config}`" for each in line if any(f" --config {each.config} " in run for run in made_by)]
    if files:
        parts.append(
            f"A config file ({', '.join(files)}) says of a recipe what the rest of the command does not: the files "
            "that decontaminate, each stage's server where there are several models, and what a branch runs otherwise."
        )
    rows = [
        (each.namespace, found.key, _value(found.before), _value(found.now))
        for each in line[1:]
        for found in differences(line[0], each)
    ]
    if rows:
        parts.append(_table(("namespace", "runs otherwise", f"in {line[0].namespace}", "there"), rows))
    return parts


def _value(value: object) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def _counts(counter: Counter[str]) -> list[tuple[str, ...]]:
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    shown = [(value, f"{n:,}") for value, n in ordered[:MOST]]
    rest = ordered[MOST:]
    return [*shown, *([(f"{len(rest)} others", f"{sum(n for _, n in rest):,}")] if rest else [])]


def _first(rows: Sequence[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    more = len(rows) - MOST
    return [*rows[:MOST], *([(f"{more:,} others", *[""] * (width - 1))] if more > 0 else [])]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
