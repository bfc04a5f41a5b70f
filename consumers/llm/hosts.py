"""The servers of one endpoint: the window of each, which of them takes the next request, and which are down. Pure: time
is passed in.

Each server has a window of its own. A request goes to the server whose window is emptiest. When little work is left, a
server whose queue is longer than that work gets nothing more: the last requests would wait there while faster servers
have nothing to do.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from consumers.llm.slow_start import SlowStart
from consumers.llm.window import Window

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
"""How long a server that refuses is left out while others serve: doubling with each refusal in a row. What finds out
whether it takes requests again is a request."""

SHORTEST_SILENCE_S, LONGEST_SILENCE_S, SHARE_OF_SILENCE = 0.25, 10.0, 0.05
"""When a server that cannot be reached is asked again: after this share of the time for which it has been away. So one
that comes back is missed for a twentieth of that time. What asks is no request, but a question that costs nothing."""

PACE_OVER = 64
"""Replies over which the pace of a server is taken."""

PACE_KNOWN = 8
"""Replies from which on it is known."""

NOBODY: Mapping[str, float] = {}


@dataclass(slots=True)
class Pace:
    """How many requests a second a server answers when it has enough of them, by Little's law: those in flight, divided
    by the time that each takes."""

    replies: int = 0
    in_flight: float = 0.0  # means
    latency_s: float = 0.0

    def add(self, in_flight: int, latency_s: float) -> None:
        """Count a reply to a request; `in_flight` is from when it was sent, and includes it."""
        self.replies = min(self.replies + 1, PACE_OVER)
        self.in_flight += (in_flight - self.in_flight) / self.replies
        self.latency_s += (latency_s - self.latency_s) / self.replies

    @property
    def known(self) -> bool:
        return self.replies >= PACE_KNOWN and self.latency_s > 0

    @property
    def per_s(self) -> float:
        return self.in_flight / self.latency_s


@dataclass(slots=True, eq=False)
class Host:
    """One server."""

    url: str
    window: Window
    in_flight: int = 0
    pace: Pace = field(default_factory=Pace)
    failures: int = 0  # in a row; 0: it is up
    rest_until_s: float = 0.0
    wish_until_s: float = 0.0  # it asked to be left alone until then
    back_s: float = 0.0  # when it was last heard again after a silence; infinite while the silence lasts
    silent_since_s: float = 0.0

    @property
    def is_silent(self) -> bool:
        return self.back_s == math.inf

    @property
    def has_room(self) -> bool:
        return self.in_flight < self.window.limit

    def lay_off(self, now_s: float) -> None:
        """Count a failure, and begin a rest."""
        self.failures += 1
        if self.is_silent:
            share_s = SHARE_OF_SILENCE * (now_s - self.silent_since_s)
            rest_s = min(LONGEST_SILENCE_S, max(SHORTEST_SILENCE_S, share_s))
        else:
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self.failures - 1, 10))
        self.rest_until_s = now_s + rest_s


class Hosts:
    """The servers of one endpoint.

    `start`, `least` and `most` are requests in flight on all of them together. Where there are several, each begins
    with its part of `start`, and none narrows below its part of `least`.
    """

    def __init__(self, urls: Sequence[str], start: int = 96, least: int = 1, most: int = 1024) -> None:
        self._most = most
        self.all: tuple[Host, ...]
        if len(urls) == 1:
            self.all = (Host(urls[0], Window(start, least, most)),)
        else:
            part, least = -(-start // len(urls)), -(-least // len(urls))
            self.all = tuple(Host(url, Window(part, least, most, SlowStart(part))) for url in urls)

    @property
    def in_flight(self) -> int:
        return sum(host.in_flight for host in self.all)

    @property
    def window(self) -> int:
        """Requests that may be in flight on all servers together, when all are up."""
        return min(self._most, sum(host.window.limit for host in self.all))

    @property
    def down(self) -> tuple[str, ...]:
        return tuple(host.url for host in self.all if host.failures)

    def left(self, now_s: float, tried: Mapping[str, float] = NOBODY) -> list[Host]:
        """Return the servers that a request may still go to, now or later. `tried` tells when which of them failed it.

        One that was silent and is heard again may be asked once more; one that refused may not.
        """
        return [host for host in self.all if _may_be_asked(host, now_s, tried)]

    def choose(self, now_s: float, tried: Mapping[str, float] = NOBODY, waiting: int = 1) -> Host | None:
        """Return the server to send a request to now; None when it has to wait. `waiting` counts it and all others
        that wait.

        A server that refused gets one request once its rest is over, and no other before it has answered or rested
        again. When none is up, rests do not count: whoever asks then wants to know whether one is back.
        """
        if len(self.all) == 1:
            [host] = self.all
            return host if host.has_room and _may_be_asked(host, now_s, tried) else None
        if self.in_flight >= self._most:
            return None
        left = self.left(now_s, tried)
        up = [host for host in left if not host.failures]
        room = [host for host in left if host.has_room]
        if not up:
            return min(room, key=_rest, default=None)
        for host in room:
            if host.failures and not host.is_silent and host.rest_until_s <= now_s:
                host.lay_off(now_s)
                return host
        room = [host for host in room if not host.failures]
        return min(_in_time(room, up, waiting), key=_fill, default=None)

    def to_ask(self, now_s: float) -> list[Host]:
        """Return the silent servers that should be asked now whether they are back, and begin their next rest. None
        while no other server is up: requests find out then."""
        due = [host for host in self.all if host.is_silent and host.rest_until_s <= now_s]
        if not due or not any(not host.failures for host in self.all):
            return []
        for host in due:
            host.lay_off(now_s)
        return due

    def next_due_s(self, now_s: float) -> float | None:
        """Return how long until the next server that is left out may be asked again; None when none will be."""
        ends = [max(host.rest_until_s, host.wish_until_s) for host in self.all if host.failures]
        return min((end - now_s for end in ends if end > now_s), default=None)

    def answered(self, host: Host, now_s: float) -> None:
        """Note that a server is up."""
        host.failures = 0
        if host.is_silent:
            host.back_s = now_s
        host.wish_until_s = 0.0

    def failed(self, host: Host, now_s: float, retry_after_s: float | None) -> None:
        """Note that a server cannot be reached or takes no more. Many requests that fail together are one failure."""
        if not host.failures or now_s >= host.rest_until_s:
            host.lay_off(now_s)
        if retry_after_s:
            host.wish_until_s = now_s + retry_after_s

    def silent(self, host: Host, now_s: float) -> None:
        """Note that a server answers nothing, or cannot be reached: a failure, and the beginning of a silence."""
        if not host.is_silent:
            host.back_s, host.silent_since_s = math.inf, now_s
        self.failed(host, now_s, None)

    def heard_all_along(self, host: Host, since_s: float) -> bool:
        """Tell whether no silence of a server is known that lasted beyond `since_s`.

        Only then may a request sent at `since_s` be blamed for having no answer. Each silence excuses only what was
        sent before its end: a request that never gets an answer is to blame in the end.
        """
        return host.back_s <= since_s

    def shortest_wish_s(self, now_s: float) -> float:
        """Return how long until the first server may be asked again."""
        return max(0.0, min(host.wish_until_s for host in self.all) - now_s)


def _may_be_asked(host: Host, now_s: float, tried: Mapping[str, float]) -> bool:
    if host.wish_until_s > now_s:
        return False
    failed_s = tried.get(host.url)
    return failed_s is None or (failed_s < host.back_s and not host.is_silent)


def _in_time(room: Sequence[Host], up: Sequence[Host], waiting: int) -> Iterable[Host]:
    """Return those of `room` that finish what they have before all servers together have finished all there is. One
    whose pace is not known counts among them."""
    known = [host for host in up if host.pace.known]
    if len(known) < 2:
        return room
    finish_s = (sum(host.in_flight for host in known) + waiting) / sum(host.pace.per_s for host in known)
    return [host for host in room if not host.pace.known or host.in_flight < host.pace.per_s * finish_s]


def _fill(host: Host) -> float:
    return host.in_flight / host.window.limit


def _rest(host: Host) -> float:
    return host.rest_until_s
