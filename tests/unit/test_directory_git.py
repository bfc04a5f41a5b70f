"""A folder in, above or around git repositories; made with git itself."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from producers.directory import Directory
from producers.rules import Rules
from producers.source import Note, Summary
from stream.errors import WrongConfig
from stream.records import File


@pytest.fixture(autouse=True)
def no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def git(top: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, "-C", top, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(top: Path, files: Mapping[str, str], origin: str = "") -> str:
    """Make a repository with one commit of `files`; return the commit."""
    top.mkdir(parents=True, exist_ok=True)
    git(top, "init", "-q")
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    git(top, "add", "-A", "-f")
    git(top, "commit", "-qm", "one", "--allow-empty")
    if origin:
        git(top, "remote", "add", "origin", origin)
    return git(top, "rev-parse", "HEAD")


def read(top: Path) -> tuple[dict[str, File], Summary]:
    source = Directory(top, Rules())
    files = {found.path: record.file for found in source.found(set()) for record in found.outcome.emitted}
    return files, source.summary()


MIT, ISC = "Released under the MIT license.", "Released under the ISC license."


def test_a_record_names_repository_and_revision(tmp_path: Path) -> None:
    commit = repository(tmp_path / "r", {"a.py": "", "p/b.py": ""}, "https://example.org/r.git")
    for top, path in ((tmp_path / "r", "p/b.py"), (tmp_path / "r" / "p", "b.py"), (tmp_path, "r/p/b.py")):
        file = read(top)[0][path]
        assert (file.repository, file.revision) == ("https://example.org/r.git", commit)


@pytest.mark.parametrize(
    ("origin", "recorded"),
    [
        ("https://user:secret@example.org/r.git", "https://example.org/r.git"),
        ("https://secret@example.org:8443/r", "https://example.org:8443/r"),
        ("https://example.org/r?private_token=secret#secret", "https://example.org/r"),
        ("ssh://secret@example.org/r.git", "ssh://example.org/r.git"),
        ("git@example.org:a/r.git", "example.org:a/r.git"),
        ("/home/secret/r.git", None),
        ("../secret.git", None),
        ("file:///home/secret/r.git", None),
        ("https://[secret", None),
    ],
)
def test_a_remote_is_recorded_without_credentials_or_paths_of_this_machine(
    tmp_path: Path, origin: str, recorded: str | None
) -> None:
    repository(tmp_path / "r", {"a.py": ""})
    git(tmp_path / "r", "config", "remote.origin.url", origin)
    assert read(tmp_path / "r")[0]["a.py"].repository == recorded


def test_a_repository_without_commit_or_remote_is_read_all_the_same(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "r")
    (tmp_path / "r" / "a.py").touch()
    files, summary = read(tmp_path / "r")
    assert (files["a.py"].repository, files["a.py"].revision, summary.notes) == (None, None, {})


def test_ignore_files_above_the_folder_hold_up_to_the_top_of_its_repository(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.py\n")  # outside
    repository(tmp_path / "r", {".gitignore": "gen_*\n/p/q/x.py\n", "p/.gitignore": "y.py\n"})
    for name in ("gen_a.py", "x.py", "y.py", "z.py"):
        (tmp_path / "r" / "p" / "q").mkdir(exist_ok=True)
        (tmp_path / "r" / "p" / "q" / name).touch()
    (tmp_path / "r" / ".git" / "info" / "exclude").write_text("w.py\n")
    (tmp_path / "r" / "p" / "q" / "w.py").touch()
    assert list(read(tmp_path / "r" / "p" / "q")[0]) == ["z.py"]
    assert list(read(tmp_path / "r")[0]) == ["p/q/z.py"]


def test_an_ignore_file_outweighs_the_exclude_file(tmp_path: Path) -> None:
    repository(tmp_path / "r", {".gitignore": "!a.py\n", "a.py": "", "b.py": ""})
    (tmp_path / "r" / ".git" / "info" / "exclude").write_text("*.py\n")
    assert list(read(tmp_path / "r")[0]) == ["a.py"]


def test_a_folder_that_its_repository_ignores_is_read_and_is_not_the_repositorys(tmp_path: Path) -> None:
    repository(tmp_path / "r", {"LICENSE": MIT, ".gitignore": ".venv/\n"}, "https://example.org/r.git")
    packages = tmp_path / "r" / ".venv" / "lib" / "site-packages"
    (packages / "p").mkdir(parents=True)
    (packages / "p" / "a.py").touch()
    file = read(packages)[0]["p/a.py"]
    assert (file.repository, file.revision, file.licence) == (None, None, "unknown")


def test_a_folder_whose_own_ignore_file_excludes_all_is_refused_with_the_count(tmp_path: Path) -> None:
    repository(tmp_path / "r", {".gitignore": "*\n", "a.py": "", "b.py": ""})
    with pytest.raises(WrongConfig, match="2 gitignored"):
        Directory(tmp_path / "r", Rules())


def test_the_licence_is_looked_for_up_to_the_top_of_the_repository_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text(ISC)
    repository(tmp_path / "r", {"LICENSE": MIT, "p/q/a.py": ""})
    repository(tmp_path / "s", {"p/a.py": ""})
    assert read(tmp_path / "r" / "p" / "q")[0]["a.py"].licence == "MIT"
    assert read(tmp_path / "s" / "p")[0]["a.py"].licence == "unknown"
    assert read(tmp_path)[0]["s/p/a.py"].licence == "unknown"  # not that of what lies around the repository


def test_a_submodule_and_a_nested_repository_speak_for_themselves(tmp_path: Path) -> None:
    theirs = repository(tmp_path / "theirs", {"t.py": "", "LICENSE": ISC}, "https://example.org/theirs.git")
    ours = repository(tmp_path / "r", {"a.py": "", "LICENSE": MIT}, "https://example.org/r.git")
    git(tmp_path / "r", "submodule", "add", "-q", str(tmp_path / "theirs"), "sub")
    git(tmp_path / "r" / "sub", "remote", "set-url", "origin", "https://example.org/theirs.git")
    nested = repository(tmp_path / "r" / "nested", {"n.py": "", "gen.py": ""})
    (tmp_path / "r" / ".gitignore").write_text("gen.py\n")
    files, _ = read(tmp_path / "r")
    assert {path: (file.revision, file.licence) for path, file in files.items()} == {
        "a.py": (ours, "MIT"),
        "sub/t.py": (theirs, "ISC"),
        "nested/n.py": (nested, "unknown"),
        "nested/gen.py": (nested, "unknown"),  # git never reads an ignore file from outside a repository
    }
    assert files["sub/t.py"].repository == "https://example.org/theirs.git"
    assert read(tmp_path / "r" / "sub")[0]["t.py"].revision == theirs


def test_a_linked_worktree_has_the_revision_that_is_checked_out_in_it(tmp_path: Path) -> None:
    first = repository(tmp_path / "r", {"a.py": ""})
    git(tmp_path / "r", "worktree", "add", "-q", str(tmp_path / "w"), "HEAD")
    repository(tmp_path / "r", {"b.py": ""})
    assert {file.revision for file in read(tmp_path / "w")[0].values()} == {first}


def test_a_git_entry_that_is_no_repository_is_noted_and_what_lies_around_it_does_not_speak_for_it(
    tmp_path: Path,
) -> None:
    repository(tmp_path / "r", {"a.py": ""})
    (tmp_path / "r" / "odd" / ".git").mkdir(parents=True)
    (tmp_path / "r" / "odd" / "b.py").touch()
    files, summary = read(tmp_path / "r")
    assert files["a.py"].revision is not None
    assert files["odd/b.py"].revision is None
    assert summary.notes == {Note.GIT_REFUSED: 1}


def test_without_git_the_files_still_come_and_the_lack_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path / "r", {"a.py": "", ".gitignore": "b.py", "b.py": ""}, "https://example.org/r.git")
    monkeypatch.setenv("PATH", str(tmp_path))
    files, summary = read(tmp_path / "r")
    assert (list(files), files["a.py"].repository, summary.notes) == (["a.py"], None, {Note.GIT_MISSING: 1})


def test_variables_of_the_environment_do_not_lead_git_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(tmp_path / "r", {"a.py": ""})
    repository(tmp_path / "other", {"b.py": "other"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert read(tmp_path / "r")[0]["a.py"].revision == commit


def test_a_hostile_repository_runs_nothing(tmp_path: Path) -> None:
    top = tmp_path / "r"
    commit = repository(top, {"a.py": "", ".gitattributes": "* filter=x diff=x\n"})
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "core.editor",
        "filter.x.clean",
        "credential.helper",
    ):
        git(top, "config", key, str(script))
    git(top, "config", "alias.rev-parse", f"!{script}")
    for hook in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
        shutil.copy(script, top / ".git" / "hooks" / hook)
    (top / "a.py").write_text("changed")
    (tmp_path / "ran").unlink(missing_ok=True)  # setting it up may have run some of it
    assert read(top)[0]["a.py"].revision == commit
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_another_owner_is_not_read_by_git_and_that_is_noted(tmp_path: Path) -> None:
    top = tmp_path / "r"
    repository(top, {"a.py": ""})
    for path in (top, top / ".git"):
        os.chown(path, 65534, 65534)
    if subprocess.run(["git", "-C", top, "status"], capture_output=True).returncode == 0:
        pytest.skip("this machine's git trusts every owner")
    files, summary = read(top)
    assert (files["a.py"].revision, summary.notes) == (None, {Note.GIT_REFUSED: 1})


def test_git_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path / "r", {"a.py": ""})
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("producers.repository.LIMIT_S", 0.1)
    files, summary = read(tmp_path / "r")
    assert (list(files), summary.notes) == (["a.py"], {Note.GIT_REFUSED: 1})
