"""The servers of one endpoint, over HTTP: one question in, a reply or an error of ours out.

An EndpointDown means that the server has done no work: the client sends the request to the next one. A request that
broke in the middle may have been paid, and is the runner's to decide: unless the server does not answer at all any
more, or did not while the request was under way, which is no record's fault.
"""

import asyncio
import dataclasses
import logging
import time
from datetime import UTC, datetime
from http import HTTPStatus

import orjson

from consumers.llm import apis, failures, models, replies, said
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import Refused
from consumers.llm.failures import Answer, ContextExceeded
from consumers.llm.hosts import Host, Hosts
from consumers.llm.models import Card
from consumers.llm.replies import Reply
from consumers.llm.wire import Wire
from stream.errors import EndpointDown, Permanent, RequestTimedOut, Transient, Unavailable, WrongConfig

SMALL_S = 30.0
"""Limit of the small questions: which models there are, how long a text is."""

NO_LIST = {
    HTTPStatus.FORBIDDEN,  # a key that may ask and not list
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_IMPLEMENTED,
}

NOT_SURELY_A_LIST = {HTTPStatus.NO_CONTENT, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.GONE}
"""So answers who speaks the API and keeps no list, and who speaks something else."""

NO_PATH = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}

FAILED_COUNTS = 3
"""A tokenizer that fails so often in a row is asked no more: a prompt near the limit is then estimated, or the server
says that it is too long."""

log = logging.getLogger(__name__)


class NoModelList(WrongConfig):
    """`/models` answers with something that is no list of models."""


class Servers:
    """The servers of `endpoint`, which `hosts` keeps the state of; `key` goes with each request."""

    def __init__(self, endpoint: Endpoint, hosts: Hosts, key: str | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._hosts = hosts
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._wires = {url: Wire(url, headers) for url in endpoint.urls}
        self._counts_left = FAILED_COUNTS  # failures until no server is asked for lengths any more
        self._away: set[str] = set()  # urls of servers that are logged to be away
        self._contexts: dict[str, int] = {}  # by url: tokens, as the server told
        self._asking: dict[str, asyncio.Task[bool]] = {}  # by url: whether it answers at all

    async def close(self) -> None:
        """Close all connections."""
        for asking in list(self._asking.values()):
            asking.cancel()
        for wire in self._wires.values():
            await wire.close()

    @property
    def context(self) -> int | None:
        """The context that every server has, where one told; known after `check`."""
        return min(self._contexts.values(), default=None)

    async def complete(self, host: Host, body: bytes) -> Reply:
        """Ask a server for one sample.

        Raises:  EndpointDown, RequestTimedOut, BadReply, Permanent, WrongConfig; ContextExceeded, Withheld and
                 FormRefused, which `failures` explains.
        """
        path = apis.path(self._endpoint)
        answer = await self._exchange(host, "POST", path, body, self._endpoint.timeout_s)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise await self._not_found(host, path, answer)
        self._raise_failure(host, answer, body)
        # Only a message masks the key: in a text of the model the same letters are a word like others.
        return replies.read(answer.body, host.url, lambda: said.shown(apis.masked(answer.body, self._key)))

    async def count(self, host: Host, prompt: apis.PromptField) -> int | None:
        """Return the tokens of a prompt as the server counts them; None when it does not tell. No failure is one of the
        request: that asks for itself.

        Raises:  ContextExceeded.
        """
        if not self._counts_left:
            return None
        body = apis.tokenize_body(self._endpoint, prompt)
        try:
            answer = await self._wires[host.url].send("POST", _tokenize_url(host), body, SMALL_S)
        except (Unavailable, Transient) as err:
            return self._uncounted(host, str(err), self._counts_left - 1)
        if answer.status == HTTPStatus.OK and (counted := apis.counted(answer.body)) is not None:
            self._counts_left = FAILED_COUNTS
            return counted
        answer = dataclasses.replace(answer, body=apis.masked(answer.body, self._key))
        error = failures.failure(answer, host.url, self._endpoint.key_env, body)
        if isinstance(error, ContextExceeded):
            raise error
        # Only what the server may get over is asked for again.
        left = self._counts_left - 1 if answer.status >= 500 or answer.status == HTTPStatus.TOO_MANY_REQUESTS else 0
        return self._uncounted(host, f"/tokenize answers {answer.status}: {said.read(answer.body).words}", left)

    def _uncounted(self, host: Host, why: str, left: int) -> None:
        self._counts_left = left
        if not left:
            log.info("%s counts no tokens, the lengths of prompts are estimated: %s", host.url, why)

    async def check(self) -> None:
        """See `LLMClient.check`."""
        ask = self._offer if self._endpoint.check_model else self._reached
        answers = await asyncio.gather(*(ask(host) for host in self._hosts.all), return_exceptions=True)
        away = [answer for answer in answers if isinstance(answer, Unavailable | Transient)]
        for host, answer in zip(self._hosts.all, answers, strict=True):
            if isinstance(answer, Permanent):
                raise WrongConfig(str(answer)) from answer
            if isinstance(answer, BaseException) and answer not in away:
                raise answer
            if isinstance(answer, list) and answer:
                self._learn(host, answer)
        if len(away) == len(answers):
            raise away[0] if isinstance(away[0], EndpointDown) else EndpointDown(str(away[0])) from away[0]

    def _learn(self, host: Host, offered: list[Card]) -> None:
        mine = [card for card in offered if card.offers(self._endpoint.model)]
        if not mine:
            raise self._no_model(host, offered)
        contexts = [card.context for card in mine if card.context is not None]
        if contexts:
            self._contexts[host.url] = min(contexts)

    async def _offer(self, host: Host) -> list[Card] | None:
        """Return the models that a server offers; None when it keeps no list.

        Raises:  as `_models`.
        """
        try:
            return await self._models(host)
        except NoModelList:
            if not await self._speaks(host):
                raise
            return None

    async def _reached(self, host: Host) -> None:
        """Return when a server answers anything.

        Raises:  EndpointDown, RequestTimedOut.
        """
        await self._exchange(host, "GET", "/models", None, SMALL_S)

    async def _speaks(self, host: Host) -> bool:
        """Whether a server that answers `/models` with a page speaks the API all the same: it refuses a request without
        a prompt, as JSON. This costs nothing."""
        body = orjson.dumps({"model": self._endpoint.model})
        try:
            answer = await self._exchange(host, "POST", apis.path(self._endpoint), body, SMALL_S)
        except (Unavailable, Transient):
            return False
        try:
            return isinstance(orjson.loads(answer.body), dict) and answer.status >= 400 and answer.status not in NO_PATH
        except orjson.JSONDecodeError:
            return False

    async def _exchange(self, host: Host, method: str, path: str, body: bytes | None, timeout_s: float) -> Answer:
        sent_s = time.monotonic()
        try:
            answer = await self._wires[host.url].send(method, host.url + path, body, timeout_s)
            if method == "POST":
                answer = failures.own_status(answer)
            if answer.status != HTTPStatus.OK:  # a message to people, and not a reply whose every letter counts
                answer = dataclasses.replace(answer, body=apis.masked(answer.body, self._key))
            if refusal := failures.refusal(answer, host.url, datetime.now(UTC), body or b""):
                raise refusal
        except RequestTimedOut as err:
            if method == "POST" and (down := await self._silence(host, sent_s, err)):
                raise down from err
            raise
        except Refused as err:
            self._hosts.failed(host, time.monotonic(), err.retry_after_s)
            raise
        except EndpointDown as err:
            self._hosts.silent(host, time.monotonic())
            self._tell_away(host, err)
            raise
        self._hosts.answered(host, time.monotonic())
        if host.url in self._away:
            self._away.discard(host.url)
            log.warning("%s answers again", host.url)
        return answer

    def _tell_away(self, host: Host, err: EndpointDown) -> None:
        """Log that one of several servers is away, once until it answers. Where there is only one, its stages say that
        they wait."""
        if len(self._wires) > 1 and host.url not in self._away:
            self._away.add(host.url)
            log.warning("%s; its requests go to the other servers of the endpoint", err)

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

    def _raise_failure(self, host: Host, answer: Answer, sent: bytes = b"") -> None:
        error = failures.failure(answer, host.url, self._endpoint.key_env, sent, self._endpoint.extra_body.keys())
        if error:
            raise error

    async def _models(self, host: Host) -> list[Card] | None:
        """Return the models that a server offers; None when it keeps no list, and an empty list when it lists none.

        Raises:  as `complete`; NoModelList for an answer of another kind.
        """
        answer = await self._exchange(host, "GET", "/models", None, SMALL_S)
        if answer.status in NO_LIST:
            return None
        if answer.status not in NOT_SURELY_A_LIST:
            self._raise_failure(host, answer)
        cards = models.read(answer.body) if answer.status == HTTPStatus.OK else None
        if cards is None:
            shown = said.shown(apis.masked(answer.body, self._key))
            raise NoModelList(
                f"{host.url} answers, but does not speak the OpenAI API: {shown} (check_model = false in [llm.NAME] "
                "skips this check)"
            )
        return cards

    async def _not_found(self, host: Host, path: str, answer: Answer) -> WrongConfig:
        """Return what a 404 means: the model is not there, or this API is not.

        Raises:  as `complete`, when the server does not tell its models now.
        """
        try:
            offered = await self._models(host)
        except NoModelList:
            offered = None
        if offered and not any(card.offers(self._endpoint.model) for card in offered):
            return self._no_model(host, offered)
        words = said.read(answer.body).words
        return WrongConfig(f"{host.url}{path} answers 404; is api = {self._endpoint.api!r} right? {words}")

    def _no_model(self, host: Host, offered: list[Card]) -> WrongConfig:
        names = ", ".join(card.name for card in offered)
        return WrongConfig(
            f"{host.url} does not offer model {self._endpoint.model!r}, but {names}: set model in [llm.NAME] to one of "
            "them, or check_model = false where the server lists other names than it takes"
        )


def _tokenize_url(host: Host) -> str:
    # vLLM's tokenizer stands beside /v1, not under it.
    return host.url.removesuffix("/v1") + "/tokenize"
