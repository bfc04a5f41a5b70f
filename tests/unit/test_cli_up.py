"""`seedstream up` as its user meets it: the program as a process, the scripted LLM over HTTP, real files."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.corpus import write_corpus
from tests.patience import LONG_S, PATIENCE_S

PROGRAM = Path(sys.executable).with_name("seedstream")
HANG_S = 3_600
DRAINS_S = {"seedstream.toml": 10, "patient.toml": HANG_S}


@dataclass(frozen=True, slots=True)
class Server:
    """A scripted LLM in a process of its own."""

    url: str

    def calls(self, stage: str | None = None) -> int:
        """Return how many requests it has got, from one stage or from all."""
        with urllib.request.urlopen(f"{self.url}/_calls") as answer:
            return sum(call["calls"] for call in json.load(answer) if stage in (None, call["stage"]))

    def faults(self, faults: list[dict[str, object]]) -> None:
        """Replace what goes wrong from now on."""
        request = urllib.request.Request(f"{self.url}/_faults", json.dumps(faults).encode(), method="POST")
        urllib.request.urlopen(request).close()


@dataclass(frozen=True, slots=True)
class Ended:
    """What a run of the program left."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(process.stdout.readline().strip())
        process.terminate()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with code, and configs that wait for no full batch."""
    folder = tmp_path_factory.mktemp("work")
    write_corpus(folder / "code", files=4)
    for name, drain_s in DRAINS_S.items():
        text = f"processes = 1\n[runner]\ndrain_s = {drain_s}\n[stages.typed]\nlinger_s = 0.2\n"
        (folder / name).write_text(text)
    return folder


def command(server: Server, *more: str, model: str = "scripted") -> list[str]:
    base = ["up", "--dir", "run", "--source", "code", "--config", "seedstream.toml"]
    return [str(PROGRAM), *base, "--llm", server.url, "--model", model, *more]


def seedstream(work: Path, *arguments: str) -> Ended:
    done = subprocess.run([PROGRAM, *arguments], cwd=work, capture_output=True, text=True, timeout=LONG_S, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def up(work: Path, server: Server, *more: str, model: str = "scripted") -> Ended:
    return seedstream(work, *command(server, *more, model=model)[1:])


def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(work: Path, server: Server) -> Ended:
    """The first run, to its end."""
    return up(work, server, "--until-idle")


def test_a_folder_of_code_becomes_examples_with_funnel_lineage_and_what_to_do_next(finished: Ended):
    assert finished.code == 0
    assert re.search(r"^files +4 +4 ", finished.out, re.MULTILINE)
    assert re.search(r"^examples +\d+ +[1-9]", finished.out, re.MULTILINE)
    for heading in ("seed: ", "instruction: ", "response: ", "tests: pass", "lineage"):
        assert f"── {heading}" in finished.out
    assert "typed version 1: 0 errors" in finished.out
    assert "seedstream export DIR --dir run" in finished.err


def test_after_it_everything_holds_and_can_be_looked_at(finished: Ended, work: Path):
    audit = seedstream(work, "audit", "--dir", "run")
    assert (audit.code, audit.err) == (0, "every input has its outcomes, once\n")
    counts = {c["stage"]: c for c in json.loads(seedstream(work, "status", "--dir", "run", "--json").out)}
    assert all(count["lag"] == count["dead"] == 0 for count in counts.values())
    assert seedstream(work, "export", "dataset", "--dir", "run").code == 0
    rows = [json.loads(line) for line in (work / "dataset" / "examples.jsonl").read_text().splitlines()]
    assert len(rows) == counts["examples"]["out"] > 0
    assert {row["licence"] for row in rows} == {"MIT"} and {row["model"] for row in rows} == {"scripted"}
    shown = seedstream(work, "show", rows[0]["seed_id"][:12], "--dir", "run")
    assert f"{rows[0]['id'][:12]} at examples[0]@" in shown.out


def test_a_second_run_asks_nothing_again(finished: Ended, work: Path, server: Server):
    before = server.calls()
    again = up(work, server, "--until-idle", "--json")
    assert again.code == 0 and server.calls() == before
    assert "inputs left by an earlier run: none" in again.err
    report = json.loads(again.out)
    assert report["stages"][0] | {"rejected": {}} == {
        "stage": "files", "done": 4, "lag": 0, "out": 4, "rejected": {}, "dead": 0,
    }  # fmt: skip


def test_a_stage_can_be_run_alone_and_sources_sent_by_themselves(finished: Ended, work: Path, server: Server):
    write_corpus(work / "more", files=1, seed=7)
    base = ["--dir", "run", "--config", "seedstream.toml"]
    sent = seedstream(work, "ingest", "more", *base)
    assert sent.code == 0 and "more: 1 new files" in sent.out
    assert "the stages have work now: seedstream run STAGE … --dir run" in sent.err
    assert seedstream(work, "run", "functions", "typed", *base, "--until-idle").code == 0
    counts = {c["stage"]: c for c in json.loads(seedstream(work, "status", "--dir", "run", "--json").out)}
    assert counts["typed"]["lag"] == 0 < counts["unique"]["lag"]
    assert up(work, server, "--until-idle").code == 0


def test_another_recipe_is_refused_with_the_difference(finished: Ended, work: Path, server: Server):
    (work / "other.toml").write_text('extends = "selfcodealign"\n[stages.responses]\nsamples = 3\n')
    refused = up(work, server, "--recipe", "other.toml")
    assert refused.code == 2 and len(refused.err.splitlines()) == 1
    assert "stages.responses.params.samples: 10 -> 3" in refused.err and "new --dir" in refused.err


def test_a_model_that_is_not_there_is_refused_with_those_that_are_and_leaves_nothing(work: Path, server: Server):
    refused = up(work, server, "--dir", "fresh", model="gpt-7")
    assert refused.code == 2 and "scripted" in refused.err and len(refused.err.splitlines()) == 1
    assert not (work / "fresh").exists()


def test_a_taken_metrics_port_is_wrong_use(work: Path, server: Server):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        refused = up(work, server, "--dir", "metrics", "--metrics-port", str(port), "--until-idle")
    assert refused.code == 2 and f"--metrics-port {port}" in refused.err


def test_dry_run_counts_and_estimates_and_makes_nothing(work: Path):
    counted = seedstream(work, "up", "--dir", "dry", "--source", "code", "--dry-run", "--json")
    report = json.loads(counted.out)
    assert (report["files"], report["functions"]) == (4, 8)
    assert report["at_most"]["responses"]["requests"] == 80
    assert report["at_most"]["responses"]["completion_tokens"] == 80 * 1536
    assert not (work / "dry").exists()
    assert "An upper bound" in seedstream(work, "up", "--source", "code", "--dry-run").out


@dataclass(frozen=True, slots=True)
class Running:
    """A run that was started, with what it has said so far."""

    process: "subprocess.Popen[bytes]"
    directory: Path
    err: Path

    def says(self, text: str) -> None:
        until(lambda: text in self.err.read_text(), f"{text!r} on stderr")

    def ended(self) -> int:
        """Wait for its end, for less than the responses would take; return its exit code."""
        return self.process.wait(PATIENCE_S)


@pytest.fixture(params=["seedstream.toml"])
def running(work: Path, server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A run with a config that stays, and has asked for responses that do not come."""
    server.faults([{"hang_s": HANG_S, "stage": "responses"}])
    before = server.calls("responses")
    errors, directory = tmp_path / "err", tmp_path / "run"
    with errors.open("wb") as err, (tmp_path / "out").open("wb") as out:
        more = ["--dir", str(directory), "--config", request.param]
        process = subprocess.Popen(command(server, *more), cwd=work, stdout=out, stderr=err)
        try:
            until(lambda: server.calls("responses") > before, "a request for a response")
            yield Running(process, directory, errors)
        finally:
            process.kill()
            process.wait()
            server.faults([])


def test_ctrl_c_lets_what_is_in_flight_finish_within_the_drain_and_loses_nothing(
    running: Running, work: Path, server: Server
):
    running.says("wait for more input until Ctrl-C")
    running.process.send_signal(signal.SIGINT)
    running.says("stopping")
    assert running.ended() == 130
    server.faults([])
    done = up(work, server, "--dir", str(running.directory), "--until-idle")
    assert done.code == 0
    assert re.search(r"left by an earlier run: .*responses \d", done.err)
    assert seedstream(work, "audit", "--dir", str(running.directory)).code == 0


@pytest.mark.parametrize("running", ["patient.toml"], indirect=True)
def test_ctrl_c_twice_stops_at_once_and_sigterm_is_as_good(running: Running, work: Path):
    running.process.send_signal(signal.SIGTERM)
    running.says("stopping")
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 130
    assert seedstream(work, "audit", "--dir", str(running.directory)).code == 0


def test_a_second_run_on_one_directory_is_refused_with_the_pid_of_the_first(
    running: Running, work: Path, server: Server
):
    refused = up(work, server, "--dir", str(running.directory))
    assert refused.code == 2
    assert str(running.process.pid) in refused.err.splitlines()[-1]
    assert running.process.poll() is None


def test_a_server_that_goes_away_in_the_middle_is_waited_for_and_named(work: Path, server: Server, tmp_path: Path):
    server.faults([{"down_s": 2, "count": 1, "stage": "concepts"}])
    done = up(work, server, "--dir", str(tmp_path / "run"), "--until-idle")
    assert done.code == 0
    assert re.search(rf"concepts waits: .*{re.escape(server.url)}", done.err)
    assert "concepts goes on after" in done.err
    counts = json.loads(seedstream(work, "status", "--dir", str(tmp_path / "run"), "--json").out)
    assert all(count["dead"] == 0 and count["lag"] == 0 for count in counts)
