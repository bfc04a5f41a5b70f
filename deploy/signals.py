"""Ctrl-C and SIGTERM for work that has no parts which could be let finish."""

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130


class Interrupted(Exception):  # noqa: N818 - it says what happened; nothing failed
    """A signal asked the process to end; the work inside was cancelled."""


@contextmanager
def cancelled_by_signals() -> Generator[None]:
    """Cancel the work inside when a signal asks the process to end.

    Raises:  Interrupted, then.
    """
    task = asyncio.current_task()
    assert task is not None
    told = False

    def cancel() -> None:
        nonlocal told
        told = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if not told:
            raise
        task.uncancel()
        raise Interrupted from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
