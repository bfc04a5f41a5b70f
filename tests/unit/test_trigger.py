"""When to train, as a table."""

import pytest

from trainer.trigger import Rule, should_train

RULE = Rule(examples=1_000, age_s=3_600, least=100)

# fmt: off
TABLE = [
    # new    waited_s  train
    (0,             0, False),
    (0,    10_000_000, False),  # nothing new is never a reason
    (99,   10_000_000, False),  # too few, however long they wait
    (100,       3_599, False),
    (100,       3_600, True),   # few, but for long
    (999,           0, False),
    (999,       3_600, True),
    (1_000,         0, True),   # enough at once
    (1_000_000,     0, True),
]
# fmt: on


@pytest.mark.parametrize(("new", "waited_s", "train"), TABLE)
def test_training_begins_on_enough_new_examples_or_on_few_that_have_waited(new: int, waited_s: float, train: bool):
    assert should_train(new, waited_s, RULE) is train


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"least": 0}, {"age_s": -1.0}, {"age_s": float("nan")}])
def test_a_rule_that_could_train_on_nothing_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule(**wrong)  # pyright: ignore[reportArgumentType]
