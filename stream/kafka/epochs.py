"""Producer epochs of a transactional id: how an owner in doubt gets its next one without fencing a successor (KIP-360).

A producer that starts asks for an epoch unconditionally, and so fences whoever has one. InitProducerId of version 3
names the epoch that the owner holds: the coordinator aborts what is open under it and returns a later epoch, or refuses
when somebody else has begun. aiokafka stops at version 0.
"""

from typing import Any, ClassVar, NamedTuple

import aiokafka.errors as kafka
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.producer.sender import InitPIDHandler, Sender
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Int64, Schema, TaggedFields

from stream.kafka.transactions import NO_TAGS, TEXT, DescribeTransactions, described

ABORTED = {"PrepareAbort", "CompleteAbort"}
"""States of a transaction that was not committed, and after which nobody has begun one."""

FAILURES = 5
"""Answers UnknownError to the wish for a next epoch, after which it is taken for one that is never granted."""

MOST_BUMPS = 2
"""Epochs by which the end of one transaction raises it: 1, and 2 in Kafka 4.0.0 (KAFKA-19367)."""


class Held(NamedTuple):
    """The epoch that an owner holds."""

    producer_id: int
    epoch: int


class InitProducerIdResponse_v3(Response):  # noqa: N801 - as aiokafka names them
    API_KEY: ClassVar[int] = 22
    API_VERSION: ClassVar[int] = 3
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class InitProducerIdRequest_v3(RequestStruct):  # noqa: N801
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 22
    API_VERSION: ClassVar[int] = 3
    RESPONSE_TYPE: ClassVar[type[Response]] = InitProducerIdResponse_v3
    SCHEMA: ClassVar[Schema] = Schema(
        ("transactional_id", TEXT),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class NextEpoch(Request[InitProducerIdRequest_v3]):
    """Ask for the epoch after the one held. Asked again after a lost answer, the coordinator gives the same answer."""

    API_KEY = 22

    def __init__(self, transactional_id: str, timeout_ms: int, held: Held) -> None:
        self._fields = (transactional_id, timeout_ms, *held, NO_TAGS)

    def build(self, request_struct_class: type[InitProducerIdRequest_v3]) -> InitProducerIdRequest_v3:
        return request_struct_class(*self._fields)


class EpochHandler(InitPIDHandler):
    """Asks for an epoch: the next one where one is `held`, else unconditionally."""

    def __init__(self, sender: Sender, held: Held | None) -> None:
        super().__init__(sender)
        self._held = held
        self._failures = 0

    def create_request(self) -> Any:
        if self._held is None:
            return super().create_request()
        manager = self._sender._txn_manager
        return NextEpoch(manager.transactional_id, manager.transaction_timeout_ms, self._held)

    def handle_response(self, resp: Any) -> float | None:
        """Return after how many seconds to ask again; None when an epoch was given.

        Raises:  InvalidProducerEpoch when the epoch held is not the last one; UnknownError when the coordinator fails
                 at the next one again and again.
        """
        if kafka.for_code(resp.error_code) is not kafka.UnknownError:
            return super().handle_response(resp)
        self._failures += 1
        if self._held is not None and self._failures >= FAILURES:
            raise kafka.UnknownError
        return self._default_backoff


async def is_unclaimed(client: AIOKafkaClient, transactional_id: str, held: Held) -> bool:
    """Tell whether nobody has begun since the epoch held, though the next one is not to be had. That is so

    - when the coordinator aborted the transaction under it, before `transaction.version` 2: the owner is then refused
      as one that was fenced is;
    - when the epoch is the second last of its producer id and its transaction is open: Kafka 4.3 then fails at each
      such wish (measured), and at none that is unconditional.

    Raises:  KafkaError.
    """
    node = await client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id)
    if not await client.ready(node, group=ConnectionGroup.COORDINATION):
        raise kafka.KafkaConnectionError(f"no connection to node {node}")
    request = DescribeTransactions([transactional_id])
    [now] = described(await client.send(node, request, group=ConnectionGroup.COORDINATION))
    bumps = now.epoch - held.epoch
    return now.producer_id == held.producer_id and (bumps == 0 or (now.state in ABORTED and 1 <= bumps <= MOST_BUMPS))
