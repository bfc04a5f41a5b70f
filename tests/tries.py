"""How many examples a property test tries: the same ones whenever `make test` runs, so that it says the same of the
same code; new ones, and `SEEDSTREAM_TRIES` times as many, in `make soak`."""

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("SEEDSTREAM_TRIES", "1"))


def tries(count: int = 100) -> settings:
    """Settings for so many examples. How long one takes says how busy the machine is, and nothing of the rule."""
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None if TIMES == 1 else settings.default.database,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
