"""Several servers behind one endpoint, in virtual time: how near a run comes to the best there is.

The bound is the time of a scheduler that knows all slots (`server_schedules.ideal_wall_s`).
"""

import statistics
from collections.abc import Sequence

import pytest

from tests.server_schedules import Outage, SimulatedServer, Work, ideal_wall_s, lognormal, simulate

FLAT, STAGED = (1,), (1, 1, 10)
SEEDS = 2


def of_bound(
    slots: Sequence[int],
    outages: Sequence[Outage] = (),
    *,
    requests: int = 3000,
    fan_out: tuple[int, ...] = FLAT,
    sigma: float = 0.7,
    by_stage: Sequence[float] = (1.0,),
    slower: Sequence[float] | None = None,
) -> float:
    """Return the wall time of a run, divided by the bound: the mean over some seeds."""
    slower = slower or [1.0] * len(slots)
    ratios: list[float] = []
    for seed in range(SEEDS):
        work = Work(requests // sum(fan_out), fan_out, lognormal(1.0, sigma, seed, by_stage))
        servers = [SimulatedServer(count, factor) for count, factor in zip(slots, slower, strict=True)]
        ratios.append(simulate(work, servers, outages).wall_s / ideal_wall_s(work, slots, outages, slower))
    return statistics.mean(ratios)


def test_three_unequal_servers_without_settings_take_a_twentieth_more_than_the_bound_at_most() -> None:
    assert of_bound((64, 16, 8)) <= 1.05


@pytest.mark.parametrize("killed", [0, 1, 2])
def test_so_they_do_when_one_is_killed_and_started_again(killed: int) -> None:
    assert of_bound((64, 16, 8), [Outage(killed, 10.0, 16.0)]) <= 1.05


def test_so_they_do_with_stages_that_wait_for_each_other_and_differ_in_length() -> None:
    assert of_bound((64, 16, 8), fan_out=STAGED, by_stage=(0.5, 0.1, 2.0)) <= 1.05


@pytest.mark.parametrize(
    ("slots", "limit"),
    [((128, 32, 32, 4), 1.1), ((8, 8), 1.05), ((256, 16, 8), 1.25)],  # the last run is only 11 service times long
    ids=str,
)
def test_servers_of_other_sizes_are_used_too(slots: Sequence[int], limit: float) -> None:
    assert of_bound(slots) <= limit


def test_servers_of_different_speeds_take_a_tenth_more_at_most() -> None:
    assert of_bound((8, 64, 16), slower=(1.0, 3.0, 0.5)) <= 1.1


def test_the_last_requests_do_not_wait_at_the_small_servers() -> None:
    # The windows stay at 32, which is 2 and 4 times their slots. What is sent there at the end would wait, while the
    # large server has nothing to do.
    work = Work(1500, FLAT, lognormal(1.0, 0.3, 3))
    servers = [SimulatedServer(64), SimulatedServer(16), SimulatedServer(8)]
    run = simulate(work, servers)
    assert run.windows[-1][1][1:] == (32, 32)
    assert run.wall_s <= ideal_wall_s(work, (64, 16, 8)) + 2.0  # the queue of the last one alone takes 3 s


def test_a_server_that_takes_its_queue_in_any_order_is_not_flooded() -> None:
    # There a reply overtakes requests that only wait, and so proves nothing. The window may grow fourfold for it.
    most: list[int] = []
    for seed in range(SEEDS):
        work = Work(3000, FLAT, lognormal(1.0, 1.0, seed))
        servers = [SimulatedServer(8, in_order=False), SimulatedServer(8, in_order=False)]
        simulate(work, servers)
        most += [server.most_in_flight for server in servers]
    assert max(most) <= 400
    assert statistics.mean(most) <= 250


def test_a_batching_server_that_slows_down_with_each_request_is_filled_and_not_flooded() -> None:
    # At 256 each request takes 4.2 times as long as alone, and yet 256 at a time do a third more than 96.
    work = Work(6000, FLAT, lognormal(1.0, 0.7, 1))
    servers = [SimulatedServer(256, crowded=lambda active: 1 + active / 80), SimulatedServer(16)]
    run = simulate(work, servers)
    widest = [max(large for at_s, (large, _) in run.windows if at_s >= from_s) for from_s in (5, 30)]
    assert min(widest) >= 200
    assert max(widest) <= 600


def test_the_window_of_a_large_server_opens_within_a_few_service_times() -> None:
    work = Work(3000, FLAT, lognormal(1.0, 1.0, 2))
    run = simulate(work, [SimulatedServer(64), SimulatedServer(16), SimulatedServer(8)])
    opened_s = next(at_s for at_s, (large, _, _) in run.windows if large >= 64)
    assert opened_s <= 4.0
