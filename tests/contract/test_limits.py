"""A message that the bus would never take is known as one, and a step with it leaves no trace."""

import random

import pytest

from stream.bus import Bus, Message
from stream.errors import Permanent, TooLarge
from stream.progress import Progress
from tests.contract.buses import Harness
from tests.contract.steps import INPUT, OUTPUT, STAGE, all_of, append, fetched, inputs, leased, outcomes

LIMIT = 100_000
LARGE = Message(OUTPUT, "large", random.Random(1).randbytes(2 * LIMIT))  # compression makes nothing of it


async def test_a_step_with_a_message_that_is_too_large_leaves_no_trace_and_the_message_is_named_then(
    harness: Harness, bus: Bus
) -> None:
    await append(bus, inputs(60))
    await harness.limit(bus, OUTPUT, LIMIT)
    async with leased(bus) as [lease, *_]:
        [stored] = await fetched(lease, 1)
        for _ in range(2):
            with pytest.raises(TooLarge):
                await lease.commit([*outcomes(stored), LARGE], Progress(1))
        assert [lease.refusal(message) for message in outcomes(stored)] == [None, None]
        reason = lease.refusal(LARGE)
        assert reason is not None
        assert "200," in reason  # its size, with or without what a message is wrapped in
        assert OUTPUT in reason
        assert "100,000" in reason
        assert "\n" not in reason
        assert (await bus.progress(STAGE, INPUT))[0] == Progress()
        assert await all_of(bus, OUTPUT) == []
        await lease.commit(outcomes(stored), Progress(1))  # the same lease, without it
        assert (await bus.progress(STAGE, INPUT))[0] == Progress(1)
    assert len(await all_of(bus, OUTPUT)) == 1


async def test_an_append_with_a_message_that_is_too_large_leaves_no_trace(harness: Harness, bus: Bus) -> None:
    await harness.limit(bus, OUTPUT, LIMIT)
    async with bus.appender("source") as appender:
        with pytest.raises(TooLarge):
            await appender.append([*inputs(3), LARGE])
        assert appender.refusal(LARGE) is not None
        assert [appender.refusal(message) for message in inputs(3)] == [None] * 3
        assert await all_of(bus, INPUT) == []
        await appender.append(inputs(3))
    assert len(await all_of(bus, INPUT)) == 3


def test_what_is_too_large_is_a_records_own_fault_and_stops_no_stage() -> None:
    assert issubclass(TooLarge, Permanent)
