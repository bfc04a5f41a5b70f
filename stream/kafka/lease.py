"""A lease: one input partition of one stage, its records through the group's consumer, its steps through one owner."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Generator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from stream.bus import Message, Stored
from stream.errors import BrokerDown, LeaseLost, ProgressLost, TooLarge, WrongConfig
from stream.kafka.errors import translated
from stream.kafka.owner import Mark, Owner
from stream.kafka.place import Place
from stream.kafka.wire import stored
from stream.progress import Progress

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How soon a position that moved over control records is noticed. Records themselves wake a fetch at once."""


class KafkaLease:
    """`stream.bus.Lease`. `owner` has begun, and `progress` was read after that."""

    def __init__(
        self, place: Place, consumer: AIOKafkaConsumer, owner: Owner, stage: str, topic: str, partition: int,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.partition = partition
        self.progress = progress
        self.wanted = asyncio.Event()
        self.released = asyncio.Event()
        self.lost = False  # it ended by itself, not by a rebalance
        self.waits = False  # a fetch waits for records to come
        self._place = place
        self._consumer = consumer
        self._owner = owner
        self._group = place.group(stage)
        self._tp = TopicPartition(place.full(topic), partition)
        self._end = progress.watermark  # no record below it is left at the broker
        self._fresh = max(progress.done, default=progress.watermark - 1) + 1  # nothing from here on is finished
        self._held: deque[Stored] = deque()  # got from the broker, not yet handed out
        self._polling: asyncio.Timeout | None = None  # a poll under way
        self._away = False
        self._told = progress.watermark  # the position that the last fetch returned with
        self._committed = progress
        self._doubt: Progress | None = None  # of a commit whose fate is not known
        self._turn = asyncio.Lock()  # one commit at a time
        self._moved = asyncio.Event()  # a commit has raised the watermark
        self._steps: set[asyncio.Task[None]] = set()

    @property
    def what(self) -> str:
        """Its name, for messages."""
        return f"{self._tp.topic}[{self.partition}] of group {self._group}"

    # --- records

    @property
    def position(self) -> int:
        return self._held[0].offset if self._held else self._end

    async def fetch(self, limit: int) -> Sequence[Stored]:
        while True:
            if self.wanted.is_set() or self.released.is_set():
                raise LeaseLost(f"{self.what} is wanted by another")
            if not self._held:
                await self._poll(limit)
            ready = self._within_span(limit)
            if ready or self.position != self._told:
                self._told = self.position
                return ready
            if self._held:  # too far above the watermark: until a commit raises it
                self._moved.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._moved.wait()
            if self._back():
                return ()

    def _back(self) -> bool:
        """Whether the brokers answer again, where the last fetch had to say that they do not: an answer, though it
        holds no record, for who waits for one.

        Raises:  BrokerDown while none answers.
        """
        was_away, self._away = self._away, True
        self._place.raise_if_down()
        self._away = False
        return was_away

    async def _poll(self, limit: int) -> None:
        """Wait for records, a while. Whoever cancels it loses none: they are put by without another await."""
        self.waits = True
        try:
            # aiokafka waits for the end of a rebalance without a limit, and that for us to give the lease back.
            async with asyncio.timeout(None) as self._polling:
                await self._polled(limit)
        except TimeoutError:
            pass  # it is wanted: `fetch` says so
        finally:
            self._polling = None
            self.waits = False

    async def _polled(self, limit: int) -> None:
        with translated(self.what), self._lost_by_rebalance():
            try:
                found = await self._consumer.getmany(self._tp, timeout_ms=int(POLL_S * 1000), max_records=limit)
            except OffsetOutOfRangeError:
                await self._pass_deleted()
                return
            self._held.extend(
                stored(record)
                for record in found.get(self._tp, ())
                if record.offset >= self._fresh or record.offset not in self.progress
            )
            self._end = max(self._end, await self._consumer.position(self._tp))

    @contextlib.contextmanager
    def _lost_by_rebalance(self) -> Generator[None]:
        """Translate what aiokafka says of a partition that is not ours any more."""
        try:
            yield
        except (IllegalStateError, ConsumerStoppedError, AssertionError) as err:
            raise LeaseLost(f"{self.what} is not ours any more") from err

    async def _pass_deleted(self) -> None:
        """Go on where the log begins, when it begins behind our position.

        Raises:  ProgressLost when it ends before our position: it is not the log that we have read.
        """
        start = (await self._place.admin.starts(self._tp.topic, [self.partition]))[self.partition]
        if start <= self._end:
            raise ProgressLost(
                f"{self.what}: the topic ends before {self._end}, up to where it was read: it was made anew"
            )
        log.warning("%s: what stood below %d was deleted; goes on there", self.what, start)
        self._consumer.seek(self._tp, start)
        self._end = start

    def _within_span(self, limit: int) -> list[Stored]:
        """Hand out what a bitmap above the committed watermark has room for."""
        last = self._committed.reach
        ready: list[Stored] = []
        if self._held and len(self._held) <= limit and self._held[-1].offset <= last:
            ready.extend(self._held)
            self._held.clear()
            return ready
        while self._held and len(ready) < limit and self._held[0].offset <= last:
            ready.append(self._held.popleft())
        return ready

    # --- steps

    def refusal(self, message: Message) -> str | None:
        return self._place.refusal(message)

    async def commit(self, messages: Sequence[Message], progress: Progress) -> None:
        if self.released.is_set() or self.lost:
            raise LeaseLost(f"{self.what} is no longer ours to write")
        step = asyncio.create_task(self._commit(messages, progress))
        self._steps.add(step)
        step.add_done_callback(self._ended)
        await asyncio.shield(step)  # a cancelled caller's step is written all the same

    def _ended(self, step: "asyncio.Task[None]") -> None:
        self._steps.discard(step)
        if not step.cancelled():
            step.exception()  # told, as far as asyncio is concerned: a caller that was cancelled does not hear of it

    async def _commit(self, messages: Sequence[Message], progress: Progress) -> None:
        async with self._turn:
            if self.lost:
                raise LeaseLost(f"{self.what} is no longer ours to write")
            if not self._owner.well and await self._is_written(progress):
                return
            names = await self._place.names(messages)
            try:
                await self._write(messages, names, progress)
            except TooLarge:
                await self._place.load_limits([*names.values()])
                if any(map(self._place.refusal, messages)):
                    # What is open of this step would hold up all who read, until the coordinator aborts it.
                    await self._is_written(progress)
                    raise
                # Each message is small enough: it is their batches that were made for a limit which has fallen since.
                if not await self._is_written(progress):
                    await self._write(messages, names, progress)

    async def _write(self, messages: Sequence[Message], names: Mapping[str, str], progress: Progress) -> None:
        mark = Mark(self._group, *self._tp, progress.watermark, progress.bitmap())
        try:
            await self._owner.write(messages, names, mark)
        except BrokerDown:
            self._doubt = progress
            raise
        except LeaseLost:
            self._lose()
            raise
        self._written(progress)

    async def _is_written(self, progress: Progress) -> bool:
        """Resume after a step of unknown fate; return whether that step was this one, and written.

        Raises:  LeaseLost when another owner has the partition now; BrokerDown.
        """
        try:
            await self._owner.resume()  # first: it ends what is under way
        except LeaseLost:
            self._lose()
            raise
        try:
            found = await committed(self._place, self._group, self._tp)
        except BaseException:
            self._owner.discard()  # nothing may be written before that is known
            raise
        doubt, self._doubt = self._doubt, None
        if found == self._committed:
            return False
        if doubt is not None and found == doubt == progress:
            self._written(progress)
            return True
        self._lose()
        raise LeaseLost(f"{self.what}: another owner has written")

    def _written(self, progress: Progress) -> None:
        self._committed = progress
        self._moved.set()

    # --- the end

    def _lose(self) -> None:
        self.lost = True
        self.take_back()

    def take_back(self) -> None:
        """Ask for it; a fetch under way ends."""
        self.wanted.set()
        if self._polling is not None:
            self._polling.reschedule(0.0)

    def release(self) -> None:
        self.released.set()

    async def close(self) -> None:
        """Let nothing of it write any more."""
        self.take_back()
        self.released.set()
        if self._steps:
            await asyncio.wait({*self._steps})
        await self._owner.close()


async def committed(place: Place, group: str, tp: TopicPartition) -> Progress:
    """Return the progress that a group has committed on a partition.

    Raises:  ProgressLost when there is none; BrokerDown.
    """
    at = (await place.admin.committed(group, tp.topic, [tp.partition]))[tp.partition]
    return decoded(place, group, tp, at)


def lost(place: Place, group: str, where: str) -> ProgressLost:
    """Return the error of progress that is not there."""
    return ProgressLost(
        f"{place.cluster.url}: group {group} has no committed progress on {where}. It was never made (seedstream "
        "topics create), or the brokers dropped it, offsets.retention.minutes after the last worker left. Beginning "
        f"again would do all again: {_anew(group)}, and let brokers keep offsets for a year"
    )


def decoded(place: Place, group: str, tp: TopicPartition, at: OffsetAndMetadata | None) -> Progress:
    """Return the progress in a committed offset.

    Raises:  ProgressLost when there is none; WrongConfig when its metadata is not ours.
    """
    where = f"{tp.topic}[{tp.partition}]"
    if at is None:
        raise lost(place, group, where)
    try:
        return Progress.decode(at.offset, at.metadata)
    except ValueError as err:
        raise WrongConfig(
            f"{place.cluster.url}: progress of group {group} on {where} was committed by something else than "
            f"seedstream ({err}), and what was finished is not known any more: {_anew(group)}, and keep others out of "
            "the group"
        ) from err


def _anew(group: str) -> str:
    return f"run `seedstream replay {group.partition('.')[2]} --into NAMESPACE`"
