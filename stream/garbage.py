"""How often a process looks for reference cycles.

A stage at work holds some ten thousand records and messages, which the collector would walk over and over: with
CPython's own thresholds it took 40% of a copying stage's time. Hardly anything of ours is a cycle, so it looks for
them seldom, and never among what was there before the work began.
"""

import contextlib
import gc
from collections.abc import Generator

YOUNG = 50_000
"""Objects made and not yet freed, before the young are looked at. CPython's own threshold is 700."""


@contextlib.contextmanager
def seldom_collected() -> Generator[None]:
    """Look for cycles seldom inside, in the whole process."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
