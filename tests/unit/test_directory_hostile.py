"""Trees that nobody meant to be read, or somebody meant to break the reader."""

import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from producers.directory import Directory
from producers.regular import open_regular
from producers.rules import Rules
from producers.source import Found, Note, Reason, Skip
from stream.errors import WrongConfig

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user whom permissions bind; the superuser's effective id is put aside for that long."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_top() -> Iterator[Path]:
    """A folder that other users can reach (those of `tmp_path` are private), taken away however deep or locked."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        yield top
        subprocess.run(["chmod", "-R", "u+rwX", top], check=True)
        subprocess.run(["rm", "-rf", *top.iterdir()], check=True)


@pytest.fixture
def dig() -> Iterator[Callable[[Path, str, int], int]]:
    """A digger of folders within folders, of any depth; what it returns is the descriptor of the innermost."""
    with ExitStack() as stack:

        def into(top: Path, name: str, times: int) -> int:
            here = os.open(top, os.O_RDONLY)
            for _ in range(times):
                os.mkdir(name, dir_fd=here)
                below = os.open(name, os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            stack.callback(os.close, here)
            return here

        yield into


def read(source: Directory) -> dict[str, Found]:
    return {found.path: found for found in source.found(set())}


def why(found: Found) -> tuple[Reason, str]:
    (reject,) = found.outcome.rejected
    return Reason(reject.reason), reject.evidence


def test_links_are_not_followed_and_loops_end(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "a.py").touch()
    (tmp_path / "secret.py").touch()
    (top / "a" / "up").symlink_to("..")
    (top / "self").symlink_to("self")
    (top / "out").symlink_to(tmp_path)
    (top / "b.py").symlink_to("a/a.py")
    (top / "c.py").symlink_to(tmp_path / "secret.py")
    (top / "gone.py").symlink_to("nowhere.py")
    source = Directory(top, Rules())
    assert list(read(source)) == ["a/a.py"]
    assert source.summary().skipped == {Skip.SYMLINK: 4, Skip.BROKEN_SYMLINK: 2}


def test_fifos_sockets_and_devices_do_not_block_and_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").touch()
    for name in ("f.py", "LICENSE", ".gitignore"):
        os.mkfifo(tmp_path / name)
    monkeypatch.chdir(tmp_path)  # a socket's path may have 108 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s.py")
        source = Directory(tmp_path, Rules())
        found = read(source)
    assert list(found) == ["a.py"]
    assert source.summary().skipped == {Skip.SPECIAL: 3, Skip.HIDDEN: 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_not_read(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "zero.py", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices in this container")
    (tmp_path / "a.py").touch()
    assert list(read(Directory(tmp_path, Rules()))) == ["a.py"]


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_what_is_no_regular_file_is_opened_without_waiting_and_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("nowhere")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert open_regular(str(tmp_path / "fifo"), follow_links=True) is None
    assert open_regular(str(tmp_path), follow_links=True) is None
    for follow_links in (True, False):
        with pytest.raises(OSError, match=r"No such file|symbolic links"):
            open_regular(str(tmp_path / "link"), follow_links=follow_links)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_that_changes_after_its_folder_was_listed_is_a_reject_and_the_run_goes_on(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.py", "d.py", "e.py", "f/g.py", "h.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    iterator = Directory(tmp_path, Rules()).found(set())
    next(iterator)
    for name in ("b.py", "c.py", "d.py", "e.py", "f/g.py"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "c.py")
    (tmp_path / "d.py").symlink_to("a.py")
    (tmp_path / "e.py").mkdir()
    (tmp_path / "f").rmdir()
    rest = {found.path: found for found in iterator}
    assert {path: why(rest[path]) for path in list(rest)[:-1]} == {
        "b.py": (Reason.UNREADABLE, "No such file or directory"),
        "c.py": (Reason.UNREADABLE, "no regular file any more"),
        "d.py": (Reason.UNREADABLE, "Too many levels of symbolic links"),
        "e.py": (Reason.UNREADABLE, "no regular file any more"),
        "f/": (Reason.UNREADABLE, "No such file or directory"),
    }
    assert rest["h.py"].outcome.emitted


def test_what_may_not_be_read_is_a_reject_reported_once_and_comes_when_it_may(open_top: Path) -> None:
    for path in ("a.py", "locked.py", "shut/b.py", "blind/c.py"):
        (open_top / path).parent.mkdir(exist_ok=True)
        (open_top / path).touch()
    (open_top / "locked.py").chmod(0)
    (open_top / "shut").chmod(0)
    (open_top / "blind").chmod(0o744 if os.geteuid() == 0 else 0o400)  # its names can be read, nothing in it
    source = Directory(open_top, Rules())
    with unprivileged():
        found = read(source)
    denied = (Reason.UNREADABLE, "Permission denied")
    assert {path: why(each) for path, each in found.items() if each.outcome.rejected} == {
        "locked.py": denied,
        "shut/": denied,
        "blind/c.py": denied,
    }
    assert list(found) == ["a.py", "blind/c.py", "locked.py", "shut/"]
    known = {each.file_id for each in found.values()}
    with unprivileged():
        assert list(source.found(known)) == []
    for path in ("locked.py", "shut", "blind"):
        (open_top / path).chmod(0o755)
    assert [each.path for each in source.found(known)] == ["blind/c.py", "locked.py", "shut/b.py"]


@pytest.mark.parametrize("mode", [0, 0o444, 0o111])
def test_a_source_without_permission_is_refused_in_one_line(open_top: Path, mode: int) -> None:
    top = open_top / "top"
    top.mkdir()
    (top / "a.py").touch()
    top.chmod(mode)
    with unprivileged(), pytest.raises(WrongConfig, match=f"source {top}: cannot be read: no permission") as refused:
        Directory(top, Rules())
    assert refused.value.exit_code == 2


def test_a_named_file_without_permission_is_refused(open_top: Path) -> None:
    (open_top / "a.py").touch()
    (open_top / "a.py").chmod(0)
    with unprivileged(), pytest.raises(WrongConfig, match="no permission"):
        Directory(open_top / "a.py", Rules())


def test_rules_that_may_not_be_read_are_noted(open_top: Path) -> None:
    (open_top / "a.py").touch()
    for name in (".gitignore", "LICENSE"):
        (open_top / name).touch()
        (open_top / name).chmod(0)
    source = Directory(open_top, Rules())
    with unprivileged():
        assert list(read(source)) == ["a.py"]
    assert source.summary().notes == {Note.RULES_UNREAD: 2}


def test_a_link_whose_end_may_not_be_seen_is_passed_over(open_top: Path) -> None:
    (open_top / "a.py").touch()
    (open_top / "shut").mkdir(mode=0)
    (open_top / "b.py").symlink_to("shut/b.py")
    source = Directory(open_top, Rules())
    with unprivileged():
        assert list(read(source)) == ["a.py", "shut/"]
    assert source.summary().skipped == {Skip.BROKEN_SYMLINK: 1}


def test_an_ignore_file_that_is_a_link_is_not_followed_as_in_git(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    (tmp_path / "rules").write_text("a.py\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    source = Directory(tmp_path, Rules())
    assert list(read(source)) == ["a.py", "b.py"]
    assert source.summary().notes == {Note.RULES_UNREAD: 1}


def test_names_that_are_not_utf_8_are_rejects_and_other_odd_names_are_not(tmp_path: Path) -> None:
    top = os.fsencode(tmp_path)
    names = [
        b"line\nbreak.py",
        b"\xff.py",
        b"\xfe\xff.py",
        b"\\xff.py",
        b"dir\xe9/a.py",
        " \u202e\U0001f600.py".encode(),
    ]
    for name in names:
        path = Path(os.fsdecode(top + b"/" + name))
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = list(Directory(tmp_path, Rules()).found(set()))
    emitted = {each.path for each in found if each.outcome.emitted}
    rejected = {each.path for each in found if each.outcome.rejected}
    assert emitted == {"line\nbreak.py", "\\xff.py", " \u202e\U0001f600.py"}
    assert rejected == {"\\xff.py", "\\xfe\\xff.py", "dir\\xe9/a.py"}
    assert len({each.file_id for each in found}) == len(names)
    assert {why(each)[0] for each in found if each.outcome.rejected} == {Reason.PATH}


def test_names_that_are_written_alike_have_ids_of_their_own(tmp_path: Path) -> None:
    for name in (b"\xff\xff.py", b"\\xff\xff.py"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    first, second = Directory(tmp_path, Rules()).found(set())
    assert first.path == second.path
    assert first.file_id != second.file_id


def test_a_folder_of_ten_thousand_files_is_read_whole(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05}.py").touch()
    source = Directory(tmp_path, Rules())
    assert [found.path for found in source.found(set())] == [f"{number:05}.py" for number in range(10_000)]
    assert source.summary().emitted == 10_000


def test_a_tree_deeper_than_python_recurses_is_read(open_top: Path, dig: Callable[[Path, str, int], int]) -> None:
    os.close(os.open("a.py", os.O_CREAT, dir_fd=dig(open_top, "d", 1_500)))
    assert list(read(Directory(open_top, Rules()))) == ["d/" * 1_500 + "a.py"]


def test_a_tree_deeper_than_a_path_may_be_long_is_a_reject_and_the_rest_comes(
    open_top: Path, dig: Callable[[Path, str, int], int]
) -> None:
    (open_top / "z.py").touch()
    dig(open_top, "d" * 200, 25)
    deep, last = Directory(open_top, Rules()).found(set())
    assert why(deep) == (Reason.UNREADABLE, "File name too long")
    assert last.path == "z.py"
