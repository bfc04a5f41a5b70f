"""Which of several servers to ask: the one with the least in flight; one that is down is left out and tried again.
Pure: time is passed in."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
"""How long a server that is down is left out while others serve: doubling with each failure in a row."""


@dataclass(slots=True)
class Host:
    """One server."""

    url: str
    in_flight: int = 0
    failures: int = 0  # in a row; 0: it is up
    rest_until_s: float = 0.0
    wish_until_s: float = 0.0  # it asked to be left alone until then
    back_s: float = 0.0  # when it was last heard again after a silence; infinite while the silence lasts

    def lay_off(self, now_s: float) -> None:
        """Count a failure, and begin a rest."""
        self.failures += 1
        self.rest_until_s = now_s + min(LONGEST_REST_S, FIRST_REST_S * 2 ** min(self.failures - 1, 10))


class Hosts:
    """The servers of one endpoint."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.all = tuple(Host(url) for url in urls)

    def choose(self, now_s: float, tried: Container[str] = ()) -> Host | None:
        """Return the server to ask next; None when all were tried or want to be left alone.

        A server whose rest is over gets one request, and no other before it has answered or rested again. When none
        is up, rests do not count: whoever asks then wants to know whether one is back.
        """
        asked = [host for host in self.all if host.url not in tried and host.wish_until_s <= now_s]
        due = [host for host in asked if host.failures and host.rest_until_s <= now_s]
        up = [host for host in asked if not host.failures]
        if due and up:
            due[0].lay_off(now_s)
            return due[0]
        return min(up, key=lambda host: host.in_flight) if up else min(asked, key=_rest, default=None)

    def answered(self, host: Host, now_s: float) -> None:
        """Note that a server is up."""
        host.failures = 0
        if host.back_s == math.inf:
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
        host.back_s = math.inf
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

    @property
    def down(self) -> tuple[str, ...]:
        return tuple(host.url for host in self.all if host.failures)


def _rest(host: Host) -> float:
    return host.rest_until_s
