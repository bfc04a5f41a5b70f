"""What outlives a bus in memory: its logs and progress, who owns what, and how it is shared."""

import asyncio
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stream.bus import Gone, Message, Stored
from stream.errors import InUse, LeaseLost
from stream.progress import Progress


class Log(list[Stored]):
    """One partition: its records, of which the offsets rise and may have gaps."""

    start = 0  # every record below it was deleted
    end = 0


@dataclass(slots=True)
class Disk:
    """Logs by namespace.topic, progress by (namespace.stage, topic, partition), owners by what they own.

    `shared`, as on a broker: a group has many members, a second appender takes over, and each step leaves a mark in
    every partition that it wrote to, which has an offset and is no record.
    """

    shared: bool = False
    logs: dict[str, list[Log]] = field(default_factory=dict[str, list[Log]])
    progress: dict[tuple[str, str, int], Progress] = field(default_factory=dict[tuple[str, str, int], Progress])
    owners: dict[str, "Owner"] = field(default_factory=dict[str, "Owner"])
    groups: dict[tuple[str, str], "Group"] = field(default_factory=dict[tuple[str, str], "Group"])
    limits: dict[str, int] = field(default_factory=dict[str, int])
    """Bytes that a record of a topic, by namespace.topic, may have; no limit where none is named."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when anything has happened that a fetch might wait for, and then replaced."""

    def own(self, name: str, by: object) -> "Owner":
        """Become the owner of a name. Raises:  InUse when it has one and is not shared."""
        if name in self.owners and not self.shared:
            raise InUse(f"{name} is in use")
        owner = self.owners[name] = Owner(self, name, by)
        return owner

    def append(self, messages: Sequence[tuple[str, Message]]) -> None:
        """Append one step of messages, each with its namespace.topic."""
        written: list[Log] = []
        for name, message in messages:
            partition = zlib.crc32(message.key.encode()) % len(self.logs[name])
            log = self.logs[name][partition]
            log.append(Stored(partition, log.end, message.key, message.value, message.cause, time.time()))
            log.end += 1
            written.append(log)
        if self.shared:
            for log in {id(log): log for log in written}.values():
                log.end += 1
        self.wake()

    def wake(self) -> None:
        self.arrived.set()
        self.arrived = asyncio.Event()


@dataclass(eq=False, slots=True)
class Owner:
    """A right to write, while the disk holds it."""

    disk: Disk
    name: str
    by: object

    def check(self) -> None:
        """Raises:  LeaseLost."""
        if self.disk.owners.get(self.name) is not self:
            raise LeaseLost(f"{self.name} is no longer ours to write")

    def give_up(self) -> None:
        if self.disk.owners.get(self.name) is self:
            del self.disk.owners[self.name]


@dataclass(eq=False, slots=True)
class Share:
    """What the group knows of a lease that it gave out."""

    partition: int
    owner: Owner
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    released: bool = False


@dataclass(eq=False, slots=True)
class Member:
    """One that takes part in a group: `events` are what it has not been told yet."""

    by: object
    shares: list[Share] = field(default_factory=list[Share])
    events: deque[Share | Gone] = field(default_factory=deque[Share | Gone])
    told: asyncio.Event = field(default_factory=asyncio.Event)


class Group:
    """The consumer group of a stage on a topic. It wants everything back whenever a member comes or goes; once all is
    released, it shares the partitions out anew, with the old leases fenced."""

    def __init__(self, disk: Disk, name: str, partitions: int) -> None:
        self._disk = disk
        self._name = name
        self._partitions = partitions
        self._members: list[Member] = []
        self._pending = False
        self.turn = 0  # added to a partition's number, it says whose it is

    def join(self, by: object) -> Member:
        member = Member(by)
        self._members.append(member)
        self.rebalance()
        return member

    def leave(self, member: Member) -> None:
        """Its leases are lost. Idempotent."""
        if member in self._members:
            self._members.remove(member)
            for share in member.shares:
                self._lose(share)
            self.rebalance()

    def crash(self, by: object) -> None:
        """Let the members of a bus vanish."""
        for member in [member for member in self._members if member.by is by]:
            self.leave(member)

    def rebalance(self, lost: Callable[[int], bool] = lambda _: False) -> None:
        """Want every lease back; those of partitions that are `lost` are taken away at once."""
        self._pending = True
        for share in self.shares():
            share.wanted.set()
            if lost(share.partition):
                self._lose(share)
        self._disk.wake()
        self.settle()

    def _lose(self, share: Share) -> None:
        share.owner.give_up()
        share.wanted.set()
        share.released = True
        self._disk.wake()

    def members(self) -> list[list[int]]:
        """Return the partitions of each member."""
        return [[share.partition for share in member.shares] for member in self._members]

    def shares(self) -> list[Share]:
        """What is given out."""
        return [share for member in self._members for share in member.shares]

    def settle(self) -> None:
        """Share out anew, if everything that is wanted has been released."""
        if not self._pending or not self._members or not all(share.released for share in self.shares()):
            return
        self._pending = False
        had = {member: [share.partition for share in member.shares] for member in self._members}
        for member in self._members:
            member.shares = []
        for partition in range(self._partitions):
            member = self._members[(partition + self.turn) % len(self._members)]
            member.shares.append(Share(partition, self._disk.own(f"{self._name}.{partition}", member.by)))
        for member in self._members:
            kept = {share.partition for share in member.shares}
            member.events.extend(Gone(partition) for partition in had[member] if partition not in kept)
            member.events.extend(member.shares)
            member.told.set()
