"""Doctor: each thing is one line; what a run needs and has not makes it exit 1, with what to install."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from deploy import doctor
from deploy.cli import run
from deploy.doctor import Finding, examine

Usage = namedtuple("Usage", "total used free")


async def test_everything_is_looked_at_and_found_or_comes_with_advice(tmp_path: Path):
    findings = await examine(tmp_path / "not" / "made")
    assert [f.name for f in findings] == [
        "seedstream", "python", "platform", "sqlite", "sandbox", "type checker", "disk", "training", "vllm", "git",
        "java", "maven", "local kafka",
    ]  # fmt: skip
    for finding in findings:
        assert finding.found and "\n" not in finding.found
        assert finding.advice or finding.state == "ok"
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize(("free_bytes", "state"), [(10 << 30, "ok"), (1 << 30, "warn"), (100 << 20, "missing")])
async def test_a_full_disk_is_missing_and_a_small_one_a_warning(
    free_bytes: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, free_bytes))
    found = {f.name: f for f in await examine(tmp_path)}["disk"]
    assert found.state == state and str(tmp_path) in found.found


async def test_an_optional_program_that_is_not_there_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "java").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "java").chmod(0o755)
    found = {f.name: f for f in await examine(tmp_path)}
    assert (found["git"].state, found["git"].found) == ("warn", "not found")
    assert found["java"].state == "warn" and "ended with 3" in found["java"].found


async def test_a_java_that_is_too_old_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    (tmp_path / "java").chmod(0o755)
    found = {f.name: f for f in await examine(tmp_path)}["java"]
    assert found.state == "warn" and "Java 17" in found.advice


async def test_a_kafka_that_is_not_fetched_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEEDSTREAM_CACHE", str(tmp_path))
    found = {f.name: f for f in await examine(tmp_path)}["local kafka"]
    assert found.state == "warn" and "seedstream kafka start" in found.advice


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("warn", 0), ("missing", 1)])
def test_the_exit_code_says_whether_something_needed_is_missing(
    state: doctor.State, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    async def check(_: Path) -> Finding:
        return Finding("sandbox", state, "no user namespaces", "allow them")

    monkeypatch.setattr(doctor, "CHECKS", (check,))
    assert run(["doctor"]) == code
    assert capsys.readouterr().out.split() == [state, *["sandbox", "no", "user", "namespaces", "(allow", "them)"]]
    assert run(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == [
        {"name": "sandbox", "state": state, "found": "no user namespaces", "advice": "allow them"}
    ]
