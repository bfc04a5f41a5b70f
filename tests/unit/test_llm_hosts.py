"""Which server is asked. Time is a number here."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.llm.hosts import LONGEST_REST_S, LONGEST_SILENCE_S, PACE_KNOWN, Host, Hosts
from consumers.llm.window import Window


def chosen(hosts: Hosts, now_s: float, *tried: str) -> str | None:
    host = hosts.choose(now_s, dict.fromkeys(tried, now_s))
    return host.url if host else None


def fixed(host: Host, width: int) -> None:
    host.window = Window(width, width, width)


def test_the_server_whose_window_is_emptiest_is_asked() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    a.in_flight, b.in_flight = 2, 1
    assert chosen(hosts, 0.0) == "b"
    b.in_flight = 3
    assert chosen(hosts, 0.0) == "a"
    fixed(b, 4 * a.window.limit)
    assert chosen(hosts, 0.0) == "b"


def test_a_server_gets_no_more_than_its_window_and_all_together_no_more_than_the_most() -> None:
    hosts = Hosts(["a", "b"], 40, 1, 60)
    for host in hosts.all:
        host.in_flight = 20
    assert chosen(hosts, 0.0) is None
    fixed(hosts.all[0], 60)
    assert chosen(hosts, 0.0) == "a"
    hosts.all[0].in_flight = 40
    assert chosen(hosts, 0.0) is None
    assert (hosts.in_flight, hosts.window) == (60, 60)


@pytest.mark.parametrize("urls", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_the_settings_are_of_all_servers_together(urls: list[str]) -> None:
    hosts = Hosts(urls, 96, 12, 500)
    assert hosts.window == 96
    for host in hosts.all:
        for _ in range(100):  # one fall after the other
            host.window.succeeded(host.window.sent("all", 1, 0.0), 1.0)
            host.window.refused(host.window.sent("all", 1, 1.0), 1.0)
    assert hosts.window == 12


def paced(host: Host, in_flight: int, latency_s: float) -> None:
    for _ in range(PACE_KNOWN):
        host.pace.add(in_flight, latency_s)


def test_when_little_is_left_a_server_with_a_long_queue_gets_nothing_more() -> None:
    hosts = Hosts(["fast", "slow"])
    fast, slow = hosts.all
    fast.in_flight, slow.in_flight = 31, 10
    paced(fast, 32, 1.0)
    paced(slow, 32, 8.0)
    assert hosts.choose(0.0, waiting=1000) is slow  # its window is emptier, and there is much to do
    assert hosts.choose(0.0, waiting=1) is fast
    fast.in_flight = 48
    assert hosts.choose(0.0, waiting=1) is None  # sooner done by waiting for the fast one


def test_a_server_whose_pace_is_not_known_gets_requests_however_few_are_left() -> None:
    hosts = Hosts(["a", "b", "new"])
    a, b, new = hosts.all
    paced(a, 32, 1.0)
    paced(b, 32, 1.0)
    a.in_flight = b.in_flight = 30
    new.in_flight = 20
    assert hosts.choose(0.0, waiting=1) is new


@given(
    st.lists(st.tuples(st.integers(0, 32), st.integers(1, 64), st.floats(0.01, 100)), min_size=2, max_size=5),
    st.integers(1, 10_000),
)
def test_a_request_is_held_back_only_while_another_is_under_way(
    servers: list[tuple[int, int, float]], waiting: int
) -> None:
    hosts = Hosts([str(number) for number in range(len(servers))], 32 * len(servers))
    for host, (in_flight, paced_at, latency_s) in zip(hosts.all, servers, strict=True):
        host.in_flight = in_flight
        paced(host, paced_at, latency_s)
    if hosts.choose(0.0, waiting=waiting) is None:  # or nobody would ever give it a permit
        assert hosts.in_flight > 0


def test_a_server_that_is_down_is_left_out_until_its_rest_is_over_and_then_gets_one_request() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    b.in_flight = 40
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


def test_a_silent_server_gets_a_question_and_no_request_until_it_answers() -> None:
    hosts = Hosts(["a", "b"])
    a = hosts.all[0]
    hosts.silent(a, 100.0)
    assert hosts.to_ask(100.1) == []
    assert hosts.to_ask(100.3) == [a]
    assert hosts.to_ask(100.3) == []  # one question
    assert [chosen(hosts, t) for t in (100.3, 101.0, 500.0)] == ["b", "b", "b"]
    hosts.answered(a, 500.0)
    assert chosen(hosts, 500.0) == "a"
    assert hosts.to_ask(600.0) == []


@pytest.mark.parametrize("away_s", [1.0, 10.0, 100.0, 150.0, 10_000.0])
def test_a_server_that_is_back_is_missed_for_a_twentieth_of_its_silence_at_most(away_s: float) -> None:
    hosts = Hosts(["a", "b"])
    a = hosts.all[0]
    hosts.silent(a, 0.0)
    now_s, questions = 0.0, 0
    while now_s < away_s:
        now_s += hosts.next_due_s(now_s) or 0.0
        assert hosts.to_ask(now_s) == [a]
        hosts.silent(a, now_s)
        questions += 1
    assert now_s - away_s <= max(0.25, min(LONGEST_SILENCE_S, 0.05 * away_s)) + 1e-6
    assert questions <= 100 + away_s / LONGEST_SILENCE_S


def test_while_no_server_is_up_requests_find_out_and_no_questions_are_asked() -> None:
    hosts = Hosts(["a", "b"])
    for host in hosts.all:
        hosts.silent(host, 0.0)
    assert hosts.to_ask(5.0) == []
    assert hosts.next_due_s(5.0) is None  # or a timer would ring again and again
    assert chosen(hosts, 5.0) is not None


def test_a_server_that_was_silent_and_is_back_may_be_asked_once_more_and_one_that_refused_may_not() -> None:
    hosts = Hosts(["a", "b"])
    a, b = hosts.all
    hosts.silent(a, 1.0)
    tried = {"a": 1.0}
    assert hosts.left(2.0, tried) == [b]
    hosts.answered(a, 3.0)
    assert hosts.left(4.0, tried) == [a, b]
    hosts.failed(b, 5.0, None)
    hosts.answered(b, 6.0)
    assert hosts.left(7.0, {"b": 5.0}) == [a]


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
