"""What widens a window in its slow start, and what does not."""

from consumers.llm.slow_start import UNCHECKED, SlowStart
from consumers.llm.window import Window

START = 16


def burst(start: SlowStart, count: int, now_s: float) -> list[object]:
    tickets = [object() for _ in range(count)]
    for number, ticket in enumerate(tickets):
        start.sent(ticket, number + 1, START, now_s)
    return tickets


def test_a_reply_that_overtakes_many_widens_to_twice_what_was_in_service() -> None:
    start = SlowStart(START)
    first = burst(start, START, 0.0)
    assert start.succeeded(first.pop(), START, 0.1) is None
    [late] = burst(start, 1, 0.1)
    assert start.succeeded(late, START, 0.2) == 2 * START  # it and the 15 before it


def test_replies_in_the_order_of_their_requests_prove_nothing_and_end_it() -> None:
    start = SlowStart(START)
    open_tickets = burst(start, START, 0.0)
    for number in range(2 * START):
        assert start.succeeded(open_tickets.pop(0), START, 1.0 + number) is None
        open_tickets += [object()]
        start.sent(open_tickets[-1], START, START, 1.0 + number)
    assert start.over


def test_requests_sent_together_prove_nothing_about_each_other() -> None:
    start = SlowStart(START)
    tickets = burst(start, START, 0.0)
    for number, ticket in enumerate(reversed(tickets)):  # each one overtakes all that were sent before it
        assert start.succeeded(ticket, START, 1.0 + number) is None


def test_replies_while_there_is_little_to_do_do_not_end_it() -> None:
    start = SlowStart(START)
    for number in range(3 * START):
        [ticket] = burst(start, 1, float(number))
        start.succeeded(ticket, START, number + 0.5)
    assert not start.over


def test_beyond_four_times_the_start_overtaking_is_not_enough_when_all_take_longer() -> None:
    start, limit, now_s = SlowStart(START), START, 0.0
    open_tickets = burst(start, START, 0.0)
    for number in range(400):  # one reply a second whatever is in flight: the last one sent, as a stack would do it
        now_s += 1.0
        width = start.succeeded(open_tickets.pop(), limit, now_s)
        limit = int(width or limit)
        while len(open_tickets) < limit:
            open_tickets.append(object())
            start.sent(open_tickets[-1], len(open_tickets), limit, now_s)
        if start.over:
            assert number < 5 * UNCHECKED * START
            break
    assert start.over
    assert START < limit <= UNCHECKED * START


def test_a_refusal_ends_the_slow_start_of_a_window() -> None:
    window = Window(START, 1, 1000, SlowStart(START))
    tickets = [window.sent("all", number + 1, 0.0) for number in range(START)]
    window.succeeded(tickets.pop(), 0.1)
    window.refused(tickets.pop(), 0.1)
    narrow = window.limit
    assert narrow < START
    late = window.sent("all", START, 0.2)
    window.succeeded(late, 0.3)
    assert window.limit == narrow
