"""Every command of the command line on both buses: a stream is run, looked at, branched, pruned and exported."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.cli import run
from tests.corpus import write_corpus

V2 = "[stages.concepts]\nshots = 2\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream in a folder, on one of the buses."""

    folder: Path
    bus: tuple[str, ...]  # what names it
    namespace: str
    child: str
    llm: tuple[str, ...]

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str, code: int = 0, namespace: str = "") -> str:
        """Run a command on the stream, in this process; return what it said on stdout."""
        self.capsys.readouterr()
        found = run([*words, *self.bus, "--namespace", namespace or self.namespace])
        captured = self.capsys.readouterr()
        assert found == code, f"{words}: {found}\n{captured.out}\n{captured.err}"
        return captured.out

    def up(self, *more: str, config: str = "main.toml", namespace: str = "") -> None:
        self("up", "--config", config, *self.llm, "--until-idle", *more, namespace=namespace)

    def json(self, *words: str, namespace: str = "", code: int = 0) -> Any:
        return json.loads(self(*words, "--json", namespace=namespace, code=code))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [sys.executable, "-m", "deploy.scripted_llm", "--port", "0", "--hanging", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(params=["embedded", "kafka"])
def stream(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Stream:
    """A stream that has done all its work on four files."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "code", files=4)
    settings = "processes = 1\n[kafka]\npartitions = 3\n[stages.typed]\nlinger_s = 0.2\n"
    (tmp_path / "main.toml").write_text(settings)
    (tmp_path / "v2.toml").write_text(settings + V2)
    llm = ("--llm", server, "--model", "scripted")
    if request.param == "kafka":
        namespace = request.getfixturevalue("namespace")
        bus = ("--bus", f"kafka://{request.getfixturevalue('kafka').bootstrap}")
    else:
        namespace, bus = "main", ("--dir", "run")
    found = Stream(tmp_path, bus, namespace, f"{namespace}-v2", llm, capsys)
    found.up("--source", "code")
    return found


@pytest.mark.timeout(900)  # it takes a minute; on a machine that is busy with others, many
def test_all_commands_work_on_a_stream_that_is_branched_and_pruned(stream: Stream) -> None:
    # What came out, and the proof of it.
    funnel = stream.json("status")
    counts = {count["stage"]: count for count in funnel}
    assert counts["files"]["out"] == 4 and counts["examples"]["out"] > 0
    assert all(count["lag"] == 0 for count in funnel)
    assert stream.json("audit") == []
    rejected = sum(group["count"] for group in stream.json("rejects"))
    assert rejected == sum(sum(count["rejected"].values()) for count in funnel)
    assert stream.json("dead") == []
    stream("scores", code=2)  # no model of it has one
    assert stream.json("topics", "check") == []
    topics = {line["topic"]: line for line in stream.json("topics", "list")}
    assert topics[f"{stream.namespace}.files"]["records"] >= 4
    assert topics[f"{stream.namespace}.typed"]["partitions"] == 1

    # A part of it anew, in a namespace of its own.
    begun = stream.json("replay", "concepts", "--into", stream.child, "--config", "v2.toml")
    assert (begun["pruned"], begun["stages"][0]) == (0, "concepts")
    stream.up(config="v2.toml", namespace=stream.child)
    assert stream.json("audit", namespace=stream.child) == []
    child = {count["stage"]: count for count in stream.json("status", namespace=stream.child)}
    assert next(iter(child)) == "concepts" and child["concepts"]["done"] == counts["seeds"]["out"]
    compared = stream.json("status", "--compare", stream.namespace, namespace=stream.child)
    assert compared["recipe"] == ["stages.concepts.params.shots: 8 -> 2"]
    stream("export", "dataset", namespace=stream.child)
    rows = (stream.folder / "dataset" / "examples.jsonl").read_text().splitlines()
    assert len(rows) == child["examples"]["out"]
    seed = json.loads(rows[0])["seed_id"]
    lineage = [record["topic"] for record in stream.json("show", seed, namespace=stream.child)]
    assert f"{stream.namespace}/seeds" in lineage and "examples" in lineage

    # What both have passed goes; nothing that is counted or proven changes.
    would = stream.json("prune", "--keep-days", "0", "--dry-run")
    assert would["pruned"][f"{stream.namespace}.files"] == 4
    assert stream.json("status") == funnel
    assert stream.json("prune", "--keep-days", "0") == would
    assert stream.json("prune", "--keep-days", "0") == {"pruned": dict.fromkeys(would["pruned"], 0), "holes": []}
    assert stream.json("status") == funnel
    assert stream.json("audit") == [] and stream.json("audit", namespace=stream.child) == []
    assert stream.json("prune", "--keep-days", "0", namespace=stream.child)["holes"] == []
    assert {count["stage"]: count for count in stream.json("status", namespace=stream.child)} == child
    assert stream.json("audit", namespace=stream.child) == []
    again = stream.json("replay", "concepts", "--into", f"{stream.child}b", "--config", "v2.toml")
    assert again["pruned"] == counts["seeds"]["out"]

    # And it goes on.
    write_corpus(stream.folder / "more", files=2, seed=1)
    stream.up("--source", "more")
    stream.up(config="v2.toml", namespace=stream.child)
    stream.up(config="v2.toml", namespace=f"{stream.child}b")
    for namespace in (stream.namespace, stream.child, f"{stream.child}b"):
        assert stream.json("audit", namespace=namespace) == []
    later = {count["stage"]: count for count in stream.json("status")}
    assert later["files"]["out"] == 6 and later["typed"]["done"] > counts["typed"]["done"]
