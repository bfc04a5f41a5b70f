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
    [0.2, 0.4, 0.8, 5.0]
    >>> backoff_s(1, 0.2, 5, 0.0)
    0.1
    """
    return min(cap_s, base_s * 2 ** min(failures - 1, 30)) * (0.5 + jitter / 2)


class Gate:
    """Open while one thing that a stage depends on answers.

    An Unavailable closes it: intake waits, and the records in flight try again, each after the backoff. The first one
    that is answered, well or badly, opens it; so does the end of the last one that would have asked again. Nothing is
    counted against a record, and it never gives up.
    """

    BASE_S, CAP_S = 0.2, 15.0

    def __init__(self, stats: StageStats) -> None:
        self._stats = stats
        self._open = asyncio.Event()
        self._open.set()
        self._since_s = 0.0  # when it was closed, on the monotonic clock
        self._asking = 0  # calls under way

    async def opened(self) -> None:
        """Wait until it is open."""
        await self._open.wait()

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns or raises, other than Unavailable: that is tried again, for ever."""
        self._asking += 1
        failures = 0  # in a row, of this call: many that fail at once must not add up to a long wait
        try:
            while True:
                try:
                    result = await attempt()
                except Unavailable as err:
                    failures += 1
                    self._close(err)
                    pause_s = backoff_s(failures, self.BASE_S, self.CAP_S, random.random())
                    await asyncio.sleep(max(err.retry_after_s or 0.0, pause_s))
                except asyncio.CancelledError:
                    raise
                except BaseException:
                    self._answered()
                    raise
                else:
                    self._answered()
                    return result
        finally:
            self._asking -= 1
            if not self._asking:
                self._answered()  # or, when it was cancelled: nobody is left who could find out

    def _close(self, err: Unavailable) -> None:
        if self._open.is_set():
            self._since_s = time.monotonic()
            log.warning("%s waits: %s", self._stats.stage, err)
        self._open.clear()
        self._stats.waits[self] = str(err)

    def _answered(self) -> None:
        if self._open.is_set():
            return
        log.warning("%s goes on after %.1f s", self._stats.stage, time.monotonic() - self._since_s)
        self._stats.waits.pop(self, None)
        self._open.set()


class Gates:
    """A gate for each thing that a stage waits for. What one of them answers says nothing of another: a model that
    answers makes no room on the disk, and a disk that can be read may still be full."""

    def __init__(self, stats: StageStats) -> None:
        self.calls = Gate(stats)  # what the stage itself asks
        self.reads = Gate(stats)
        self.commits = Gate(stats)

    async def opened(self) -> None:
        """Wait until calls and commits are open. Reads wait at their own gate."""
        await self.commits.opened()
        await self.calls.opened()
