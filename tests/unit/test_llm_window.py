"""The window finds a server's slots by itself. The server here is a simulation: slots, a queue, lognormal times."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.llm.window import REFUSED, Ticket, Window


@dataclass(frozen=True)
class Load:
    """Means over the second half of a simulation, while there was work."""

    in_flight_per_slot: float
    utilisation: float


def simulate(
    window: Window,
    slots: int,
    requests: int,
    *,
    kinds: Mapping[str, float] | None = None,
    slower: Callable[[int], float] = lambda active: 1.0,
    seed: int = 0,
) -> Load:
    """Send `requests` as the window allows to a server of `slots`; `kinds` gives mean service times, and `slower(n)`
    the factor by which n requests at a time slow each other down."""
    kinds = kinds or {"all": 1.0}
    rng = random.Random(seed)
    now_s, sent, active = 0.0, 0, 0
    queue: deque[tuple[Ticket, float]] = deque()
    running: list[tuple[float, int, Ticket]] = []
    spans: list[tuple[float, int, int]] = []
    for done in range(requests):
        while sent < requests and sent - done < window.limit:
            kind = rng.choice(list(kinds))
            ticket = window.sent(kind, sent - done + 1, now_s)
            queue.append((ticket, kinds[kind] * rng.lognormvariate(-0.5, 1.0)))
            sent += 1
        while active < slots and queue:
            ticket, seconds = queue.popleft()
            active += 1
            heapq.heappush(running, (now_s + seconds * slower(active), sent * 10_000 + active, ticket))
        until_s, _, ticket = heapq.heappop(running)
        spans.append((until_s - now_s, sent - done, active))
        now_s, active = until_s, active - 1
        window.succeeded(ticket, now_s)
    steady = spans[len(spans) // 2 : -2 * slots]
    span_s = sum(seconds for seconds, _, _ in steady)
    return Load(
        sum(seconds * n for seconds, n, _ in steady) / span_s / slots,
        sum(seconds * n for seconds, _, n in steady) / span_s / slots,
    )


@pytest.mark.parametrize("slots", [16, 64, 160])
def test_the_server_is_kept_busy_whatever_its_slots(slots: int) -> None:
    loads = [simulate(Window(96, 1, 1024), slots, 20_000 + 100 * slots, seed=seed) for seed in range(6)]
    assert sum(load.utilisation for load in loads) / 6 >= 0.97
    assert min(load.utilisation for load in loads) >= 0.85


def test_over_many_runs_the_queue_is_between_a_fifth_and_a_half_of_the_slots() -> None:
    loads = [simulate(Window(96, 1, 1024), 64, 20_000, seed=seed) for seed in range(8)]
    means = sorted(load.in_flight_per_slot for load in loads)
    assert 1.2 <= (means[3] + means[4]) / 2 <= 1.5
    assert sum(load.utilisation for load in loads) / 8 >= 0.98


def test_stages_with_a_hundredfold_difference_in_length_do_not_mislead_it() -> None:
    kinds = {"verdict": 0.05, "concepts": 1.0, "response": 5.0}
    loads = [simulate(Window(96, 1, 1024), 64, 20_000, kinds=kinds, seed=seed) for seed in range(4)]
    assert min(load.utilisation for load in loads) >= 0.95
    assert max(load.in_flight_per_slot for load in loads) <= 2.5


def test_a_batching_server_that_slows_down_with_each_request_is_filled() -> None:
    # At 256 each request takes 4.2 times as long as alone, and yet 256 at a time do a third more than 96.
    loads = [
        simulate(Window(96, 1, 1024), 256, 60_000, slower=lambda active: 1 + active / 80, seed=seed)
        for seed in range(3)
    ]
    assert sorted(load.utilisation for load in loads)[1] >= 0.85


def test_a_window_that_is_far_too_wide_narrows() -> None:
    window = Window(256, 1, 512)
    simulate(window, 16, 60_000)
    assert window.limit < 150


def test_fixed_bounds_fix_the_window() -> None:
    window = Window(40, 40, 40)
    assert simulate(window, 16, 3_000).in_flight_per_slot == pytest.approx(40 / 16, rel=0.01)


def test_too_little_work_teaches_nothing() -> None:
    window = Window(64, 1, 512)
    for now in range(5_000):
        window.succeeded(window.sent("all", 3, now), now + 1.0)
    assert window.limit == 64


def test_a_refusal_narrows_at_once_and_replies_widen_one_by_one() -> None:
    window = Window(100, 1, 1000)
    window.succeeded(window.sent("all", 1, 0.0), 1.0)
    window.refused(window.sent("all", 1, 1.0), 1.1)
    narrowed = int(100 * REFUSED)
    assert window.limit == narrowed
    for now in range(narrowed + 1):
        window.succeeded(window.sent("all", 1, now), now + 0.5)
    assert window.limit == narrowed + 1


def test_refusals_of_what_was_sent_together_are_one_fall() -> None:
    window = Window(100, 1, 1000)
    tickets = [window.sent("all", n, 0.0) for n in range(100)]
    for ticket in tickets[:50]:
        window.refused(ticket, 1.0)
    assert window.limit == int(100 * REFUSED)
    for ticket in tickets[50:]:  # nothing else is refused; some of them are even answered
        window.succeeded(ticket, 1.5)
    assert window.limit >= int(100 * REFUSED)


def test_an_outage_is_one_fall_however_long_it_is_probed() -> None:
    window = Window(100, 1, 1000)
    window.succeeded(window.sent("all", 1, 0.0), 1.0)
    for probe in range(1000):
        window.refused(window.sent("all", 1, probe), probe + 0.1)
    assert window.limit == int(100 * REFUSED)


Step = st.tuples(st.sampled_from(["sent", "succeeded", "refused", "gone"]), st.integers(0, 50), st.floats(0, 5))


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 30), st.lists(Step, max_size=600))
def test_the_limit_stays_within_its_bounds_whatever_happens(
    least: int, above: int, more: int, steps: list[tuple[str, int, float]]
) -> None:
    window = Window(least + above, least, least + above + more)
    now_s, out = 0.0, list[Ticket]()
    for what, which, seconds in steps:
        now_s += seconds
        if what == "sent" or not out:
            out.append(window.sent(str(which % 3), len(out) + 1, now_s))
        else:
            ticket = out.pop(which % len(out))
            {"succeeded": window.succeeded, "refused": window.refused, "gone": window.gone}[what](ticket, now_s)
        assert least <= window.limit <= least + above + more
