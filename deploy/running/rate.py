"""How fast a counter rises."""

from collections import deque
from dataclasses import dataclass, field

RATE_WINDOW_S = 10.0


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
