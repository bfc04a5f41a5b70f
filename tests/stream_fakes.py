"""A bus in memory: small, fast, and held to the same contract as the real ones. It can be told to be away."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from stream.bus import Lease, Message, Stored
from stream.errors import Fatal, InUse, WrongConfig
from stream.progress import Progress
from stream.topics import Topic, checked_namespace


@dataclass(slots=True)
class Disk:
    """What outlives a bus: its logs, by namespace.topic and partition, its progress, and who owns what."""

    logs: dict[str, list[list[Stored]]] = field(default_factory=dict[str, list[list[Stored]]])
    progress: dict[tuple[str, str, int], Progress] = field(default_factory=dict[tuple[str, str, int], Progress])
    owners: dict[str, "Owner"] = field(default_factory=dict[str, "Owner"])


@dataclass(eq=False, slots=True)
class Owner:
    """A right to write, while `disk.owners` holds it."""

    bus: "MemoryBus"
    name: str

    def write(self, messages: Sequence[Message], progress: tuple[str, str, int, Progress] | None = None) -> None:
        if self.bus.disk.owners.get(self.name) is not self:
            raise Fatal(f"{self.name} is no longer ours to write")
        self.bus.write(messages, progress)


@dataclass(slots=True)
class MemoryLease:
    bus: "MemoryBus"
    owner: Owner
    stage: str
    topic: str
    partition: int
    progress: Progress
    position: int = 0

    async def fetch(self, limit: int) -> Sequence[Stored]:
        self.bus.fetches += 1
        while True:
            self.bus.fetch_fault()
            arrived = self.bus.arrived
            log = self.bus.log(self.topic)[self.partition]
            fresh = [stored for stored in log[self.position :] if stored.offset not in self.progress][:limit]
            if fresh:
                self.position = fresh[-1].offset + 1
                return fresh
            await arrived.wait()

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        await self.bus.before_commit()
        self.bus.commit_fault()
        at = Progress.decode(progress.watermark, progress.bitmap())  # as it would be stored
        self.owner.write(messages, (self.stage, self.topic, self.partition, at))
        self.bus.commits += 1


@dataclass(slots=True)
class MemoryAppender:
    bus: "MemoryBus"
    owner: Owner

    async def append(self, messages: Sequence[Message]) -> None:
        await self.bus.before_commit()
        self.bus.commit_fault()
        self.owner.write(messages)


def no_fault() -> None:
    """The bus is there."""


async def a_turn() -> object:
    """A real commit takes its time."""
    await asyncio.sleep(0)


class MemoryBus:
    """`stream.bus.Bus` on a `Disk`. A fault raises what a fetch or a commit is to raise."""

    def __init__(self, disk: Disk, namespace: str = "main", partitions: int = 1) -> None:
        self.disk = disk
        self.namespace = checked_namespace(namespace)
        self.partitions = partitions
        self.arrived = asyncio.Event()
        self.fetch_fault: Callable[[], None] = no_fault
        self.commit_fault: Callable[[], None] = no_fault
        self.before_commit: Callable[[], Awaitable[object]] = a_turn
        self.fetches = 0
        self.commits = 0

    async def create(self, topics: Sequence[Topic]) -> None:
        for topic in topics:
            count = topic.partitions or self.partitions
            log = self.disk.logs.setdefault(self._full(topic.name), [[] for _ in range(count)])
            if topic.partitions is not None and len(log) != topic.partitions:
                raise WrongConfig(f"topic {topic.name} has {len(log)} partitions, {topic.partitions} expected")

    async def topics(self) -> Mapping[str, int]:
        prefix = self._full("")
        return {name.removeprefix(prefix): len(log) for name, log in self.disk.logs.items() if name.startswith(prefix)}

    def _full(self, name: str) -> str:
        return f"{self.namespace}.{name}"

    def log(self, topic: str) -> list[list[Stored]]:
        try:
            return self.disk.logs[self._full(topic)]
        except KeyError as err:
            raise WrongConfig(f"there is no topic {self._full(topic)}") from err

    @contextlib.contextmanager
    def _owned(self, name: str) -> Generator[Owner]:
        name = self._full(name)
        if name in self.disk.owners:
            raise InUse(f"{name} is in use")
        owner = self.disk.owners[name] = Owner(self, name)
        try:
            yield owner
        finally:
            if self.disk.owners.get(name) is owner:
                del self.disk.owners[name]

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease]:
        with self._owned(stage) as owner:
            for partition, progress in (await self.progress(stage, topic)).items():
                yield MemoryLease(self, owner, stage, topic, partition, progress)
            await asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def appender(self, name: str) -> AsyncGenerator[MemoryAppender]:
        with self._owned(name) as owner:
            yield MemoryAppender(self, owner)

    def write(self, messages: Sequence[Message], progress: tuple[str, str, int, Progress] | None) -> None:
        logs = [self.log(message.topic) for message in messages]  # before anything is written
        for log, message in zip(logs, messages, strict=True):
            partition = zlib.crc32(message.key.encode()) % len(log)
            end = len(log[partition])
            log[partition].append(Stored(partition, end, message.key, message.value, message.cause, time.time()))
        if progress is not None:
            stage, topic, partition, at = progress
            self.disk.progress[self._full(stage), topic, partition] = at
        self.arrived.set()
        self.arrived = asyncio.Event()

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        found = self.disk.progress
        return {p: found.get((self._full(stage), topic, p), Progress()) for p in range(len(self.log(topic)))}

    async def ends(self, topic: str) -> Mapping[int, int]:
        return {partition: len(log) for partition, log in enumerate(self.log(topic))}

    async def read(self, topic: str) -> AsyncIterator[Sequence[Stored]]:
        for log in [list(log) for log in self.log(topic)]:
            for first in range(0, len(log), 100):
                await asyncio.sleep(0)
                yield log[first : first + 100]

    async def close(self) -> None:
        self.crash()

    def crash(self) -> None:
        """What the end of its process does: whatever it owned is free."""
        self.disk.owners = {name: owner for name, owner in self.disk.owners.items() if owner.bus is not self}
