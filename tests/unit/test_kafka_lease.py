"""A lease on Kafka and what its consumer may say, where no broker can be made to say it at will."""

from typing import Any

import pytest
from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from aiokafka.structs import TopicPartition

from stream.errors import LeaseLost
from stream.kafka.cluster import Cluster
from stream.kafka.lease import KafkaLease
from stream.kafka.owner import Owner
from stream.kafka.place import Place
from stream.kafka.security import KafkaConfig
from stream.progress import Progress


class Consumer:
    """Has nothing, and says `error` when it is asked where it stands."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def getmany(self, *_: TopicPartition, **__: int) -> dict[TopicPartition, list[Any]]:
        return {}

    async def position(self, _: TopicPartition) -> int:
        raise self._error


@pytest.mark.parametrize("error", [IllegalStateError("not assigned"), ConsumerStoppedError(), AssertionError()])
async def test_a_fetch_from_a_partition_that_a_rebalance_has_taken_away_says_that_the_lease_is_lost(
    error: Exception,
) -> None:
    cluster: Any = Cluster.of("kafka://localhost:9092", KafkaConfig())
    nobody: Any = None
    consumer: Any = Consumer(error)
    place = Place(cluster, nobody, "main", 10.0)
    lease = KafkaLease(place, consumer, Owner(cluster, "id", {}, {}), "seeds", "unique", 0, Progress())
    with pytest.raises(LeaseLost):
        await lease.fetch(1)
