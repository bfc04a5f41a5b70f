"""What holds for the unit tests."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of a test: one of virtual time where the test or its module asks for it."""
    mark = item.get_closest_marker("virtual_time")
    return {"real": asyncio.new_event_loop} if mark is None or mark.args == (False,) else {"virtual": VirtualLoop}
