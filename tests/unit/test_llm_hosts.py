"""Which server is asked. Time is a number here."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from consumers.llm.hosts import LONGEST_REST_S, Host, Hosts


def chosen(hosts: Hosts, now_s: float, *tried: str) -> str | None:
    host = hosts.choose(now_s, tried)
    return host.url if host else None


def test_the_server_with_the_least_in_flight_is_asked() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    a.in_flight, b.in_flight = 2, 1
    assert chosen(hosts, 0.0) == "b"
    b.in_flight = 3
    assert chosen(hosts, 0.0) == "a"


def test_a_server_that_is_down_is_left_out_until_its_rest_is_over_and_then_gets_one_request() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    b.in_flight = 50
    hosts.failed(a, 0.0, None)
    assert hosts.down == ("a",)
    assert [chosen(hosts, t) for t in (0.0, 0.9)] == ["b", "b"]
    assert [chosen(hosts, 1.1) for _ in range(3)] == ["a", "b", "b"]
    hosts.answered(a, 0.0)
    assert chosen(hosts, 1.2) == "a"
    assert hosts.down == ()


def test_rests_double_while_nothing_answers() -> None:
    hosts = Hosts(["a", "b"])
    a = hosts.all[0]
    now_s, tries = 0.0, list[float]()
    hosts.failed(a, now_s, None)
    while len(tries) < 8:
        now_s += 0.5
        if chosen(hosts, now_s) == "a":
            hosts.failed(a, now_s, None)
            tries.append(now_s)
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert gaps[:4] == [2.0, 4.0, 8.0, 16.0]
    assert max(gaps) <= LONGEST_REST_S + 0.5


def test_many_requests_that_fail_together_are_one_failure() -> None:
    hosts = Hosts(["a", "b"])
    for _ in range(100):
        hosts.failed(hosts.all[0], 5.0, None)
    assert hosts.all[0].failures == 1


def test_when_none_is_up_whoever_asks_is_let_through() -> None:
    hosts = Hosts(["a"])
    for now in range(10):
        hosts.failed(hosts.all[0], float(now), None)
        assert chosen(hosts, now + 0.01) == "a"


def test_a_wish_to_be_left_alone_is_kept_even_when_none_is_up() -> None:
    hosts = Hosts(["a"])
    hosts.failed(hosts.all[0], 0.0, 20.0)
    assert chosen(hosts, 19.9) is None
    assert hosts.shortest_wish_s(5.0) == 15.0
    assert chosen(hosts, 20.0) == "a"


def test_a_silence_excuses_what_was_sent_before_its_end_and_nothing_else() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    assert hosts.heard_all_along(a, 1.0)
    hosts.silent(a, 2.0)
    assert hosts.down == ("a",)
    hosts.silent(a, 3.0)
    assert [hosts.heard_all_along(a, t) for t in (1.0, 2.5, 3.5)] == [False, False, False]
    hosts.answered(a, 4.0)
    hosts.answered(a, 5.0)
    assert [hosts.heard_all_along(a, t) for t in (1.0, 3.9, 4.0, 6.0)] == [False, False, True, True]
    assert hosts.heard_all_along(b, 1.0)


def test_a_server_that_refuses_is_heard() -> None:
    hosts = Hosts(["a"])
    hosts.failed(hosts.all[0], 2.0, 10.0)
    assert hosts.heard_all_along(hosts.all[0], 1.0)


def test_nobody_is_asked_twice_for_one_request() -> None:
    hosts = Hosts(["a", "b"])
    assert chosen(hosts, 0.0, "a") == "b"
    assert chosen(hosts, 0.0, "a", "b") is None


@given(st.lists(st.tuples(st.sampled_from(["ask", "fail", "answer", "wait"]), st.integers(0, 2)), max_size=80))
def test_while_one_server_is_up_there_is_always_one_to_ask(steps: list[tuple[str, int]]) -> None:
    hosts = Hosts(["a", "b", "c"])
    now_s = 0.0
    for what, which in steps:
        host: Host | None = hosts.all[which]
        if what == "ask":
            host = hosts.choose(now_s)
            assert host is not None or all(h.wish_until_s > now_s for h in hosts.all)
        elif what == "fail":
            hosts.failed(hosts.all[which], now_s, None)
        elif what == "answer":
            hosts.answered(hosts.all[which], 0.0)
        else:
            now_s += which
        if len(hosts.down) < 3:
            assert hosts.choose(now_s) is not None
