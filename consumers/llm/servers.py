"""The servers of one endpoint, over HTTP: one question in, a reply or an error of ours out.

An EndpointDown means that the server has done no work: the client sends the request to the next one. A request that
broke in the middle may have been paid, and is the runner's to decide: unless the server does not answer at all any
more, or did not while the request was under way, which is no record's fault.
"""

import asyncio
import dataclasses
import time
from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from consumers.llm import apis, failures
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import Refused
from consumers.llm.failures import Answer
from consumers.llm.hosts import Host, Hosts
from consumers.llm.wire import Wire
from stream.codec import UNREADABLE
from stream.errors import EndpointDown, Permanent, RequestTimedOut, Transient, Unavailable, WrongConfig

SMALL_S = 30.0
"""Limit of the small questions: which models there are, how long a text is."""

NO_TOKENIZER = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


class Servers:
    """The servers of `endpoint`, which `hosts` keeps the state of; `key` goes with each request."""

    def __init__(self, endpoint: Endpoint, hosts: Hosts, key: str | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._hosts = hosts
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._wires = {url: Wire(url, headers) for url in endpoint.urls}
        self._has_tokenizer = True  # until a server says it has none
        self._asking: dict[str, asyncio.Task[bool]] = {}  # by url: whether it answers at all

    async def close(self) -> None:
        """Close all connections."""
        for asking in list(self._asking.values()):
            asking.cancel()
        for wire in self._wires.values():
            await wire.close()

    async def complete(self, host: Host, body: bytes) -> apis.Reply:
        """Ask a server for one sample.

        Raises:  EndpointDown, RequestTimedOut, BadReply, Permanent, WrongConfig, ContextExceeded.
        """
        path = apis.path(self._endpoint)
        answer = await self._exchange(host, "POST", path, body, self._endpoint.timeout_s)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise await self._not_found(host, path, answer)
        self._raise_failure(host, answer)
        return apis.reply(answer.body, host.url, self._key)

    async def count(self, host: Host, prompt: apis.PromptField) -> int | None:
        """Return the tokens of a prompt as the server counts them; None when it has no way to ask.

        Raises:  as `complete`.
        """
        if not self._has_tokenizer:
            return None
        answer = await self._exchange(host, "POST", "/tokenize", apis.tokenize_body(self._endpoint, prompt), SMALL_S)
        if answer.status not in NO_TOKENIZER:
            self._raise_failure(host, answer)
            try:
                return msgspec.json.decode(answer.body, type=apis.Count).count
            except UNREADABLE:
                pass  # a tokenizer of another kind
        self._has_tokenizer = False
        return None

    async def check(self) -> None:
        """See `LLMClient.check`."""
        answers = await asyncio.gather(*(self._models(host) for host in self._hosts.all), return_exceptions=True)
        away = [answer for answer in answers if isinstance(answer, Unavailable | Transient)]
        for host, answer in zip(self._hosts.all, answers, strict=True):
            if isinstance(answer, Permanent):
                raise WrongConfig(str(answer)) from answer
            if isinstance(answer, BaseException) and answer not in away:
                raise answer
            if isinstance(answer, list) and self._endpoint.model not in answer:
                raise self._no_model(host, answer)
        if len(away) == len(answers):
            raise away[0] if isinstance(away[0], EndpointDown) else EndpointDown(str(away[0])) from away[0]

    async def _exchange(self, host: Host, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        # vLLM's tokenizer stands beside /v1, not under it.
        base_url = host.url.removesuffix("/v1") if path == "/tokenize" else host.url
        sent_s = time.monotonic()
        try:
            answer = await self._wires[host.url].send(method, base_url + path, body, timeout_s)
            if answer.status != HTTPStatus.OK:  # a message to people, and not a reply whose every letter counts
                answer = dataclasses.replace(answer, body=apis.masked(answer.body, self._key))
            if refusal := failures.refusal(answer, host.url, datetime.now(UTC)):
                raise refusal
        except RequestTimedOut as err:
            if method == "POST" and (down := await self._silence(host, sent_s, err)):
                raise down from err
            raise
        except Refused as err:
            self._hosts.failed(host, time.monotonic(), err.retry_after_s)
            raise
        except EndpointDown:
            self._hosts.silent(host, time.monotonic())
            raise
        self._hosts.answered(host, time.monotonic())
        return answer

    async def _silence(self, host: Host, sent_s: float, timed_out: RequestTimedOut) -> EndpointDown | None:
        """Return the error of a server that hangs, has died, or did so in the time of a request that got no answer;
        None when it lived all along: then the request is to blame.

        What it has answered since the request was sent proves nothing: it may have stopped a moment later. So it is
        asked a small question now.
        """
        if not await asyncio.shield(self.ask(host)):
            self._hosts.silent(host, time.monotonic())
            return EndpointDown(f"{host.url} answers nothing any more ({timed_out})")
        if not self._hosts.heard_all_along(host, sent_s):
            return EndpointDown(f"{host.url} was silent, and answers again ({timed_out})")
        return None

    def unwilling(self) -> Refused:
        """Return the error of a request that no server wants at present."""
        wish_s = self._hosts.shortest_wish_s(time.monotonic())
        urls = ", ".join(host.url for host in self._hosts.all)
        return Refused(f"{urls} wants no request for {wish_s:.0f} s", retry_after_s=wish_s)

    def ask(self, host: Host) -> asyncio.Task[bool]:
        """Ask a server a small question; the result tells whether it answers. All who want to know at one time share
        the question."""
        asking = self._asking.get(host.url)
        if asking is None:
            asking = self._asking[host.url] = asyncio.create_task(self._answers(host))
            asking.add_done_callback(lambda _: self._asking.pop(host.url))
        return asking

    async def _answers(self, host: Host) -> bool:
        limit_s = min(SMALL_S, self._endpoint.timeout_s)
        try:
            await self._exchange(host, "GET", "/models", None, limit_s)
        except (Unavailable, Transient):
            return False
        return True

    def _raise_failure(self, host: Host, answer: Answer) -> None:
        error = failures.failure(answer, host.url, self._endpoint.key_env)
        if error:
            raise error

    async def _models(self, host: Host) -> list[str] | None:
        """Return the models that a server offers; None when it keeps no list.

        Raises:  as `complete`; WrongConfig also when it speaks another API.
        """
        answer = await self._exchange(host, "GET", "/models", None, SMALL_S)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        self._raise_failure(host, answer)
        try:
            return [card.id for card in msgspec.json.decode(answer.body, type=apis.Models).data]
        except UNREADABLE as err:
            said = apis.shown(apis.masked(answer.body, self._key))
            raise WrongConfig(f"{host.url} answers, but does not speak the OpenAI API: {said}") from err

    async def _not_found(self, host: Host, path: str, answer: Answer) -> WrongConfig:
        """Return what a 404 means: the model is not there, or this API is not.

        Raises:  as `complete`, when the server does not tell its models now.
        """
        offered = await self._models(host)
        if offered is not None and self._endpoint.model not in offered:
            return self._no_model(host, offered)
        said = failures.words(answer.body)
        return WrongConfig(f"{host.url}{path} answers 404; is api = {self._endpoint.api!r} right? {said}")

    def _no_model(self, host: Host, offered: list[str]) -> WrongConfig:
        return WrongConfig(f"{host.url} does not offer model {self._endpoint.model!r}, but {', '.join(offered)}")
