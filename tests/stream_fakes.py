"""A bus in memory: small, fast, and held to the same contract as the real ones. It can be told to be away."""

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from stream.bus import NOTHING, Gone, Lease, Message, Stored
from stream.errors import Fatal, LeaseLost, TooLarge, WrongConfig
from stream.progress import Progress
from stream.topics import Topic, checked_namespace, full_name
from tests.memory_disk import Disk, Group, Log, Owner, Share

__all__ = ["Disk", "Log", "MemoryBus"]


class MemoryLease:
    """A lease on one partition: of its own, or a share of a group's."""

    def __init__(self, bus: "MemoryBus", stage: str, topic: str, share: Share, group: Group | None = None) -> None:
        self.bus = bus
        self.stage = stage
        self.topic = topic
        self.partition = share.partition
        self.wanted = share.wanted
        self.progress = bus.progress_of(stage, topic, share.partition)
        self.position = self.progress.watermark
        self._share = share
        self._group = group
        self._reach = self.progress.reach
        self._unknown: tuple[Sequence[Message], Progress] | None = None  # written, but its owner was not told

    async def fetch(self, limit: int) -> Sequence[Stored]:
        self.bus.fetches += 1
        while True:
            self.bus.fetch_fault()
            if self.wanted.is_set() or self._share.released:
                raise LeaseLost(f"partition {self.partition} of {self.topic} is wanted")
            arrived = self.bus.disk.arrived
            log = self.bus.log(self.topic)[self.partition]
            left = [s for s in log[first_from(log, self.position) :] if s.offset not in self.progress]
            fresh = [stored for stored in left[:limit] if stored.offset <= self._reach]
            if fresh:
                self.position = fresh[-1].offset + 1
                return fresh
            position = left[0].offset if left else log.end  # over marks, as a broker's client: in a turn of its own
            if position > self.position:
                self.position = position
                return ()
            await arrived.wait()

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        if self._share.released:
            raise LeaseLost(f"partition {self.partition} of {self.topic} was released")
        if self._unknown is not None:  # only the same call may be made now: it finds out that all is well
            assert self._unknown == (messages, progress)
        await self.bus.before_commit()
        self.bus.commit_fault()
        if self._unknown is None:
            at = Progress.decode(progress.watermark, progress.bitmap())  # as it would be stored
            self.bus.write(messages, (self.stage, self.topic, self.partition, at), self._share.owner)
            self._unknown = messages, progress
        self.bus.commits += 1
        self.bus.told_fault()
        self._unknown = None
        self._reach = progress.reach
        self.bus.disk.wake()

    def refusal(self, message: Message) -> str | None:
        return self.bus.refusal(message)

    def release(self) -> None:
        self._share.released = True
        if self._group is not None:
            self._group.settle()


def first_from(log: Log, offset: int) -> int:
    """Return the index of the first record at `offset` or above."""
    return bisect_left(log, offset, key=lambda stored: stored.offset)


class MemoryAppender:
    def __init__(self, bus: "MemoryBus", owner: Owner) -> None:
        self.bus = bus
        self.owner = owner

    async def append(self, messages: Sequence[Message]) -> None:
        await self.bus.before_commit()
        self.bus.commit_fault()
        self.bus.write(messages, None, self.owner)

    def refusal(self, message: Message) -> str | None:
        return self.bus.refusal(message)


def no_fault() -> None:
    """The bus is there."""


async def a_turn() -> object:
    """A real commit takes its time."""
    await asyncio.sleep(0)


class MemoryBus:
    """`stream.bus.Bus` on a `Disk`. A fault raises what a fetch is to raise, or a commit: `commit_fault` before it is
    written, `told_fault` after that."""

    def __init__(self, disk: Disk, namespace: str = "main", partitions: int = 1) -> None:
        self.disk = disk
        self.namespace = checked_namespace(namespace)
        self.partitions = partitions
        self.fetch_fault: Callable[[], None] = no_fault
        self.commit_fault: Callable[[], None] = no_fault
        self.told_fault: Callable[[], None] = no_fault
        self.before_commit: Callable[[], Awaitable[object]] = a_turn
        self.fetches = 0
        self.commits = 0
        self._known_limits: dict[str, int] = {}
        self._closed = False

    async def create(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> None:
        for topic in topics:
            count = topic.partitions or self.partitions
            log = self.disk.logs.setdefault(self._full(topic.name), [Log() for _ in range(count)])
            if topic.partitions is not None and len(log) != topic.partitions:
                raise WrongConfig(f"topic {topic.name} has {len(log)} partitions, {topic.partitions} expected")
        for stage, topic in readers.items():
            for partition, log in enumerate(self.log(topic)):
                self.disk.progress.setdefault((self._full(stage), topic, partition), Progress(log.start))

    async def differences(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> Sequence[str]:
        found = {topic.name: self.disk.logs.get(self._full(topic.name)) for topic in topics}
        lines = [f"topic {self._full(name)}: missing" for name, log in found.items() if log is None]
        for topic in topics:
            log = found[topic.name]
            if log is not None and topic.partitions not in (None, len(log)):
                full = self._full(topic.name)
                lines.append(f"topic {full} has {len(log)} partitions, {topic.partitions} expected")
        return lines

    async def namespaces(self) -> Collection[str]:
        return [name.removesuffix(".recipe") for name in self.disk.logs if name.endswith(".recipe")]

    @property
    def dense(self) -> bool:
        return not self.disk.shared

    async def topics(self) -> Mapping[str, int]:
        prefix = f"{self.namespace}."
        return {name.removeprefix(prefix): len(log) for name, log in self.disk.logs.items() if name.startswith(prefix)}

    def _full(self, name: str) -> str:
        return full_name(self.namespace, name)

    def log(self, topic: str) -> list[Log]:
        try:
            return self.disk.logs[self._full(topic)]
        except KeyError as err:
            raise WrongConfig(f"there is no topic {self._full(topic)}") from err

    # --- owners

    async def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        partitions = len(self.log(topic))
        if not self.disk.shared:
            owner = self.disk.own(self._full(stage), self)
            try:
                for partition in range(partitions):
                    yield MemoryLease(self, stage, topic, Share(partition, owner))
                await asyncio.get_running_loop().create_future()
            finally:
                owner.give_up()
        group = self.group(stage, topic)
        member = group.join(self)
        try:
            while True:
                while member.events:
                    event = member.events.popleft()
                    yield MemoryLease(self, stage, topic, event, group) if isinstance(event, Share) else event
                member.told.clear()
                await member.told.wait()
        finally:
            group.leave(member)

    def group(self, stage: str, topic: str) -> Group:
        """The group of a stage on a shared bus: a test may have it rebalance."""
        name = self._full(stage), topic
        return self.disk.groups.setdefault(name, Group(self.disk, ".".join(name), len(self.log(topic))))

    @contextlib.asynccontextmanager
    async def appender(self, name: str) -> AsyncGenerator[MemoryAppender]:
        owner = self.disk.own(f"{self._full(name)} as appender" if self.disk.shared else self._full(name), self)
        try:
            yield MemoryAppender(self, owner)
        finally:
            owner.give_up()

    # --- reading and writing

    def write(
        self,
        messages: Sequence[Message],
        progress: tuple[str, str, int, Progress] | None,
        owner: Owner | None = None,
    ) -> None:
        """One step. With an owner, it must still be one."""
        if self._closed:
            raise Fatal("the bus is closed")
        if owner is not None:
            owner.check()
        for message in messages:  # before anything is written
            assert "/" not in message.topic
            self.log(message.topic)
            if len(message.value) > self.disk.limits.get(self._full(message.topic), len(message.value)):
                self._known_limits = dict(self.disk.limits)
                raise TooLarge(self.refusal(message))
        self.disk.append([(self._full(message.topic), message) for message in messages])
        if progress is not None:
            stage, topic, partition, at = progress
            self.disk.progress[self._full(stage), topic, partition] = at

    def limit(self, topic: str, limit_bytes: int, *, known: bool = True) -> None:
        """Take no larger records in a topic from now on; this client is told, or is to find out."""
        self.disk.limits[self._full(topic)] = limit_bytes
        if known:
            self._known_limits = dict(self.disk.limits)

    def refusal(self, message: Message) -> str | None:
        """By the limits as they were when a message was last found too large, as with a broker's."""
        size, limit = len(message.value), self._known_limits.get(self._full(message.topic))
        if limit is None or size <= limit:
            return None
        return f"a record of {size:,} bytes: topic {message.topic} takes {limit:,}"

    def progress_of(self, stage: str, topic: str, partition: int) -> Progress:
        return self.disk.progress.get((self._full(stage), topic, partition), Progress())

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        return {p: self.progress_of(stage, topic, p) for p in range(len(self.log(topic)))}

    async def workers(self, stages: Collection[str]) -> Mapping[str, Sequence[Collection[int]]]:
        return {
            stage: group.members()
            for (full, _), group in self.disk.groups.items()
            for stage in stages
            if full == self._full(stage)
        }

    async def starts(self, topic: str) -> Mapping[int, int]:
        return {partition: log.start for partition, log in enumerate(self.log(topic))}

    async def ends(self, topic: str) -> Mapping[int, int]:
        return {partition: log.end for partition, log in enumerate(self.log(topic))}

    async def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Sequence[Stored]]:
        for partition, log in enumerate([Log(log) for log in self.log(topic)]):
            for first in range(first_from(log, (start or {}).get(partition, 0)), len(log), 100):
                await asyncio.sleep(0)
                yield log[first : first + 100]

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            log = self.log(topic)[partition]
            log.start = max(log.start, min(offset, log.end))
            del log[: first_from(log, log.start)]

    async def close(self) -> None:
        self._closed = True
        self.crash()

    def crash(self) -> None:
        """What the end of its process does: whatever it owned is free."""
        self.disk.owners = {name: owner for name, owner in self.disk.owners.items() if owner.by is not self}
        for group in self.disk.groups.values():
            group.crash(self)
