"""The snapshot: named by its manifest, built again byte for byte, and what was retracted is named."""

import dataclasses
import hashlib
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stream.bus import Message, Stored
from stream.codec import encode
from stream.embedded import Embedded
from stream.errors import Fatal, WrongConfig
from stream.records import Example, Execution, Manifest, RecipeText, Step
from stream.topics import TOPICS
from tests.records import executions, instruction, response
from trainer.files import CannotWrite
from trainer.snapshot import KEYS, ROWS, Retracted, first, from_file, licences, read_keys, rebuild, take

EXAMPLES = TOPICS["examples"]
RECIPE = RecipeText("r", '{"name":"r"}', None)


def example(n: int, text: str = "So.") -> Example:
    return Example(
        instruction(f"Task {n}.", index=n), response(text=text), Execution(0, "pass", ""), Step("examples", 1)
    )


@asynccontextmanager
async def stream(folder: Path, *examples: Example, partitions: int = 3) -> AsyncIterator[Embedded]:
    async with Embedded.open(folder, partitions=partitions) as bus:
        await bus.create([EXAMPLES])
        await send(bus, *examples)
        yield bus


async def send(bus: Embedded, *examples: Example) -> None:
    async with bus.appender("test") as appender:
        for each in examples:
            await appender.append([Message(EXAMPLES.name, each.key, encode(each))])


def folder(at: Path) -> Path:
    at.mkdir(exist_ok=True)
    return at


async def test_a_manifest_names_what_it_holds(tmp_path: Path):
    async with stream(tmp_path / "bus", *map(example, range(20))) as bus:
        manifest = await take(bus, "examples", RECIPE, folder(tmp_path / "a"))
        content = (tmp_path / "a" / ROWS).read_bytes()
        assert manifest.ends == tuple((await bus.ends("examples")).values()) and sum(manifest.ends) == 20
    assert (manifest.namespace, manifest.source, manifest.keys) == ("main", "examples", 20)
    assert manifest.sha256 == hashlib.sha256(content).hexdigest()
    assert (manifest.recipe, manifest.recipe_sha256) == (RECIPE.text, hashlib.sha256(RECIPE.text.encode()).hexdigest())
    rows = [json.loads(line) for line in content.splitlines()]
    assert [row["id"] for row in rows] == sorted(example(n).key for n in range(20))
    assert list(read_keys(tmp_path / "a" / KEYS)) == [row["id"] for row in rows]
    assert licences(tmp_path / "a") == {"MIT": 20}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {ROWS, KEYS, "licences.json"}


async def test_equal_examples_make_equal_files_whatever_their_order_in_the_log(tmp_path: Path):
    examples = [example(n) for n in range(30)]
    async with stream(tmp_path / "one", *examples) as bus:
        one = await take(bus, "examples", None, folder(tmp_path / "a"))
    random.Random(1).shuffle(examples)
    async with stream(tmp_path / "two", *examples, partitions=1) as bus:
        two = await take(bus, "examples", None, folder(tmp_path / "b"))
    assert one.sha256 == two.sha256
    assert (tmp_path / "a" / ROWS).read_bytes() == (tmp_path / "b" / ROWS).read_bytes()


async def test_of_a_key_the_last_record_counts(tmp_path: Path):
    async with stream(tmp_path / "bus", example(1, "old"), example(2), example(1, "new")) as bus:
        manifest = await take(bus, "examples", None, folder(tmp_path / "a"))
    rows = [json.loads(line) for line in (tmp_path / "a" / ROWS).read_bytes().splitlines()]
    assert manifest.keys == 2
    assert {row["id"]: row["response"] for row in rows} == {example(1).key: "new", example(2).key: "So."}


async def test_the_same_manifest_builds_the_same_file_whatever_came_after_it(tmp_path: Path):
    async with stream(tmp_path / "bus", *map(example, range(10))) as bus:
        manifest = await take(bus, "examples", RECIPE, folder(tmp_path / "a"))
        await send(bus, *map(example, range(10, 20)), example(3))  # new ones, and one sent again as it was
        again, retracted = await rebuild(bus, manifest, tmp_path / "a" / KEYS, folder(tmp_path / "b"))
    assert (again, retracted) == (manifest, [])
    for name in (ROWS, KEYS, "licences.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


class Compacted:
    """A bus whose log was compacted and pruned: it gives what `kept` says of what another bus gives."""

    def __init__(self, bus: Embedded, gone: Sequence[str]) -> None:
        self.namespace = bus.namespace
        self._bus = bus
        self._gone = gone

    async def read(self, topic: str) -> AsyncIterator[Sequence[Stored]]:
        found = [stored async for batch in self._bus.read(topic) for stored in batch if stored.key not in self._gone]
        newest = {stored.key: stored.offset for stored in found}
        yield [stored for stored in found if stored.offset == newest[stored.key]]


async def test_what_was_retracted_is_named_and_left_out_before_and_after_compaction(tmp_path: Path):
    async with stream(tmp_path / "bus", *map(example, range(6)), partitions=1) as bus:
        manifest = await take(bus, "examples", RECIPE, folder(tmp_path / "a"))
        await send(bus, example(2, "mended"))
        for gone in ([], [example(4).key]):
            again, retracted = await rebuild(
                Compacted(bus, gone) if gone else bus,  # pyright: ignore[reportArgumentType] - it is only read
                manifest, tmp_path / "a" / KEYS, folder(tmp_path / "b"),
            )  # fmt: skip
            assert set(retracted) == {Retracted(example(2).key, "changed"), *(Retracted(key, "gone") for key in gone)}
            kept = [json.loads(line)["id"] for line in (tmp_path / "b" / ROWS).read_bytes().splitlines()]
            assert set(kept) == {example(n).key for n in range(6)} - {r.key for r in retracted}
            assert again.keys == len(kept) and again.sha256 != manifest.sha256
            assert example(2).key in first(retracted)


async def test_a_list_of_keys_that_is_not_the_manifests_is_refused(tmp_path: Path):
    async with stream(tmp_path / "bus", *map(example, range(3))) as bus:
        manifest = await take(bus, "examples", None, folder(tmp_path / "a"))
        await send(bus, example(3))
        await take(bus, "examples", None, folder(tmp_path / "b"))
        with pytest.raises(Fatal, match="does not belong to the manifest"):
            await rebuild(bus, manifest, tmp_path / "b" / KEYS, folder(tmp_path / "c"))
        for line in (b"nonsense", b"\xff", b"0" * 64 + b"  "):
            (tmp_path / "keys").write_bytes((tmp_path / "a" / KEYS).read_bytes() + line + b"\n")
            with pytest.raises(WrongConfig, match="keys, line 4: expected a hash, two blanks and a key, in UTF-8"):
                await rebuild(bus, manifest, tmp_path / "keys", tmp_path / "c")
        with pytest.raises(WrongConfig, match="of namespace other, not of a topic of main"):
            other = dataclasses.replace(manifest, namespace="other")
            await rebuild(bus, other, tmp_path / "a" / KEYS, tmp_path / "c")


async def test_pairs_of_executions_are_a_snapshot_too(tmp_path: Path):
    topic = TOPICS["executions"]
    proved = executions(instruction(), (response(0, "right"), "pass"), (response(1, "wrong"), "assertion"))
    unproved = executions(instruction(index=1), (response(0, "right"), "pass"))
    async with Embedded.open(tmp_path / "bus") as bus:
        await bus.create([topic])
        async with bus.appender("test") as appender:
            await appender.append([Message(topic.name, e.key, encode(e)) for e in (proved, unproved)])
        manifest = await take(bus, "executions", None, folder(tmp_path / "a"))
    (row,) = map(json.loads, (tmp_path / "a" / ROWS).read_bytes().splitlines())
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("Write f.", "right", "wrong")
    assert (manifest.keys, manifest.source) == (1, "executions")


def test_pairs_of_a_file_are_named_by_their_content_alone(tmp_path: Path):
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(4)]
    manifests: list[Manifest] = []
    for name, order in (("one.jsonl", rows), ("two.jsonl", rows[::-1])):
        (tmp_path / name).write_text("\n".join(map(json.dumps, order)))
        manifests.append(from_file(tmp_path / name, "main", folder(tmp_path / name.removesuffix(".jsonl"))))
    assert manifests[0].sha256 == manifests[1].sha256
    assert [(m.source, m.ends, m.keys) for m in manifests] == [("one.jsonl", (), 4), ("two.jsonl", (), 4)]


async def test_a_namespace_without_the_topic_and_a_disk_that_refuses_are_said_in_one_line(tmp_path: Path):
    async with stream(tmp_path / "bus", example(1)) as bus:
        with pytest.raises(WrongConfig, match="namespace main has no topic executions"):
            await take(bus, "executions", None, folder(tmp_path / "a"))
        with pytest.raises(CannotWrite, match="cannot be written"):
            await take(bus, "examples", None, tmp_path / "missing")
