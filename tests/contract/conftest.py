from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from stream.bus import Bus
from stream.topics import DEAD, REJECTS, TOPICS
from tests.contract.buses import KINDS, Address, Harness
from tests.contract.steps import READERS


@pytest_asyncio.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    def brokers() -> str:
        return f"kafka://{request.getfixturevalue('kafka').bootstrap}"

    async with Harness(Address.of(request.param, tmp_path / "bus", brokers)).running() as harness:
        yield harness


@pytest_asyncio.fixture
async def bus(harness: Harness) -> Bus:
    """A bus with an input `files`, an output `functions`, `rejects` and `dead`."""
    bus = await harness.open()
    await bus.create([TOPICS["files"], TOPICS["functions"], REJECTS, DEAD], READERS)
    return bus


@pytest.fixture
def shared(harness: Harness) -> Harness:
    """Of a bus on which a group has several members, and an appender is taken over by the next one."""
    if not harness.shared:
        pytest.skip("a group has one member")
    return harness


@pytest.fixture
def exclusive(harness: Harness) -> Harness:
    """Of a bus on which a group has one member, and an appender one owner: a second one is refused."""
    if harness.shared:
        pytest.skip("a group has several members")
    return harness


@pytest.fixture
def address(harness: Harness) -> Address:
    """Of a bus that other processes can open."""
    if not harness.address.between_processes:
        pytest.skip("lives in one process")
    return harness.address
