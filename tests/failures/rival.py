"""Whoever else begins under a transactional id, at once: its connection to the coordinator stands before it is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from aiokafka.protocol.transaction import InitProducerIdRequest

from stream.kafka.epochs import Held
from stream.kafka.owner import TRANSACTION_MS

AGAIN_S = 0.005
PATIENCE_S = 60.0


class Rival:
    """A client of the coordinators alone. `answers` are those to its wish to be the owner, by their class."""

    def __init__(self, client: Any) -> None:
        self.answers: Counter[str] = Counter()
        self._client = client

    async def ready(self, transactional_id: str) -> None:
        """Connect to who coordinates an id."""
        await self._coordinator(CoordinationType.TRANSACTION, transactional_id)

    async def _coordinator(self, kind: Any, key: str) -> int:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    node = await self._client.coordinator_lookup(kind, key)
                    if await self._client.ready(node, group=ConnectionGroup.COORDINATION):
                        return node
                except errors.KafkaError:  # it is moving, or its topic is being made
                    pass
                await asyncio.sleep(AGAIN_S)

    async def take(self, transactional_id: str, node: int | None = None) -> Counter[str]:
        """Become the owner of an id, as a producer that starts does; return the answers until it was."""
        wish = InitProducerIdRequest(transactional_id, TRANSACTION_MS)
        found: Counter[str] = Counter()
        async with asyncio.timeout(PATIENCE_S):
            while not found["NoError"]:
                node = node or await self._coordinator(CoordinationType.TRANSACTION, transactional_id)
                try:
                    answer = await self._client.send(node, wish, group=ConnectionGroup.COORDINATION)
                    said = errors.for_code(answer.error_code).__name__
                except errors.KafkaError as err:
                    said = type(err).__name__
                found[said] += 1
                if said not in {"NoError", "ConcurrentTransactions"}:
                    node = None
                if said != "NoError":
                    await asyncio.sleep(AGAIN_S)
        self.answers += found
        return found

    async def held(self, transactional_id: str) -> Held:
        """Become the owner of an id of which no transaction is open, and return the epoch."""
        node = await self._coordinator(CoordinationType.TRANSACTION, transactional_id)
        wish = InitProducerIdRequest(transactional_id, TRANSACTION_MS)
        while True:
            answer = await self._client.send(node, wish, group=ConnectionGroup.COORDINATION)
            if not answer.error_code:
                return Held(answer.producer_id, answer.producer_epoch)

    async def send_away(self, group: str, member: str) -> str:
        """Leave a group in the name of a member that can no longer do so: it is rebalanced at once."""
        node = await self._coordinator(CoordinationType.GROUP, group)
        answer = await self._client.send(node, LeaveGroupRequest(group, member), group=ConnectionGroup.COORDINATION)
        return errors.for_code(answer.error_code).__name__


@asynccontextmanager
async def rival(brokers: str) -> AsyncGenerator[Rival]:
    client: Any = AIOKafkaClient(bootstrap_servers=brokers)
    await client.bootstrap()
    try:
        yield Rival(client)
    finally:
        await client.close()
