"""The live view of a run: a table on a terminal, a plain line now and then elsewhere. Both on stderr."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumers.llm.usage import Usage
from stream.metrics import StageStats

log = logging.getLogger(__name__)

RATE_WINDOW_S = 10.0
REFRESH_S = 0.5
PLAIN_EVERY_S = 5.0


@dataclass(slots=True)
class Rate:
    """How fast a counter rises, over the last RATE_WINDOW_S. Time is passed in.

    >>> rate = Rate(); [rate.note(t, 10 * t) for t in (0, 1, 2)]
    [0.0, 10.0, 10.0]
    >>> rate.note(100, 20)
    0.0
    """

    points: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])

    def note(self, now_s: float, total: int) -> float:
        """Take note of the counter and return its rate, per second."""
        self.points.append((now_s, total))
        while len(self.points) > 2 and self.points[1][0] <= now_s - RATE_WINDOW_S:
            self.points.popleft()
        then_s, before = self.points[0]
        return (total - before) / (now_s - then_s) if now_s > then_s else 0.0


class View:
    """What a run shows of itself. `stats` are in the order of the stream, the sources first."""

    def __init__(self, stats: Sequence[StageStats], used: Callable[[], Usage]) -> None:
        self._stats = stats
        self._used = used
        self._rates = {s.stage: Rate() for s in stats}
        self._token_rate = Rate()
        self._live: Live | None = None
        self.note = ""  # what the run is doing, in words
        self.training = ""  # where the trainer is, in words

    def table(self, now_s: float) -> RenderableType:
        """Return the view for a terminal."""
        table = Table(box=None, pad_edge=False)
        for name in ("stage", "in", "out", "rejected", "dead", "per s", "in flight", "lag"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for s in self._stats:
            rate = self._rates[s.stage].note(now_s, s.read)
            table.add_row(
                s.stage, f"{s.read:,}", f"{s.emitted:,}", f"{s.rejected.total():,}", f"{s.dead:,}",
                f"{rate:,.1f}", f"{s.in_flight:,}", "" if s.lag is None else f"{s.lag:,}",
                style="yellow" if s.waiting else "",
            )  # fmt: skip
        lines = [self._tokens(now_s), *waiting(self._stats), self.training, self.note]
        return Group(table, *(Text(line) for line in lines if line))

    def line(self, now_s: float) -> str:
        """Return the view as one line, for where there is no terminal."""
        rates = {s.stage: self._rates[s.stage].note(now_s, s.read) for s in self._stats}
        stages = [f"{s.stage} {s.read:,}" + (f" ({r:,.1f}/s)" if (r := rates[s.stage]) else "") for s in self._stats]
        lag = sum(s.lag or 0 for s in self._stats)
        parts = [
            ", ".join(stages),
            f"lag {lag:,}",
            self._tokens(now_s),
            *waiting(self._stats),
            self.training,
            self.note,
        ]
        return "; ".join(part for part in parts if part)

    def _tokens(self, now_s: float) -> str:
        used = self._used()
        rate = self._token_rate.note(now_s, used.completion_tokens)
        return f"{tokens(used)}, {rate:,.0f} out/s" if used.requests else ""

    def tell_training(self, line: str) -> None:
        """Show where the trainer is."""
        self.training = line

    async def show(self, console: Console) -> None:
        """Show the view until cancelled."""
        if not console.is_terminal:
            while True:
                await asyncio.sleep(PLAIN_EVERY_S)
                log.info(self.line(time.monotonic()))
        with Live(self.table(time.monotonic()), console=console, auto_refresh=False, transient=True) as self._live:
            while True:
                await asyncio.sleep(REFRESH_S)
                self._live.update(self.table(time.monotonic()), refresh=True)

    def close(self) -> None:
        """Give the terminal back as it was, for an end without ceremony."""
        if self._live is not None:
            self._live.stop()


def waiting(stats: Sequence[StageStats]) -> list[str]:
    """Return why stages wait, each reason once.

    >>> waiting([StageStats(name, waits={0: "http://x refused"}) for name in ("a", "b")])
    ['a, b waiting: http://x refused']
    """
    reasons: dict[str, list[str]] = {}
    for s in stats:
        if s.waiting is not None:
            reasons.setdefault(s.waiting, []).append(s.stage)
    return [f"{', '.join(stages)} waiting: {reason}" for reason, stages in reasons.items()]


def tokens(used: Usage) -> str:
    """Say what models were asked for.

    >>> tokens(Usage(requests=2, prompt_tokens=1000, completion_tokens=50, cost=0.5))
    '1,000 tokens in, 50 out, cost 0.50'
    """
    cost = f", cost {used.cost:,.2f}" if used.cost else ""
    return f"{used.prompt_tokens:,} tokens in, {used.completion_tokens:,} out{cost}"
