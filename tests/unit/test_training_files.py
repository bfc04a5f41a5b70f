"""Files that appear whole, folders that change places."""

import ctypes
import errno
from pathlib import Path

import pytest

from trainer import files


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_a_file_is_replaced_whole_and_leaves_no_half(tmp_path: Path):
    for content in (b"old", b"new"):
        files.write(tmp_path / "f", content)
        assert (tmp_path / "f").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_folder_goes_to_its_place_and_what_stood_there_comes_back(tmp_path: Path):
    new = folder(tmp_path / "new", "1")
    files.exchange(new, tmp_path / "place")
    assert not new.exists() and (tmp_path / "place" / "file").read_text() == "1"
    files.exchange(folder(new, "2"), tmp_path / "place")
    assert (new / "file").read_text() == "1" and (tmp_path / "place" / "file").read_text() == "2"


def test_where_the_file_system_cannot_exchange_two_renames_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Old:
        @staticmethod
        def renameat2(*_: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

    monkeypatch.setattr(files, "_libc", Old())
    files.exchange(folder(tmp_path / "new", "2"), folder(tmp_path / "place", "1"))
    assert (tmp_path / "new" / "file").read_text() == "1" and (tmp_path / "place" / "file").read_text() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "place"]


def test_what_the_disk_refuses_is_said_in_one_line(tmp_path: Path):
    said = pytest.raises(files.CannotWrite, match=r"out cannot be written: No such file or directory")
    with said, files.writing(Path("out")):
        files.write(tmp_path / "none" / "f", b"")
