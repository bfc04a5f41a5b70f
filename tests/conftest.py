"""What holds for all tests."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.brokers import kafka, namespace, own_kafka
from tests.tries import tries

__all__ = ["kafka", "namespace", "own_kafka"]

# Threads of torch wait for each other by spinning: beside another test they take four times the CPU time of one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("seedstream", tries())
settings.load_profile("seedstream")


@pytest.fixture(autouse=True)
def _log_handlers_end_with_their_test() -> Iterator[None]:
    """A command that runs inside a test starts logging to a stream that pytest closes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]
    root.setLevel(level)
