"""What the embedded bus promises beyond the contract: its file, its one writer, its disk."""

import asyncio
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from stream.bus import Message
from stream.embedded import Embedded, file
from stream.embedded.file import FILE_NAME, FILE_SCHEMA, connect, translated
from stream.errors import BusMissing, DiskFull, Fatal, NewerSchema, Unavailable, WrongConfig
from stream.progress import Progress
from stream.topics import DEAD, REJECTS, TOPICS
from tests.audited import Tampering
from tests.contract.buses import Address
from tests.contract.processes import child
from tests.contract.steps import INPUT, OUTPUT, STAGE, all_of, append, fetched, inputs, leased, nothing_more
from tests.patience import PATIENCE_S

TABLE = [TOPICS["files"], TOPICS["functions"], REJECTS, DEAD]


@contextmanager
def locked_by_another(directory: Path) -> Iterator[None]:
    """Hold the file's write lock, as another process's group commit does."""
    with closing(connect(directory / FILE_NAME)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            db.execute("ROLLBACK")


# --- the file


async def test_a_newer_file_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'schema'")
    with pytest.raises(NewerSchema, match=rf"bus\.sqlite has schema {FILE_SCHEMA + 1}, .* knows {FILE_SCHEMA}"):
        async with Embedded.open(tmp_path):
            pass


async def test_a_file_that_is_no_bus_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"not a database, but longer than the header of one: " * 20)
    with pytest.raises(WrongConfig, match=r"bus\.sqlite: cannot be opened as a bus"):
        async with Embedded.open(tmp_path):
            pass
    assert path.read_bytes().startswith(b"not a database")


async def test_another_programs_file_with_a_table_of_our_name_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as db, db:
        db.execute("CREATE TABLE meta (name TEXT, value INTEGER)")
    with pytest.raises(WrongConfig, match=r"bus\.sqlite: cannot be opened as a bus: some other program's table"):
        async with Embedded.open(tmp_path):
            pass


@pytest.mark.parametrize("create", [True, False])
async def test_a_directory_that_cannot_be_looked_into_is_refused_by_name(tmp_path: Path, create: bool) -> None:
    with pytest.raises(WrongConfig, match=r"a{300}: cannot be read: File name too long"):
        async with Embedded.open(tmp_path / ("a" * 300), create=create):
            pass


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("below", ["", "run", "run/deep"])
async def test_a_file_where_a_folder_is_wanted_is_named_as_one(tmp_path: Path, below: str, create: bool) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongConfig, match=r"/file is a file: expected the folder of a stream, which holds bus\.sqlite"):
        async with Embedded.open(tmp_path / "file" / below, create=create):
            pass


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(WrongConfig, match="link: cannot be made: "):
        async with Embedded.open(tmp_path / "link"):
            pass


async def test_a_missing_bus_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(BusMissing, match=r"there is no bus here; `seedstream up --dir .*nowhere` makes one"):
        async with Embedded.open(tmp_path / "nowhere", create=False):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_a_bus_can_be_opened_for_the_first_time_by_many_at_once(tmp_path: Path) -> None:
    for turn in range(25):
        async with AsyncExitStack() as opened:
            buses = await asyncio.gather(
                *(opened.enter_async_context(Embedded.open(tmp_path / str(turn))) for _ in range(8))
            )
            await asyncio.gather(*(bus.create(TABLE) for bus in buses))
            assert len({tuple((await bus.topics()).items()) for bus in buses}) == 1


async def test_who_opens_a_new_bus_waits_for_another_process_that_is_making_it(tmp_path: Path) -> None:
    with closing(connect(tmp_path / FILE_NAME)) as other:
        other.execute("BEGIN IMMEDIATE")  # here SQLite answers a change of the journal with BUSY at once
        letting_go = asyncio.get_running_loop().call_later(0.1, other.execute, "ROLLBACK")
        async with Embedded.open(tmp_path):
            assert asyncio.get_running_loop().time() >= letting_go.when()


@pytest.mark.parametrize("done", ["created", "in WAL mode"])
async def test_a_process_killed_while_it_made_the_file_leaves_one_that_can_be_opened(tmp_path: Path, done: str) -> None:
    (tmp_path / FILE_NAME).touch()
    if done == "in WAL mode":
        with closing(connect(tmp_path / FILE_NAME)) as db:
            db.execute("PRAGMA journal_mode = WAL")
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        await append(bus, inputs(3))
        assert len(await all_of(bus, INPUT)) == 3


async def test_the_schema_number_and_the_tables_are_made_in_one_transaction(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    statements: list[str] = []

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
            statements.append(sql)
            if sql == "COMMIT":
                with closing(sqlite3.connect(path)) as other:
                    assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
            return super().execute(sql, *args)

    def connecting(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, factory=Connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "connect", connecting)
        file.prepare(path, create=True)
    assert statements[-1] == "COMMIT"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta").fetchall() == [(FILE_SCHEMA,)]


async def test_commits_are_synced_to_the_disk_before_they_are_told(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path):
        with closing(connect(tmp_path / FILE_NAME)) as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_error_of_pythons_own_making_is_translated_too(tmp_path: Path) -> None:
    db = sqlite3.connect(":memory:")
    db.close()
    with pytest.raises(Fatal, match=r"x\.sqlite: .*closed database"), translated(tmp_path / "x.sqlite"):
        db.execute("SELECT 1")


# --- the writer


async def test_steps_that_queue_up_behind_a_commit_share_the_next_one(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path) as bus, bus.appender("source") as appender:
        await bus.create(TABLE)
        with locked_by_another(tmp_path):
            appends = [asyncio.create_task(appender.append(inputs(1, k))) for k in range(100)]
            await asyncio.sleep(0)
        await asyncio.gather(*appends)
        stored = await all_of(bus, INPUT)
        assert [record.key for record in stored] == [f"k{k}" for k in range(100)]
        assert len({record.at_s for record in stored}) <= 3


async def test_an_owner_that_leaves_in_the_middle_of_a_commit_is_owner_until_it_is_written(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path) as bus, Embedded.open(tmp_path) as other:
        await bus.create(TABLE)
        await append(bus, inputs(3))

        async def cut_short() -> None:
            async with leased(bus) as [lease, *_]:
                commit = asyncio.create_task(lease.commit([], Progress(2)))
                await asyncio.sleep(0)
                commit.cancel()
                await asyncio.wait({commit})
                assert commit.cancelled()

        with locked_by_another(tmp_path):
            leaving = asyncio.create_task(cut_short())
            await asyncio.sleep(0.05)
            assert not leaving.done()
            with pytest.raises(WrongConfig, match="in use by process"):
                async with leased(other):
                    pass
            leaving.cancel()  # not even told twice
            await asyncio.wait({leaving})
            with pytest.raises(WrongConfig, match="in use by process"):
                async with leased(other):
                    pass
        async with asyncio.timeout(PATIENCE_S):
            while (await other.progress(STAGE, INPUT))[0] != Progress(2):
                await asyncio.sleep(0)
            while True:
                try:
                    async with leased(other) as [lease, *_]:
                        assert lease.progress == Progress(2)
                    break
                except WrongConfig:
                    await asyncio.sleep(0)  # it is written, but not let go of yet


async def test_a_file_that_another_process_holds_for_too_long_is_unavailable_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "BUSY_S", 0.02)
    async with Embedded.open(tmp_path) as bus, bus.appender("source") as appender:
        await bus.create(TABLE)
        with locked_by_another(tmp_path), pytest.raises(Unavailable, match="another process holds it locked"):
            await appender.append(inputs(3))
        assert await all_of(bus, INPUT) == []
        await appender.append(inputs(3))
        assert len(await all_of(bus, INPUT)) == 3


async def test_a_commit_goes_on_when_the_one_who_waits_for_it_is_cancelled(tmp_path: Path) -> None:
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        async with bus.appender("source") as appender:
            sending = asyncio.create_task(appender.append(inputs(3)))
            await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait({sending})
        assert len(await all_of(bus, INPUT)) == 3  # whoever owns it next finds it written


async def test_what_stands_behind_a_gap_in_a_batch_is_read_and_fetched(tmp_path: Path) -> None:
    """Pruned or compacted, a batch can have gaps: in front, in the middle, at its end, or be nothing but one."""
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        for first in range(0, 12, 3):
            await append(bus, inputs(3, first))
        tampering = Tampering(tmp_path)
        for topic, stored in tampering.records():
            if stored.offset in {0, 4, 5, 6, 7, 8, 10}:
                tampering.delete(topic, stored, keep_batch=True)
        left = [1, 2, 3, 9, 11]
        assert [stored.offset for stored in await all_of(bus, INPUT)] == left
        async with leased(bus) as [lease]:
            assert [stored.offset for stored in await fetched(lease, 5, limit=2)] == left
            await nothing_more(lease)


# --- a full disk


async def test_on_a_full_disk_a_step_leaves_no_trace_and_goes_through_once_there_is_room(tmp_path: Path) -> None:
    """A file system of 2 MB, where we may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system: see the limit on file size below")
    try:
        ballast = tmp_path / "ballast"
        async with Embedded.open(tmp_path) as bus, bus.appender("source") as appender:
            await bus.create(TABLE)
            ballast.write_bytes(bytes(1_000_000))

            async def send(k: int) -> None:
                await appender.append([Message(topic, f"k{k}", bytes(50_000)) for topic in (INPUT, OUTPUT)])

            sent = 0
            with pytest.raises(DiskFull, match=r"bus\.sqlite: the disk is full"):
                while True:
                    await send(sent)
                    sent += 1
            assert sent > 2
            for _ in range(3):
                with pytest.raises(DiskFull):
                    await send(sent)
            for topic in (INPUT, OUTPUT):
                assert [record.key for record in await all_of(bus, topic)] == [f"k{k}" for k in range(sent)]
            ballast.unlink()
            await send(sent)
        async with Embedded.open(tmp_path, create=False) as bus:
            for topic in (INPUT, OUTPUT):
                assert [record.key for record in await all_of(bus, topic)] == [f"k{k}" for k in range(sent + 1)]
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=False)


async def test_at_the_limit_of_a_files_size_the_writer_waits_and_goes_on_when_it_is_lifted(tmp_path: Path) -> None:
    def limit() -> None:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))

    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        async with child(Address("embedded", 1, str(tmp_path)), "fill", limit=limit) as other:
            said = await other.says()
            assert said.startswith("DiskFull after ")
            full_after = int(said.split()[2].rstrip(":"))
            assert full_after > 2
            assert await other.says() == "waiting"
            for topic in (INPUT, OUTPUT):
                assert len(await all_of(bus, topic)) == full_after
            hard = resource.prlimit(other.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(other.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert await other.says() == str(full_after + 1)
            assert await other.ended() == 0
        for topic in (INPUT, OUTPUT):
            assert len(await all_of(bus, topic)) == full_after + 1


async def test_a_wake_up_is_for_all_who_wait(tmp_path: Path) -> None:
    """Two stages on one topic: that one looks again must not cost the other its wake-up."""
    async with Embedded.open(tmp_path) as bus:
        await bus.create(TABLE)
        first, second = bus.arrival(INPUT), bus.arrival(INPUT)
        await append(bus, inputs(1))
        assert first.is_set()
        assert second.is_set()
        assert not bus.arrival(INPUT).is_set()
