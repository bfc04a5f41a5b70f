"""The live view of a run: a table on a terminal, a plain line now and then elsewhere. Both on stderr."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumers.llm.usage import Snapshot
from deploy.running.endpoint_view import EndpointView
from deploy.running.rate import Rate
from stream.metrics import StageStats

log = logging.getLogger(__name__)

REFRESH_S = 0.5
PLAIN_EVERY_S = 5.0


class View:
    """What a run shows of itself. `stats` are in the order of the stream, the sources first; `endpoints` returns the
    state of each LLM endpoint, by name."""

    def __init__(self, stats: Sequence[StageStats], endpoints: Callable[[], Mapping[str, Snapshot]]) -> None:
        self._stats = stats
        self._snapshots = endpoints
        self._rates = {s.stage: Rate() for s in stats}
        self._endpoints: dict[str, EndpointView] = {}
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
        blocks = [block for view, now in self._looked_at() if (block := view.block(now_s, now)) is not None]
        lines = [*waiting(self._stats), self.training, self.note]
        return Group(table, *blocks, *(Text(line) for line in lines if line))

    def line(self, now_s: float) -> str:
        """Return the view as one line, for where there is no terminal."""
        rates = {s.stage: self._rates[s.stage].note(now_s, s.read) for s in self._stats}
        stages = [f"{s.stage} {s.read:,}" + (f" ({r:,.1f}/s)" if (r := rates[s.stage]) else "") for s in self._stats]
        lag = sum(s.lag or 0 for s in self._stats)
        parts = [
            ", ".join(stages),
            f"lag {lag:,}",
            *(view.line(now_s, now) for view, now in self._looked_at()),
            *waiting(self._stats),
            self.training,
            self.note,
        ]
        return "; ".join(part for part in parts if part)

    def _looked_at(self) -> list[tuple[EndpointView, Snapshot]]:
        return [(self._endpoints.setdefault(name, EndpointView(name)), now) for name, now in self._snapshots().items()]

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
