"""How a stage ends: it is told to stop, and then has some seconds for what is in flight."""

import asyncio
import time


class Ending:
    """Whether `stop` is set, and how much is left of the `drain_s` seconds that are given from then on."""

    def __init__(self, stop: asyncio.Event, drain_s: float) -> None:
        self._stop = stop
        self._drain_s = drain_s
        self._end_s: float | None = None  # on the monotonic clock

    @property
    def begun(self) -> bool:
        return self._stop.is_set()

    async def wait(self) -> None:
        """Wait until it begins."""
        await self._stop.wait()

    @property
    def left_s(self) -> float:
        """Seconds until everything has to have ended: all of them while nobody is told to stop."""
        if not self.begun:
            return self._drain_s
        now_s = time.monotonic()
        self._end_s = now_s + self._drain_s if self._end_s is None else self._end_s
        return max(0.0, self._end_s - now_s)
