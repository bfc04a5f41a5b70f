"""A server that we own: nothing of it outlives us, and a death of it is not the end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.serving import guard
from deploy.serving.server import LOCALHOST, Place, Server
from stream.errors import DependencyDown, WrongConfig
from tests.patience import PATIENCE_S

LIMIT_S = PATIENCE_S


def fake(host: str, port: int) -> Sequence[str]:
    return [sys.executable, "-m", "tests.fake_server", host, str(port)]


def dying(host: str, port: int) -> Sequence[str]:
    return [*fake(host, port), "--dies-at-start", "no memory for the cache"]


def pids(log: Path) -> list[int]:
    """Of the last start: the server and its helper."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("pids ")]
    return [int(pid) for pid in lines[-1].split()[1:]] if lines else []


def lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


async def until_gone(*gone: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while any(lives(pid) for pid in gone):
            await asyncio.sleep(0.02)


async def until(log: Path, starts: int) -> list[int]:
    async with asyncio.timeout(LIMIT_S):
        while log.read_text(encoding="utf-8").count("pids ") < starts:
            await asyncio.sleep(0.02)
    return pids(log)


def server(tmp_path: Path, port: int = 0, command=fake) -> Server:
    return Server("m@1", Place(tmp_path / "log", LOCALHOST, port), command, os.environ)


async def test_it_answers_inside_and_nothing_of_it_is_left_after(tmp_path: Path) -> None:
    async with server(tmp_path):
        both = pids(tmp_path / "log")
        assert len(both) == 2 and all(map(lives, both))
    await until_gone(*both)


@pytest.mark.parametrize("victim", ["server", "guard"])
async def test_a_server_that_is_killed_is_started_again_on_its_port_and_leaves_nothing(
    tmp_path: Path, victim: str
) -> None:
    stop = asyncio.Event()
    async with server(tmp_path) as running:
        before, url = pids(tmp_path / "log"), running.url
        watching = asyncio.create_task(running.watch(stop))
        parent = int(Path(f"/proc/{before[0]}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        os.kill(before[0] if victim == "server" else parent, signal.SIGKILL)
        after = await until(tmp_path / "log", 2)
        await until_gone(*before)
        assert running.url == url
        stop.set()
        await watching
    await until_gone(*after)


async def test_one_that_cannot_be_started_says_why_by_its_first_error(tmp_path: Path) -> None:
    with pytest.raises(DependencyDown, match=r"m@1 ended with exit code 1 \(ValueError: no memory for the cache\)"):
        await server(tmp_path, command=dying).__aenter__()
    await until_gone(*pids(tmp_path / "log"))


async def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DependencyDown, match="exit code 127"):
        await server(tmp_path, command=lambda *_: ["no-such-program"]).__aenter__()
    assert "no-such-program cannot be started" in (tmp_path / "log").read_text(encoding="utf-8")


async def test_one_that_dies_again_and_again_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.serving.server.RESTART_S", 0.01)
    commands = iter([fake])
    one = server(tmp_path, command=lambda host, port: next(commands, dying)(host, port))
    async with one as running:
        os.kill(pids(tmp_path / "log")[0], signal.SIGKILL)
        with pytest.raises(DependencyDown, match="5 times in a row"):
            await running.watch(asyncio.Event())


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind((LOCALHOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(WrongConfig, match=f"port {port} of 127.0.0.1 cannot be used"):
            await server(tmp_path, port).__aenter__()


def test_all_ends_when_the_owner_of_the_guard_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    start = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, {guard.__file__!r}, str(os.getpid()), *sys.argv[1:]]).wait()\n"
    )
    command = [sys.executable, "-c", start, *fake(LOCALHOST, 0)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output) as owner:
        both = asyncio.run(until(log, 1))
        owner.kill()
    asyncio.run(until_gone(*both))


def test_a_guard_returns_the_code_of_its_command() -> None:
    command = [sys.executable, guard.__file__, str(os.getpid()), sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False).returncode == 7


def test_a_guard_whose_owner_is_gone_starts_nothing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    command = [sys.executable, guard.__file__, "1", sys.executable, "-c", f"open({str(there)!r}, 'w')"]
    began_s = time.monotonic()
    assert subprocess.run(command, check=False, timeout=LIMIT_S).returncode == 128 + signal.SIGTERM
    assert time.monotonic() - began_s < LIMIT_S
    assert not there.exists()
