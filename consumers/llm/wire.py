"""HTTP to one server. httpx with aiohttp underneath: its own pool spends most of the time searching itself once some
hundred requests are in flight. No exception of either library leaves this file."""

import asyncio
import contextlib
import functools
import re
import urllib.request
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from consumers.llm import sse
from consumers.llm.failures import Answer
from stream.errors import EndpointDown, RequestTimedOut, WrongConfig

CONNECT_S = 10.0
_TIMEOUT = {"connect": CONNECT_S, "pool": None, "read": None, "write": None}  # the whole has one of its own

IDLE_S = 3.0
"""How long an unused connection is kept. Below the 5 s of the usual servers: else a request would now and then go out
on a connection that the other side is just closing."""

STREAM_END_S = 0.5

FINISHED_S = 2.0
"""How long a stream whose finish reason has come is read on while nothing more of it comes: its counts may follow.
Some servers send no last event and keep the connection open."""

_OVERLAP = 256
_FINISHED = re.compile(rb'"finish_?reason"\s*:\s*"(?!null"|none")[^"]{1,100}"', re.IGNORECASE)
_LAST_USAGE = re.compile(rb'"choices"\s*:\s*\[\s*\].{0,400}"usage"\s*:\s*\{', re.DOTALL)

_url = functools.lru_cache(maxsize=64)(httpx.URL)
"""Parsing the few urls there are once, not for each request."""

_UNREACHABLE = (
    aiohttp.ClientConnectorError,  # refused, no route, unknown name, TLS
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
)


class Wire:
    """Connections to one server: as many as there are requests in flight."""

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        proxy = environment_proxy(base_url)
        self._base_url = base_url
        self._headers = httpx.Headers({**headers, "content-type": "application/json"})
        # What would verify certificates takes a while to load: not where there are none.
        self._transport = AiohttpTransport(
            verify=urlsplit(base_url).scheme == "https",
            client=self._session,
            proxy=httpx.Proxy(proxy) if proxy else None,
        )

    def _session(self) -> aiohttp.ClientSession:
        # Without a limit of connections: permits are the limit.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S, ssl=self._transport.ssl_context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def send(self, method: str, url: str, body: bytes | None, timeout_s: float) -> Answer:
        """Send a request and return the whole answer, whatever its status.

        Raises:  EndpointDown when no connection could be made: nothing was sent; RequestTimedOut when the answer did
                 not come, or not whole.
        """
        extensions = {"timeout": _TIMEOUT}
        request = httpx.Request(method, _url(url), content=body, headers=self._headers, extensions=extensions)
        try:
            async with asyncio.timeout(timeout_s):
                # Without httpx's client around the transport: redirects, cookies and logins are none of ours, and
                # would take a third of the CPU time of a request.
                response = await self._transport.handle_async_request(request)
                async with contextlib.aclosing(response):
                    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
                    content = await (_streamed(response) if streamed else response.aread())
        except TimeoutError as err:
            raise RequestTimedOut(f"{url} gave no whole answer within {timeout_s:g} s") from err
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as err:
            # The transport reports a refused connection as a timeout: only the cause tells them apart.
            cause = err.__cause__ if isinstance(err, httpx.HTTPError) and err.__cause__ else err
            said = str(cause) or type(cause).__name__
            if isinstance(cause, _UNREACHABLE):
                raise EndpointDown(f"{self._base_url} cannot be reached: {said}") from err
            raise RequestTimedOut(f"the connection to {self._base_url} broke: {said}") from err
        return Answer(response.status_code, response.headers, content)


async def _streamed(response: httpx.Response) -> bytes:
    """Read a stream of events to its last one. Some servers keep the connection open after it: the end is waited for
    only so long that the connection can be used again."""
    content = bytearray()
    pieces = aiter(response.aiter_bytes())
    until_s: float | None = None  # set once the finish reason has come
    while True:
        try:
            async with asyncio.timeout_at(until_s):
                piece = await anext(pieces, None)
        except (TimeoutError, httpx.HTTPError, aiohttp.ClientError, OSError):
            if until_s is None:
                raise
            break  # the reply is whole: what is missing is only the word that says so
        if piece is None:
            break
        content += piece
        if sse.DONE in content[-32:] and sse.ended(bytes(content[-32:])):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_END_S):
                    await anext(pieces, None)
            break
        tail = bytes(content[-len(piece) - _OVERLAP :])
        if until_s is None and _FINISHED.search(tail) is None:
            continue
        # A comment that keeps the connection open makes nobody wait longer.
        if until_s is None or b'"choices"' in tail[-len(piece) - 8 :]:
            rest_s = STREAM_END_S if _LAST_USAGE.search(tail) else FINISHED_S
            until_s = asyncio.get_running_loop().time() + rest_s
    return bytes(content)


def environment_proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a url (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, but for NO_PROXY).

    Never one for this machine itself: a variable set for the world outside would cut off the server beside us.

    Raises:  WrongConfig for a proxy of another kind than HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        return None
    if urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = urlsplit(proxy).scheme
    if scheme not in ("http", "https"):
        raise WrongConfig(
            f"the environment names a {scheme} proxy for {host}: expected an http one, or {host} in NO_PROXY"
        )
    return proxy


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
