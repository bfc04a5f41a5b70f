"""What each stage has asked for, and what it cost. Tokens are the server's count; where it gives none, they are
estimated and the request is counted as such."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the requests of one stage since the client was opened. Two can be added."""

    requests: int = 0  # answered, and to be paid
    failed: int = 0  # attempts that ended in an error
    too_long: int = 0  # prompts that do not fit, not sent
    estimated: int = 0  # answered without a token count
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # in the currency of the endpoint's prices
    filtered: int = 0  # prompts or replies that a content filter of the server withheld
    unreadable: int = 0  # of the requests, those whose reply could not be used
    seconds: float = 0.0  # between sending and reply, summed: divided by the wall time, the mean in flight

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.failed + other.failed,
            self.too_long + other.too_long,
            self.estimated + other.estimated,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
            self.filtered + other.filtered,
            self.unreadable + other.unreadable,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An endpoint at one moment."""

    at_s: float  # on the monotonic clock
    stages: Mapping[str, Usage]
    in_flight: int
    waiting: int  # for a permit
    window: int  # permits
    down: tuple[str, ...]  # urls left out at present

    @property
    def total(self) -> Usage:
        """All stages together."""
        return sum(self.stages.values(), Usage())


def tokens_per_s(before: Snapshot, after: Snapshot) -> float:
    """Return the completion tokens a second between two snapshots.

    >>> now, then = (Snapshot(t, {"s": Usage(completion_tokens=n)}, 0, 0, 1, ()) for t, n in ((2.0, 50), (4.0, 150)))
    >>> tokens_per_s(now, then)
    50.0
    """
    elapsed_s = after.at_s - before.at_s
    tokens = after.total.completion_tokens - before.total.completion_tokens
    return tokens / elapsed_s if elapsed_s > 0 else 0.0
