"""Where something is missing `seedstream kafka` says in one line what, and what to do instead."""

import stat
import threading
from pathlib import Path

import pytest

from deploy.cli import run
from deploy.local_kafka import jars
from deploy.local_kafka.archive import ready
from stream.errors import DependencyDown
from tests.brokers import SWITCH, needs_kafka

INSTEAD = ("docker compose -f deploy/compose.yaml up kafka", "--bus kafka://")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH, empty; and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(jars.CACHE, str(tmp_path / "cache"))
    return folder


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def java(folder: Path, version: str = "17.0.1") -> None:
    script(folder / "java", f"echo 'openjdk version \"{version}\" 2021-10-19' >&2")


def start(tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[str]]:
    """Return exit code, and the lines on stderr but those that say what is done."""
    code = run(["kafka", "start", "--dir", str(tmp_path / "kafka"), *more])
    out, err = capsys.readouterr()
    assert out == ""
    return code, [line for line in err.splitlines() if not line.startswith("fetching")]


def test_without_java_it_says_what_to_install_and_what_to_use_instead(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "no `java` on PATH" in line and "install Java 17" in line
    assert all(way in line for way in INSTEAD)


def test_a_java_home_without_java_is_named(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    java(programs)
    monkeypatch.setenv("JAVA_HOME", "/opt/none")
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "JAVA_HOME (/opt/none)" in line


@pytest.mark.parametrize(("version", "said"), [("11.0.2", "is Java 11"), ("1.8.0_401", "is Java 8")])
def test_an_old_java_is_named_with_its_version(
    version: str, said: str, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    java(programs, version)
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and said in line and "install Java 17" in line


def test_a_java_that_does_not_run_is_named(programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    script(programs / "java", "exit 1")
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "does not answer" in line


def test_without_maven_it_says_what_to_install_and_what_to_use_instead(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    java(programs)
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "no `mvn` on PATH" in line and "install Maven" in line
    assert all(way in line for way in INSTEAD)


def test_without_a_network_it_says_what_maven_said_and_leaves_nothing(
    programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    java(programs)
    script(programs / "mvn", "echo '[ERROR] Failed: Could not transfer artifact a:b:1: Unknown host x.example'; exit 1")
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "Unknown host x.example" in line and "is the network there?" in line
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"kafka-{jars.KAFKA}.lock"]


def test_a_maven_that_brings_no_kafka_is_an_error(programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    java(programs)
    script(programs / "mvn", "exit 0")
    code, (line,) = start(tmp_path, capsys)
    assert code == 3 and "Maven cannot fetch Kafka" in line
    assert not jars.present()


def test_those_who_ask_at_once_fetch_once_and_what_a_killed_one_left_is_cleared(programs: Path, tmp_path: Path):
    left = tmp_path / "cache" / f"{jars.UNFINISHED}left"
    left.mkdir(parents=True)
    java(programs)
    counter = tmp_path / "counter"
    jar = f"kafka_{jars.SCALA}-{jars.KAFKA}.jar"
    script(
        programs / "mvn",
        f'echo x >>{counter}; for a in "$@"; do case $a in -DoutputDirectory=*) : >"${{a#*=}}/{jar}";; esac; done',
    )
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(jars.fetched())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [jars.home()] * 4 and (jars.home() / jar).exists()
    assert counter.read_text() == "x\n"
    assert not left.exists()


def test_a_kafka_that_cannot_run_at_all_is_told_with_its_last_words(programs: Path):
    """The first start makes the archive of classes; it is where a Java that is broken shows."""
    script(
        programs / "java",
        'case $1 in -version) echo \'openjdk version "17.0.1"\' >&2;; *) echo "Error: no libjvm.so"; exit 1;; esac',
    )
    jars.home().mkdir(parents=True)
    with pytest.raises(DependencyDown, match=r"Kafka cannot format .*: Error: no libjvm.so"):
        ready()
    assert not list(jars.cache().glob(f"{jars.UNFINISHED}*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--nodes", "2"], "--nodes 2: a local Kafka has 1 node, or 3"),
        (["--nodes", "many"], "Invalid value for '--nodes'"),
        (["--port", "0"], "Invalid value for '--port'"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, (said,) = start(tmp_path, capsys, *arguments)
    assert code == 2 and line in said


def test_a_folder_that_cannot_be_is_named(capsys: pytest.CaptureFixture[str]):
    assert run(["kafka", "start", "--dir", "/proc/kafka"]) == 2
    assert "/proc/kafka" in capsys.readouterr().err


def test_where_nothing_runs_stop_says_so_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["kafka", "stop", "--dir", str(tmp_path / "kafka")]) == 0
    assert capsys.readouterr().err == f"nothing runs in {tmp_path / 'kafka'}\n"
    assert not (tmp_path / "kafka").exists()


def test_tests_that_need_kafka_fail_without_it_unless_they_are_switched_off(
    programs: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(SWITCH, raising=False)
    with pytest.raises(pytest.fail.Exception, match=f"install Java 17 .*{SWITCH}=off"):
        needs_kafka()
    monkeypatch.setenv(SWITCH, "off")
    with pytest.raises(pytest.skip.Exception):
        needs_kafka()
