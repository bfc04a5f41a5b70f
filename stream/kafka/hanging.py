"""Transactions that have ended at their coordinator but not in a partition: how they are found, and completed.

A coordinator ends a transaction by a marker in each of its partitions. Kafka 4.3.1 takes a partition that has no leader
at that moment for a deleted one, and skips it (KAFKA-20734): for example when the only broker was stopped for longer
than its session (`broker.session.timeout.ms`), and is sent a commit before it leads its partitions again. In that
partition the transaction stays open: no timeout ends it, and readers of committed records never get past it.
KIP-664 calls it hanging. Its tool can only abort; here the coordinator is asked how the transaction has ended.
"""

import asyncio
import logging
import random
from collections.abc import Collection, Mapping

from aiokafka.structs import TopicPartition

from stream.errors import BrokerDown, PipelineError, WrongConfig
from stream.kafka.admin import Admin
from stream.kafka.transactions import (
    DescribeProducers,
    DescribeTransactions,
    ListTransactions,
    Open,
    Transaction,
    WriteTxnMarkers,
    check_written,
    described,
    listed,
    opened,
)

log = logging.getLogger(__name__)

CHECK_S = 5.0
"""A partition that holds readers back at the same offset for so long is looked at. Transactions take some 50 ms."""

OFFSETS = "__consumer_offsets"

ENDING = {"PrepareCommit", "PrepareAbort", "PrepareEpochFence"}


class HangingTransactions:
    """Completes those of the transactional ids that begin with `prefix`, in topics that begin with it and in the
    groups' offsets. Several workers may do so at once: the second marker ends nothing."""

    def __init__(self, admin: Admin, prefix: str) -> None:
        self._admin = admin
        self._prefix = prefix
        self._held: Mapping[TopicPartition, int] = {}  # last stable offsets below the high watermark, at the last check

    async def watch(self) -> None:
        """Check from time to time. What forbids it is said once."""
        said = False
        while True:
            await asyncio.sleep(CHECK_S * random.uniform(0.8, 1.2))
            try:
                await self.check()
            except BrokerDown as err:
                log.debug("hanging transactions were not looked for: %s", err)
            except PipelineError as err:
                if not said:
                    log.error("hanging transactions cannot be looked for or completed: %s", err)
                said = True

    async def check(self) -> None:
        """Complete what hangs in the partitions that have held readers back since the last check.

        Raises:  BrokerDown.
        """
        held = await self._admin.held_back([self._prefix, OFFSETS])
        unmoved = [tp for tp, offset in held.items() if self._held.get(tp) == offset]
        self._held = held
        if not unmoved:
            return
        before = await self._open(unmoved)
        transactions = await self._transactions({transaction.producer_id for transaction in before})
        # What was open before the coordinator said that it has ended, and still is, hangs.
        for transaction in await self._open(unmoved):
            last = transactions.get(transaction.producer_id)
            committed = outcome(transaction.epoch, last) if last and transaction in before else None
            if last and committed is not None:
                await self._complete(transaction, last.transactional_id, committed=committed)

    async def _complete(self, hanging: Open, transactional_id: str, *, committed: bool) -> None:
        node = (await self._admin.leaders([hanging.partition])).get(hanging.partition)
        if node is None:
            return  # it has no leader now: the next check finds it again
        what = (
            f"a transaction of {transactional_id} was {'committed' if committed else 'aborted'}, and the brokers did "
            f"not say so in {hanging.partition.topic}[{hanging.partition.partition}] (KAFKA-20734)"
        )
        try:
            await self._admin.ask_about(WriteTxnMarkers(hanging, commit=committed), node, check_written)
        except WrongConfig as err:
            raise WrongConfig(f"{what}; to write the marker a user needs ClusterAction on the cluster") from err
        log.warning("%s: wrote the marker", what)

    async def _open(self, partitions: Collection[TopicPartition]) -> set[Open]:
        found: set[Open] = set()
        by_leader: dict[int, list[TopicPartition]] = {}
        for tp, leader in (await self._admin.leaders(partitions)).items():
            by_leader.setdefault(leader, []).append(tp)
        for leader, led in by_leader.items():
            found.update(await self._admin.ask_about(DescribeProducers(led), leader, opened))
        return found

    async def _transactions(self, producer_ids: Collection[int]) -> dict[int, Transaction]:
        """Return the last transaction of our transactional ids among these producers."""
        found: dict[int, Transaction] = {}
        for node in await self._admin.brokers():
            names = await self._admin.ask_about(ListTransactions(producer_ids), node, listed)
            if ours := [name for name in names if name.startswith(self._prefix)]:
                for last in await self._admin.ask_about(DescribeTransactions(ours), node, described):
                    found[last.producer_id] = last
        return found


def outcome(epoch: int, last: Transaction) -> bool | None:
    """Return whether a transaction of an epoch was committed, by the last one of its transactional id; None where it
    has not ended, or is about to. Pure.

    An owner never sends an abort. The coordinator aborts, and raises the epoch; a new owner raises it as well. So one
    epoch more means that a new owner began after a commit. With more than one, either may have been: the transaction is
    taken for aborted, and where its progress hangs with it, as on a single broker, its inputs are done again.

    >>> outcome(3, Transaction("a", "CompleteCommit", 7, 3)), outcome(3, Transaction("a", "Empty", 7, 4))
    (True, True)
    >>> outcome(3, Transaction("a", "CompleteAbort", 7, 4)), outcome(3, Transaction("a", "Ongoing", 7, 5))
    (False, False)
    >>> outcome(3, Transaction("a", "Ongoing", 7, 3)), outcome(3, Transaction("a", "PrepareAbort", 7, 4))
    (None, None)
    """
    if last.state in ENDING or (last.epoch == epoch and last.state != "CompleteCommit"):
        return None
    if last.state == "CompleteAbort":
        return False
    return last.epoch - epoch <= 1
