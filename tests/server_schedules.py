"""Several servers behind one endpoint: how long a run takes with our permits, in virtual time, and how long it would
take at best."""

import asyncio
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from consumers.llm.hosts import Host, Hosts
from consumers.llm.permits import Permits, Urgency
from tests import virtual_time

Key = tuple[int, int, int]
"""A request: (minus its stage, its record, its sample), which is its urgency too."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that is killed, and started again."""

    server: int
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """`records` records go through one stage after the other, in stage k by `fan_out[k]` requests at once."""

    records: int
    fan_out: tuple[int, ...]
    seconds: Callable[[Key], float]  # of one request, on a server of speed 1

    def keys(self, record: int, stage: int) -> list[Key]:
        """Return the requests of a record in a stage."""
        return [(-stage, record, sample) for sample in range(self.fan_out[stage])]

    def all_keys(self) -> list[Key]:
        """Return all requests."""
        stages = range(len(self.fan_out))
        return [key for record in range(self.records) for stage in stages for key in self.keys(record, stage)]


def lognormal(mean_s: float, sigma: float, seed: int, by_stage: Sequence[float] = (1.0,)) -> Callable[[Key], float]:
    """Return service times, the same for each seed. Stage k takes `by_stage[k]` times the mean."""

    def seconds(key: Key) -> float:
        factor = by_stage[-key[0] % len(by_stage)]
        return factor * mean_s * random.Random(f"{seed} {key}").lognormvariate(-(sigma**2) / 2, sigma)

    return seconds


def ideal_wall_s(
    work: Work, slots: Sequence[int], outages: Sequence[Outage] = (), slower: Sequence[float] | None = None
) -> float:
    """Return the time of a scheduler without delay, which knows all slots, and gives each free one at once to the most
    urgent request that is ready, the fastest server first. What a killed server had in work begins again elsewhere."""
    slower = slower or [1.0] * len(slots)
    free, up = list(slots), [True] * len(slots)
    fastest = sorted(range(len(slots)), key=lambda server: slower[server])
    ready = [key for record in range(work.records) for key in work.keys(record, 0)]
    heapq.heapify(ready)
    open_of = {(record, stage): n for record in range(work.records) for stage, n in enumerate(work.fan_out)}
    under_way: dict[int, tuple[int, Key]] = {}
    events: list[tuple[float, int, int]] = []  # time, what (a request's number, or an outage's below 0), server
    for number, outage in enumerate(outages):
        events += [(outage.from_s, -2 * number - 2, outage.server), (outage.until_s, -2 * number - 1, outage.server)]
    heapq.heapify(events)
    now_s, numbers, left = 0.0, 0, sum(open_of.values())
    while left:
        for server in fastest:
            while up[server] and free[server] and ready:
                key = heapq.heappop(ready)
                free[server] -= 1
                numbers += 1
                under_way[numbers] = server, key
                heapq.heappush(events, (now_s + work.seconds(key) * slower[server], numbers, server))
        now_s, what, server = heapq.heappop(events)
        if what < 0:
            up[server] = what % 2 == 1
            free[server] = slots[server]
            for number in [number for number, (where, _) in under_way.items() if where == server]:
                heapq.heappush(ready, under_way.pop(number)[1])
        elif what in under_way:
            _, (minus_stage, record, _) = under_way.pop(what)
            free[server] += 1
            left -= 1
            open_of[record, -minus_stage] -= 1
            if not open_of[record, -minus_stage] and 1 - minus_stage < len(work.fan_out):
                for key in work.keys(record, 1 - minus_stage):
                    heapq.heappush(ready, key)
    return now_s


class Away(Exception):  # noqa: N818 - says what the server is
    """The server was killed, or is."""


@dataclass(slots=True)
class SimulatedServer:
    """Slots, and a queue in front of them: taken in order, or at random. `crowded(n)` is the factor by which n requests
    at a time slow each other down."""

    slots: int
    slower: float = 1.0
    in_order: bool = True
    crowded: Callable[[int], float] = lambda active: 1.0
    is_up: bool = True
    served: int = 0
    active: int = 0
    most_in_flight: int = 0
    _queue: list[asyncio.Future[None]] = field(default_factory=list["asyncio.Future[None]"])
    _running: set[asyncio.Future[None]] = field(default_factory=set["asyncio.Future[None]"])
    _rng: random.Random = field(default_factory=lambda: random.Random(5))

    async def serve(self, seconds: float) -> None:
        """Raises:  Away."""
        if not self.is_up:
            raise Away
        loop = asyncio.get_running_loop()
        if self.active >= self.slots:
            turn: asyncio.Future[None] = loop.create_future()
            self._queue.append(turn)
            self.most_in_flight = max(self.most_in_flight, self.active + len(self._queue))
            await turn  # whoever ends gives its slot on
        else:
            self.active += 1
        done: asyncio.Future[None] = loop.create_future()
        self._running.add(done)
        timer = loop.call_later(seconds * self.slower * self.crowded(self.active), _set, done)
        try:
            await done
        finally:
            timer.cancel()
            self._running.discard(done)
            self._next()
        self.served += 1

    def _next(self) -> None:
        if self._queue and self.is_up:
            _set(self._queue.pop(0 if self.in_order else self._rng.randrange(len(self._queue))))
        else:
            self.active -= 1

    def kill(self) -> None:
        """Fail all that it has."""
        self.is_up = False
        for future in [*self._running, *self._queue]:
            if not future.done():
                future.set_exception(Away())
        self._queue.clear()


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run in virtual time gave."""

    wall_s: float
    hosts: Hosts
    windows: Sequence[tuple[float, tuple[int, ...]]]  # each second


def simulate(
    work: Work,
    servers: Sequence[SimulatedServer],
    outages: Sequence[Outage] = (),
    *,
    concurrency: Mapping[str, int] | None = None,
) -> Simulated:
    """Do the work in virtual time with the permits of an endpoint. `concurrency` gives the arguments of `Hosts`."""
    return virtual_time.run(_simulated(work, servers, outages, concurrency or {}))


async def _simulated(
    work: Work, servers: Sequence[SimulatedServer], outages: Sequence[Outage], concurrency: Mapping[str, int]
) -> Simulated:
    loop = asyncio.get_running_loop()
    hosts = Hosts([str(number) for number in range(len(servers))], **concurrency)
    windows: list[tuple[float, tuple[int, ...]]] = []

    def ask(host: Host) -> asyncio.Future[bool]:
        answer: asyncio.Future[bool] = loop.create_future()
        answer.set_result(servers[int(host.url)].is_up)
        if answer.result():
            hosts.answered(host, loop.time())
        else:
            hosts.silent(host, loop.time())
        return answer

    permits = Permits(hosts, ask, loop.time)

    async def request(key: Key) -> None:
        tried: dict[str, float] = {}
        while permit := await permits.acquire(Urgency(*key), str(key[0]), tried):
            give_back = permits.gone
            try:
                await servers[int(permit.host.url)].serve(work.seconds(key))
                hosts.answered(permit.host, loop.time())
                give_back = permits.succeeded
                return
            except Away:
                hosts.silent(permit.host, loop.time())
                tried[permit.host.url] = loop.time()
            finally:
                give_back(permit)
        raise Away

    async def record(number: int) -> None:
        for stage in range(len(work.fan_out)):
            await asyncio.gather(*(request(key) for key in work.keys(number, stage)))

    async def break_down(outage: Outage) -> None:
        await asyncio.sleep(outage.from_s)
        servers[outage.server].kill()
        await asyncio.sleep(outage.until_s - outage.from_s)
        servers[outage.server].is_up = True

    async def watch() -> None:
        while True:
            windows.append((loop.time(), tuple(host.window.limit for host in hosts.all)))
            await asyncio.sleep(1)

    beside = [asyncio.create_task(coroutine) for coroutine in (watch(), *map(break_down, outages))]
    await asyncio.gather(*(record(number) for number in range(work.records)))
    wall_s = loop.time()
    permits.close()
    for task in beside:
        task.cancel()
    assert (permits.in_flight, permits.waiting) == (0, 0)
    return Simulated(wall_s, hosts, windows)
