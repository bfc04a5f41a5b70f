"""The client of one endpoint, shared by all stages that ask it. `request.LLM` says what it promises to a stage.

It neither retries nor waits by a policy of its own: the runner does, by the class of the error. What it waits for is a
permit (`permits`, `window`). Only a form of request that the server refuses is changed here, and the request sent again
under the same permit (`dialect`).
"""

import asyncio
import logging
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from consumers.llm import apis, dialect, lengths, replies
from consumers.llm.dialect import Dialect
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply, Paid, Refused
from consumers.llm.failures import ContextExceeded, FormRefused, Withheld
from consumers.llm.hosts import Host, Hosts
from consumers.llm.latencies import Latencies
from consumers.llm.permits import Permits, Urgency
from consumers.llm.replies import Reply
from consumers.llm.request import LLM, Completion, Filtered, Request, Result, TooLong
from consumers.llm.servers import Servers
from consumers.llm.unfinished import Unfinished, UnfinishedRecords
from consumers.llm.usage import ServerState, Snapshot, Usage, failure
from stream.errors import EndpointDown, Fatal, Permanent, PipelineError, Transient, Unavailable, WrongConfig

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Flight:
    """A request under way, and how many calls wait for it."""

    task: asyncio.Task[None]
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Errand:
    """A request, who asks it, and where its result goes."""

    stage: str
    urgency: Urgency
    record: Unfinished
    request: Request


class LLMClient:
    """`async with LLMClient(endpoint) as client`, then `client.for_stage(name, depth)` for each stage.

    Raises:  WrongConfig when the variable named in `endpoint.key_env` is not set, or holds what can be no key.
    """

    def __init__(self, endpoint: Endpoint, environ: Mapping[str, str] = os.environ) -> None:
        self.endpoint = endpoint
        self._hosts = Hosts(endpoint.urls, endpoint.concurrency, endpoint.concurrency_min, endpoint.concurrency_max)
        self._servers = Servers(endpoint, self._hosts, _key(endpoint.key_env, environ))
        self._permits = Permits(self._hosts, self._servers.ask)
        self._unfinished = UnfinishedRecords()
        self._flights: dict[str, Flight] = {}
        self._told_of_thoughts = False
        self._told_of_an_end = False
        self._usage: dict[str, Usage] = {}
        self._latencies: dict[str, Latencies] = {}
        self._dialect = dialect.of(endpoint)

    async def __aenter__(self) -> "LLMClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _cancelled([flight.task for flight in self._flights.values()])
        self._permits.close()
        await self._servers.close()

    async def check(self) -> None:
        """Ask every server for its models.

        Raises:  EndpointDown, naming the url, when none of them answers; WrongConfig when one does not offer the
                 model, with the names it does offer, refuses the key, or is no LLM server.
        """
        await self._servers.check()

    @property
    def context(self) -> int | None:
        """Tokens of prompt and reply together: as set, else as the servers told when they were checked."""
        return self.endpoint.context or self._servers.context

    def check_room(self, stage: str, max_tokens: int) -> None:
        """See that a stage's replies leave room for a prompt.

        Raises:  WrongConfig with both numbers.
        """
        self._check_room(stage, max_tokens, self.context)

    def _check_room(self, stage: str, max_tokens: int, context: int | None) -> None:
        thoughts = self.endpoint.reasoning_tokens
        if context is None or max_tokens + thoughts < context:
            return
        asked = f"max_tokens = {max_tokens:,}" + (f" and reasoning_tokens = {thoughts:,}" if thoughts else "")
        raise WrongConfig(
            f"stage {stage} asks for {asked}, which leaves no room for a prompt in a context of {context:,} tokens "
            f"({', '.join(self.endpoint.urls)}): lower them, or serve the model with a longer context"
        )

    def for_stage(self, name: str, depth: int) -> LLM:
        """Return the endpoint as stage `name` sees it. The greater its `depth`, the nearer to the end of the stream it
        is, and the sooner it is served."""
        self._usage.setdefault(name, Usage())
        self._latencies.setdefault(name, Latencies())
        return StageLLM(self, name, depth)

    def usage(self) -> Mapping[str, Usage]:
        """Return what each stage has used since the client was opened."""
        return dict(self._usage)

    def snapshot(self) -> Snapshot:
        """Return the state of the endpoint, for the live view and for metrics."""
        hosts = self._hosts
        return Snapshot(
            at_s=time.monotonic(),
            stages=self.usage(),
            in_flight=hosts.in_flight,
            waiting=self._permits.waiting,
            window=hosts.window,
            down=hosts.down,
            servers=tuple(
                ServerState(host.url, host.in_flight, host.window.limit, down=host.failures > 0) for host in hosts.all
            ),
            latencies=dict(self._latencies),
        )

    async def complete(self, stage: str, depth: int, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        """See `request.LLM.complete`. It ends, well or badly, only when none of its requests is under way any more."""
        record = self._unfinished.enter(stage, record_id)
        whole = False
        try:
            await self._run(
                Errand(stage, Urgency(-depth, record.ordinal, sample), record, request)
                for sample, request in enumerate(requests)
                if request.request_id not in record.results
            )
            results = [record.results[request.request_id] for request in requests]
            whole = True
            return results
        finally:
            self._unfinished.leave(stage, record_id, whole)

    async def _run(self, errands: Iterable[Errand]) -> None:
        """Run all errands to their end, those that another call has under way together with it; raise the worst of
        their errors."""
        flights: dict[str, Flight] = {}
        for errand in errands:
            if errand.request.request_id not in flights:
                flights[errand.request.request_id] = self._join(errand)
        try:
            if flights:
                await asyncio.wait([flight.task for flight in flights.values()])
        finally:
            await self._leave(flights)
        errors = [error for flight in flights.values() if (error := flight.task.exception())]
        if errors:
            raise worst(errors)

    def _join(self, errand: Errand) -> Flight:
        request_id = errand.request.request_id
        flight = self._flights.get(request_id)
        if flight is None:
            flight = self._flights[request_id] = Flight(asyncio.create_task(self._ask(errand)))
        flight.waiting += 1
        return flight

    async def _leave(self, flights: Mapping[str, Flight]) -> None:
        """Wait no longer. What nobody waits for any more is cancelled, and has ended when this returns."""
        unwanted: list[asyncio.Task[None]] = []
        for request_id, flight in flights.items():
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[request_id]
                unwanted.append(flight.task)
        await _cancelled(unwanted)

    async def _ask(self, errand: Errand) -> None:
        """Ask, and keep the result with the record."""
        try:
            result = await self._ask_servers(errand)
        except PipelineError as err:
            self._count(errand.stage, failure(err))
            raise
        errand.record.results[errand.request.request_id] = result

    async def _ask_servers(self, errand: Errand) -> Result:
        """Wait for a permit and ask its server; where that is down, the next one."""
        tried: dict[str, float] = {}
        down: EndpointDown | None = None
        # All that is large is made after the wait: many wait.
        while permit := await self._permits.acquire(errand.urgency, errand.stage, tried):
            if down is not None:
                self._count(errand.stage, failure(down))  # the server before was passed over
            give_back = self._permits.gone
            try:
                result = await self._result(errand, permit.host)
                if isinstance(result, Completion):
                    give_back = self._permits.succeeded
                return result
            except EndpointDown as err:
                if isinstance(err, Refused):
                    give_back = self._permits.refused
                down = err
                tried[permit.host.url] = time.monotonic()
            except asyncio.CancelledError:
                self._count(errand.stage, Usage(cancelled=1))
                raise
            finally:
                give_back(permit)
        raise down or self._servers.unwilling()

    async def _result(self, errand: Errand, host: Host) -> Result:
        """Ask a server once, unless the prompt does not fit; again where it wants the request in another form."""
        while True:
            spoken = self._dialect
            prompt = apis.prompt_field(self.endpoint, spoken, errand.request.prompt)
            started_s = time.monotonic()
            try:
                too_long = await self._too_long(errand, prompt, host)
                if too_long is None:
                    body = apis.body(self.endpoint, spoken, errand.request, prompt)
                    reply = await self._servers.complete(host, body)
                    return self._read(errand, reply, prompt.estimated_tokens, time.monotonic() - started_s)
            except FormRefused as err:
                self._change(spoken, err)
                continue
            except ContextExceeded as err:
                self._check_room(errand.stage, errand.request.sampling.max_tokens, err.context)
                too_long = TooLong(prompt.estimated_tokens, err.context or self.context or 0, str(err))
            except Withheld as err:
                self._count(errand.stage, Usage(filtered=1))
                return Filtered(str(err))
            except BadReply as err:
                if err.paid is not None:
                    used = self._used(err.paid, prompt.estimated_tokens, 0, time.monotonic() - started_s)
                    self._count(errand.stage, used + Usage(unreadable=1))
                raise
            self._count(errand.stage, Usage(too_long=1))
            return too_long

    def _change(self, spoken: Dialect, err: FormRefused) -> None:
        """Take another dialect than the one that was refused.

        Raises:  WrongConfig when there is none to take.
        """
        if self._dialect != spoken:
            return  # another request was refused first
        cure = dialect.cured(spoken, err.form, self.endpoint)
        if cure is None:
            advice = dialect.advice(err.form, self.endpoint)
            raise WrongConfig(f"{err}: no request is taken with this {err.form.parameter}; {advice}") from err
        self._dialect = cure.dialect
        said = str(err).rstrip(". ")
        log.warning("%s: the client %s from now on; %s in [llm.NAME] avoids this", said, cure.words, cure.setting)

    async def _too_long(self, errand: Errand, prompt: apis.PromptField, host: Host) -> TooLong | None:
        """Tell whether a prompt surely does not fit. Near the limit the server counts, where it has a tokenizer."""
        context = self.context
        if context is None:
            return None
        self._check_room(errand.stage, errand.request.sampling.max_tokens, context)
        tokens, max_tokens = prompt.estimated_tokens, apis.max_tokens(self.endpoint, errand.request)
        fit = lengths.fit(tokens, max_tokens, context)
        if fit is lengths.Fit.CLOSE:
            counted = await self._servers.count(host, prompt)
            tokens = tokens if counted is None else counted
            fit = lengths.Fit.YES if tokens + max_tokens <= context else lengths.Fit.NO
        return None if fit is lengths.Fit.YES else TooLong(tokens, context)

    def _read(self, errand: Errand, reply: Reply, estimated: int, seconds: float) -> Completion | Filtered:
        written = lengths.estimate(reply.text) + lengths.estimate(reply.reasoning)
        used = self._used(reply.paid, estimated, written, seconds)
        if reply.finish_reason == replies.FILTER:
            self._count(errand.stage, used + Usage(filtered=1, unreadable=1))  # paid, and no answer
            return Filtered(f"finish reason {reply.finish_reason}{': ' if reply.text else ''}{reply.text}")
        self._count(errand.stage, used)
        limit = apis.max_tokens(self.endpoint, errand.request)
        untold = replies.LENGTH if used.completion_tokens >= limit else replies.STOP
        ended = reply.finish_reason or untold
        if not replies.is_known(ended):
            self._tell_of_an_end(ended)
        if ended == replies.LENGTH and replies.ends_in_thoughts(reply):
            self._tell_of_thoughts(errand.stage, limit)
        return Completion(
            text=reply.text,
            finish_reason=ended,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            model=reply.model or self.endpoint.model,
            reasoning=reply.reasoning,
            special_tokens=self.endpoint.special_tokens,
        )

    def _tell_of_thoughts(self, stage: str, limit: int) -> None:
        """Say once that thoughts have no room of their own."""
        if self.endpoint.reasoning_tokens or self._told_of_thoughts:
            return
        self._told_of_thoughts = True
        log.warning(
            "%s: the model spends all %d tokens of a reply in stage %s on thoughts; set reasoning_tokens in [llm.NAME] "
            "to give them room, such as reasoning_tokens = 2048",
            self.endpoint.urls[0],
            limit,
            stage,
        )

    def _tell_of_an_end(self, word: str) -> None:
        """Say once that a server ends replies by a word that has no meaning here."""
        if self._told_of_an_end:
            return
        self._told_of_an_end = True
        log.warning(
            "%s: the finish reason %r is unknown; expected one such as stop or length; its replies are judged as they "
            "are",
            self.endpoint.urls[0],
            word[:100],
        )

    def _used(self, paid: Paid, prompt: int, written: int, seconds: float) -> Usage:
        """Return the usage of one reply; what the server did not count is estimated."""
        prompt_tokens = prompt if paid.prompt_tokens is None else paid.prompt_tokens
        completion_tokens = written if paid.completion_tokens is None else paid.completion_tokens
        return Usage(
            requests=1,
            estimated=int(None in (paid.prompt_tokens, paid.completion_tokens)),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost=self.endpoint.cost(prompt_tokens, completion_tokens),
            seconds=seconds,
        )

    def _count(self, stage: str, more: Usage) -> None:
        self._usage[stage] = self._usage.get(stage, Usage()) + more
        if more.requests:
            self._latencies[stage] = self._latencies.get(stage, Latencies()).seen(more.seconds)


def _key(name: str | None, environ: Mapping[str, str]) -> str | None:
    """Return what a variable holds, without the newline that a file it was read from ends in."""
    if name is None:
        return None
    key = environ.get(name, "").strip()
    if not key:
        raise WrongConfig(f"the environment variable {name}, named in key_env, is not set")
    if not (key.isascii() and key.isprintable()):  # a header cannot carry it; the key itself is not to be shown
        raise WrongConfig(f"the environment variable {name}, named in key_env: expected a key in printable ASCII")
    return key


@dataclass(frozen=True, slots=True)
class StageLLM:
    """The endpoint as one stage sees it."""

    client: LLMClient
    stage: str
    depth: int

    @property
    def model(self) -> str:
        return self.client.endpoint.model

    async def complete(self, record_id: str, requests: Sequence[Request]) -> Sequence[Result]:
        """See `request.LLM.complete`."""
        return await self.client.complete(self.stage, self.depth, record_id, requests)


_WORST = (Fatal, Unavailable, Permanent, Transient)


def worst(errors: Sequence[BaseException]) -> BaseException:
    """Return the error that decides what becomes of the record.

    A defect of ours is hidden by nothing; then Fatal. Unavailable comes before Permanent, because waiting costs
    nothing and a server that is ill may refuse what is right. Permanent comes before Transient: the record cannot
    succeed, and trying the others again would only be paid for.
    """
    for error in errors:
        if not isinstance(error, PipelineError):
            return error
    kind = next(kind for kind in _WORST if any(isinstance(error, kind) for error in errors))
    return max((error for error in errors if isinstance(error, kind)), key=_wish_s)


def _wish_s(error: BaseException) -> float:
    return (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0


async def _cancelled(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    running = [task for task in tasks if not task.done()]
    if running:
        await asyncio.wait(running)
