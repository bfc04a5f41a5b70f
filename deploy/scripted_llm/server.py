"""The server. In a test: `async with ScriptedLLM() as server:` and ask `server.url`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import orjson
from aiohttp import web

from deploy.scripted_llm import question, replies
from deploy.scripted_llm.calls import Calls
from deploy.scripted_llm.dice import Dice
from deploy.scripted_llm.faults import Fault, Faults
from deploy.scripted_llm.question import Question
from deploy.scripted_llm.replies import Shares

T = TypeVar("T")

CHARS_PER_TOKEN = 4

SHUTDOWN_S = 1.0
"""What a request under way is given at the end. aiohttp's minute is for servers whose answers somebody waits for."""


@dataclass(frozen=True, slots=True)
class Service:
    """How long a request takes: it waits for a slot, and holds it for a lognormal time."""

    slots: int = 64
    mean_s: float = 0.0
    sigma: float = 1.0


def service_s(prompt: str, seed: int | None, mean_s: float, sigma: float) -> float:
    """Return how long a request holds its slot: the same each time."""
    return Dice("service", prompt, seed).lognormal(mean_s, sigma)


class Message(msgspec.Struct):
    """One message of a conversation."""

    role: str
    content: str


class Ask(msgspec.Struct):
    """What both APIs take, as far as it is honoured here."""

    model: str
    prompt: str | None = None
    messages: list[Message] | None = None
    max_tokens: int = 16
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int = 1

    @property
    def text(self) -> str:
        """The prompt, whichever its form."""
        return self.prompt or "\n".join(f"{m.role}: {m.content}" for m in self.messages or ())

    @property
    def question(self) -> Question:
        if self.messages is not None:
            return question.of_chat([(m.role, m.content) for m in self.messages])
        return question.of_completion(self.prompt or "")


class ScriptedLLM:
    """A scripted LLM server on a port of this machine. `faults` can be replaced at any time."""

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        *,
        model: str = "scripted",
        port: int = 0,
        service: Service | None = None,
        shares: Shares | None = None,
        context: int | None = None,  # tokens; None: no limit
        tokenizer: bool = True,
        key: str | None = None,  # that each request must carry
        calls_file: Path | None = None,
    ) -> None:
        self.faults = Faults(faults)
        self.calls = Calls(calls_file)
        self.in_flight = 0
        self.most_in_flight = 0
        self.order: deque[str] = deque(maxlen=1000)  # the last prompts, as they arrived
        self.tokenized = 0  # prompts whose length was asked for
        self.answering = asyncio.Event()  # while it is cleared, requests are taken and none is answered
        self.answering.set()
        self._model = model
        self._port = port
        self._service = service or Service()
        self._slots = asyncio.Semaphore(self._service.slots)
        self._shares = shares or Shares()
        self._context = context
        self._key = key
        # A client that goes away ends its request, as with vLLM.
        self._runner = web.AppRunner(
            self._app(tokenizer), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        self._site: web.TCPSite | None = None
        self._coming_back: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base url, without `/v1`."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "ScriptedLLM":
        await self._runner.setup()
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._coming_back:
            self._coming_back.cancel()
            await asyncio.wait([self._coming_back])
        self._break_connections()
        await self._runner.cleanup()
        self.calls.close()

    async def go_down(self) -> None:
        """Close the port, and break all connections."""
        if self._site:
            await self._site.stop()
            self._site = None
        self._break_connections()

    async def come_back(self) -> None:
        """Listen again, on the same port."""
        if self._site is None:
            self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=4096, reuse_address=True)
            await self._site.start()
            self._port = self._runner.addresses[0][1]

    def _break_connections(self) -> None:
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport:
                connection.transport.abort()

    def _app(self, tokenizer: bool) -> web.Application:
        app = web.Application(client_max_size=64 << 20, middlewares=[self._authorised])
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/_calls", self._list_calls)
        app.router.add_post("/_faults", self._switch_faults)
        if tokenizer:
            app.router.add_post("/tokenize", self._tokenize)
        return app

    @web.middleware
    async def _authorised(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if (
            self._key
            and request.path.startswith("/v1")
            and request.headers.get("Authorization") != f"Bearer {self._key}"
        ):
            return _error(401, "the key is wrong")
        return await handler(request)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        ask = _decoded(await request.read(), Ask)
        asked = ask.question
        self.order.append(ask.text)
        before = self.calls.arrive(asked.stage, ask.text, ask.seed)
        fault = self.faults.next(asked.stage, ask.text, ask.seed, before)
        if fault and (failed := await self._fail(fault, request)):
            return failed
        if ask.model != self._model:
            return _error(404, f"The model `{ask.model}` does not exist.")
        prompt_tokens = _tokens(ask.text)
        if self._context and prompt_tokens + ask.max_tokens > self._context:
            return _error(
                400,
                f"This model's maximum context length is {self._context} tokens. However, you requested "
                f"{prompt_tokens + ask.max_tokens} tokens.",
            )
        text, finish_reason = self._reply(ask, asked, cut=fault is not None and fault.length)
        async with self._slots:
            await self.answering.wait()
            seconds = service_s(ask.text, ask.seed, self._service.mean_s, self._service.sigma)
            await asyncio.sleep(seconds + ((fault and fault.slow_s) or 0))
        return _json(_body(ask, text, finish_reason, prompt_tokens))

    def _reply(self, ask: Ask, asked: Question, cut: bool) -> tuple[str, str]:
        """Return the text, from where the prompt left off to a stop string or the last token, and why it ended."""
        text = replies.whole(asked, ask.seed, self._shares).removeprefix(asked.begun)
        stops = [ask.stop] if isinstance(ask.stop, str) else ask.stop or []
        ends = [at for stop in stops if (at := text.find(stop)) >= 0]
        text = text[: min(ends)] if ends else text
        limit = len(text) // 2 if cut else ask.max_tokens * CHARS_PER_TOKEN
        return (text, "stop") if len(text) <= limit else (text[:limit], "length")

    async def _fail(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        """Let a fault happen; None when the request is to be answered all the same."""
        if fault.status is not None:
            headers = {"Retry-After": f"{fault.retry_after_s:g}"} if fault.retry_after_s is not None else {}
            return _error(fault.status, fault.message, headers)
        if fault.garbage:
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        if fault.hang_s is not None:
            await asyncio.sleep(fault.hang_s)
        if fault.down_s is not None:
            await self.go_down()
            self._coming_back = asyncio.create_task(self._come_back_after(fault.down_s))
        if fault.reset and request.transport:
            request.transport.abort()
        return None

    async def _come_back_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.come_back()

    async def _models(self, request: web.Request) -> web.Response:
        return _json(
            {"object": "list", "data": [{"id": self._model, "object": "model", "max_model_len": self._context}]}
        )

    async def _tokenize(self, request: web.Request) -> web.Response:
        self.tokenized += 1
        ask = _decoded(await request.read(), Ask)
        return _json({"count": _tokens(ask.text), "max_model_len": self._context})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _list_calls(self, request: web.Request) -> web.Response:
        return _json(self.calls.listed())

    async def _switch_faults(self, request: web.Request) -> web.Response:
        body = (await request.read()).strip()
        self.faults = Faults(_decoded(body if body.startswith(b"[") else b"[%s]" % body, list[Fault]))
        return web.Response()


def _body(ask: Ask, text: str, finish_reason: str, prompt_tokens: int) -> dict[str, Any]:
    completion_tokens = _tokens(text)
    said = {"message": {"role": "assistant", "content": text}} if ask.messages is not None else {"text": text}
    return {
        "id": "scripted",
        "object": "chat.completion" if ask.messages is not None else "text_completion",
        "model": ask.model,
        "choices": [{"index": 0, "finish_reason": finish_reason, **said}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as err:
        raise web.HTTPBadRequest(text=str(err)) from err


def _json(data: object) -> web.Response:
    return web.Response(body=orjson.dumps(data), content_type="application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": {"message": message, "type": "error", "param": None, "code": status}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def serve(server: ScriptedLLM, started: Callable[[str], None]) -> None:
    """Serve until cancelled; `started` is told the url."""
    async with server:
        started(server.url)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
