"""The node that runs once, for the archive of its classes, never outlives what started it: no file would tell of it."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local_kafka import jars, node, process
from deploy.local_kafka.archive import ready
from stream.errors import DependencyDown
from tests.integration.processes import SEEDSTREAM
from tests.patience import PATIENCE_S

JAVA = """#!/bin/sh
case "$*" in
*-version*) echo 'openjdk version "17.0.1" 2021-10-19' >&2 ;;
*StorageTool*) mkdir data.new ;;
*) read -r line </proc/$$/stat; echo "$line" >'{ran}.new'; mv '{ran}.new' '{ran}'; while :; do sleep 0.1; done ;;
esac
"""
"""A Java whose Kafka never serves, and never ends by itself."""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that tells of the process that such a Kafka is, once it runs; its jars are in the cache."""
    ran = tmp_path / "ran"
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(JAVA.format(ran=ran))
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(java.parents[1]))
    monkeypatch.setenv(jars.CACHE, str(tmp_path / "cache"))
    jars.home().mkdir(parents=True)
    yield ran
    if found := process.told(ran):
        process.send(found, signal.SIGKILL)


def left_over(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith(jars.UNFINISHED)]


def gone(ran: Path) -> bool:
    found = process.told(ran)
    assert found is not None, "it never ran"
    return process.ended(found, 0)


def test_it_ends_when_it_does_not_serve(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(node, "START_S", 3.0)
    with pytest.raises(DependencyDown, match="does not serve"):
        ready()
    assert gone(ran) and left_over(tmp_path) == []


def test_it_ends_with_ctrl_c(ran: Path, tmp_path: Path):
    command = [SEEDSTREAM, "kafka", "start", "--dir", tmp_path / "kafka"]
    starting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not ran.exists():
            assert time.monotonic() < deadline_s and starting.poll() is None
            time.sleep(0.01)
        starting.send_signal(signal.SIGINT)
        said, _ = starting.communicate(timeout=PATIENCE_S)
    finally:
        starting.kill()
        starting.wait()
    assert starting.returncode not in (0, -signal.SIGKILL), said
    assert gone(ran) and left_over(tmp_path) == []
