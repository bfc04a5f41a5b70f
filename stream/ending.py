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

    def begin(self) -> None:
        """Tell all to stop, if nobody has; the clock runs from here."""
        self._stop.set()
        self._end_s = time.monotonic() + self._drain_s

    @property
    def left_s(self) -> float:
        """Seconds until everything has to have ended: all of them while the clock does not run."""
        return self._drain_s if self._end_s is None else max(0.0, self._end_s - time.monotonic())
