"""When to try again: backoff, and the gate that holds a stage's intake while a dependency is away."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream.errors import Unavailable
from stream.metrics import StageStats

T = TypeVar("T")
log = logging.getLogger(__name__)


def backoff_s(failures: int, base_s: float, cap_s: float, jitter: float) -> float:
    """Return how long to wait after the `failures`-th failure in a row: doubling from `base_s` to `cap_s`, then
    scaled to between a half and all of it by `jitter` in [0, 1], so that many do not come back at once.

    >>> [backoff_s(k, 0.2, 5, 1.0) for k in (1, 2, 3, 10)]
    [0.2, 0.4, 0.8, 5]
    >>> backoff_s(1, 0.2, 5, 0.0)
    0.1
    """
    return min(cap_s, base_s * 2 ** min(failures - 1, 30)) * (0.5 + jitter / 2)


class Gate:
    """Open while a stage's dependencies answer.

    An Unavailable closes it: intake waits, and the records in flight try again, each after the backoff. The first one
    that is answered, well or badly, opens it. Nothing is counted against a record, and it never gives up.
    """

    BASE_S, CAP_S = 0.2, 15.0

    def __init__(self, stats: StageStats) -> None:
        self._stats = stats
        self._open = asyncio.Event()
        self._open.set()
        self._failures = 0
        self._closed_at_s = 0.0  # when it was last closed, on the monotonic clock
        self._since_s = 0.0  # when it was first closed in this row of failures

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._open.wait()

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns or raises, other than Unavailable: that is tried again, for ever."""
        while True:
            started_s = time.monotonic()
            try:
                result = await attempt()
            except Unavailable as err:
                await asyncio.sleep(self._close(err, started_s))
            except asyncio.CancelledError:
                raise
            except BaseException:
                self._answered()
                raise
            else:
                self._answered()
                return result

    def _close(self, err: Unavailable, started_s: float) -> float:
        """Note a failure and return how long to wait, in seconds."""
        now_s = time.monotonic()
        if self._open.is_set():
            self._since_s = now_s
            log.warning("%s waits: %s", self._stats.stage, err)
        if (
            started_s >= self._closed_at_s
        ):  # else it was under way when another one closed the gate: one failure, not two
            self._failures += 1
            self._closed_at_s = now_s
        self._open.clear()
        self._stats.waiting = str(err)
        return max(err.retry_after_s or 0.0, backoff_s(self._failures, self.BASE_S, self.CAP_S, random.random()))

    def _answered(self) -> None:
        if not self._open.is_set():
            log.warning("%s goes on after %.1f s", self._stats.stage, time.monotonic() - self._since_s)
        self._failures = 0
        self._stats.waiting = None
        self._open.set()
