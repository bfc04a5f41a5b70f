"""Ownership between processes, through the kernel."""

import os
import re
from pathlib import Path

import pytest

from stream.embedded.locks import Lock
from stream.errors import InUse, WrongConfig


def test_a_second_owner_is_refused_and_told_the_first_ones_pid(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "locks" / "a.lock", "the stage a")
    with pytest.raises(InUse, match=rf"^the stage a is in use by process {os.getpid()}$"):
        Lock(tmp_path / "locks" / "a.lock", "the stage a")
    other = Lock(tmp_path / "locks" / "b.lock", "the stage b")
    lock.release()
    lock.release()
    Lock(tmp_path / "locks" / "a.lock", "the stage a").release()
    other.release()


def test_a_shorter_pid_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text("99999999\n")
    lock = Lock(path, "a")
    assert path.read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_holds_also_where_its_owner_cannot_be_written_down() -> None:
    lock = Lock(Path("/dev/full"), "a")
    with pytest.raises(InUse, match="a is in use by process"):
        Lock(Path("/dev/full"), "a")
    lock.release()


def test_an_owner_that_has_not_said_its_pid_yet_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    lock = Lock(path, "a")
    path.write_text("")
    with pytest.raises(InUse, match="a is in use by process unknown"):
        Lock(path, "a")
    lock.release()


def test_where_no_lock_can_be_made_the_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("")
    with pytest.raises(WrongConfig, match=re.escape(f"{tmp_path}/locks/a.lock: cannot be locked: ")):
        Lock(tmp_path / "locks" / "a.lock", "a")
