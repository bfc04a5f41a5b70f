"""How often a process looks for cycles."""

import gc

from stream.garbage import YOUNG, seldom_collected


def test_cycles_are_looked_for_seldom_in_a_run_and_as_before_after_it() -> None:
    before = gc.get_threshold()
    with seldom_collected():
        assert gc.get_threshold() == (YOUNG, *before[1:])
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
