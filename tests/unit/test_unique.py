from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers import unique
from consumers.unique import Reason
from stream import codec
from stream.errors import Fatal
from stream.records import Kept, Seed, StateChange, Step
from stream.stage import Decision
from tests.records import seed

PARAMS = unique.Params(threshold=0.5, ngram=5, num_perm=128, bands=32, rows=4)
STAGE = unique.stage(PARAMS, recipe_seed=3407)

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=25)

Seen = tuple[str, str | None, str | None]


def seeds(texts: list[str]) -> list[Seed]:
    return [seed(text, index) for index, text in enumerate(texts)]


def plain(decision: Decision[Seed]) -> Seen:
    """A decision in a form that compares."""
    [*emitted], [*rejected] = decision.outcome.emitted, decision.outcome.rejected
    return (
        decision.change,
        emitted[0].seed_id if emitted else None,
        f"{rejected[0].reason} {rejected[0].evidence}" if rejected else None,
    )


def test_the_first_is_kept_and_a_near_duplicate_names_it() -> None:
    text = "one two three four five six seven eight nine ten"
    first, near, other = seeds([text, text.replace("ten", "eleven"), "something else entirely, with other words"])
    decisions = STAGE.decide(STAGE.new(), [first, near, other])
    [kept] = decisions[0].outcome.emitted
    assert kept.steps == (*first.steps, Step("unique", unique.VERSION, verdict="no near-duplicate"))
    assert (kept.seed_id, kept.code) == (first.seed_id, first.code)
    [reject] = decisions[1].outcome.rejected
    assert (reject.reason, reject.record_id) == (Reason.NEAR_DUPLICATE, None)
    assert reject.evidence == f"Jaccard similarity 0.714 to {first.seed_id}"
    assert [seed.seed_id for seed in decisions[2].outcome.emitted] == [other.seed_id]


def test_a_rejected_one_is_not_remembered() -> None:
    words = [f"w{n}" for n in range(40)]
    a, b, c = (" ".join(words[start : start + 20]) for start in (0, 5, 10))
    decisions = STAGE.decide(STAGE.new(), seeds([a, b, c]))
    assert [bool(decision.outcome.emitted) for decision in decisions] == [True, False, True]
    assert decisions[1].change == ""


@given(TEXTS, st.data())
def test_batches_and_restarts_change_no_decision(texts: list[str], data: st.DataObject) -> None:
    records = seeds(texts)
    whole = [plain(decision) for decision in STAGE.decide(STAGE.new(), records)]
    state, changes, cut = STAGE.new(), list[str](), list[Seen]()
    while len(cut) < len(records):
        if data.draw(st.booleans(), label="restart"):
            state = STAGE.new()
            STAGE.restore(state, changes)
        size = data.draw(st.sampled_from([1, 2, 5, 32]), label="batch")
        decisions = STAGE.decide(state, records[len(cut) : len(cut) + size])
        changes += [decision.change for decision in decisions if decision.outcome.emitted]
        cut += [plain(decision) for decision in decisions]
    assert cut == whole


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_code_gets_a_decision_and_a_change_that_a_topic_can_carry(a: str, b: str) -> None:
    decisions = STAGE.decide(STAGE.new(), [seed("x", 0), *seeds([a, b])[1:]])
    for decision in decisions:
        codec.encode(StateChange((Kept(0, "id", decision.change),)))


def test_a_state_that_cannot_be_read_stops_the_stage() -> None:
    with pytest.raises(Fatal, match=r"unique\.state cannot be read"):
        STAGE.restore(STAGE.new(), ["garbage"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: replace(PARAMS, threshold=0.0),
        lambda: replace(PARAMS, threshold=1.5),
        lambda: replace(PARAMS, ngram=0),
        lambda: replace(PARAMS, bands=0),
        lambda: replace(PARAMS, rows=5),
    ],
)
def test_params_that_make_no_index_are_refused(wrong: Callable[[], unique.Params]) -> None:
    with pytest.raises(ValueError, match="expected"):
        wrong()
