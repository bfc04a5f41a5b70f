"""The state of LLM endpoints in Prometheus' form. A help says what to do when its metric moves."""

from collections.abc import Callable, Iterator, Mapping
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.llm.latencies import Latencies
from consumers.llm.usage import OUTCOMES, ServerState, Snapshot, Usage

STAGE_COUNTERS: Mapping[str, tuple[str, Callable[[Usage], float]]] = {
    "cost": (
        "What the tokens cost by price_in and price_out of [llm.NAME], in their currency. If it rises faster than "
        "answers, look at the completion tokens of each stage.",
        lambda used: used.cost,
    ),
    "estimated_replies": (
        "Answers without a token count, whose tokens are estimated. If it rises, tokens and cost are approximate: "
        "switch the usage report of the server on.",
        lambda used: used.estimated,
    ),
    "unreadable_replies": (
        "Replies that were paid and could not be used; they have an outcome of their own too. If it rises, the log "
        "has the reply: is api right, and is max_tokens large enough?",
        lambda used: used.unreadable,
    ),
}
"""Counters by endpoint and stage: name, help, value."""

ENDPOINT_GAUGES: Mapping[str, tuple[str, Callable[[Snapshot], float]]] = {
    "in_flight_requests": (
        "Requests sent and not answered. If it stays under the window while requests wait, report a defect; if it is "
        "0 while a stage has lag, see seedstream_waiting.",
        lambda now: now.in_flight,
    ),
    "waiting_requests": (
        "Requests that wait for a permit. Above 0 for long: the servers are the limit; add a server. 0 for long: "
        "the servers idle, and an earlier stage is the limit.",
        lambda now: now.waiting,
    ),
    "window_requests": (
        "Requests that may be in flight, adapted to what the servers can do. If it falls, they refuse requests or "
        "only queue them; if it stands at concurrency_max, raise that.",
        lambda now: now.window,
    ),
    "servers": ("Servers of the endpoint. It changes with the config alone.", lambda now: len(now.servers)),
    "servers_down": (
        "Servers that cannot be reached or refuse requests, and are left out for up to 30 s at a time. Above 0: see "
        "seedstream_llm_server_up for which.",
        lambda now: len(now.down),
    ),
}

SERVER_GAUGES: Mapping[str, tuple[str, Callable[[ServerState], float]]] = {
    "server_up": (
        "0 while the server cannot be reached or refused the last request (429, 503). If it stays 0, look at the "
        "log of that server and start it again.",
        lambda server: not server.down,
    ),
    "server_window_requests": (
        "Requests that the server may be given at once. If one has far fewer than the others, it is slower, or "
        "refuses more.",
        lambda server: server.window,
    ),
    "server_in_flight_requests": (
        "Requests sent to the server and not answered. If one has far fewer than the others, it is slow or down.",
        lambda server: server.in_flight,
    ),
}


class EndpointExporter(Collector):
    """Endpoints by name as Prometheus metrics. `snapshots` is called for each scrape, from a thread of its own."""

    def __init__(self, snapshots: Callable[[], Mapping[str, Snapshot]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        now = self._snapshots()
        yield _requests(now)
        yield _tokens(now)
        for name, (text, value) in STAGE_COUNTERS.items():
            family = CounterMetricFamily(f"seedstream_llm_{name}", text, labels=["endpoint", "stage"])
            for endpoint, stage, used in _stages(now):
                family.add_metric([endpoint, stage], value(used))
            yield family
        yield _answers(now)
        for name, (text, value) in ENDPOINT_GAUGES.items():
            family = GaugeMetricFamily(f"seedstream_llm_{name}", text, labels=["endpoint"])
            for endpoint, snapshot in now.items():
                family.add_metric([endpoint], value(snapshot))
            yield family
        for name, (text, value) in SERVER_GAUGES.items():
            family = GaugeMetricFamily(f"seedstream_llm_{name}", text, labels=["endpoint", "server"])
            for endpoint, snapshot in now.items():
                for server in snapshot.servers:
                    family.add_metric([endpoint, server.url], value(server))
            yield family


def _stages(now: Mapping[str, Snapshot]) -> Iterator[tuple[str, str, Usage]]:
    for endpoint, snapshot in now.items():
        for stage, used in snapshot.stages.items():
            yield endpoint, stage, used


def _requests(now: Mapping[str, Snapshot]) -> Metric:
    family = CounterMetricFamily(
        "seedstream_llm_requests",
        "Requests that ended, by outcome. refused or unreachable: add servers, or start those that are down. "
        "timed_out: raise timeout_s, or see why the server is slow. bad_reply, bad_request: the log and `seedstream "
        "dead` have its words. filtered: see `seedstream rejects`. too_long: raise context, or shorten the prompts.",
        labels=["endpoint", "stage", "outcome"],
    )
    for endpoint, stage, used in _stages(now):
        for outcome, count in OUTCOMES.items():
            family.add_metric([endpoint, stage, outcome], count(used))
    return family


def _tokens(now: Mapping[str, Snapshot]) -> Metric:
    family = CounterMetricFamily(
        "seedstream_llm_tokens",
        "Tokens of the requests that were answered, as the server counts them. If the rate of completion falls while "
        "requests wait, the servers have become slower.",
        labels=["endpoint", "stage", "kind"],
    )
    for endpoint, stage, used in _stages(now):
        family.add_metric([endpoint, stage, "prompt"], used.prompt_tokens)
        family.add_metric([endpoint, stage, "completion"], used.completion_tokens)
    return family


def _answers(now: Mapping[str, Snapshot]) -> Metric:
    family = HistogramMetricFamily(
        "seedstream_llm_answer_seconds",
        "Time from sending a request to the last byte of its reply, of those that were answered. If it grows while "
        "the window stays, the servers have become slower, or other clients use them too.",
        labels=["endpoint", "stage"],
    )
    for endpoint, snapshot in now.items():
        for stage, took in snapshot.latencies.items():
            family.add_metric([endpoint, stage], _buckets(took), sum_value=took.sum_s)
    return family


def _buckets(took: Latencies) -> list[tuple[str, float]]:
    return [("+Inf" if bound_s == inf else str(float(bound_s)), count) for bound_s, count in took.cumulative()]
