"""What aiokafka would tell a user by itself, and need not: what matters of it is said by us, once."""

import logging
from typing import Any

from aiokafka.errors import KafkaError


def quiet() -> None:
    """Let the log be free of it. Idempotent."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each of its retries, and never stops
    logging.getLogger("asyncio").addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    """Tell whether a record of asyncio's is more than what a fenced producer of aiokafka's leaves behind: a future for
    each batch that it held, which nobody can have awaited, and a task that wanted to send such a batch again and does
    not find it. For each of them asyncio logs a traceback.
    """
    said, error = record.getMessage(), record.exc_info[1] if record.exc_info else None
    if said.startswith("Future exception was never"):
        return not isinstance(error, KafkaError)
    if said.startswith("Task exception was never"):
        return not (isinstance(error, KeyError) and _raised_in(error, "aiokafka"))
    return True


def _raised_in(error: BaseException, package: str) -> bool:
    """Tell whether an error comes from code of a package."""
    last: Any = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_globals.get("__name__", "").partition(".")[0] == package
