"""What aiokafka leaves in a user's log."""

import asyncio
import gc

import pytest
from aiokafka.errors import ProducerFenced

from stream.kafka.quiet import quiet


async def leave(error: Exception) -> None:
    """Leave a failed future that nobody awaits."""
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()


async def test_a_failed_batch_that_nobody_awaits_is_not_reported_and_a_defect_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet()
    quiet()
    await leave(ProducerFenced())
    assert not caplog.records
    await leave(RuntimeError("a defect"))
    assert [record.getMessage() for record in caplog.records if "never retrieved" in record.getMessage()]
