"""The server. In a test: `async with ScriptedLLM() as server:` and ask `server.url`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import orjson
from aiohttp import web

from deploy.scripted_llm import asked, bodies, refusals, writing
from deploy.scripted_llm.around import Around
from deploy.scripted_llm.asked import Ask
from deploy.scripted_llm.calls import Calls
from deploy.scripted_llm.dialects import DIALECTS, Dialect
from deploy.scripted_llm.dice import Dice
from deploy.scripted_llm.faults import At, Fault, Faults, Raw
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.writing import Model, Written

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


class ScriptedLLM:
    """A scripted LLM server on a port of this machine. `faults` can be replaced at any time."""

    def __init__(
        self,
        faults: Sequence[Fault] = (),
        *,
        dialect: str | Dialect = "plain",  # a row of DIALECTS
        around: Sequence[Around] = (),  # what the model writes around each answer
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
        self.bodies: deque[dict[str, Any]] = deque(maxlen=1000)  # of the last requests, as they arrived
        self.tokenized = 0  # prompts whose length was asked for
        self._dialect = DIALECTS[dialect] if isinstance(dialect, str) else dialect
        self._writer = Model(self._dialect, tuple(around), shares or Shares())
        self.answering = asyncio.Event()  # while it is cleared, requests are taken and none is answered
        self.answering.set()
        self._model = model
        self._port = port
        self._service = service or Service()
        self._slots = asyncio.Semaphore(self._service.slots)
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
        """The base url, without `/v1` where that is its path."""
        base = self._dialect.base
        return f"http://127.0.0.1:{self._port}{'' if base == '/v1' else base}"

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
        base = self._dialect.base
        app.router.add_post(f"{base}/completions", self._complete)
        app.router.add_post(f"{base}/chat/completions", self._complete)
        app.router.add_get(f"{base}/models", self._models)
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
            and request.path.startswith(self._dialect.base)
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
        ask = _read(await request.read())
        if ask.fields.prompt is None and ask.fields.messages is None:
            return _error(400, "The request has neither messages nor a prompt.")
        stage, prompt, seed = ask.question.stage, ask.text, ask.fields.seed
        self.order.append(prompt)
        self.bodies.append(dict(ask.sent))
        before = self.calls.arrive(stage, prompt, seed)
        fault = self.faults.next(stage, prompt, seed, before)
        if fault and (failed := await self._fail(fault, request)):
            return failed
        if ask.fields.model not in (self._model, f"{self._model}:latest") and not self._dialect.any_model:
            return _error(404, f"The model `{ask.fields.model}` does not exist.")
        prompt_tokens = writing.tokens(prompt)
        refusal = (
            refusals.of_form(self._dialect, ask)
            or refusals.of_length(self._dialect, prompt_tokens, ask.max_tokens, self._context)
            or refusals.of_filter(self._dialect, ask)
        )
        if refusal:
            return _json(refusal.body, refusal.status)
        if self._context is not None:
            prompt_tokens = min(prompt_tokens, self._context)  # what is left of it, where it was cut
        async with self._slots:
            await self.answering.wait()
            seconds = service_s(prompt, seed, self._service.mean_s, self._service.sigma)
            await asyncio.sleep(seconds + ((fault and fault.slow_s) or 0))
        room = None
        if self._context is not None and self._dialect.too_long is not None:
            room = max(1, self._context - prompt_tokens)
        drawn = writing.draw(ask, before)
        written = writing.write(ask, self._writer, drawn, room, cut=fault is not None and fault.length)
        return await self._reply(request, ask, written, prompt_tokens)

    async def _reply(self, request: web.Request, ask: Ask, written: Written, prompt_tokens: int) -> web.StreamResponse:
        """Send what the model wrote, whole or as a stream."""
        dialect = self._dialect
        withheld = refusals.withheld(dialect, ask)
        if not ask.fields.stream:
            return _json(bodies.reply(dialect, ask, written, prompt_tokens, withheld=withheld))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in bodies.events(dialect, ask, written, prompt_tokens, withheld=withheld):
            await response.write(event)
        await response.write_eof()
        return response

    async def _fail(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        """Let a fault happen; None when the request is to be answered all the same."""
        if fault.status is not None:
            headers = {"Retry-After": f"{fault.retry_after_s:g}"} if fault.retry_after_s is not None else {}
            return _error(fault.status, fault.message, headers)
        if fault.raw is not None:
            return _raw(fault.raw)
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

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if failed := await self._fail_at("models", request):
            return failed
        return _json(bodies.models(self._dialect, self._model, self._context))

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        if failed := await self._fail_at("tokenize", request):
            return failed
        match self._dialect.tokenizer:
            case "count":
                self.tokenized += 1
                ask = _read(await request.read())
                return _json({"count": writing.tokens(ask.text), "max_model_len": self._context})
            case "tokens":
                return _json({"tokens": []})
            case "inputs":
                words = "Failed to deserialize the JSON body into the target type: missing field `inputs` at line 1"
                return web.Response(status=422, text=words)
            case None:
                return _json({"detail": "Not Found"}, 404)

    async def _fail_at(self, at: At, request: web.Request) -> web.StreamResponse | None:
        fault = self.faults.next("", "", None, 0, at)
        return await self._fail(fault, request) if fault else None

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _list_calls(self, request: web.Request) -> web.Response:
        return _json(self.calls.listed())

    async def _switch_faults(self, request: web.Request) -> web.Response:
        body = (await request.read()).strip()
        try:
            self.faults = Faults(
                msgspec.json.decode(body if body.startswith(b"[") else b"[%s]" % body, type=list[Fault])
            )
        except msgspec.DecodeError as err:
            raise web.HTTPBadRequest(text=str(err)) from err
        return web.Response()


def _read(body: bytes) -> Ask:
    try:
        return asked.decoded(body)
    except msgspec.DecodeError as err:
        raise web.HTTPBadRequest(text=str(err)) from err


def _json(data: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(data), content_type="application/json")


def _raw(raw: Raw) -> web.Response:
    headers = {"Content-Type": "application/json"} | raw.headers
    return web.Response(status=raw.status, body=raw.content, headers=headers)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps({"error": {"message": message, "type": "error", "param": None, "code": status}})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def serve(server: ScriptedLLM, started: Callable[[str], None]) -> None:
    """Serve until cancelled; `started` is told the url."""
    async with server:
        started(server.url)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
