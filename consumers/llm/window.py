"""How many requests to keep in flight on one endpoint: the window. Pure: time is passed in.

A server works on so many requests at once (its slots; of a server that batches: as many as still raise its
throughput) and queues the others. Fewer in flight leave it idle; many more only wait there, in its order instead of
ours. The aim is 1.2 to 1.5 times its slots: a short queue that is never empty. Nobody tells us the slots. Two things
do:

- *Latency.* Some rounds of requests run with the whole window, now and then one with the window / SPREAD. By Little's
  law throughput is in flight / latency, so of the requests that the whole window has more, this share did work:

      share = 1 - log(latency at high / latency at low) / log(in flight at high / in flight at low)

  1 where the server had room for all of them, 0 where they only queued. The window widens while the share is surely
  over WORKS, and narrows while it is surely under QUEUES: so the low level comes to rest just under the slots. Two
  measured levels are compared, not one with the fastest latency ever seen (as TCP Vegas does, Brakmo and Peterson
  1995): a batching server answers slower with each request it is given, long before it is full.
- *Refusals* (429, 503). The window narrows by REFUSED at once, and from there on may widen by one for as many replies
  as it is wide: additive increase, multiplicative decrease (Chiu and Jain 1989). Refusals of requests sent before the
  last such fall say nothing new, nor do those of a server that has answered nothing since: an outage is one fall.

In doubt the window stays wide: a queue that is too long costs a little order, an empty one the server's time.
"""

import math
from dataclasses import dataclass, field

from consumers.llm.slow_start import SlowStart

SPREAD = 1.5
WORKS, QUEUES = 0.25, 0.15
NARROW = 0.9
REFUSED = 0.7

HIGHS_PER_LOW = 3
"""Rounds at the high level for one at the low level, which may leave the server a little idle. While the window stays
as it is, 3 more each time, to LONGEST_STAY."""

LONGEST_STAY = 9

LEAST_SAMPLE = 64
"""Requests of a round that count, at least."""

FORGET = 0.9
"""Weight of what was seen before, after each comparison."""

CLIP = 3.0
"""A latency counts at most this many times the mean of its kind: few long replies would else hide the rest."""

MEAN_OVER = 512
"""Requests over which the mean latency of a kind is taken."""


@dataclass(slots=True, eq=False)
class Ticket:
    """One request in flight."""

    kind: str
    sent_s: float
    falls: int  # of the window, before it was sent
    round: "Round"


@dataclass(slots=True)
class Round:
    """Requests sent one after the other while the window was `limit` wide. The first `limit` of them find the server
    still as the round before left it, and do not count."""

    limit: int
    high: bool
    size: int  # requests that count
    sent: int = 0
    in_flight: int = 0  # summed over those that count, when each was sent
    open: set[Ticket] = field(default_factory=set[Ticket])
    latencies_s: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])  # found, usual

    @property
    def over(self) -> bool:
        # The last tenth is not waited for: one hanging request must not stop the clock of all.
        return self.sent >= self.limit + self.size and len(self.open) * 10 <= self.size


@dataclass(slots=True)
class Level:
    """What the rounds at one level have shown. All are sums."""

    count: float = 0.0
    in_flight: float = 0.0
    found_s: float = 0.0  # latencies
    usual_s: float = 0.0  # mean latencies of the same kinds
    squares: float = 0.0  # of found - usual

    def add(self, done: Round) -> None:
        """Count a round that is over."""
        count = len(done.latencies_s)
        self.count += count
        self.in_flight += count * done.in_flight / done.size
        self.found_s += sum(found for found, _ in done.latencies_s)
        self.usual_s += sum(usual for _, usual in done.latencies_s)
        self.squares += sum((found - usual) ** 2 for found, usual in done.latencies_s)

    def forget(self) -> None:
        """Let the past weigh less."""
        self.count *= FORGET
        self.in_flight *= FORGET
        self.found_s *= FORGET
        self.usual_s *= FORGET
        self.squares *= FORGET

    @property
    def mean_in_flight(self) -> float:
        return self.in_flight / self.count

    @property
    def log_latency(self) -> float:
        """Logarithm of the latency, in units of what is usual."""
        return math.log(self.found_s / self.usual_s)

    @property
    def log_variance(self) -> float:
        """Of `log_latency`, by the delta method. Replies that waited in one queue are not independent of each other: a
        mean of n is never better known than that of n service times, whose deviation is about their mean."""
        return max(self.squares / self.found_s**2, 1 / self.count)


def working_share(low: Level, high: Level) -> tuple[float, float]:
    """Return the share of the extra requests of `high` that did work, and its standard error.

    >>> low = Level(count=100, in_flight=100 * 40, found_s=100, usual_s=100, squares=100)
    >>> room = Level(count=100, in_flight=100 * 60, found_s=100, usual_s=100, squares=100)
    >>> round(working_share(low, room)[0], 2)  # as fast with more in flight: all of them worked
    1.0
    >>> full = Level(count=100, in_flight=100 * 60, found_s=150, usual_s=100, squares=150)
    >>> round(working_share(low, full)[0], 2)  # slower by as much as there were more: none of them worked
    0.0
    """
    wider = math.log(high.mean_in_flight / low.mean_in_flight)
    share = 1 - (high.log_latency - low.log_latency) / wider
    return share, math.sqrt(low.log_variance + high.log_variance) / wider


class Window:
    """The number of requests to keep in flight, between `least` and `most`, learnt from how each one went.
    `slow_start` is for one that begins far too narrow; without it, only the rounds widen it."""

    def __init__(self, start: int, least: int, most: int, slow_start: SlowStart | None = None) -> None:
        self._least, self._most = least, most
        self._slow_start = slow_start
        self._width = float(start)
        self._ceiling = math.inf  # set by refusals
        self._falls = 0
        self._answered = True  # anything, since the last fall
        self._mean_s: dict[str, tuple[float, int]] = {}  # latency of each kind now, and of how many
        self._usual_s: dict[str, float] = {}  # the same when the present width was taken: one measure for both levels
        self._low, self._high = Level(), Level()
        self._highs_left = HIGHS_PER_LOW
        self._stay = HIGHS_PER_LOW
        self._narrowed = 0  # times in a row
        self._round = self._new_round()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        width = min(self._width, self._most, self._ceiling)
        return max(self._least, int(width if self._highs_left else width / SPREAD))

    def sent(self, kind: str, in_flight: int, now_s: float) -> Ticket:
        """Count a request that is sent now; `in_flight` includes it. Each ticket must come back by one of the other
        three calls."""
        now = self._round
        ticket = Ticket(kind, now_s, self._falls, now)
        now.sent += 1
        if now.limit < now.sent <= now.limit + now.size:
            now.in_flight += in_flight
            now.open.add(ticket)
        if self._slow_start:
            self._slow_start.sent(ticket, in_flight, self.limit, now_s)
        return ticket

    def succeeded(self, ticket: Ticket, now_s: float) -> None:
        """Count a reply."""
        self._answered = True
        self._ceiling += 1 / self._ceiling
        latency_s = now_s - ticket.sent_s
        mean_s, count = self._mean_s.get(ticket.kind, (latency_s, 0))
        count = min(count + 1, MEAN_OVER)
        self._mean_s[ticket.kind] = mean_s + (latency_s - mean_s) / count, count
        if ticket in ticket.round.open:
            ticket.round.latencies_s.append(self._latency(ticket, now_s))
        if self._slow_start:
            self._widen(self._slow_start, ticket, now_s)
        self.gone(ticket, now_s)

    def refused(self, ticket: Ticket, now_s: float) -> None:
        """Count a 429 or 503: the server has too much, or is away."""
        if ticket.falls == self._falls and self._answered:
            self._falls += 1
            self._answered = False
            self._slow_start = None
            self._ceiling = max(float(self._least), min(self._width, self._most, self._ceiling) * REFUSED)
            self._start_anew(self._width)
            self._round = self._new_round()
        self.gone(ticket, now_s)

    def gone(self, ticket: Ticket, now_s: float) -> None:
        """Forget a request that ended in a way that says nothing about load."""
        ticket.round.open.discard(ticket)
        if self._slow_start:
            self._slow_start.gone(ticket, self.limit, now_s)
        elif self._round.over:
            self._learn(self._round, now_s)
            self._round = self._new_round()

    def _widen(self, slow_start: SlowStart, ticket: Ticket, now_s: float) -> None:
        width = slow_start.succeeded(ticket, self.limit, now_s)
        if width:
            self._width = min(width, self._most)
        elif slow_start.over:  # only now is it known what is usual
            self._slow_start = None
            self._start_anew(self._width)
            self._round = self._new_round()

    def _latency(self, ticket: Ticket, now_s: float) -> tuple[float, float]:
        latency_s = now_s - ticket.sent_s
        usual_s = self._usual_s.setdefault(ticket.kind, self._mean_s.get(ticket.kind, (latency_s, 1))[0])
        return min(CLIP * usual_s, latency_s), usual_s

    def _new_round(self) -> Round:
        return Round(self.limit, self._highs_left > 0, max(LEAST_SAMPLE, self.limit))

    def _learn(self, done: Round, now_s: float) -> None:
        if done.in_flight < 0.8 * done.limit * done.size:
            return  # there was too little to do
        # What is still out counts by its age: leaving it out would favour the short ones.
        done.latencies_s += [self._latency(ticket, now_s) for ticket in done.open]
        (self._high if done.high else self._low).add(done)
        if done.high:
            self._highs_left -= 1
            return
        self._stay = min(self._stay + HIGHS_PER_LOW, LONGEST_STAY)
        self._highs_left = self._stay
        self._compare()
        self._low.forget()
        self._high.forget()

    def _compare(self) -> None:
        low, high = self._low, self._high
        if not high.usual_s or not low.usual_s or high.mean_in_flight < 1.2 * low.mean_in_flight:
            return  # bounds or refusals leave no two levels to compare
        share, error = working_share(low, high)
        if share - error > WORKS:
            self._narrowed = 0
            self._start_anew(self._width * (SPREAD**2 if share - error > 2 * WORKS else SPREAD))
        elif share + error < QUEUES:
            self._narrowed += 1
            self._start_anew(self._width * max(1 / SPREAD, NARROW**self._narrowed))
        else:
            self._narrowed = 0

    def _start_anew(self, width: float) -> None:
        """Take a new width, and measure its two levels soon."""
        self._width = min(max(width, self._least), self._most)
        self._low, self._high = Level(), Level()
        self._usual_s = {kind: mean_s for kind, (mean_s, _) in self._mean_s.items()}
        self._highs_left, self._stay = 1, HIGHS_PER_LOW
