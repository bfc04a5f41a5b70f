"""Permits to send. Each is for one server, whose window has room; the most urgent request that waits gets it."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from consumers.llm.hosts import NOBODY, Host, Hosts
from consumers.llm.window import Ticket


class Urgency(NamedTuple):
    """Who goes first: the stage nearest the end, within it the record that first asked first, then its first sample."""

    from_end: int
    record: int
    sample: int


@dataclass(slots=True)
class Permit:
    """To send one request to one server."""

    host: Host
    ticket: Ticket
    in_flight: int  # on this server, this one too; 0: too few to tell its pace


class Waiter(NamedTuple):
    """A request that waits for a permit. They are ordered by urgency, and by arrival."""

    urgency: Urgency
    arrival: int
    granted: asyncio.Future[Host | None]  # None: no server is left
    tried: Mapping[str, float]  # servers that failed it, and when


class Permits:
    """Permits of one endpoint, shared by all its stages. Each `acquire` is followed by one of the three ways back.

    `ask` finds out whether a silent server is back; `Hosts.answered` has been told when its future is done.
    """

    def __init__(
        self,
        hosts: Hosts,
        ask: Callable[[Host], asyncio.Future[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._several = len(hosts.all) > 1
        self._ask = ask
        self._clock = clock
        self._first: list[Waiter] = []  # a heap
        self._again: list[Waiter] = []  # in order; a server has failed them: they go before the others
        self._arrivals = itertools.count()
        self._timer: asyncio.TimerHandle | None = None  # until the rest of a server is over
        self.waiting = 0

    @property
    def in_flight(self) -> int:
        return self._hosts.in_flight

    def close(self) -> None:
        """Ask no server any more."""
        if self._timer:
            self._timer.cancel()

    async def acquire(self, urgency: Urgency, kind: str, tried: Mapping[str, float] = NOBODY) -> Permit | None:
        """Wait for a permit. Return None when no server is left: all were tried, or want to be left alone."""
        granted: asyncio.Future[Host | None] = asyncio.get_running_loop().create_future()
        waiter = Waiter(urgency, next(self._arrivals), granted, tried)
        if tried:
            self._again.append(waiter)
            self._again.sort()
        else:
            heapq.heappush(self._first, waiter)
        self.waiting += 1
        self._grant()
        try:
            host = await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self.waiting -= 1
            elif host := granted.result():  # it was granted and cancelled in the same turn of the loop
                host.in_flight -= 1
                self._grant()
            raise
        if host is None:
            return None
        loaded = self._several and host.in_flight >= 0.8 * host.window.limit
        ticket = host.window.sent(kind, host.in_flight, self._clock())
        return Permit(host, ticket, host.in_flight if loaded else 0)

    def succeeded(self, permit: Permit) -> None:
        """Give back the permit of a request that was answered."""
        now_s = self._clock()
        permit.host.window.succeeded(permit.ticket, now_s)
        if permit.in_flight:
            permit.host.pace.add(permit.in_flight, now_s - permit.ticket.sent_s)
        self._back(permit)

    def refused(self, permit: Permit) -> None:
        """Give back the permit of a request that the server would not take."""
        permit.host.window.refused(permit.ticket, self._clock())
        self._back(permit)

    def gone(self, permit: Permit) -> None:
        """Give back the permit of a request that ended in another way."""
        permit.host.window.gone(permit.ticket, self._clock())
        self._back(permit)

    def _back(self, permit: Permit) -> None:
        permit.host.in_flight -= 1
        self._grant()

    def _grant(self) -> None:
        """Give permits to those who wait, as long as there are any."""
        if not (self._first or self._again):
            return
        now_s = self._clock()
        if self._several:
            for host in self._hosts.to_ask(now_s):
                self._ask(host).add_done_callback(lambda _: self._grant())
        if self._again:
            self._again = [waiter for waiter in self._again if not self._serve(waiter, now_s)]
        while self._first and self._serve(self._first[0], now_s):
            heapq.heappop(self._first)
        if self._several:
            self._wait_for_rest(now_s)

    def _wait_for_rest(self, now_s: float) -> None:
        """See to it that permits are given again when the rest of a server is over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.waiting and (due_s := self._hosts.next_due_s(now_s)) is not None:
            self._timer = asyncio.get_running_loop().call_later(due_s, self._grant)

    def _serve(self, waiter: Waiter, now_s: float) -> bool:
        """Give a request a permit, or tell it that no server is left. Return False when it has to wait."""
        if waiter.granted.done():  # cancelled
            return True
        host = self._hosts.choose(now_s, waiter.tried, self.waiting)
        if host:
            host.in_flight += 1
        elif self._hosts.left(now_s, waiter.tried):
            return False
        self.waiting -= 1
        waiter.granted.set_result(host)
        return True
