"""What is remembered of records that are not answered whole, and that it is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from consumers.llm.request import Completion
from consumers.llm.unfinished import CHARS_PER_RECORD, UnfinishedRecords


def completion(chars: int) -> Completion:
    return Completion("x" * chars, "stop", 1, 1, "m")


def test_a_record_keeps_its_place_and_its_results_until_it_is_whole() -> None:
    records = UnfinishedRecords()
    first, second = records.enter("s", "a"), records.enter("s", "b")
    first.results["a/0"] = completion(3)
    records.leave("s", "a", whole=False)
    again = records.enter("s", "a")
    assert again.ordinal < second.ordinal
    assert list(again.results) == ["a/0"]
    records.leave("s", "a", whole=True)
    fresh = records.enter("s", "a")
    assert fresh.results == {} and fresh.ordinal > second.ordinal


def test_stages_do_not_share_records() -> None:
    records = UnfinishedRecords()
    assert records.enter("s", "a").ordinal != records.enter("t", "a").ordinal


def test_beyond_the_bound_the_record_that_was_given_up_first_is_forgotten() -> None:
    records = UnfinishedRecords(kept_chars=3 * CHARS_PER_RECORD)
    for name in "abcd":
        records.enter("s", name)
        records.leave("s", name, whole=False)
    ordinals = {name: records.enter("s", name).ordinal for name in "bcda"}
    assert ordinals == {"b": 1, "c": 2, "d": 3, "a": 4}


@given(
    st.lists(
        st.tuples(st.sampled_from(["enter", "answer", "fail", "whole"]), st.integers(0, 9), st.integers(0, 900)),
        max_size=200,
    )
)
def test_what_is_kept_never_exceeds_the_bound_and_what_is_asked_for_is_never_forgotten(
    steps: list[tuple[str, int, int]],
) -> None:
    bound = 4 * CHARS_PER_RECORD
    records = UnfinishedRecords(kept_chars=bound)
    calls: dict[str, int] = {}
    for what, number, chars in steps:
        name = str(number)
        if what == "enter":
            record = records.enter("s", name)
            calls[name] = calls.get(name, 0) + 1
            assert record.calls == calls[name]
        elif calls.get(name):
            if what == "answer":
                records.enter("s", name).results[str(chars)] = completion(chars)
                records.leave("s", name, whole=False)
            else:
                records.leave("s", name, whole=what == "whole")
                calls[name] -= 1
        asked = sum(1 for count in calls.values() if count)
        assert len(records) - asked <= bound // CHARS_PER_RECORD
