"""What Prometheus is given of LLM endpoints."""

from collections.abc import Mapping
from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from consumers.llm.errors import BadReply, Refused
from consumers.llm.latencies import BOUNDS_S, Latencies
from consumers.llm.metrics import EndpointExporter
from consumers.llm.usage import OUTCOMES, ServerState, Snapshot, Usage, failure
from stream.errors import EndpointDown, Permanent, PipelineError, RequestTimedOut, WrongConfig

URL = "http://one:8000/v1"
LABELS = ("endpoint", "server", "stage", "outcome", "kind", "le")


def scraped(endpoints: Mapping[str, Snapshot]) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and label values, as a scrape reads them."""
    registry = CollectorRegistry()
    registry.register(EndpointExporter(lambda: endpoints))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert all(family.documentation.count(".") >= 1 for family in families)
    return {
        (
            sample.name.removeprefix("seedstream_llm_"),
            *(sample.labels[name] for name in LABELS if name in sample.labels),
        ): sample.value
        for family in families
        for sample in family.samples
    }


def endpoint(used: Usage, took: Latencies | None = None, *, up: bool = True) -> Snapshot:
    down = () if up else (URL,)
    servers = (ServerState(URL, 5, 32, not up),)
    return Snapshot(1.0, {"seeds": used}, 5, 7, 32, down, servers, {"seeds": took or Latencies()})


def test_every_endpoint_has_its_counters_by_stage_and_its_gauges() -> None:
    used = Usage(requests=3, failed=2, refused=2, estimated=1, prompt_tokens=70, completion_tokens=9, cost=0.25)
    found = scraped({"main": endpoint(used, up=False), "small": endpoint(Usage())})
    assert found[("requests_total", "main", "seeds", "answered")] == 3
    assert found[("requests_total", "main", "seeds", "refused")] == 2
    assert found[("requests_total", "main", "seeds", "timed_out")] == 0
    assert found[("tokens_total", "main", "seeds", "prompt")] == 70
    assert found[("tokens_total", "main", "seeds", "completion")] == 9
    assert found[("cost_total", "main", "seeds")] == 0.25
    assert found[("estimated_replies_total", "main", "seeds")] == 1
    gauges = ("in_flight_requests", "waiting_requests", "window_requests", "servers", "servers_down")
    assert [found[(name, "main")] for name in gauges] == [5, 7, 32, 1, 1]
    assert found[("server_up", "main", URL)] == 0 and found[("server_up", "small", URL)] == 1
    assert found[("server_in_flight_requests", "main", URL)] == 5
    assert found[("server_window_requests", "main", URL)] == 32
    assert found[("requests_total", "small", "seeds", "answered")] == 0, "a series exists before it moves"


def test_the_time_to_answer_is_a_histogram_with_cumulative_buckets() -> None:
    took = Latencies().seen(0.05).seen(0.3).seen(0.3).seen(9_999)
    found = scraped({"main": endpoint(Usage(), took)})
    buckets = {key[-1]: value for key, value in found.items() if key[0] == "answer_seconds_bucket"}
    assert len(buckets) == len(BOUNDS_S) + 1
    assert [buckets[le] for le in ("0.05", "0.25", "0.4", "600.0", "+Inf")] == [1, 1, 3, 3, 4]
    assert found[("answer_seconds_count", "main", "seeds")] == 4
    assert found[("answer_seconds_sum", "main", "seeds")] == pytest.approx(9_999.65)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Refused("429"), "refused"),
        (EndpointDown("connection refused"), "unreachable"),
        (RequestTimedOut("600 s"), "timed_out"),
        (BadReply("500"), "bad_reply"),
        (Permanent("422"), "bad_request"),
        (WrongConfig("401"), "bad_request"),
    ],
)
def test_an_attempt_that_failed_counts_as_one_outcome(error: PipelineError, outcome: str) -> None:
    used = failure(error)
    assert used.failed == 1
    assert {name: count(used) for name, count in OUTCOMES.items() if count(used)} == {outcome: 1}


def test_every_field_of_usage_is_added() -> None:
    ones = Usage(*(index + 1 for index in range(len(fields(Usage)))))
    twice = ones + ones
    assert [getattr(twice, field.name) for field in fields(Usage)] == [
        2 * getattr(ones, field.name) for field in fields(Usage)
    ]


# Counted beside the outcome of a request, not as one.
BESIDE = {"failed", "estimated", "prompt_tokens", "completion_tokens", "cost", "seconds"}


def test_every_counter_of_usage_reaches_prometheus() -> None:
    quiet = scraped({"main": endpoint(Usage())})
    for field in fields(Usage):
        # The sum of five outcomes; the sum of the histogram; the next test.
        if field.name not in {"failed", "seconds", "unreadable"}:
            moved = scraped({"main": endpoint(Usage(**{field.name: 2}))})
            changed = [key for key in moved if moved[key] != quiet[key]]
            assert len(changed) == 1, field.name
            assert (changed[0][0] == "requests_total") == (field.name not in BESIDE)


def test_a_paid_reply_that_could_not_be_used_is_counted_and_is_no_answer() -> None:
    found = scraped({"main": endpoint(Usage(requests=3, unreadable=1, failed=1, bad_reply=1))})
    assert found[("unreadable_replies_total", "main", "seeds")] == 1
    outcomes = {key[-1]: count for key, count in found.items() if key[0] == "requests_total" and count}
    assert outcomes == {"answered": 2, "bad_reply": 1}
