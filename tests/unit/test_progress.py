"""Progress against a naive model: a set of finished offsets, and what was delivered so far."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.progress import MAX_SPAN, Progress, Window

LOG_END = 60

Turns = list[tuple[int, list[int], bool]]
turns: st.SearchStrategy[Turns] = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.integers(0, LOG_END)), st.booleans()), max_size=12
)
"""Each turn: how many records to deliver, which of those in flight to finish (by index), and whether to crash."""


class Model:
    """What `Window` stands for, written down plainly. `records` are the offsets that hold a record."""

    def __init__(self, records: list[int], committed: Progress) -> None:
        self.to_come = [offset for offset in records if offset not in committed]
        self.in_flight: list[int] = []

    def deliver(self, count: int) -> list[int]:
        batch, self.to_come = self.to_come[:count], self.to_come[count:]
        self.in_flight += batch
        return batch

    def finish(self, picks: list[int]) -> list[int]:
        picked = sorted({self.in_flight[pick % len(self.in_flight)] for pick in picks}) if self.in_flight else []
        self.in_flight = [offset for offset in self.in_flight if offset not in picked]
        return picked


@given(st.sets(st.integers(0, LOG_END - 1)), turns)
def test_progress_holds_exactly_the_finished_records_whatever_the_gaps_the_order_and_the_restarts(
    records: set[int], script: Turns
) -> None:
    log = sorted(records)
    finished: set[int] = set()
    committed = Progress()
    window, model = Window(committed), Model(log, committed)
    for count, picks, crash in script:
        window.deliver(model.deliver(count))
        done = model.finish(picks)
        window.finish(reversed(done))
        finished.update(done)
        progress = window.progress()
        assert {offset for offset in log if offset in progress} == finished
        assert all(offset > progress.watermark for offset in progress.done)
        assert window.watermark == progress.watermark
        assert window.span <= LOG_END
        if model.in_flight:
            assert progress.watermark == min(model.in_flight)
        committed = Progress.decode(progress.watermark, progress.bitmap())
        assert committed == progress
        if crash:
            window, model = Window(committed), Model(log, committed)
    while model.to_come or model.in_flight:
        window.deliver(model.deliver(5))
        window.finish(model.finish(list(range(len(model.in_flight)))))
    window.advance(LOG_END)
    assert window.progress() == Progress(LOG_END)
    assert window.span == 0


@given(st.integers(0, 2**40), st.sets(st.integers(1, MAX_SPAN), max_size=300))
def test_the_bitmap_gives_back_what_went_in(watermark: int, above: set[int]) -> None:
    progress = Progress(watermark, frozenset(watermark + distance for distance in above))
    assert Progress.decode(watermark, progress.bitmap()) == progress


def test_the_bitmap_of_the_widest_span_fits_the_offset_metadata_of_a_broker() -> None:
    window = Window(Progress(7))
    delivered = range(7, Progress(7).reach + 1)
    window.deliver(delivered)
    window.finish(delivered[1:])
    progress = window.progress()
    assert len(progress.done) == MAX_SPAN
    assert len(progress.bitmap()) <= 3_336
    assert Progress.decode(7, progress.bitmap()) == progress


@given(st.sets(st.integers(1, MAX_SPAN)), st.integers(1, 9))
def test_what_is_delivered_within_reach_can_be_told_whatever_the_gaps_and_whatever_was_done_before(
    done: set[int], stride: int
) -> None:
    start = Progress(0, frozenset(done))
    window = Window(start)
    delivered = [offset for offset in range(0, start.reach + 1, stride) if offset not in done]
    window.deliver(delivered)
    window.finish(delivered[1:])  # record 0 stays in flight
    progress = window.progress()
    assert len(progress.bitmap()) <= 3_336
    assert Progress.decode(0, progress.bitmap()) == progress


@pytest.mark.parametrize("bitmap", ["*", "AAA", "AA==AA==", "é", base64.b64encode(b"\1" * 2_502).decode()])
def test_what_is_no_bitmap_is_refused(bitmap: str) -> None:
    with pytest.raises(ValueError, match="bitmap"):
        Progress.decode(0, bitmap)


def test_an_offset_is_delivered_once() -> None:
    window = Window(Progress(3, frozenset({5})))
    for offset in (2, 5):
        with pytest.raises(ValueError, match="delivered before"):
            window.deliver([offset])


def test_finished_offsets_below_the_watermark_are_forgotten() -> None:
    window = Window(Progress())
    window.deliver(range(1_000))
    window.finish(range(500))
    assert window.progress() == Progress(500)
    window.finish(range(501, 1_000))
    assert window.progress() == Progress(500, frozenset(range(501, 1_000)))
