"""Membership in a stage's consumer group: partitions come and go by rebalance, and each is taken by fencing first.

What is taken in a generation is kept by one task for each partition: it takes the partition, hands the lease out, and
takes it again when it was lost by itself (fenced by a zombie, or a transaction that took too long).
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncGenerator, Collection, Coroutine, Set

import aiokafka.errors as kafka
from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import TopicPartition

from stream.bus import Gone, Lease
from stream.errors import LeaseLost, Unavailable
from stream.kafka.beginning import taken
from stream.kafka.errors import translated
from stream.kafka.lease import KafkaLease
from stream.kafka.place import Place
from stream.retry import backoff_s
from stream.tasks import cancelled

log = logging.getLogger(__name__)

REBALANCE_S = 60.0
"""What a rebalance may take. aiokafka's default is the session's 10 s."""

START_S = 10.0

REVOKE_S = 30.0
"""What an owner is given to commit and release. Less than a rebalance may take."""

RETAKE = 0.4
"""Of a session, before a lost lease is taken again: longer than a heartbeat, so that a zombie learns first that it is
one."""

LOOK = 3.0
"""Sessions after which it is looked whether the topic was given more partitions. aiokafka's default is five minutes."""

WATCH_S = 5.0
STUCK_S = 45.0
"""A fetch that brings nothing for so long, though committed records are there, will never bring any
(aio-libs/aiokafka#1154, #703). Longer than a transaction can hold records back."""

STOP_S = 5.0
NEVER_MS = 2**31 - 1


class Group(ConsumerRebalanceListener):
    """One membership of `stage`'s group on `topic`."""

    def __init__(self, place: Place, stage: str, topic: str) -> None:
        self._place = place
        self._stage = stage
        self._topic = topic
        self._name = place.full(topic)
        self._changes: asyncio.Queue[Lease | Gone | Exception] = asyncio.Queue()
        self._leases: dict[int, KafkaLease] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._had: Set[int] = frozenset()  # the partitions of the last generation
        self._consumer: AIOKafkaConsumer | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._waits = False  # the watch has said that it does

    async def changes(self) -> AsyncGenerator[Lease | Gone]:
        """See `Bus.leases`."""
        await self._place.count(self._topic)
        self._watching = asyncio.create_task(self._told(self._watch()))
        while True:
            change = await self._changes.get()
            if isinstance(change, Exception):
                raise change
            yield change

    async def _told(self, work: Coroutine[None, None, None]) -> None:
        """Do work of the background; what it raises, the owner of the leases is told."""
        try:
            await work
        except Exception as err:  # noqa: BLE001 - handed to `changes`, which raises it
            self._changes.put_nowait(err)

    # --- joining and leaving

    async def _join(self) -> None:
        """Raises:  BrokerDown."""
        # Its state stands on the class: stages of one process would take each other's for theirs.
        sticky = type("Sticky", (StickyPartitionAssignor,), {})
        consumer = AIOKafkaConsumer(
            group_id=self._place.group(self._stage),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=(sticky,),
            session_timeout_ms=int(self._place.session_s * 1000),
            heartbeat_interval_ms=int(self._place.session_s * 300),
            rebalance_timeout_ms=int(REBALANCE_S * 1000),
            metadata_max_age_ms=int(LOOK * self._place.session_s * 1000),
            max_poll_interval_ms=NEVER_MS,  # it would count our own pauses; the watch below looks at what matters
            **self._place.cluster.client,
        )
        try:
            with translated(self._place.cluster.url):
                async with asyncio.timeout(START_S):
                    await consumer.start()
        except BaseException:
            self._stop_later(consumer)
            raise
        consumer.subscribe([self._name], listener=self)
        self._consumer = consumer

    async def close(self) -> None:
        """Leave, at once: whoever leaves is through with its leases. Idempotent."""
        if self._watching is not None:
            await cancelled(self._watching)
        consumer, self._consumer = self._consumer, None
        for lease in self._leases.values():
            lease.release()
        await self._end_generation()
        if consumer is not None:
            self._stop_later(consumer)
        if self._closing:
            await asyncio.wait({*self._closing})

    def _stop_later(self, consumer: AIOKafkaConsumer) -> None:
        async def stop() -> None:
            with contextlib.suppress(kafka.KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await consumer.stop()

        self._later(asyncio.create_task(stop()))

    def _later(self, task: asyncio.Task[None]) -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- rebalances

    async def on_partitions_revoked(self, revoked: Set[TopicPartition]) -> None:
        """Called by the consumer before it joins again. The leases are given back first: until then they may commit."""
        await self._end_generation()

    def on_partitions_assigned(self, assigned: Set[TopicPartition]) -> None:
        """Called by the consumer, whose heartbeat stands still until it returns: so taking goes on by itself."""
        self._waits = False
        partitions = {tp.partition for tp in assigned}
        log.info("%s has partitions %s of %s", self._stage, sorted(partitions) or "none", self._name)
        for partition in sorted(self._had - partitions):
            self._changes.put_nowait(Gone(partition))
        self._had = partitions
        for partition in sorted(partitions):
            keeper = asyncio.create_task(self._told(self._keep(partition)), name=f"{self._stage}-{partition}-keeper")
            self._keepers.add(keeper)
            keeper.add_done_callback(self._keepers.discard)

    async def _end_generation(self) -> None:
        """Take every lease back."""
        for lease in self._leases.values():
            lease.take_back()
        if self._leases:
            waiting = [asyncio.create_task(lease.released.wait()) for lease in self._leases.values()]
            await asyncio.wait(waiting, timeout=REVOKE_S)
            await cancelled(*waiting)
        await cancelled(*self._keepers)
        for lease in self._leases.values():
            self._later(asyncio.create_task(lease.close()))
        self._leases.clear()

    # --- taking

    async def _keep(self, partition: int) -> None:
        """Take a partition and hand it out; again when it was lost by itself."""
        failures = 0
        while True:
            try:
                lease = await self._take(partition)
            except (Unavailable, LeaseLost) as err:  # LeaseLost: another began before its first progress was written
                failures += 1
                if failures == 1:
                    log.warning("%s waits to take partition %d: %s", self._stage, partition, err)
                await asyncio.sleep(backoff_s(failures, 0.2, 5.0, random.random()))
                continue
            if lease is None:
                return
            failures = 0
            self._leases[partition] = lease
            self._changes.put_nowait(lease)
            await lease.released.wait()
            if not lease.lost:
                return
            log.warning("%s lost partition %d of %s: takes it again", self._stage, partition, self._name)
            await lease.close()
            await asyncio.sleep(RETAKE * self._place.session_s)

    async def _take(self, partition: int) -> KafkaLease | None:
        """Fence whoever owned the partition, and only then read its progress. None: it is not ours any more."""
        consumer = self._consumer
        if consumer is None:
            return None
        tp = TopicPartition(self._name, partition)
        owner = self._place.owner(self._stage, self._topic, str(partition))
        try:
            await owner.begin()
            progress = await taken(self._place, owner, self._stage, self._topic, partition)
            consumer.seek(tp, progress.watermark)
        except BaseException as err:
            self._later(asyncio.create_task(owner.close()))
            if isinstance(err, kafka.IllegalStateError):
                return None  # a rebalance came in between
            raise
        return KafkaLease(self._place, consumer, owner, self._stage, self._topic, partition, progress)

    # --- the watch

    async def _watch(self) -> None:
        """Join, and join anew whenever the client is stuck; hand on what the client has to say."""
        since_s: dict[int, tuple[int, float]] = {}  # by partition: a position, and since when a fetch waits there
        while True:
            try:
                if self._consumer is None:
                    await self._join()
                    since_s = {}
                elif not self._leases:
                    self._raise_refusal(self._consumer)
                elif stuck := await self._stuck(since_s):
                    log.warning("%s: nothing comes from %s though it is there: connecting anew", self._stage, stuck)
                    await self._rebuild()
                    continue
            except Unavailable as err:
                if not self._waits:
                    log.warning("%s waits for its group: %s", self._stage, err)
                self._waits = True
                await asyncio.sleep(0.5)
                continue
            if self._leases:  # without any, all is well again when the group has let us in
                self._waits = False
            await asyncio.sleep(WATCH_S if self._leases else 0.5)

    def _raise_refusal(self, consumer: AIOKafkaConsumer) -> None:
        """Raise what the coordinator has said to our joining. A fetch would as well, but it waits for an assignment,
        and takes records that a keeper's lease is to hand out.

        Raises:  WrongConfig when the group will not have us; BrokerDown.
        """
        with translated(f"joining group {self._place.group(self._stage)} (session_s = {self._place.session_s:g})"):
            consumer._coordinator.check_errors()  # pyright: ignore[reportPrivateUsage] - there is no public way

    async def _stuck(self, since_s: dict[int, tuple[int, float]]) -> Collection[int]:
        """Return the partitions whose fetch waits in vain for too long."""
        waiting = {partition: lease.position for partition, lease in self._leases.items() if lease.waits}
        ends = await self._place.admin.stable_ends(self._name, waiting) if waiting else {}
        now_s = time.monotonic()
        for partition in list(since_s):
            if since_s[partition][0] != waiting.get(partition) or ends[partition] <= waiting[partition]:
                del since_s[partition]
        for partition, position in waiting.items():
            if ends[partition] > position:
                since_s.setdefault(partition, (position, now_s))
        return [partition for partition, (_, began_s) in since_s.items() if now_s - began_s > STUCK_S]

    async def _rebuild(self) -> None:
        consumer, self._consumer = self._consumer, None
        await self._end_generation()
        if consumer is not None:
            self._stop_later(consumer)
