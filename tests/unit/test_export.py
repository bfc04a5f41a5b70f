"""Export: equal content gives equal bytes whatever its order in the log, files appear whole, columns are documented."""

import dataclasses
import importlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.columns import EXAMPLE, columns_of
from deploy.export import CARD, Exported, export
from stream.bus import Message
from stream.codec import encode
from stream.embedded import Embedded
from stream.errors import BadRecord, WrongConfig
from stream.records import (
    Concepts,
    ConceptsId,
    Example,
    Execution,
    File,
    FileId,
    Instruction,
    InstructionId,
    Record,
    Rejected,
    Response,
    Seed,
    SeedId,
    Step,
    digest,
)
from stream.topics import TOPICS, Topic

parquet: Any = importlib.import_module("pyarrow.parquet")


def example(n: int, text: str = "Write it.") -> Example:
    file = File(FileId(digest("f", n)), "src", f"a/{n}.py", "python", None, None, "MIT")
    step = Step("typed", 1, verdict="0 errors")
    seed = Seed(SeedId(digest("s", n)), file, 0, 3, "function", "f", "def f(): ...", digest("code"), (), (step,))
    concepts = Concepts(ConceptsId(digest("c", n)), seed, ("a|b", "naïve\n"), Step("concepts", 1, "p", "m", 7))
    instruction = Instruction(
        InstructionId(digest("i", n)), concepts, "function", "easy", "python", text, Step("instructions", 1)
    )
    response = Response(n % 10, "```python\n```", "x", "assert x", "stop", 100, 10, Step("responses", 1, "p", "m", 9))
    return Example(instruction, response, Execution(response.index, "pass", ""), Step("examples", 1))


async def exported(bus_dir: Path, into: Path, topic: Topic, records: Sequence[Record]) -> Exported:
    async with Embedded.open(bus_dir, "main", partitions=3) as bus:
        await bus.create([topic])
        async with bus.appender("test") as appender:
            for record in records:
                await appender.append([Message(topic.name, record.key, encode(record))])
        return await export(bus, topic, into, '{"name":"r"}')


async def test_equal_content_gives_equal_bytes_whatever_its_order_in_the_log(tmp_path: Path):
    examples = [example(n) for n in range(50)]
    first = await exported(tmp_path / "a", tmp_path / "out-a", TOPICS["examples"], examples)
    random.Random(1).shuffle(examples)
    second = await exported(tmp_path / "b", tmp_path / "out-b", TOPICS["examples"], examples)
    assert first.rows == second.rows == 50
    assert [f.read_bytes() for f in first.files] == [f.read_bytes() for f in second.files]
    assert sorted(f.name for f in first.files) == sorted(f.name for f in (tmp_path / "out-a").iterdir())


async def test_parquet_and_jsonl_hold_the_same_rows_sorted_by_key(tmp_path: Path):
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], [example(n) for n in range(20)])
    rows = parquet.read_table(tmp_path / "out" / "examples.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "out" / "examples.jsonl").read_text().splitlines()]
    assert rows == lines
    assert [row["id"] for row in rows] == sorted(example(n).key for n in range(20))
    assert rows[0]["concepts"] == ["a|b", "naïve\n"]
    assert [step["stage"] for step in rows[0]["steps"]] == [
        "typed",
        "concepts",
        "instructions",
        "responses",
        "examples",
    ]
    assert rows[0]["repository"] is None


async def test_of_one_key_the_last_record_counts_but_every_reject_is_kept(tmp_path: Path):
    twice = [example(1, "old"), example(2), example(1, "new")]
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], twice)
    rows = parquet.read_table(tmp_path / "out" / "examples.parquet").to_pylist()
    assert {row["id"]: row["instruction"] for row in rows} == {example(1).key: "new", example(2).key: "Write it."}

    rejects = [Rejected("id", "responses", reason, "evidence") for reason in ("length", "format", "format")]
    done = await exported(tmp_path / "rejects", tmp_path / "out", TOPICS["rejects"], rejects)
    assert done.rows == 3


async def test_the_card_documents_every_column_and_counts_what_is_in_it(tmp_path: Path):
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], [example(n) for n in range(3)])
    card = (tmp_path / "out" / CARD).read_text()
    for column in EXAMPLE:
        assert column.doc and f"| `{column.name}` |" in card
    assert "| MIT | 3 |" in card and '"name": "r"' in card


async def test_an_empty_topic_exports_as_files_with_columns_and_no_rows(tmp_path: Path):
    done = await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], [])
    assert done.rows == 0
    assert parquet.read_table(tmp_path / "out" / "examples.parquet").column_names == [c.name for c in EXAMPLE]


@pytest.mark.parametrize("topic", [t for t in TOPICS.values() if t.name != "examples"], ids=lambda t: t.name)
async def test_any_topic_has_the_fields_of_its_record_as_columns(topic: Topic, tmp_path: Path):
    assert [c.name for c in columns_of(topic.record)] == [f.name for f in dataclasses.fields(topic.record)]
    assert (await exported(tmp_path / "bus", tmp_path / "out", topic, [])).rows == 0


async def test_a_folder_that_cannot_be_written_is_wrong_use_named_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongConfig, match=r"file.* cannot be written: "):
        await exported(tmp_path / "bus", tmp_path / "file", TOPICS["examples"], [])


async def test_a_failed_export_leaves_the_files_of_the_earlier_one(tmp_path: Path):
    first = await exported(tmp_path / "a", tmp_path / "out", TOPICS["rejects"], [Rejected("i", "s", "r", "e")])
    before = [f.read_bytes() for f in first.files]
    torn = Topic("rejects", Example, "record id", None, "pruned")  # its records are no examples
    with pytest.raises(BadRecord, match="expected a Example"):
        await exported(tmp_path / "b", tmp_path / "out", torn, [Rejected("i", "s", "r", "e")])
    assert [f.read_bytes() for f in first.files] == before
    assert len(list((tmp_path / "out").iterdir())) == len(before)
