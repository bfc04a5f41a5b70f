"""The bus: what every implementation promises. `tests/contract` holds each of them to it.

1.  *Atomic step.* The messages and the progress of one `commit` become visible together or not at all.
2.  *Exactly once in effect.* After any crash, kill, pause, rebalance or network cut each input has one outcome in
    committed output: progress says exactly what is finished, and a lease that another owner took over can no longer
    commit.
3.  *Conservation.* Every message made from an input carries its `Cause`, so `audit` can prove from the topics alone
    that each finished input has all of its outcomes, once.
4.  *Order* is the log's: offsets of a partition rise in commit order, and `fetch` and `read` deliver in offset order.
5.  *Backpressure.* `fetch` holds no more than was asked for (and one stored batch), whatever the backlog.
6.  *Replay.* `append` is atomic, so inputs re-appended under their ids are processed as new positions. Offsets are
    never rewound.
7.  *Retention* never deletes by time.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from stream.progress import Progress
from stream.topics import Topic


class Cause(NamedTuple):
    """Header: this record is outcome `i` of the `n` that `stage` made from the input at (topic, partition, offset)."""

    stage: str
    topic: str
    partition: int
    offset: int
    i: int
    n: int


class Message(NamedTuple):
    """A record to be appended. Its partition follows from its key."""

    topic: str
    key: str
    value: bytes
    cause: Cause | None = None


class Stored(NamedTuple):
    """A record as it stands in a topic."""

    partition: int
    offset: int
    key: str
    value: bytes
    cause: Cause | None
    at_s: float  # when it was appended, seconds since the epoch


class Lease(Protocol):
    """Sole ownership of one input partition by one stage, until it is lost or its bus closes."""

    @property
    def partition(self) -> int: ...

    @property
    def progress(self) -> Progress:
        """The committed progress when the lease began."""
        ...

    async def fetch(self, limit: int) -> Sequence[Stored]:
        """Wait for records and return 1..limit of them, after those fetched before, in offset order, leaving out what
        `progress` says is finished. Promise that cancelling it loses no record.
        """
        ...

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        """Make the messages and the progress durable and visible, together or not at all.

        Raises:  Unavailable when nothing was written, and the same call may be made again; Fatal when the lease is no
                 longer ours.
        """
        ...


class Appender(Protocol):
    """Sole ownership of the right to append under one name: a source, or a command."""

    async def append(self, messages: Sequence[Message]) -> None:
        """Make the messages durable and visible, together or not at all. Raises as `Lease.commit`."""
        ...


class Bus(Protocol):
    """One namespace on a message bus."""

    @property
    def namespace(self) -> str: ...

    async def create(self, topics: Sequence[Topic]) -> None:
        """Create the topics that do not exist. One that exists with another number of partitions is a WrongConfig."""
        ...

    async def topics(self) -> Mapping[str, int]:
        """Return the existing topics of the namespace, without its prefix, and their partitions."""
        ...

    def leases(self, stage: str, topic: str) -> AsyncIterator[Lease]:
        """Join `stage`'s consumer group on `topic` and yield each partition that falls to us, for ever. Leaving the
        iterator leaves the group."""
        ...

    def appender(self, name: str) -> AbstractAsyncContextManager[Appender]:
        """Own `name` while inside. A second owner is refused, or takes over and fences the first."""
        ...

    async def progress(self, stage: str, topic: str) -> Mapping[int, Progress]:
        """Return the committed progress of a stage by partition of its input; every partition has an entry."""
        ...

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return the end offset by partition: what the watermark of a stage that is done with it equals."""
        ...

    def read(self, topic: str) -> AsyncIterator[Sequence[Stored]]:
        """Yield all records of a topic up to its end at the time of the call, partition by partition, in batches."""
        ...

    async def close(self) -> None:
        """Finish what is being written and release everything. Idempotent."""
        ...
