"""Stages for the tests of the runner's rules for a Map."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from stream.records import Seed
from stream.stage import Outcome


async def same(record: Seed) -> Outcome[Seed]:
    """A stage that lets everything through."""
    return Outcome((record,))


def failing_on(name: str, error: BaseException) -> Callable[[Seed], Awaitable[Outcome[Seed]]]:
    """A stage that raises on one record."""

    async def call(record: Seed) -> Outcome[Seed]:
        if record.name == name:
            raise error
        return Outcome((record,))

    return call


class Doors:
    """A stage whose calls each wait until they are let through."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Event] = {}
        self.called: Counter[int] = Counter()

    async def call(self, record: Seed) -> Outcome[Seed]:
        number = int(record.name)
        self.called[number] += 1
        door = self.waiting[number] = asyncio.Event()
        try:
            await door.wait()
        finally:
            self.waiting.pop(number, None)
        return Outcome((record,))

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.waiting.pop(number).set()


async def same_batch(records: Sequence[Seed]) -> Sequence[Outcome[Seed]]:
    """As `same`, for batches."""
    return [Outcome((record,)) for record in records]
