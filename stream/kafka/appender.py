"""Appending under one name: a source, or a command. A second owner takes over and fences the first."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence

from aiokafka.structs import TopicPartition

from stream.bus import Message
from stream.errors import BrokerDown, LeaseLost, TooLarge
from stream.kafka.owner import Mark, Owner
from stream.kafka.place import Place


class KafkaAppender:
    """`stream.bus.Appender`. `begin` comes first.

    A step whose fate is unknown is found out by a mark that is committed with it: a token of its own, as metadata of
    an offset of the appender's own group. A mark that is not ours tells that somebody else has taken over.
    """

    def __init__(self, place: Place, name: str, owner: Owner) -> None:
        self._place = place
        self._name = name
        self._group = place.group(f"appender.{name}")
        self._owner = owner
        self._over = False
        self._marks: Mapping[str, str] = {}  # as we left them, by topic
        self._doubt: tuple[Mark, Sequence[Message]] | None = None
        self._steps: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Take the name over.

        Raises:  as `Owner.begin`.
        """
        await self._owner.begin()
        self._marks = await self._found()

    def refusal(self, message: Message) -> str | None:
        return self._place.refusal(message)

    async def append(self, messages: Sequence[Message]) -> None:
        step = asyncio.create_task(self._append(messages))
        self._steps.add(step)
        step.add_done_callback(self._ended)
        await asyncio.shield(step)  # a cancelled caller's step is written all the same

    def _ended(self, step: "asyncio.Task[None]") -> None:
        self._steps.discard(step)
        if not step.cancelled():
            step.exception()  # told, as far as asyncio is concerned: a caller that was cancelled does not hear of it

    async def _append(self, messages: Sequence[Message]) -> None:
        async with self._turn:
            if self._over:
                raise LeaseLost(f"{self._owner.what} is no longer ours to write")
            if not messages or (not self._owner.well and await self._is_written(messages)):
                return
            names = await self._place.names(messages)
            try:
                await self._write(messages, names)
            except TooLarge:
                await self._place.load_limits([*names.values()])
                if any(map(self._place.refusal, messages)):
                    await self._is_written(messages)  # which ends what is open of this step
                    raise
                # Each message is small enough: it is their batches that were made for a limit which has fallen since.
                if not await self._is_written(messages):
                    await self._write(messages, names)

    async def _write(self, messages: Sequence[Message], names: Mapping[str, str]) -> None:
        mark = Mark(self._group, names[messages[0].topic], 0, 0, uuid.uuid4().hex)
        try:
            await self._owner.write(messages, names, mark)
        except BrokerDown:
            self._doubt = (mark, messages)
            raise
        except LeaseLost:
            self._over = True
            raise
        self._marks = _left(self._marks, mark)

    async def _is_written(self, messages: Sequence[Message]) -> bool:
        """Resume after a step of unknown fate; return whether that step was this one, and written.

        Raises:  LeaseLost when another owner has the name now; BrokerDown.
        """
        # Before we resume: where the coordinator cannot say who has begun, that would fence them. A step of ours that
        # is still open is none of theirs.
        self._refuse_others(await self._found(stable=False))
        try:
            await self._owner.resume()  # it ends what is under way
        except LeaseLost:
            self._over = True
            raise
        try:
            found = await self._found()
        except BaseException:
            self._owner.discard()  # nothing may be written before that is known
            raise
        self._refuse_others(found)
        doubt, self._doubt = self._doubt, None
        if found == self._marks:
            return False
        self._marks = found
        return doubt is not None and doubt[1] == messages

    async def _found(self, *, stable: bool = True) -> Mapping[str, str]:
        """Return the marks of this name by topic."""
        topics = await self._place.admin.topics(self._place.full(""))
        found = await self._place.admin.committed_at(
            self._group, [TopicPartition(topic, 0) for topic in topics], stable=stable
        )
        return {tp.topic: at.metadata for tp, at in found.items() if at is not None}

    def _refuse_others(self, found: Mapping[str, str]) -> None:
        if found != self._marks and (self._doubt is None or found != _left(self._marks, self._doubt[0])):
            self._over = True
            raise LeaseLost(f"{self._owner.what}: another owner has written")

    async def close(self) -> None:
        """Append no more."""
        self._over = True
        if self._steps:
            await asyncio.wait({*self._steps})
        await self._owner.close()


def _left(marks: Mapping[str, str], mark: Mark) -> Mapping[str, str]:
    """Return the marks that stand once another one is committed."""
    return {**marks, mark.topic: mark.metadata}
