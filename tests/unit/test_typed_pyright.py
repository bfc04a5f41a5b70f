"""pyright as we run it: its verdicts depend on nothing around it, and each way it can end has its class of error."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers import pyright_cli
from consumers.pyright_cli import PyrightCLI
from stream.errors import DependencyDown, Fatal, Unavailable, WorkerDied
from tests.patience import PATIENCE_S

ONE = ["def f(x):\n    return x"]


def fake(folder: Path, body: str) -> PyrightCLI:
    """A program in place of pyright."""
    script = folder / "fake.py"
    script.write_text(f"import os, signal, sys, time\n{body}\n")
    return PyrightCLI([sys.executable, str(script)], startup_s=20)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made in a test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before, or between opening and reading
        return False


async def until(condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
    end_at = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_at, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def test_verdicts_see_the_standard_library_alone() -> None:
    codes = [
        "import random\n\n\ndef f(x):\n    return random.choice(x)",
        "import numpy\n\n\ndef f(x):\n    return numpy.sum(x)",  # installed here
        "import yaml\n\n\ndef f(x):\n    return yaml.dump(x)",  # not installed, known to pyright by stubs
        "def f(x: int) -> str:\n    return x",
        "def f(x):\n    return x +",
        "from stream import errors\n\n\ndef f(x):\n    return errors",
        "def f(x):\n    return x",
        "import tomllib\n\n\ndef f(x: 'int | None'):\n    return tomllib.loads(x or '')",
    ]
    found = await PyrightCLI().errors(codes)
    assert [[(e.line, e.rule) for e in errors][:1] for errors in found] == [
        [],
        [(1, "reportMissingImports")],
        [(1, "reportMissingModuleSource")],
        [(2, "reportReturnType")],
        [(2, None)],
        [(1, "reportMissingImports")],
        [],
        [(5, "reportArgumentType")],
    ]
    assert str(found[3][0]).startswith('line 2: Type "int" is not assignable to return type "str"')


async def test_check_tells_the_version() -> None:
    assert (await PyrightCLI().check()).startswith("pyright 1.")


DEATHS = [
    ("os.kill(os.getpid(), signal.SIGSEGV)", WorkerDied, "died over 1 files: SIGSEGV"),
    ("sys.exit('FATAL ERROR: heap out of memory')", WorkerDied, "truncated: exit code 1: FATAL ERROR"),
    ("sys.stderr.write('out of memory'); sys.exit(134)", WorkerDied, "exit code 134: out of memory"),
    ("print('{\"generalDiagnostics\": [')", WorkerDied, "truncated"),
    ("pass", WorkerDied, "truncated"),
    ('print(\'{"generalDiagnostics": [], "summary": {"filesAnalyzed": 0}}\')', WorkerDied, "looked at 0 of 1 files"),
    ("print('bad option'); sys.exit(4)", Fatal, "refuses how it is called: exit code 4: bad option"),
    ("print('bad config'); sys.exit(3)", Fatal, "bad config"),
]


@pytest.mark.parametrize(("body", "kind", "message"), DEATHS)
async def test_each_way_to_die_has_its_class(
    tmp_path: Path, scratch: Path, body: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        await fake(tmp_path, body).errors(ONE)
    assert list(scratch.iterdir()) == []


async def test_a_checker_over_its_time_is_killed(tmp_path: Path, scratch: Path) -> None:
    marker = tmp_path / "pid"
    script = tmp_path / "fake.py"
    script.write_text(
        f"import os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\nwhile True:\n    time.sleep(9)\n"
    )
    checker = PyrightCLI([sys.executable, str(script)], startup_s=4.9, per_file_s=0.1)
    with pytest.raises(WorkerDied, match=r"took longer than 5 s"):
        await checker.errors(ONE)
    assert not alive(int(marker.read_text()))
    assert list(scratch.iterdir()) == []


async def test_a_cancelled_call_leaves_no_process_and_no_file(tmp_path: Path, scratch: Path) -> None:
    marker = tmp_path / "pid"
    body = f"open({str(marker)!r}, 'w').write(str(os.getpid()))\nwhile True:\n    time.sleep(9)"
    call = asyncio.ensure_future(fake(tmp_path, body).errors(ONE))
    await until(lambda: marker.exists() and marker.read_text() != "")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not alive(int(marker.read_text()))
    assert list(scratch.iterdir()) == []


def test_no_checker_survives_a_kill_of_its_parent(tmp_path: Path, scratch: Path) -> None:
    marker = tmp_path / "pid"
    fake(tmp_path, f"open({str(marker)!r}, 'w').write(str(os.getpid()))\nwhile True:\n    time.sleep(9)")
    script = (
        "import asyncio, sys\n"
        "from consumers.pyright_cli import PyrightCLI\n"
        "asyncio.run(PyrightCLI([sys.executable, sys.argv[1]]).errors(['x = 1']))\n"
    )
    environment = {**os.environ, "TMPDIR": str(scratch)}
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path / "fake.py"], env=environment)
    try:
        asyncio.run(until(lambda: marker.exists() and marker.read_text() != ""))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    asyncio.run(until(lambda: not alive(int(marker.read_text()))))


async def test_a_checker_that_is_not_there_is_unavailable_and_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = PyrightCLI([str(tmp_path / "none")])
    with pytest.raises(Unavailable, match="cannot be started"):
        await missing.errors(ONE)
    with pytest.raises(DependencyDown, match=r"the type checker pyright cannot be run: .*none") as raised:
        await missing.check()
    assert raised.value.exit_code == 3

    def not_installed(name: str) -> None:
        del name

    monkeypatch.setattr(pyright_cli, "find_spec", not_installed)
    with pytest.raises(
        DependencyDown, match=r'pyright is not installed; install it with: pip install "pyright\[nodejs\]"'
    ):
        await PyrightCLI().check()


async def test_a_checker_that_cannot_tell_its_version_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(DependencyDown, match="exit code 1: broken"):
        await fake(tmp_path, "sys.stderr.write('broken'); sys.exit(1)").check()


async def test_no_place_for_the_files_is_no_fault_of_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(Unavailable, match="cannot write 1 files to type-check"):
        await PyrightCLI().errors(ONE)
