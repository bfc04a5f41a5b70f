"""Output that cannot be written ends a command in order, and is no defect."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from deploy.output import EXIT_READER_GONE, Output, ReaderGone
from stream.errors import DependencyDown
from tests.begun import begun
from tests.patience import PATIENCE_S

PROGRAM = Path(sys.executable).with_name("seedstream")


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    return await begun(tmp_path)


@pytest.fixture
def gone() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


def test_a_reader_who_has_gone_is_told_once_and_what_follows_goes_nowhere(gone: int):
    out = Output(open(gone, "wb", closefd=False), "utf-8")  # noqa: SIM115
    out.write("never read\n")
    with pytest.raises(ReaderGone):
        out.flush()
    out.write("nor this\n")
    out.close()


def test_a_full_disk_is_named():
    out = Output(Path("/dev/full").open("wb", buffering=0), "utf-8", line_buffering=True)  # noqa: SIM115
    with pytest.raises(DependencyDown, match="the output cannot be written: No space left on device"):
        out.write("a line\n")
    out.close()


def test_what_an_encoding_lacks_is_written_by_its_number(tmp_path: Path):
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        out = Output.over(file)
        out.write("«é»\n")
        out.flush()
    assert (tmp_path / "out").read_text() == "\\xab\\xe9\\xbb\n"


@pytest.mark.parametrize("command", [["status"], ["rejects", "--json"], ["status", "--watch"]], ids=" ".join)
def test_a_command_whose_reader_has_gone_ends_as_sigpipe_would_end_it_without_a_word(
    directory: Path, gone: int, command: list[str]
):
    ended = subprocess.run(
        [PROGRAM, *command, "--dir", directory], stdout=gone, stderr=subprocess.PIPE, timeout=PATIENCE_S
    )
    assert (ended.returncode, ended.stderr) == (EXIT_READER_GONE, b"")


def test_verdicts_that_nobody_reads_end_the_sandbox(gone: int):
    line = b'{"id": 1, "program": "assert True"}\n'
    ended = subprocess.run([PROGRAM, "exec"], input=line, stdout=gone, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    assert (ended.returncode, ended.stderr) == (EXIT_READER_GONE, b"")


def test_a_full_disk_is_a_dependency_and_no_defect(directory: Path):
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [PROGRAM, "status", "--dir", directory], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_S
        )
    assert ended.returncode == 3
    assert ended.stderr == b"seedstream: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_away_from_a_terminal_a_watch_writes_each_look_when_it_looks(directory: Path, as_json: bool):
    command = [PROGRAM, "status", "--watch", "--dir", directory, *(["--json"] if as_json else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for _ in range(2):
                assert select.select([process.stdout], [], [], 30)[0], "no look in 30 s"
                first = process.stdout.readline()
                if as_json:
                    assert [count["stage"] for count in orjson.loads(first)][:2] == ["files", "functions"]
                else:
                    assert first.startswith(b"stage  ")
                    while not process.stdout.readline().startswith(b"examples"):
                        pass
        finally:
            process.terminate()
    assert process.returncode == 130
