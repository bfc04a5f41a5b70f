"""The counters, and what Prometheus is given of them."""

import socket
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stream.errors import WrongConfig
from stream.metrics import Exporter, StageStats, serve
from tests.patience import PATIENCE_S


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_commit_is_counted_by_where_its_messages_went() -> None:
    stats = StageStats("typed")
    stats.committed(3, {"typed": 4, "rejects": 2, "dead": 1, "typed.state": 1}, "typed", ["a", "b", "a"])
    stats.committed(1, {"rejects": 1}, "typed", ["a"])
    assert (stats.commits, stats.read, stats.emitted, stats.dead) == (2, 4, 4, 1)
    assert stats.rejected == Counter(a=3, b=1)


def test_prometheus_is_given_every_counter_with_a_help_that_says_what_to_do() -> None:
    stats = [
        StageStats(
            "typed", read=9, emitted=5, rejected=Counter(short=3, long=1), dead=2, retried=7, in_flight=4, lag=8
        ),
        StageStats('odd"\n', waits={"the model": "http://llm is away"}),
    ]
    port = free_port()
    serve(port, Exporter(stats))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as reply:
        families = {family.name: family for family in text_string_to_metric_families(reply.read().decode())}
    found = {
        (sample.name.removeprefix("seedstream_"), *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    odd = 'odd"\n'
    assert found == {
        ("outcomes_total", "emitted", "typed"): 5, ("outcomes_total", "rejected", "typed"): 4,
        ("outcomes_total", "dead", "typed"): 2,
        ("outcomes_total", "emitted", odd): 0, ("outcomes_total", odd, "rejected"): 0,
        ("outcomes_total", "dead", odd): 0,
        ("rejects_total", "short", "typed"): 3, ("rejects_total", "long", "typed"): 1,
        ("inputs_total", "typed"): 9, ("inputs_total", odd): 0,
        ("retries_total", "typed"): 7, ("retries_total", odd): 0,
        ("in_flight_records", "typed"): 4, ("in_flight_records", odd): 0,
        ("waiting", "typed"): 0, ("waiting", odd): 1,
        ("lag_records", "typed"): 8,
    }  # fmt: skip
    assert all(family.documentation.count(".") >= 1 for family in families.values())


def test_what_is_no_port_is_refused() -> None:
    with pytest.raises(WrongConfig, match=r"--metrics-port 70000: cannot be opened: .*0-65535"):
        serve(70_000)


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WrongConfig, match=f"--metrics-port {port}: cannot be opened: "):
            serve(port)
