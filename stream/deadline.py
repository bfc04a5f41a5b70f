"""One call under a deadline, ended as the errors that the runner acts on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from stream.errors import RequestTimedOut, WorkerDied

T = TypeVar("T")


async def within(deadline_s: float, what: str, call: Callable[[], Awaitable[T]]) -> T:
    """Return what a call returns or raises. `what` names it in errors.

    Raises:  RequestTimedOut after `deadline_s` seconds; WorkerDied when nobody cancelled this call, but something that
             it waited for was cancelled.
    """
    deadline = asyncio.timeout(deadline_s)
    task = asyncio.current_task()
    try:
        async with deadline:
            return await call()
    except asyncio.CancelledError as err:
        if task is None or task.cancelling():
            raise
        # The records of this call must not get lost with it.
        raise WorkerDied(f"{what}: what a call waited for was cancelled") from err
    except TimeoutError as err:
        if not deadline.expired():
            raise  # the call's own, not the deadline's
        raise RequestTimedOut(f"{what} took longer than {deadline_s:g} s") from err
