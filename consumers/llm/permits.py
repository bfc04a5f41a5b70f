"""Permits to send: as many as the window allows, given to the most urgent request that waits."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

from consumers.llm.window import Ticket, Window


class Urgency(NamedTuple):
    """Who goes first: the stage nearest the end, within it the record that first asked first, then its first sample."""

    from_end: int
    record: int
    sample: int


class Permits:
    """Permits of one endpoint, shared by all its stages. Each `acquire` is followed by one of the three ways back."""

    def __init__(self, window: Window, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self._heap: list[tuple[Urgency, int, asyncio.Future[None]]] = []
        self._arrivals = itertools.count()
        self.in_flight = 0
        self.waiting = 0

    async def acquire(self, urgency: Urgency, kind: str) -> Ticket:
        """Wait for a permit."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (urgency, next(self._arrivals), granted))
        self.waiting += 1
        self._grant()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self.waiting -= 1
            else:  # it was granted and cancelled in the same turn of the loop
                self.in_flight -= 1
                self._grant()
            raise
        return self._window.sent(kind, self.in_flight, self._clock())

    def succeeded(self, ticket: Ticket) -> None:
        """Give back the permit of a request that was answered."""
        self._window.succeeded(ticket, self._clock())
        self._back()

    def refused(self, ticket: Ticket) -> None:
        """Give back the permit of a request that the server would not take."""
        self._window.refused(ticket, self._clock())
        self._back()

    def gone(self, ticket: Ticket) -> None:
        """Give back the permit of a request that ended in another way."""
        self._window.gone(ticket, self._clock())
        self._back()

    def _back(self) -> None:
        self.in_flight -= 1
        self._grant()

    def _grant(self) -> None:
        while self._heap and self.in_flight < self._window.limit:
            _, _, granted = heapq.heappop(self._heap)
            if not granted.done():
                self.in_flight += 1
                self.waiting -= 1
                granted.set_result(None)
