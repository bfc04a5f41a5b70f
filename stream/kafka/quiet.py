"""What aiokafka would tell a user by itself, and need not: what matters of it is said by us, once."""

import logging

from aiokafka.errors import KafkaError


def quiet() -> None:
    """Let the log be free of it. Idempotent."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each try of its own, and goes on for ever
    logging.getLogger("asyncio").addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    """Tell whether a record of asyncio's is more than a future of aiokafka's own that nobody can have awaited.

    When a producer is fenced each batch that it held leaves one behind, and asyncio a traceback for each.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, KafkaError) and record.getMessage().startswith("Future exception was never"))
