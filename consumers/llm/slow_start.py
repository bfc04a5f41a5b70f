"""How a window that begins far too narrow widens within a few replies. Pure: time is passed in.

The rounds of a window (`window`) need some hundred requests for each step. Beside other servers that is too long: what
the large one could do is done by nobody meanwhile. So the window of one of several servers begins with a slow start, as
TCP's does (RFC 5681, section 3.1): it grows exponentially, until there is no more proof of room.

The proof is overtaking. A server takes requests in the order in which they come. So when one is answered, all that were
sent before it have left the queue, and those of them that are still out were served beside it at that moment: it and
they are `beside` requests in service at once. The window becomes TWICE that many. Requests that are sent nearly
together arrive in any order, and prove nothing about each other.

A server that takes its queue in another order (or a proxy with several queues) lets requests overtake others that only
wait. There the time that a request is out grows as the window does. So each step is also checked by Little's law: of
what the last step added, more than WORKED must have done work.
"""

import itertools
import math
from dataclasses import dataclass

TWICE = 2.0
"""The window, as a multiple of what was in service at once. Of a full server only about nine tenths are ever seen, so
that it ends between 1.4 and 1.8 times the slots."""

LEAST_STEP = 1.25
"""A step widens the window at least so much."""

TOGETHER = 1 / 16
"""Two requests are sent together when fewer replies come between them than this share of the window."""

LONGEST = 4
"""The slow start ends when so many times the window's replies have brought no step."""

UNCHECKED = 4.0
"""How far the window may grow, as a multiple of its start, by the proof of overtaking alone."""

WORKED = 0.5
"""Half way between none and all."""

LEAST_REPLIES = 16
"""In each of the two spans that are compared. From fewer little is known of their times."""


@dataclass(slots=True)
class Span:
    """What went on in a span of time. All are sums."""

    seconds: float = 0.0
    out_s: float = 0.0  # time that requests were out
    replies: int = 0

    def log_out(self) -> float:
        """Logarithm of the time out for each reply: the latency, counting those still out (as a life table does)."""
        return math.log(self.out_s / self.replies)

    def log_in_flight(self) -> float:
        """Logarithm of the mean number out."""
        return math.log(self.out_s / self.seconds)


class SlowStart:
    """The slow start of one window. `over` once as many replies as the window is wide have brought no proof."""

    def __init__(self, start: int) -> None:
        self.over = False
        self._start = start
        # In the order sent: how many replies there were by then, and whether the window was in use.
        self._open: dict[object, tuple[int, bool]] = {}
        self._replies = 0
        self._stepped = 0  # replies before the last step
        self._first, self._last = Span(), Span()  # while it was at most twice as wide as at the start; since a step
        self._at_s = math.nan
        self._unproven = 0  # replies without proof since the last one, of requests sent while there was enough to do

    def sent(self, ticket: object, in_flight: int, limit: int, now_s: float) -> None:
        """Count a request that is sent now; `in_flight` includes it."""
        self._pass(limit, now_s)
        self._open[ticket] = self._replies, in_flight >= 0.8 * limit

    def gone(self, ticket: object, limit: int, now_s: float) -> None:
        """Forget a request that was not answered."""
        self._pass(limit, now_s)
        self._open.pop(ticket, None)

    def succeeded(self, ticket: object, limit: int, now_s: float) -> float | None:
        """Count a reply. Return the new width of the window when it shows that there is room."""
        self._pass(limit, now_s).replies += 1
        self._replies += 1
        sent_at, loaded = self._open.pop(ticket)
        before = sent_at - max(1.0, TOGETHER * limit)
        beside = 1 + sum(1 for _ in itertools.takewhile(lambda other: other[0] <= before, self._open.values()))
        self._unproven += loaded
        width = TWICE * beside
        if width >= LEAST_STEP * limit:
            self._unproven = 0
            if width > UNCHECKED * self._start and not self._worked():
                width = UNCHECKED * self._start
            if width >= LEAST_STEP * limit:
                self._last, self._stepped = Span(), self._replies
                return width
        self.over = self._unproven >= limit or self._replies - self._stepped >= LONGEST * limit
        return None

    def _pass(self, limit: int, now_s: float) -> Span:
        """Let the time pass, and return the span in which it is."""
        span = self._last if limit >= 2 * self._start and self._first.replies >= LEAST_REPLIES else self._first
        if self._open:
            span.seconds += now_s - self._at_s
            span.out_s += len(self._open) * (now_s - self._at_s)
        self._at_s = now_s
        return span

    def _worked(self) -> bool:
        first, last = self._first, self._last
        if last.replies < LEAST_REPLIES or not (first.out_s and last.out_s):
            return False
        wider = last.log_in_flight() - first.log_in_flight()
        return last.log_out() - first.log_out() <= (1 - WORKED) * wider
