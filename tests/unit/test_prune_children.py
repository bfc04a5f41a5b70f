"""Who reads a namespace's topics, and so must have passed a record before it is deleted; and who only looks like it."""

import pytest

from deploy.planning.effective import stored_recipe
from deploy.streams.pruning import children
from stream.bus import Message
from stream.codec import encode
from stream.errors import BadRecord, NewerSchema
from stream.records import RecipeText
from stream.topics import RECIPE
from tests.stream_fakes import Disk, MemoryBus

CHILD = encode(RecipeText("standard", "{}", "main", "typed", "main/functions"))
FOREIGN = (b'{"dish":"soup"}', b"soup", b"", b"\xff\x00", b'{"schema":"1","record":{}}', b'{"schema":0,"record":{}}')
NEWER = b'{"schema":999,"record":{"something":"else"}}'


async def namespaces(**recipes: tuple[bytes, ...]) -> MemoryBus:
    """A bus with namespace main, and others in whose topic `recipe` these values stand."""
    disk = Disk(shared=True)
    for name, values in {"main": (), **recipes}.items():
        bus = MemoryBus(disk, name)
        await bus.create([RECIPE])
        bus.write([Message(RECIPE.name, "recipe", value) for value in values], None)
    return MemoryBus(disk)


async def test_a_namespace_with_a_stage_that_reads_ours_is_a_child() -> None:
    other = encode(RecipeText("standard", "{}", "old", "typed", "old/functions"))
    root = encode(RecipeText("standard", "{}", None))
    assert await children(await namespaces(v2=(CHILD,), v3=(other,), v4=(root,), v5=())) == ["v2"]


@pytest.mark.parametrize("value", FOREIGN)
async def test_a_topic_of_somebody_else_that_is_called_recipe_is_passed_over(value: bytes) -> None:
    assert await children(await namespaces(shop=(value, value), v2=(CHILD,))) == ["v2"]


async def test_a_namespace_of_a_newer_seedstream_is_not_passed_over() -> None:
    with pytest.raises(NewerSchema):
        await children(await namespaces(v2=(NEWER,)))
    with pytest.raises(NewerSchema):
        await children(await namespaces(v2=(NEWER, FOREIGN[0])))


async def test_a_namespace_of_ours_into_which_somebody_has_written_is_not_passed_over() -> None:
    bus = await namespaces(v2=(CHILD, FOREIGN[0]))
    with pytest.raises(BadRecord):
        await stored_recipe(bus, "v2")
    with pytest.raises(BadRecord, match="namespace v2"):
        await children(bus)
