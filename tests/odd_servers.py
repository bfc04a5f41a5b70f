"""An LLM server of one's own making: a function answers each body, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BOM = b"\xef\xbb\xbf"
Body = dict[str, Any]
Said = tuple[int, object]
"""A status, and a JSON value, text or bytes."""


@dataclass
class Odd:
    """What the server was asked, and where it is."""

    url: str = ""
    asked: list[Body] = field(default_factory=list[Body])  # bodies of completions, in order
    paths: list[str] = field(default_factory=list[str])  # of everything, in order


@asynccontextmanager
async def odd_server(
    answer: Callable[[Body], Said | Awaitable[Said]],
    others: Mapping[str, Said] | None = None,
) -> AsyncGenerator[Odd]:
    """Serve both APIs by `answer`; `others` are answers by path (`/v1/models`, `/tokenize`), else 404."""
    odd = Odd()

    async def handle(request: web.Request) -> web.StreamResponse:
        odd.paths.append(request.path)
        if request.path in (others or {}):
            return reply((others or {})[request.path])
        if not request.path.endswith("/completions"):
            return reply((404, {"detail": "Not Found"}))
        body = json.loads(await request.read())
        odd.asked.append(body)
        said = answer(body)
        return reply(said if isinstance(said, tuple) else await said)

    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        odd.url = f"http://{host}:{port}"
        yield odd
    finally:
        await runner.cleanup()


def reply(said: Said) -> web.Response:
    """Return an HTTP answer."""
    status, body = said
    if isinstance(body, bytes):
        kind = "text/event-stream" if body.removeprefix(BOM).startswith((b"data:", b":", b"event:")) else "text/html"
        return web.Response(status=status, body=body, headers={"Content-Type": kind})
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="text/html")
    return web.json_response(body, status=status)


def chat(text: object, **choice: object) -> Said:
    """Return a good answer of the chat API."""
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop", **choice}], "usage": USAGE}


USAGE = {"prompt_tokens": 11, "completion_tokens": 7}


def error(message: str, status: int = 400, **fields: object) -> Said:
    """Return an error as OpenAI's API words it."""
    return status, {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | fields
    }


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()
