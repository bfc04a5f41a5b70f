"""A copy of a state log saves reading it again, and never says more than the log."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream import state_copy
from stream.bus import Cause, Message
from stream.state_copy import Line, Log
from stream.topics import state_topic
from tests.stream_fakes import Disk, MemoryBus

TOPIC = state_topic("typed").name


class Counting(MemoryBus):
    """Counts the records that are read from it."""

    given = 0

    async def read(self, topic, start=None):
        async for batch in super().read(topic, start):
            self.given += len(batch)
            yield batch


async def bus_with(count: int) -> Counting:
    bus = Counting(Disk())
    await bus.create([state_topic("typed")])
    await grow(bus, range(count))
    return bus


async def grow(bus: MemoryBus, numbers: range) -> None:
    async with bus.appender("x") as appender:
        for n in numbers:
            await appender.append([Message(TOPIC, "-", b'{"n":%d}' % n, Cause("typed", "functions", 0, n, 0, 1))])


async def lines(bus: MemoryBus, folder: Path | None) -> list[Line]:
    return [line async for batch in state_copy.read(Log(bus, TOPIC, folder)) for line in batch]


def the_copy(folder: Path) -> Path:
    [file] = folder.iterdir()
    return file


async def test_with_and_without_a_copy_the_same_log_is_read(tmp_path: Path) -> None:
    bus = await bus_with(500)
    plain = await lines(bus, None)
    assert [line.value for line in plain] == [b'{"n":%d}' % n for n in range(500)]
    for _ in range(3):
        assert await lines(bus, tmp_path) == plain


async def test_what_is_in_the_copy_is_not_read_from_the_bus(tmp_path: Path) -> None:
    bus = await bus_with(500)
    await lines(bus, tmp_path)
    await grow(bus, range(500, 507))
    bus.given = 0
    assert len(await lines(bus, tmp_path)) == 507
    assert bus.given < 150  # the tail, and one batch that shows whose copy it is


@pytest.mark.parametrize("cut_bytes", range(1, 60, 7))
async def test_a_copy_cut_short_by_a_kill_is_mended_from_the_log(tmp_path: Path, cut_bytes: int) -> None:
    bus = await bus_with(50)
    plain = await lines(bus, tmp_path)
    file = the_copy(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut_bytes])
    assert await lines(bus, tmp_path) == plain
    assert file.read_bytes() == whole


@pytest.mark.parametrize("at", [0, 5, 100, 1_000])
async def test_a_spoilt_byte_is_never_believed(tmp_path: Path, at: int) -> None:
    bus = await bus_with(50)
    plain = await lines(bus, tmp_path)
    file = the_copy(tmp_path)
    spoilt = bytearray(file.read_bytes())
    spoilt[at] ^= 1
    file.write_bytes(spoilt)
    assert await lines(bus, tmp_path) == plain


async def test_the_copy_of_a_log_that_was_made_anew_is_dropped(tmp_path: Path) -> None:
    await lines(await bus_with(50), tmp_path)
    other = await bus_with(3)
    assert await lines(other, tmp_path) == await lines(other, None)


async def test_a_copy_that_says_more_than_the_log_is_believed_no_further(tmp_path: Path) -> None:
    bus = await bus_with(50)
    await lines(bus, tmp_path)
    log = bus.log(TOPIC)[0]
    del log[40:]
    log.end = 40
    assert len(await lines(bus, tmp_path)) == 40
    await grow(bus, range(100, 103))
    assert await lines(bus, tmp_path) == await lines(bus, None)


async def test_two_that_read_at_once_both_read_all_and_one_of_them_copies(tmp_path: Path) -> None:
    bus = await bus_with(300)
    first = state_copy.read(Log(bus, TOPIC, tmp_path))
    begun = [*await anext(first)]
    assert len(await lines(bus, tmp_path)) == 300
    begun += [line for batch in [batch async for batch in first] for line in batch]
    assert len(begun) == 300
    assert await lines(bus, tmp_path) == begun


async def test_where_a_copy_cannot_be_made_the_log_is_read_without_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await bus_with(50)
    plain = await lines(bus, None)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "state"):
        assert await lines(bus, folder) == plain
        assert "no copy of typed.state is kept" in caplog.text
        caplog.clear()


async def test_where_a_copy_cannot_grow_the_log_is_read_on_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await bus_with(50)
    await lines(bus, tmp_path)
    await grow(bus, range(50, 5_000))
    plain = await lines(bus, None)
    with files_of_at_most(the_copy(tmp_path).stat().st_size + 100):
        assert await lines(bus, tmp_path) == plain
    assert "the copy of a log grows no more: File too large" in caplog.text
    assert await lines(bus, tmp_path) == plain  # its last line was cut
    bus.given = 0
    assert await lines(bus, tmp_path) == plain
    assert bus.given < 150


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a full disk does it, writing ends in an error, in the middle of a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
