"""Appending under one name: a source, or a command. A second owner takes over and fences the first."""

import asyncio
import uuid
from collections.abc import Sequence

from stream.bus import Message
from stream.errors import BrokerDown, LeaseLost, TooLarge
from stream.kafka.owner import Mark, Owner
from stream.kafka.place import Place


class KafkaAppender:
    """`stream.bus.Appender`. `owner` has begun.

    A step whose fate is unknown is found out by a mark that is committed with it: a token of its own, as metadata of
    an offset of the appender's own group.
    """

    def __init__(self, place: Place, name: str, owner: Owner) -> None:
        self._place = place
        self._name = name
        self._group = place.group(f"appender.{name}")
        self._owner = owner
        self._over = False
        self._doubt: tuple[Mark, Sequence[Message]] | None = None
        self._steps: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    def refusal(self, message: Message) -> str | None:
        return self._place.refusal(message)

    async def append(self, messages: Sequence[Message]) -> None:
        step = asyncio.create_task(self._append(messages))
        self._steps.add(step)
        step.add_done_callback(self._steps.discard)
        await asyncio.shield(step)  # a cancelled caller's step is written all the same

    async def _append(self, messages: Sequence[Message]) -> None:
        async with self._turn:
            if self._over:
                raise LeaseLost(f"{self._owner.what} is no longer ours to write")
            if not messages or (not self._owner.well and await self._is_written(messages)):
                return
            names = await self._place.names(messages)
            mark = Mark(self._group, names[messages[0].topic], 0, 0, uuid.uuid4().hex)
            try:
                await self._owner.write(messages, names, mark)
            except BrokerDown:
                self._doubt = (mark, messages)
                raise
            except LeaseLost:
                self._over = True
                raise
            except TooLarge:
                await self._place.load_limits([*names.values()])
                raise

    async def _is_written(self, messages: Sequence[Message]) -> bool:
        await self._owner.begin()
        if self._doubt is None:
            return False
        mark, written = self._doubt
        try:
            found = (await self._place.admin.committed(mark.group, mark.topic, [mark.partition]))[mark.partition]
        except BaseException:
            self._owner.discard()  # nothing may be written before that is known
            raise
        self._doubt = None
        return found is not None and found.metadata == mark.metadata and written == messages

    async def close(self) -> None:
        """Append no more."""
        self._over = True
        if self._steps:
            await asyncio.wait({*self._steps})
        await self._owner.close()
