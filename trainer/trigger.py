"""When to train. Pure: time is passed in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Table [train.trigger]. Enough new examples are reason to train; so are fewer ones that have waited for long.

    Ours: the papers train once, on the whole.
    """

    examples: int = 1_000  # new ones that are enough at once
    age_s: float = 86_400.0  # how long the oldest new one waits ...
    least: int = 100  # ... until as many as these are enough

    def __post_init__(self) -> None:
        for name in ("examples", "least"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not self.age_s >= 0:
            raise ValueError("age_s must not be negative")


def should_train(new_examples: int, waited_s: float, rule: Rule) -> bool:
    """Return whether to train now: `new_examples` since the newest checkpoint, the oldest of which came `waited_s` ago.

    >>> should_train(100, 3_600, Rule()), should_train(100, 86_400, Rule()), should_train(1_000, 0, Rule())
    (False, True, True)
    """
    return new_examples >= rule.examples or (new_examples >= rule.least and waited_s >= rule.age_s)
