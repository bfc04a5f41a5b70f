"""aiokafka tells of each of its troubles, again and again: what matters of them is said by us, once."""

import asyncio
import logging
from typing import Any

from aiokafka.errors import KafkaError


def quiet() -> None:
    """Keep aiokafka silent, for as long as the running loop lives."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asyncio.get_running_loop().set_exception_handler(_unheard)


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of one refusal aiokafka makes the failure of every future that waits, also of those that nobody asks any more."""
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)
