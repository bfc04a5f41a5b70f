"""A TCP proxy before a Kafka broker that holds, loses or delays single requests and answers, by their kind.

A request begins with its size (4 bytes), api key (2), api version (2) and correlation id (4), an answer with its size
and the correlation id of its request: https://kafka.apache.org/protocol. Clients get to it by a listener of the broker
that advertises its port.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator
from enum import Enum
from typing import Any

from deploy.local_kafka import Listener, LocalKafka
from tests.brokers import MakeKafka

OFFSET_FETCH, INIT_PRODUCER_ID, END_TXN = 9, 22, 26

UNKNOWN = -1
"""UNKNOWN_SERVER_ERROR: what a broker answers when it meets an exception that it did not foresee."""

FAILURES: dict[tuple[int, int], bytes] = {
    (END_TXN, 0): struct.pack(">ih", 0, UNKNOWN),
    (INIT_PRODUCER_ID, 0): struct.pack(">ihqh", 0, UNKNOWN, -1, -1),
    (INIT_PRODUCER_ID, 3): struct.pack(">bihqhb", 0, 0, UNKNOWN, -1, -1, 0),
}
"""Answers of a broker that failed, after the correlation id, by api key and version. InitProducerId is flexible from
version 2 on: tagged fields end its header and body."""


class Fate(Enum):
    """What becomes of a request of a kind."""

    HELD = "waits at the proxy until the fate of its kind is another"
    SWALLOWED = "never reaches the broker; nothing is answered"
    UNANSWERED = "is done by the broker; its answer never comes"
    FAILED = "never reaches the broker; is answered as by one that fails at it, UnknownError"


class Proxy:
    """Forwards all there is, apart from the kinds in `fates`. `struck` counts what met a fate, by kind, and each is
    printed."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))  # from here on, so that nobody else takes the port
        self.port: int = self._door.getsockname()[1]
        self.fates: dict[int, Fate] = {}  # by api key
        self.struck: Counter[tuple[int, Fate]] = Counter()
        self._broker = ("", 0)
        self._changed = asyncio.Condition()
        self._serving: set[asyncio.Task[None]] = set()  # connections
        self._tasks: set[asyncio.Task[None]] = set()  # of them, one for each direction

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"kafka://127.0.0.1:{self.port}"

    async def strike(self, api_key: int, fate: Fate | None) -> None:
        """Set the fate of a kind of request from here on; None lets all of them through."""
        async with self._changed:
            if fate is None:
                self.fates.pop(api_key, None)
            else:
                self.fates[api_key] = fate
            self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def before(self, address: str) -> AsyncGenerator["Proxy"]:
        """Serve while inside, for the broker at host:port."""
        host, _, port = address.rpartition(":")
        self._broker = (host, int(port))
        server = await asyncio.start_server(self._serve, sock=self._door)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._serving:
                await asyncio.wait({*self._serving})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        there, back = await asyncio.open_connection(*self._broker)
        unanswered: set[int] = set()  # correlation ids
        both = [
            asyncio.create_task(self._requests(reader, writer, back, unanswered)),
            asyncio.create_task(self._answers(there, writer, unanswered)),
        ]
        self._tasks.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        self._tasks.difference_update(both)
        for end in (writer, back):
            end.close()

    async def _requests(
        self, client: asyncio.StreamReader, answers: asyncio.StreamWriter, broker: asyncio.StreamWriter,
        unanswered: set[int],
    ) -> None:  # fmt: skip
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(client)
                api_key, version, correlation_id = struct.unpack_from(">hhi", frame, 4)
                fate = self.fates.get(api_key)
                if fate is not None:
                    self._tell(api_key, fate)
                if fate is Fate.HELD:
                    fate = await self._let(api_key)
                if fate is Fate.SWALLOWED:
                    continue
                if fate is Fate.FAILED:  # who waits for it has nothing else under way on this connection
                    answer = struct.pack(">i", correlation_id) + FAILURES[api_key, version]
                    answers.write(struct.pack(">i", len(answer)) + answer)
                    continue
                if fate is Fate.UNANSWERED:
                    unanswered.add(correlation_id)
                broker.write(frame)
                await broker.drain()

    async def _answers(self, broker: asyncio.StreamReader, client: asyncio.StreamWriter, unanswered: set[int]) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(broker)
                (correlation_id,) = struct.unpack_from(">i", frame, 4)
                if correlation_id in unanswered:
                    unanswered.discard(correlation_id)
                    continue
                client.write(frame)
                await client.drain()

    async def _let(self, api_key: int) -> Fate | None:
        """Wait until requests of a kind are held no more, and return their fate then."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.fates.get(api_key) is not Fate.HELD)
        return self.fates.get(api_key)

    def _tell(self, api_key: int, fate: Fate) -> None:
        self.struck[api_key, fate] += 1
        print(f"proxy at {self.port}: request of kind {api_key} {fate.value}")


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """Return one request or answer, with its size."""
    size = await reader.readexactly(4)
    return size + await reader.readexactly(int.from_bytes(size, "big"))


@contextlib.asynccontextmanager
async def proxied(make: MakeKafka, number: int = 1, **broker: Any) -> AsyncGenerator[tuple[LocalKafka, list[Proxy]]]:
    """Start a broker of one's own with so many proxies before it, each with a listener of its own."""
    proxies = [Proxy() for _ in range(number)]
    names = [f"PROXY{k}" for k in range(number)]
    doors = [Listener(name, advertised_port=proxy.port) for name, proxy in zip(names, proxies, strict=True)]
    kafka = await asyncio.to_thread(make, listeners=doors, **broker)
    async with contextlib.AsyncExitStack() as stack:
        for name, proxy in zip(names, proxies, strict=True):
            await stack.enter_async_context(proxy.before(kafka.addresses(name)))
        yield kafka, proxies
