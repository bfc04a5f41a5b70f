"""Topic `models`: the trainer's progress, and the right to publish."""

import dataclasses
from pathlib import Path

import pytest

from stream.audit import audit
from stream.bus import Message
from stream.codec import decode, encode
from stream.embedded import Embedded
from stream.errors import InUse
from stream.records import Manifest, Model, ModelId
from stream.topics import TOPICS
from trainer.models import MODELS, History, News, Superseded, history, news, owned

MANIFEST = Manifest("main", "examples", (3, 5), 8, "0" * 64, "", "1" * 64)


def model(name: str, predecessor: str | None = None, manifest: Manifest = MANIFEST) -> Model:
    return Model(
        ModelId(name), ModelId(predecessor) if predecessor else None, "base", "b" * 64, manifest, "{}", (2.5, 1.25), (),
        0, "w" * 64, "out",
    )  # fmt: skip


def test_a_model_keeps_its_bytes_through_the_wire():
    assert decode(encode(model("a")), Model) == model("a")


async def test_progress_is_the_end_offsets_of_the_newest_model_trained_on_examples(tmp_path: Path):
    async with Embedded.open(tmp_path) as bus:
        assert await history(bus) == History() and History().ends() == {}
        pairs = dataclasses.replace(MANIFEST, source="executions", ends=(9,))
        async with owned(bus) as press:
            await press.publish(model("a"))
            await press.publish(model("b", "a", dataclasses.replace(MANIFEST, ends=(4, 6))))
            await press.publish(model("c", "b", pairs))
        found = await history(bus)
    assert (found.newest and found.newest.model_id, found.count) == ("c", 3)
    assert found.ends() == {0: 4, 1: 6}


async def test_what_came_after_the_progress_is_news(tmp_path: Path):
    async with Embedded.open(tmp_path, partitions=2) as bus:
        await bus.create([TOPICS["examples"]])
        assert await news(bus, {}) == News(0, None)
        async with bus.appender("test") as appender:
            await appender.append([Message("examples", f"k{n}", b"") for n in range(10)])
            then = await bus.ends("examples")
            await appender.append([Message("examples", f"new{n}", b"") for n in range(3)])
        whole, since = await news(bus, {}), await news(bus, then)
    assert (whole.count, since.count) == (13, 3)
    assert whole.oldest_at_s is not None and since.oldest_at_s is not None and whole.oldest_at_s <= since.oldest_at_s


async def test_two_trainers_of_one_namespace_cannot_both_begin(tmp_path: Path):
    async with Embedded.open(tmp_path) as one, Embedded.open(tmp_path) as other:
        async with owned(one):
            with pytest.raises(InUse, match="models of namespace main is in use by process"):
                async with owned(other):
                    pass
        async with owned(other), Embedded.open(tmp_path, "another") as elsewhere, owned(elsewhere):
            pass


async def test_a_model_with_a_stale_predecessor_is_refused(tmp_path: Path):
    async with Embedded.open(tmp_path) as bus:
        async with owned(bus) as press:
            await press.publish(model("a"))
            for stale in (model("b"), model("b", "x")):
                with pytest.raises(Superseded, match="model a was published since this training began"):
                    await press.publish(stale)
            await press.publish(model("b", "a"))
            with pytest.raises(Superseded):
                await press.check("a")
            await press.check("b")
        found = [decode(stored.value, Model) async for batch in bus.read(MODELS.name) for stored in batch]
        assert await audit(bus, [], ()) == []  # a model is no outcome of a stage
    assert [m.model_id for m in found] == ["a", "b"]


async def test_a_model_published_before_a_crash_is_not_published_twice(tmp_path: Path):
    async with Embedded.open(tmp_path) as bus:
        async with owned(bus) as press:
            await press.publish(model("a"))
            await press.check_for(model("a"))
            await press.publish(model("a"))
        assert (await history(bus)).count == 1
