"""The embedded bus: one SQLite file, WAL, one writer thread with group commit, synchronous=FULL.

Not a mock: it keeps every promise of `stream.bus` through kill -9 and power loss, for the processes of one machine.
A log is stored as record batches (`batches`), keyed by the offset after their last record.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path

from stream.bus import NOTHING, Lease, Message, Stored
from stream.embedded.file import FILE_NAME, begin, connect, prepare, translated
from stream.embedded.lease import EmbeddedAppender, EmbeddedLease, refusal
from stream.embedded.locks import Lock
from stream.embedded.reader import Reader
from stream.embedded.writer import ProgressRow, TopicId, Write, Writer
from stream.errors import Fatal, LeaseLost, TooLarge, WrongConfig
from stream.progress import Progress
from stream.topics import RECIPE, Topic, checked_namespace, full_name

DELETED_AT_ONCE = 100  # batches: a write lock held for longer would hold up the stages


class Embedded:
    """`stream.bus.Bus` on one file of one machine. Make it with `Embedded.open`."""

    dense = True

    def __init__(self, path: Path, namespace: str, partitions: int) -> None:
        self.namespace = namespace
        self._path = path
        self._partitions = partitions
        self._topics: dict[str, tuple[TopicId, int]] = {}  # by full name: id, partitions
        self._arrivals: dict[str, asyncio.Event] = {}
        self._locks: set[Lock] = set()
        self.reader = Reader(path, "bus-fetch")
        self._scanner = Reader(path, "bus-scan")  # a long scan must not hold up the stages
        self._writer = Writer(path, self._wake)
        self._closed = False

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(
        directory: Path, namespace: str = "main", *, partitions: int = 1, create: bool = True
    ) -> "AsyncGenerator[Embedded]":
        """Open the bus in `directory`; make both when `create`. `partitions` is n of the topics table.

        Raises:  BusMissing when there is none; NewerSchema; WrongConfig when it cannot be opened, in one line.
        """
        path = directory / FILE_NAME
        checked_namespace(namespace)
        await asyncio.to_thread(prepare, path, create)
        bus = Embedded(path, namespace, partitions)
        try:
            await bus._load_topics()
            yield bus
        finally:
            await bus.close()

    # --- topics

    async def create(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> None:
        await asyncio.to_thread(self._create, topics, readers)
        await self._load_topics()
        for topic in topics:
            wrong = self._wrong_partitions(topic)
            if wrong is not None:
                raise WrongConfig(wrong)

    def _create(self, topics: Sequence[Topic], readers: Mapping[str, str]) -> None:
        with translated(self._path), contextlib.closing(connect(self._path)) as db:
            names = [(full_name(self.namespace, topic.name), topic.partitions or self._partitions) for topic in topics]
            # Progress stands beside the topics in one file, and is lost with them or not at all: none is 0. Only on a
            # topic that was pruned it begins later.
            groups = [
                (f"{self.namespace}.{stage}", full_name(self.namespace, topic)) for stage, topic in readers.items()
            ]
            begin(db, names, groups)

    async def differences(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> Sequence[str]:
        await self._load_topics()
        wanted = [*(topic.name for topic in topics), *readers.values()]
        names = [full_name(self.namespace, name) for name in dict.fromkeys(wanted)]
        missing = [
            f"topic {name}: missing; make it with `seedstream topics create`"
            for name in names
            if name not in self._topics
        ]
        return [*missing, *(wrong for topic in topics if (wrong := self._wrong_partitions(topic)) is not None)]

    def _wrong_partitions(self, topic: Topic) -> str | None:
        name = full_name(self.namespace, topic.name)
        found = self._topics[name][1] if name in self._topics else topic.partitions
        if topic.partitions is None or found == topic.partitions:
            return None
        return f"topic {name} has {found} partitions, {topic.partitions} expected; begin anew in another namespace"

    async def _load_topics(self) -> None:
        for name, number, partitions in await self._scanner.all("SELECT name, id, partitions FROM topic ORDER BY id"):
            assert isinstance(name, str) and isinstance(number, int) and isinstance(partitions, int)
            self._topics[name] = (TopicId(number), partitions)

    async def topics(self) -> Mapping[str, int]:
        await self._load_topics()
        prefix = f"{self.namespace}."
        found = {name: partitions for name, (_, partitions) in self._topics.items() if name.startswith(prefix)}
        return {name.removeprefix(prefix): partitions for name, partitions in found.items()}

    async def namespaces(self) -> Collection[str]:
        await self._load_topics()
        return [name.removesuffix(f".{RECIPE.name}") for name in self._topics if name.endswith(f".{RECIPE.name}")]

    def topic_id(self, topic: str) -> TopicId:
        return self._topic(topic)[0]

    def _topic(self, topic: str) -> tuple[TopicId, int]:
        name = full_name(self.namespace, topic)
        try:
            return self._topics[name]
        except KeyError as err:
            raise WrongConfig(f"{self._path}: there is no topic {name}") from err

    def arrival(self, topic: str) -> asyncio.Event:
        """Set by the next append to `topic` from this process. Never cleared: each append leaves a new one behind, so
        that of several who wait none takes the wake-up from another."""
        return self._arrivals.setdefault(topic, asyncio.Event())

    # --- owners

    def _lock(self, name: str) -> Lock:
        lock = Lock(
            self._path.parent / "locks" / f"{self.namespace}.{name}.lock",
            f"{self._path.parent}: {name} of namespace {self.namespace}",
        )
        self._locks.add(lock)
        return lock

    async def _unlock(self, lock: Lock) -> None:
        """Give up a lock; the kernel's is let go behind every step written under it. A cancelled owner can have one on
        its way to the disk, and the next owner must not read the progress from before it."""
        if lock not in self._locks:
            return
        self._locks.discard(lock)

        def release(written: asyncio.Future[None]) -> None:
            written.exception()  # of no interest: nothing was written
            lock.release()

        written = self._put({}, None, frozenset())
        written.add_done_callback(release)
        await asyncio.wait({written})

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease]:
        _, partitions = self._topic(topic)
        lock = self._lock(stage)
        try:
            progress = await self.progress(stage, topic)
            for partition in range(partitions):
                yield EmbeddedLease(self, lock, stage, topic, partition, progress[partition])
            await asyncio.get_running_loop().create_future()  # no other member can join: nothing ever changes
        finally:
            await self._unlock(lock)

    @contextlib.asynccontextmanager
    async def appender(self, name: str) -> AsyncGenerator[EmbeddedAppender]:
        lock = self._lock(name)
        try:
            yield EmbeddedAppender(self, lock)
        finally:
            await self._unlock(lock)

    # --- reading and writing

    async def write(
        self, owner: Lock, messages: Sequence[Message], progress: tuple[str, str, int, Progress] | None
    ) -> None:
        """One atomic step of the holder of `owner`. Shielded: a cancelled caller's step is written all the same."""
        if self._closed:
            raise Fatal(f"{self._path}: nothing is written to a bus that was closed")
        if owner not in self._locks:
            raise LeaseLost(f"{owner.what} is no longer ours to write")
        appended: dict[tuple[TopicId, int], list[Message]] = {}
        names: set[str] = set()
        for message in messages:
            assert "/" not in message.topic, "another namespace's topic is only read"
            number, partitions = self._topic(message.topic)
            if (reason := refusal(message)) is not None:
                raise TooLarge(reason)
            partition = zlib.crc32(message.key.encode()) % partitions if partitions > 1 else 0
            appended.setdefault((number, partition), []).append(message)
            names.add(message.topic)
        row = None
        if progress is not None:
            stage, topic, partition, at = progress
            row = (f"{self.namespace}.{stage}", self.topic_id(topic), partition, at.watermark, at.bitmap())
        await asyncio.shield(self._put(appended, row, frozenset(names)))

    def _put(
        self, appended: dict[tuple[TopicId, int], list[Message]], progress: ProgressRow | None, topics: frozenset[str]
    ) -> asyncio.Future[None]:
        """Queue a step for the writer; the future ends once it is durable, or has failed."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._writer.put(Write(appended, progress, topics, done, loop))
        return done

    def _wake(self, topics: frozenset[str]) -> None:
        for topic in topics:
            arrived = self._arrivals.pop(topic, None)
            if arrived is not None:
                arrived.set()

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        number, partitions = self._topic(topic)
        rows = await self._scanner.all(
            "SELECT partition, watermark, bitmap FROM progress WHERE stage = ? AND topic = ?",
            f"{self.namespace}.{stage}", number,
        )  # fmt: skip
        found = dict.fromkeys(range(partitions), Progress())
        for partition, watermark, bitmap in rows:
            assert isinstance(partition, int) and isinstance(watermark, int) and isinstance(bitmap, str)
            found[partition] = Progress.decode(watermark, bitmap)
        return found

    async def ends(self, topic: str) -> Mapping[int, int]:
        number, partitions = self._topic(topic)
        rows = await self._scanner.all("SELECT partition, next FROM head WHERE topic = ?", number)
        found = dict.fromkeys(range(partitions), 0)
        for partition, end in rows:
            assert isinstance(partition, int) and isinstance(end, int)
            found[partition] = end
        return found

    async def after(self, topic: str, partition: int, position: int) -> tuple[Sequence[Stored], int]:
        """Return the records from `position` on of the batch that holds it, or of the next one, and where that batch
        ends; at the end of the log, none and the end, which is past `position` when what was there was deleted."""
        number = self.topic_id(topic)
        found = await self.reader.batch(number, partition, position)
        if found is not None:
            return found
        end = await self.reader.end(number, partition)
        return await self.reader.batch(number, partition, position) or (
            (),
            end,
        )  # since the first look, some may have come

    async def workers(self, stages: Collection[str]) -> Mapping[str, Sequence[Collection[int]]]:
        return {}

    async def starts(self, topic: str) -> Mapping[int, int]:
        number = self.topic_id(topic)
        ends = await self.ends(topic)  # first: what is appended after it shows in the batches
        return {p: await self._scanner.start(number, p, end) for p, end in ends.items()}

    async def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Sequence[Stored]]:
        number = self.topic_id(topic)
        for partition, end in (await self.ends(topic)).items():
            position = (start or {}).get(partition, 0)
            while position < end:
                found = await self._scanner.batch(number, partition, position)
                if found is None:
                    break
                batch, position = found
                yield [record for record in batch if record.offset < end]

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """As promised, in whole batches."""
        assert "/" not in topic, "another namespace's topic is only read"
        number = self.topic_id(topic)
        for partition, offset in offsets.items():
            while await asyncio.to_thread(self._delete, number, partition, offset):
                pass

    def _delete(self, topic: TopicId, partition: int, offset: int) -> int:
        """Delete some batches that end at `offset` or before it, the oldest first; return how many."""
        with translated(self._path), contextlib.closing(connect(self._path)) as db:
            return db.execute(
                "DELETE FROM batch WHERE rowid IN (SELECT rowid FROM batch WHERE topic = ? AND partition = ? "
                "AND next <= ? ORDER BY next LIMIT ?)",
                (topic, partition, offset, DELETED_AT_ONCE),
            ).rowcount

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        locks, self._locks = self._locks, set()  # from here on, what is written is refused
        await self._writer.close()
        await self.reader.close()
        await self._scanner.close()
        for lock in locks:
            lock.release()
