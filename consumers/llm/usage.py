"""What each stage has asked for, and what it cost. Tokens are the server's count; where it gives none, they are
estimated and the request is counted as such."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import add, attrgetter

from consumers.llm.errors import BadReply, Refused
from consumers.llm.latencies import Latencies
from stream.errors import PipelineError, RequestTimedOut, Unavailable


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over the requests of one stage since the client was opened. Two can be added."""

    requests: int = 0  # answered, and to be paid
    failed: int = 0  # attempts that ended in an error, each of one of the next five kinds
    refused: int = 0  # the server takes no more: 429, 503 and their like
    unreachable: int = 0  # no server could be reached, or answers anything any more
    timed_out: int = 0  # no whole reply within timeout_s, or the connection broke
    bad_reply: int = 0  # an internal error of the server, or no reply of its API
    bad_request: int = 0  # any other 4xx: the server does not take a request of this form, its key or its model
    cancelled: int = 0  # given up on our side: the partition moved to another worker, or the run ended
    too_long: int = 0  # prompts that do not fit, not sent
    estimated: int = 0  # answered without a token count
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # in the currency of the endpoint's prices
    filtered: int = 0  # prompts or replies that a content filter of the server withheld
    unreadable: int = 0  # of the requests, those whose reply could not be used
    seconds: float = 0.0  # between sending and reply, summed: divided by the wall time, the mean in flight

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(add, _values(self), _values(other)))


_values = attrgetter(*(each.name for each in fields(Usage)))

OUTCOMES: Mapping[str, Callable[[Usage], int]] = {
    "answered": lambda used: used.requests - used.unreadable,
    "refused": lambda used: used.refused,
    "unreachable": lambda used: used.unreachable,
    "timed_out": lambda used: used.timed_out,
    "bad_reply": lambda used: used.bad_reply,
    "bad_request": lambda used: used.bad_request,
    "cancelled": lambda used: used.cancelled,
    "filtered": lambda used: used.filtered,
    "too_long": lambda used: used.too_long,
}
"""How a request can end, for metrics and the live view. Each request that was given a permit ended in one of them."""


def failure(error: PipelineError) -> Usage:
    """Return what to count for an attempt that ended in an error.

    >>> failure(Refused("429")).refused, failure(Refused("429")).failed
    (1, 1)
    """
    match error:
        case Refused():
            return Usage(failed=1, refused=1)
        case Unavailable():
            return Usage(failed=1, unreachable=1)
        case RequestTimedOut():
            return Usage(failed=1, timed_out=1)
        case BadReply():
            return Usage(failed=1, bad_reply=1)
        case _:
            return Usage(failed=1, bad_request=1)


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server of an endpoint at one moment."""

    url: str
    in_flight: int
    window: int  # permits of this server
    down: bool  # left out at present


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An endpoint at one moment. `in_flight` and `window` are sums over its servers."""

    at_s: float  # on the monotonic clock
    stages: Mapping[str, Usage]
    in_flight: int
    waiting: int  # for a permit
    window: int  # permits
    down: tuple[str, ...]  # urls left out at present
    servers: tuple[ServerState, ...] = ()  # in the order of the config
    latencies: Mapping[str, Latencies] = field(default_factory=dict[str, Latencies])  # of the answers, by stage

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
