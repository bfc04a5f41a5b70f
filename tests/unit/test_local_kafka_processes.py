"""A process is known again by its pid file, and no other process is taken for it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local_kafka import process
from tests.patience import PATIENCE_S


def until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def sleeping(tmp_path: Path) -> process.Running:
    """A process that sleeps, with its pid file."""
    process.launch(["sleep", "3600"], tmp_path / "pid", tmp_path / "log", tmp_path)
    until(lambda: process.find(tmp_path / "pid", "3600"))
    found = process.find(tmp_path / "pid", "3600")
    assert found
    return found


def test_a_launched_process_belongs_to_nobody_and_to_a_session_of_its_own(sleeping: process.Running):
    try:
        assert os.getsid(sleeping.pid) != os.getsid(0)
        assert os.getpgid(sleeping.pid) != os.getpgid(0)
        parent = int(Path(f"/proc/{sleeping.pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != os.getpid()
    finally:
        process.send(sleeping, signal.SIGKILL)
        assert process.ended(sleeping, PATIENCE_S)


def test_it_is_found_while_it_lives_and_while_it_is_stopped_and_not_after(sleeping: process.Running, tmp_path: Path):
    pid_file = tmp_path / "pid"
    assert process.told(pid_file) == sleeping
    process.send(sleeping, signal.SIGSTOP)
    assert process.find(pid_file, "3600") == sleeping
    assert not process.ended(sleeping, 0)
    process.send(sleeping, signal.SIGKILL)
    assert process.ended(sleeping, PATIENCE_S)
    assert process.find(pid_file, "3600") is None
    assert process.told(pid_file) == sleeping


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_ours(tmp_path: Path):
    pid_file = tmp_path / "pid"
    mine = Path("/proc/self/stat").read_text()
    argument = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    pid_file.write_text(mine)
    assert process.find(pid_file, argument) == process.parse(mine)
    assert process.find(pid_file, "kafka.properties") is None, "another command line"
    before, bracket, after = mine.rpartition(")")
    fields = after.split()
    fields[19] = str(int(fields[19]) - 1)
    pid_file.write_text(f"{before}{bracket} {' '.join(fields)}")
    assert process.find(pid_file, argument) is None, "started at another time"
    process.send(process.Running(os.getpid(), 1), signal.SIGKILL)  # we live on


@pytest.mark.parametrize("content", ["", "12", "twelve (x) S", "0 (x) S 1"])
def test_a_pid_file_that_says_nothing_tells_of_nobody(content: str, tmp_path: Path):
    (tmp_path / "pid").write_text(content)
    assert process.find(tmp_path / "pid", "x") is None
    assert process.find(tmp_path / "no such file", "x") is None


def test_a_process_whose_parent_did_not_look_is_over(tmp_path: Path):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        zombie = process.parse(Path(f"/proc/{pid}/stat").read_text())
        assert zombie and not process.alive(zombie)
    finally:
        os.waitpid(pid, 0)


def test_what_it_says_goes_to_its_log_and_a_command_that_is_not_there_too(tmp_path: Path):
    log = tmp_path / "log"
    process.launch(["sh", "-c", "echo one; echo two >&2"], tmp_path / "pid", log, tmp_path)
    until(lambda: log.read_text() == "one\ntwo\n")
    process.launch(["no-such-command"], tmp_path / "pid", log, tmp_path)
    until(lambda: "no-such-command" in log.read_text())
