"""An event loop whose clock moves only when nothing is left to do, so that no test waits and none depends on the
machine's speed.

A test module asks for it by `pytestmark = pytest.mark.virtual_time`, a test in it for real time by
`@pytest.mark.virtual_time(False)`. Each timer fires in its order, and everything that an earlier one set off has ended
before the next one fires: `await asyncio.sleep(1)` takes no time, and after it all that could happen within a second
has happened. While a thread of the default executor works the clock stands still. It is for stages on a bus in memory:
what a socket or a process will bring, this loop does not wait for.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

TURN_S = 1e-6
"""What a turn of the loop takes, so that a task which only gives way to others does not stop the clock."""


class _Selector(selectors.DefaultSelector):
    """Moves the clock where the loop would sleep until its next timer."""

    now_s = 0.0
    in_threads = 0  # calls of the executor under way

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (self.in_threads and timeout > 0):
            return super().select(None)  # a thread that ends wakes the loop
        self.now_s += max(timeout, TURN_S)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See above. Its clock begins at 0 and shows seconds."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self._clock.in_threads += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: "asyncio.Future[Any]") -> None:
        self._clock.in_threads -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
