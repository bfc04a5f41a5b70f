"""How the embedded bus deletes: batch by batch, and never for long at a time."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from stream.embedded import Embedded
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.steps import INPUT, OUTPUT, all_of, append, fetched, inputs, leased, nothing_more

TABLE = [TOPICS["files"], TOPICS["functions"], REJECTS, DEAD]


async def test_a_batch_is_deleted_as_a_whole_or_stays(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        for first in (0, 10, 20):
            await append(bus, inputs(10, first))
        for cut, start in ((0, 0), (9, 0), (10, 10), (19, 10), (29, 20), (30, 30)):
            await bus.delete_before(INPUT, {0: cut})
            assert await bus.starts(INPUT) == {0: start}
            assert [stored.offset for stored in await all_of(bus, INPUT)] == list(range(start, 30))


async def test_a_read_that_begins_inside_a_batch_leaves_out_what_stands_before(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        for first in (0, 10, 20):
            await append(bus, inputs(10, first))
        batches = [[stored.offset for stored in batch] async for batch in bus.read(INPUT, {0: 14})]
        assert batches == [[*range(14, 20)], [*range(20, 30)]]


async def test_many_batches_are_deleted_in_slices_and_others_write_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.embedded.bus.DELETED_AT_ONCE", 2)
    async with Embedded.open(tmp_path) as bus, bus.appender("other") as other:
        await bus.create(TABLE)
        for first in range(0, 50, 5):
            await append(bus, inputs(5, first))
        delete, slices = bus._delete, 0

        def counted(*args: object) -> int:
            nonlocal slices
            slices += 1
            return delete(*args)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(bus, "_delete", counted)
        await bus.delete_before(INPUT, {0: 37})
        await other.append([replace(message, topic=OUTPUT) for message in inputs(1)])
        assert slices == 5  # of which the last one found nothing
        assert await bus.starts(INPUT) == {0: 35}
        async with leased(bus) as [lease]:
            assert [stored.offset for stored in await fetched(lease, 15)] == list(range(35, 50))
            await nothing_more(lease)
