"""What the live view says of an LLM endpoint. Time is passed in."""

from collections import deque
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from consumers.llm.latencies import Latencies
from consumers.llm.usage import OUTCOMES, Snapshot, Usage
from deploy.running.rate import Rate

LATENCIES_OVER_S = 60.0
"""The time to answer is that of the last minute: long enough for a slow model, short enough to see a change."""

URLS_SHOWN = 4
"""Servers that are down are named up to so many."""


class EndpointView:
    """One endpoint by its name, from one look at it to the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rate = Rate()
        self._seen: deque[tuple[float, Latencies]] = deque()

    def block(self, now_s: float, now: Snapshot) -> "Block | None":
        """Return all that is known of it, for a terminal; None before anything was asked."""
        parts = self._parts(now_s, now, whole=True)
        return Block(f"{self._name}: ", parts, alarm=bool(now.down)) if parts else None

    def line(self, now_s: float, now: Snapshot) -> str:
        """Return a shorter form, for one line of a log."""
        parts = self._parts(now_s, now, whole=False)
        return f"{self._name}: {', '.join(parts)}" if parts else ""

    def _parts(self, now_s: float, now: Snapshot, *, whole: bool) -> Sequence[str]:
        used = now.total
        rate = self._rate.note(now_s, used.completion_tokens)
        recent = self._recent(now_s, sum(now.latencies.values(), Latencies()))
        if not (now.in_flight or now.waiting or any(count(used) for count in OUTCOMES.values())):
            return ()
        parts = [f"{now.in_flight:,}/{now.window:,} in flight"]
        if whole and now.waiting:
            parts.append(f"{now.waiting:,} waiting")
        parts += outcomes(used)
        if used.requests:
            parts += [tokens(used), f"{rate:,.0f} out/s"]
        if (median_s := recent.quantile_s(0.5)) is not None and (slow_s := recent.quantile_s(0.95)) is not None:
            parts.append(f"median {seconds(median_s)}" + (f", p95 {seconds(slow_s)}" if whole else ""))
        return [*parts, *down(now)]

    def _recent(self, now_s: float, total: Latencies) -> Latencies:
        """Return the answers of the last LATENCIES_OVER_S; all of them where there were none since."""
        self._seen.append((now_s, total))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - LATENCIES_OVER_S:
            self._seen.popleft()
        recent = total - self._seen[0][1]
        return recent if recent.count else total


class Block:
    """Parts after a title, as many on a line as there is room for. A part is not broken; one that is wider than the
    screen is cut off."""

    INDENT = "  "

    def __init__(self, title: str, parts: Sequence[str], *, alarm: bool = False) -> None:
        self._title = title
        self._parts = parts
        self._alarm = alarm

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(options.max_width):
            yield Text(line, style="yellow" if self._alarm else "", no_wrap=True, overflow="ellipsis")

    def lines(self, width: int) -> Iterator[str]:
        """Yield the lines for a screen of some width.

        >>> list(Block("main: ", ["2/8 in flight", "10 answered", "3 refused"]).lines(24))
        ['main: 2/8 in flight,', '  10 answered, 3 refused']
        """
        line, empty = self._title, True
        for index, part in enumerate(self._parts):
            text = part if index == len(self._parts) - 1 else f"{part},"
            if not empty and len(line) + 1 + len(text) > width:
                yield line
                line, empty = self.INDENT, True
            line += text if empty else f" {text}"
            empty = False
        yield line


def outcomes(used: Usage) -> list[str]:
    """Return how requests ended, those ways alone that occurred.

    >>> outcomes(Usage(requests=1200, failed=3, timed_out=3))
    ['1,200 answered', '3 timed out']
    """
    counts = {name: count(used) for name, count in OUTCOMES.items()}
    return [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count or name == "answered"]


def tokens(used: Usage) -> str:
    """Say what models were asked for.

    >>> tokens(Usage(requests=2, prompt_tokens=1000, completion_tokens=50, cost=0.5))
    '1,000 tokens in, 50 out, cost 0.50'
    """
    cost = f", cost {used.cost:,.2f}" if used.cost else ""
    return f"{used.prompt_tokens:,} tokens in, {used.completion_tokens:,} out{cost}"


def seconds(value_s: float) -> str:
    """Say a time in two figures.

    >>> seconds(0.034), seconds(0.64), seconds(4.23), seconds(9.99), seconds(87.3)
    ('34 ms', '640 ms', '4.2 s', '10 s', '87 s')
    """
    if value_s < 1:
        return f"{1000 * value_s:.0f} ms"
    return f"{value_s:.1f} s" if value_s < 9.95 else f"{value_s:.0f} s"


def down(now: Snapshot) -> list[str]:
    """Return which servers are down.

    >>> from consumers.llm.usage import ServerState
    >>> down(Snapshot(0, {}, 0, 0, 1, ("http://a/v1",), (ServerState("http://a/v1", 0, 1, True),)))
    ['1 of 1 servers down: http://a/v1']
    """
    if not now.down:
        return []
    first, *more = now.down[:URLS_SHOWN]
    rest = [f"and {len(now.down) - URLS_SHOWN} more"] if len(now.down) > URLS_SHOWN else []
    return [f"{len(now.down)} of {len(now.servers)} servers down: {first}", *more, *rest]
