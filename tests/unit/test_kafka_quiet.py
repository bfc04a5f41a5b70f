"""What aiokafka leaves in a user's log."""

import asyncio
import gc
from typing import Any

import pytest
from aiokafka.errors import ProducerFenced
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.structs import TopicPartition

from stream.kafka.quiet import quiet


class Batch:
    """As much of one of aiokafka's as is looked at."""

    tp = TopicPartition("files", 0)


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


async def test_a_task_of_aiokafkas_that_sends_a_failed_batch_again_is_not_reported_and_one_of_ours_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet()
    accumulator: Any = MessageAccumulator(None, 1_000, 0, 30)

    async def send_again() -> None:
        accumulator.reenqueue(Batch())  # which is held no more

    async def ours() -> None:
        raise KeyError("a defect")

    for work, told in ((send_again, 0), (ours, 1)):
        task = asyncio.create_task(work())
        await asyncio.wait({task})
        del task
        gc.collect()
        assert len([r for r in caplog.records if "Task exception was never" in r.getMessage()]) == told
