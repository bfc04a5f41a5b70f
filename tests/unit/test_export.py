"""Export: equal content gives equal bytes whatever its order in the log, files appear whole, columns are documented."""

import dataclasses
import importlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.dataset.columns import EXAMPLE, columns_of
from deploy.dataset.export import CARD, Exported, Wanted, export
from deploy.streams.story import Story
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
from tests import records
from tests.stage_runs import source_file
from trainer.preferences import read

parquet: Any = importlib.import_module("pyarrow.parquet")


def example(n: int, text: str = "Write it.", licence: str = "MIT") -> Example:
    file = File(FileId(digest("f", n)), "src", f"a/{n}.py", "python", None, None, licence)
    step = Step("typed", 1, verdict="0 errors")
    seed = Seed(SeedId(digest("s", n)), file, 0, 3, "function", "f", "def f(): ...", digest("code"), (), (step,))
    concepts = Concepts(ConceptsId(digest("c", n)), seed, ("a|b", "naïve\n"), Step("concepts", 1, "p", "m", 7))
    instruction = Instruction(
        InstructionId(digest("i", n)), concepts, "function", "easy", "python", text, Step("instructions", 1)
    )
    response = Response(n % 10, "```python\n```", "x", "assert x", "stop", 100, 10, Step("responses", 1, "p", "m", 9))
    return Example(instruction, response, Execution(response.index, "pass", ""), Step("examples", 1))


async def exported(
    bus_dir: Path,
    into: Path,
    topic: Topic,
    records: Sequence[Record],
    wanted: Wanted | None = None,
    told: Story | None = None,
) -> Exported:
    async with Embedded.open(bus_dir, "main", partitions=3) as bus:
        await bus.create([topic])
        async with bus.appender("test") as appender:
            for record in records:
                await appender.append([Message(topic.name, record.key, encode(record))])
        return await export(bus, topic, into, wanted, told)


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
    assert "| MIT | 3 |" in card and "Apache" not in card


async def test_an_empty_topic_exports_as_files_with_columns_and_no_rows(tmp_path: Path):
    done = await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], [])
    assert done.rows == 0
    assert parquet.read_table(tmp_path / "out" / "examples.parquet").column_names == [c.name for c in EXAMPLE]


@pytest.mark.parametrize("topic", [t for t in TOPICS.values() if t.name != "examples"], ids=lambda t: t.name)
async def test_any_topic_has_the_fields_of_its_record_as_columns(topic: Topic, tmp_path: Path):
    assert [c.name for c in columns_of(topic)] == [f.name for f in dataclasses.fields(topic.record)]
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


def rows_of(path: Path) -> list[dict[str, Any]]:
    return parquet.read_table(path).to_pylist()


def unlike(n: int) -> Example:
    """An example that is like no other: its texts are words of its own."""
    made = example(n, " ".join(f"i{n}x{k}" for k in range(12)))
    response = dataclasses.replace(made.response, text=" ".join(f"r{n}x{k}" for k in range(12)))
    seed = dataclasses.replace(made.instruction.concepts.seed, code=" ".join(f"s{n}x{k}" for k in range(12)))
    concepts = dataclasses.replace(made.instruction.concepts, seed=seed)
    instruction = dataclasses.replace(made.instruction, concepts=concepts)
    return dataclasses.replace(made, instruction=instruction, response=response)


async def test_as_messages_a_row_is_a_conversation_with_its_lineage(tmp_path: Path):
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], [example(1)], Wanted("messages"))
    [row] = rows_of(tmp_path / "out" / "examples.parquet")
    assert row["messages"] == [
        {"role": "user", "content": "Write it."},
        {"role": "assistant", "content": "```python\n```"},
    ]
    assert row.keys() == {c.name for c in EXAMPLE} - {"instruction", "response"} | {"messages"}
    assert row["licence"] == "MIT" and row["steps"]


async def test_a_topic_without_conversations_is_refused_as_messages(tmp_path: Path):
    with pytest.raises(WrongConfig, match="--format messages: topic rejects holds no conversations, examples does"):
        await exported(tmp_path / "bus", tmp_path / "out", TOPICS["rejects"], [], Wanted("messages"))


async def test_a_split_has_files_of_its_own_and_every_row_stands_in_one(tmp_path: Path):
    out = tmp_path / "out"
    twin = dataclasses.replace(unlike(7), response=unlike(3).response)
    examples = [*(unlike(n) for n in range(40) if n != 7), twin]
    done = await exported(tmp_path / "bus", out, TOPICS["examples"], examples, Wanted(test_share=0.3))
    train, test = (rows_of(out / f"examples-{name}.parquet") for name in ("train", "test"))
    assert done.splits == {"train": len(train), "test": len(test)} and len(test) > 3
    ids = [{row["id"] for row in rows} for rows in (train, test)]
    assert ids[0] | ids[1] == {e.key for e in examples} and not ids[0] & ids[1]
    assert any({unlike(3).key, twin.key} <= of_split for of_split in ids)
    assert [json.loads(line) for line in (out / "examples-test.jsonl").read_text().splitlines()] == test
    card = (out / CARD).read_text()
    assert "39 groups of near-duplicates, the largest of 2" in card
    assert '  - split: test\n    path: "examples-test.parquet"' in card


async def test_a_split_of_equal_content_has_equal_bytes(tmp_path: Path):
    examples = [unlike(n) for n in range(20)]
    runs: list[list[bytes]] = []
    for name in ("a", "b"):
        done = await exported(
            tmp_path / name, tmp_path / f"out-{name}", TOPICS["examples"], examples, Wanted("messages", 0.3)
        )
        runs.append([f.read_bytes() for f in done.files])
        random.Random(1).shuffle(examples)
    assert runs[0] == runs[1]


async def test_an_export_with_other_options_leaves_no_file_of_the_one_before(tmp_path: Path):
    out, examples = tmp_path / "out", [unlike(n) for n in range(20)]
    (tmp_path / "out").mkdir()
    (out / "mine.txt").write_text("not ours")
    for wanted in (Wanted(), Wanted(test_share=0.3), Wanted()):
        done = await exported(tmp_path / "bus", out, TOPICS["examples"], examples, wanted)
        assert {f.name for f in out.iterdir()} == {f.name for f in done.files} | {"mine.txt"}


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_outside_its_bounds_is_refused(share: float):
    with pytest.raises(WrongConfig, match="--test-share"):
        Wanted(test_share=share)


async def test_files_can_be_split_and_a_topic_of_no_texts_cannot(tmp_path: Path):
    files = [source_file(f"{n}.py", text=f"x{n} = {n}\ny{n} = 1\nz{n} = 2\nw{n}{n} = 3\nv{n} = 4\n") for n in range(20)]
    done = await exported(tmp_path / "a", tmp_path / "out", TOPICS["files"], files, Wanted(test_share=0.3))
    assert done.rows == 20 and min(done.splits.values()) > 0
    with pytest.raises(WrongConfig, match="holds no texts"):
        reject = Rejected("id", "s", "r", "e")
        await exported(tmp_path / "b", tmp_path / "out", TOPICS["rejects"], [reject], Wanted(test_share=0.3))


async def test_the_card_counts_licences_sources_models_and_prompts(tmp_path: Path):
    records = [example(1), example(2, licence="GPL-3.0-only"), example(3)]
    await exported(tmp_path / "bus", tmp_path / "out", TOPICS["examples"], records)
    card = (tmp_path / "out" / CARD).read_text()
    assert card.startswith("---\nlicense:\n- mit\n- other\nlanguage:\n- en\n")
    assert "| MIT | 2 |\n| GPL-3.0-only | 1 |" in card and "| src |  |  | 3 |" in card
    assert "3 different seeds" in card and "| responses | 1 | p | m | 3 |" in card
    assert "funnel" not in card  # nothing is known of the stream


async def test_preferences_hold_a_row_for_each_instruction_with_both_and_are_read_again(tmp_path: Path):
    both = (records.response(0, "a"), "pass"), (records.response(1, "b"), "crash")
    tried = [records.executions(records.instruction(f"Do {n}.", index=n), *both[: 1 + n % 2]) for n in range(4)]
    out, wanted = tmp_path / "out", Wanted("preferences")
    done = await exported(tmp_path / "bus", out, TOPICS["executions"], tried, wanted)
    assert done.rows == 2
    table = parquet.read_table(out / "executions.parquet")
    assert table.column_names == ["id", "prompt", "chosen", "rejected", "licence"]
    found = sorted((p.prompt, p.chosen, p.rejected, p.licence) for p in read(out / "executions.jsonl"))
    assert found == [("Do 1.", "a", "b", "MIT"), ("Do 3.", "a", "b", "MIT")]
    with pytest.raises(WrongConfig, match="topic examples holds no verdicts, executions does"):
        await exported(tmp_path / "other", out, TOPICS["examples"], [], wanted)
