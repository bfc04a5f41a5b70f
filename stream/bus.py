"""The bus: what every implementation promises. `tests/contract` holds each of them to it.

1.  *Atomic step.* The messages and the progress of one `commit` become visible together or not at all.
2.  *Exactly once in effect.* After any crash, kill, pause, rebalance or network cut each input has one outcome in
    committed output: progress says exactly what is finished, and a lease that another owner took over can no longer
    commit. Where the fate of a commit is not known, the progress of the next lease decides it.
3.  *Conservation.* Every message made from an input carries its `Cause`, so `audit` can prove from the topics alone
    that each finished input has all of its outcomes, once.
4.  *Order* is the log's: offsets of a partition rise in commit order, and `fetch` and `read` deliver in offset order.
5.  *Backpressure.* `fetch` holds no more than was asked for (and one stored batch), whatever the backlog, and never
    hands out an offset that progress could not tell of (`Progress.reach`).
6.  *Replay.* `append` is atomic, so inputs re-appended under their ids are processed as new positions. Offsets are
    never rewound.
7.  *Retention* never deletes by time: only `delete_before` deletes, and offsets stay what they are.

Offsets of a partition rise and may have gaps: a record that was deleted, or a mark of the broker's own.

A bus is one namespace's. What it is asked about a topic may be asked about another namespace's, named "main/seeds"
(`stream.topics.foreign`): to lease it, for a group of our own, and to read it; never to write it.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import NamedTuple, Protocol

import msgspec

from stream.progress import Progress
from stream.topics import Topic

# Structs: a stage at work makes ten thousands of each a second, and tuples with names take five times as long, and
# the garbage collector's time. None can be part of a cycle.

NOTHING: Mapping[str, str] = MappingProxyType({})


class Cause(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Header: this record is outcome `i` of the `n` that `stage` made from the input at (topic, partition, offset)."""

    stage: str
    topic: str
    partition: int
    offset: int
    i: int
    n: int

    @property
    def position(self) -> tuple[str, int, int]:
        """Where the input stands: topic, partition, offset."""
        return self.topic, self.partition, self.offset


class Message(msgspec.Struct, frozen=True, gc=False):
    """A record to be appended. Its partition follows from its key."""

    topic: str
    key: str
    value: bytes
    cause: Cause | None = None


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record as it stands in a topic."""

    partition: int
    offset: int
    key: str
    value: bytes
    cause: Cause | None
    at_s: float  # when it was appended, seconds since the epoch


class Lease(Protocol):
    """Sole ownership of one input partition by one stage, until it is wanted back, lost, or its bus closes.

    The owner fetches and commits until `wanted` is set, then commits what is finished, and calls `release`. One call
    of `fetch` and one of `commit` may be under way at a time.
    """

    @property
    def partition(self) -> int: ...

    @property
    def progress(self) -> Progress:
        """The committed progress when the lease began."""
        ...

    @property
    def position(self) -> int:
        """No record below it is left to deliver by this lease: it follows the records that `fetch` has returned, and
        goes over offsets that hold none for us."""
        ...

    @property
    def wanted(self) -> asyncio.Event:
        """Set once another member is to have the partition, or the lease was lost: fetch no more, commit what is
        finished, release. Whoever takes too long over it loses the lease. Never set where a group has one member."""
        ...

    async def fetch(self, limit: int) -> Sequence[Stored]:
        """Wait for records and return at most `limit` (1 or more) of them, after those fetched before, in offset order,
        leaving out what `progress` says is finished. Returns none when only `position` has moved, over offsets that
        hold no record. Promise that cancelling it loses no record, and that no offset is above `Progress.reach` of
        what was last committed: it waits for the commit that makes room.

        Raises:  LeaseLost once `wanted` is set; Unavailable.
        """
        ...

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        """Make the messages and the progress durable and visible, together or not at all.

        Raises:  Unavailable when nothing was written or nobody knows: the same call is made again, and finds out;
                 TooLarge when nothing was written, as a message is larger than its topic takes: `refusal` now names
                 it; LeaseLost when the partition is no longer ours: what became of this step, the progress of the
                 next lease tells; another Fatal when no such step can ever be written.
        """
        ...

    def refusal(self, message: Message) -> str | None:
        """Return why the bus would never take a message, in one line with its size and its topic's limit; None when
        it would, as far as is known."""
        ...

    def release(self) -> None:
        """Say that the owner is through: it fetches and commits no more with this lease. Idempotent."""
        ...


class Gone(NamedTuple):
    """A partition that was ours has gone to another member of the group: work on it is for nothing."""

    partition: int


class Appender(Protocol):
    """Sole ownership of the right to append under one name: a source, or a command."""

    async def append(self, messages: Sequence[Message]) -> None:
        """Make the messages durable and visible, together or not at all.

        Raises:  as `Lease.commit`; after a LeaseLost another owner has the name, and what became of this step stands
                 in the topics.
        """
        ...

    def refusal(self, message: Message) -> str | None:
        """As `Lease.refusal`."""
        ...


class Bus(Protocol):
    """One namespace on a message bus."""

    @property
    def namespace(self) -> str: ...

    @property
    def dense(self) -> bool:
        """Whether offsets have no gaps but below the start, so that differences of offsets count records."""
        ...

    async def namespaces(self) -> Collection[str]:
        """Return every namespace on this bus that has a topic `recipe`."""
        ...

    async def create(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> None:
        """Create the topics that do not exist. One that exists with another number of partitions is a WrongConfig.

        `readers` are the stages by name, with the topic that each one reads. Their progress begins together with that
        topic, or where the first record stands that was not deleted: where it is missing later, it was lost.
        """
        ...

    async def differences(self, topics: Sequence[Topic], readers: Mapping[str, str] = NOTHING) -> Sequence[str]:
        """Return in what the bus differs from what `create` would make, a line each: what it is of, what was found and
        expected, and how to mend it. Changes nothing."""
        ...

    async def topics(self) -> Mapping[str, int]:
        """Return the existing topics of the namespace, without its prefix, and their partitions."""
        ...

    def leases(self, stage: str, topic: str) -> AsyncIterator[Lease | Gone]:
        """Join `stage`'s consumer group on `topic`, for ever. Yields a lease for each partition that falls to us, again
        each time that it falls to us anew, its old lease being released or lost by then; and Gone for each that we
        had and that does not come back. Leaving the iterator leaves the group; its leases commit no more.

        Raises:  InUse where a group can only have one member and has one; ProgressLost.
        """
        ...

    def appender(self, name: str) -> AbstractAsyncContextManager[Appender]:
        """Own `name` while inside. A second owner is refused (InUse), or takes over and fences the first."""
        ...

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        """Return the committed progress of a stage by partition of its input; every partition has an entry."""
        ...

    async def workers(self, stages: Collection[str]) -> Mapping[str, Sequence[Collection[int]]]:
        """Return, by stage, the partitions that each of its workers has: none where it stands by, or is joining. Says
        nothing of a stage where a group can only have one member."""
        ...

    async def starts(self, topic: str) -> Mapping[int, int]:
        """Return by partition the first offset still there: every record below it was deleted. 0 where none was, the
        end where all were."""
        ...

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return the end offset by partition: what the watermark of a stage that is done with it equals."""
        ...

    def read(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Sequence[Stored]]:
        """Yield the records of a topic up to its end at the time of the call, partition by partition, in batches;
        `start` is the first offset wanted, by partition (0 where it names none)."""
        ...

    async def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Delete records below these offsets, by partition, and none above. One below may stay for a while, where the
        bus can only delete it together with its neighbours. Progress may lie below. Only pruning calls it.
        """
        ...

    async def close(self) -> None:
        """Finish what is being written and release everything. Idempotent."""
        ...
