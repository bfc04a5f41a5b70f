"""What the tests of owners that cross work on: a bus with one partition of each topic."""

import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence

from stream.bus import Stored
from stream.kafka.bus import Kafka
from stream.kafka.security import KafkaConfig
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.steps import READERS

MADE = [TOPICS["files"], TOPICS["functions"], REJECTS, DEAD]


@contextlib.asynccontextmanager
async def opened(url: str, namespace: str | None = None) -> AsyncGenerator[Kafka]:
    config = KafkaConfig(partitions=1, session_s=6.0)
    async with Kafka.open(url, namespace or f"t{secrets.token_hex(4)}", config=config) as bus:
        await bus.create(MADE, READERS)
        yield bus


def keys(stored: Sequence[Stored]) -> list[str]:
    return [record.key for record in stored]
