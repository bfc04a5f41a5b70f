"""Changing a topic's configs, as an operator does."""

import asyncio
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.patience import PATIENCE_S


async def set_topic(brokers: str, topic: str, configs: Mapping[str, str]) -> None:
    """Give a topic these configs and the defaults for all others; return when a broker says that it has them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    try:
        [answer] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))])
        assert [resource[0] for resource in answer.resources] == [0], answer
        async with asyncio.timeout(PATIENCE_S):
            while not configs.items() <= (await _configs(admin, topic)).items():
                await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def _configs(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [resource] = answer.resources
    return {entry[0]: entry[1] for entry in resource[4]}
