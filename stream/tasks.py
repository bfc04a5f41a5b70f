"""Ending tasks in good order."""

import asyncio
from typing import Any


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended. What they raise is theirs to have told."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
