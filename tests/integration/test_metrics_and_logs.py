"""What an operator sees of a run from outside: Prometheus metrics over HTTP, and log lines as JSON.

One run of `seedstream up` with two endpoints of one model. A server of the first refuses for a while, one of the second
does not exist.
"""

import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local_kafka import LocalKafka
from stream.logs import begins_with
from tests.corpus import write_corpus

PROGRAM = Path(sys.executable).with_name("seedstream")
DEADLINE_S = 120.0
STAGES = (
    "files", "functions", "typed", "unique", "seeds", "concepts", "instructions", "responses", "executions", "examples",
)  # fmt: skip
LABELS = ("endpoint", "server", "stage", "outcome", "kind", "reason", "le")
REFUSED, INTERNAL = 4, 2  # of the faults that are switched on

CONFIG = """
processes = 1

[llm.small]
url = "{small}"
model = "scripted"
price_in = 1.0
price_out = 4.0

[llm.large]
url = ["{large}", "{missing}"]
model = "scripted"

[stages.typed]
linger_s = 0.2
[stages.seeds]
llm = "small"
[stages.concepts]
llm = "small"
[stages.instructions]
llm = "large"
[stages.responses]
llm = "large"
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the run left, once everything had gone through and it was told to stop."""

    small: str  # urls
    large: str
    missing: str
    metrics: dict[tuple[str, ...], float]
    calls: dict[str, Counter[str]]  # by server, by stage
    code: int
    out: str
    err: str

    def metric(self, *key: str) -> float:
        return self.metrics[key]

    @property
    def lines(self) -> list[dict[str, object]]:
        """Log lines. What the run says at its end is for people."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def scripted(*faults: dict[str, object]) -> Iterator[str]:
    """A scripted LLM in a process of its own."""
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0"]
    command += ["--service-s", "0.02", "--faults", json.dumps(faults)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def calls(url: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    with urllib.request.urlopen(f"{url}/_calls", timeout=10) as answer:
        for call in json.load(answer):
            counts[call["stage"]] += call["calls"]
    return counts


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and label values; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    except OSError:
        return {}
    return {
        (sample.name, *(sample.labels[name] for name in LABELS if name in sample.labels)): sample.value
        for family in families
        for sample in family.samples
    }


def everything_went_through(metrics: dict[tuple[str, ...], float], files: int) -> bool:
    """Whether each stage has finished what the one before it has written."""
    written = float(files)
    for stage in STAGES:
        if metrics.get(("seedstream_inputs_total", stage)) != written:
            return False
        written = metrics[("seedstream_outcomes_total", stage, "emitted")]
    return True


def until(holds: Callable[[], bool], what: str, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert process.poll() is None, f"the run has ended with {process.returncode} before: {what}"
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.05)


def shown(err: Path) -> int:
    """Return how many lines of the live view there are."""
    return err.read_text().count('"deploy.running.live"')


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    folder = tmp_path_factory.mktemp("metrics")
    write_corpus(folder / "code", files=4)
    port, missing = free_port(), f"http://127.0.0.1:{free_port()}"
    refusing = {"status": 503, "count": REFUSED, "stage": "concepts"}
    failing = {"status": 500, "count": INTERNAL, "stage": "instructions"}
    with scripted(refusing) as small, scripted(failing) as large:
        (folder / "seedstream.toml").write_text(CONFIG.format(small=small, large=large, missing=missing))
        command = [PROGRAM, "up", "--dir", "run", "--source", "code", "--config", "seedstream.toml", "--json"]
        command += ["--metrics-port", str(port), "--log-format", "json"]
        with (folder / "err").open("wb") as err, (folder / "out").open("wb") as out:
            process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        try:
            until(lambda: everything_went_through(scraped(port), 4), "everything has gone through", process)
            before = shown(folder / "err")
            until(lambda: shown(folder / "err") > before, "a line of the live view", process)
            metrics = scraped(port)
            process.send_signal(signal.SIGINT)
            code = process.wait(DEADLINE_S)
        finally:
            process.kill()
            process.wait()
        asked = {"small": calls(small), "large": calls(large)}
        texts = (folder / "out").read_text(), (folder / "err").read_text()
        yield Found(f"{small}/v1", f"{large}/v1", f"{missing}/v1", metrics, asked, code, *texts)


ASKED = [("small", "seeds"), ("small", "concepts"), ("large", "instructions"), ("large", "responses")]


@pytest.mark.parametrize(("endpoint", "stage"), ASKED)
def test_the_requests_of_each_stage_are_those_that_its_server_has_counted(found: Found, endpoint: str, stage: str):
    outcomes = {
        key[-1]: count for key, count in found.metrics.items()
        if key[:3] == ("seedstream_llm_requests_total", endpoint, stage)
    }  # fmt: skip
    assert sum(outcomes.values()) == found.calls[endpoint][stage] > 0
    assert outcomes["refused"] == (REFUSED if stage == "concepts" else 0)
    assert outcomes["bad_reply"] == (INTERNAL if stage == "instructions" else 0)
    assert outcomes["answered"] == sum(outcomes.values()) - outcomes["refused"] - outcomes["bad_reply"]


@pytest.mark.parametrize(("endpoint", "stage"), ASKED)
def test_tokens_and_cost_are_those_of_the_report_at_the_end(found: Found, endpoint: str, stage: str):
    used = json.loads(found.out)["used"][stage]
    assert found.metric("seedstream_llm_tokens_total", endpoint, stage, "prompt") == used["prompt_tokens"] > 0
    assert found.metric("seedstream_llm_tokens_total", endpoint, stage, "completion") == used["completion_tokens"] > 0
    assert found.metric("seedstream_llm_cost_total", endpoint, stage) == pytest.approx(used["cost"])
    assert (used["cost"] > 0) == (endpoint == "small"), "only one of them has a price"


@pytest.mark.parametrize(("endpoint", "stage"), ASKED)
def test_each_answer_is_in_the_histogram_of_its_time(found: Found, endpoint: str, stage: str):
    answered = found.metric("seedstream_llm_requests_total", endpoint, stage, "answered")
    assert found.metric("seedstream_llm_answer_seconds_count", endpoint, stage) == answered
    assert found.metric("seedstream_llm_answer_seconds_bucket", endpoint, stage, "+Inf") == answered
    total_s = found.metric("seedstream_llm_answer_seconds_sum", endpoint, stage)
    assert total_s == pytest.approx(json.loads(found.out)["used"][stage]["seconds"])


def test_a_server_that_is_down_is_named_and_its_endpoint_works_on(found: Found):
    assert found.metric("seedstream_llm_servers", "large") == 2
    assert found.metric("seedstream_llm_servers_down", "large") == 1
    assert found.metric("seedstream_llm_server_up", "large", found.missing) == 0
    assert found.metric("seedstream_llm_server_up", "large", found.large) == 1
    assert found.metric("seedstream_llm_servers_down", "small") == 0
    assert found.metric("seedstream_llm_server_up", "small", found.small) == 1


def test_when_all_is_done_nothing_is_in_flight_or_waits(found: Found):
    for endpoint in ("small", "large"):
        assert found.metric("seedstream_llm_in_flight_requests", endpoint) == 0
        assert found.metric("seedstream_llm_waiting_requests", endpoint) == 0
        assert found.metric("seedstream_llm_window_requests", endpoint) >= 1
    for server in ((found.small, "small"), (found.large, "large")):
        assert found.metric("seedstream_llm_server_in_flight_requests", *reversed(server)) == 0


def test_one_port_serves_the_metrics_of_stages_too(found: Found):
    assert found.metric("seedstream_outcomes_total", "concepts", "emitted") > 0
    assert found.metric("seedstream_outcomes_total", "examples", "dead") == 0


def test_every_line_of_a_stage_carries_it_as_a_field(found: Found):
    checks = [line for line in found.lines if line["logger"] == "consumers.llm.servers"]  # before any stage begins
    assert [found.missing in str(line["message"]) and "stage" not in line for line in checks] == [True]
    lines = [line for line in found.lines if line not in checks]
    assert found.code == 130
    for line in lines:
        logger, message = str(line["logger"]), str(line["message"])
        if logger.startswith("deploy."):  # the run's own: its start, its end, the live view
            assert "stage" not in line, line
            continue
        assert line.get("stage") in STAGES, line
        named = [stage for stage in STAGES if begins_with(message, stage)]
        assert named in ([], [line["stage"]]), line
    gates = [line for line in lines if line["logger"] == "stream.retry"]
    assert {line["stage"] for line in gates} == {"concepts"}
    assert any(re.match("concepts .*503", str(line["message"])) for line in gates)
    assert len(gates) >= 2, "it says that it waits, and that it does no longer"


def test_the_line_of_the_live_view_tells_of_each_endpoint(found: Found):
    views = [str(line["message"]) for line in found.lines if line["logger"] == "deploy.running.live"]
    assert re.search(r"small: \d+/\d+ in flight, \d+ answered", views[-1])
    assert "large: 0/" in views[-1] and f"1 of 2 servers down: {found.missing}" in views[-1]


def test_on_kafka_too_every_line_of_a_stage_carries_it(kafka: LocalKafka, tmp_path: Path):
    write_corpus(tmp_path / "code", files=1)
    shared = ["--bus", f"kafka://{kafka.bootstrap}", "--namespace", f"logs-{secrets.token_hex(4)}"]
    shared += ["--llm", "http://127.0.0.1:9", "--model", "never-asked", "--log-format", "json"]
    stages = ("functions", "typed", "unique")

    def logged(*command: str) -> list[dict[str, str]]:
        done = subprocess.run(
            [PROGRAM, *command, *shared], cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]

    logged("ingest", "code")
    lines = logged("run", *stages, "--until-idle")
    members = [line for line in lines if line["logger"] == "stream.kafka.group"]
    assert {line["stage"] for line in members} == set(stages)
    assert all(begins_with(line["message"], line["stage"]) for line in members)
    assert all(("stage" in line) == line["logger"].startswith("stream.") for line in lines)
