"""What a folder yields, what it turns down, and what it passes over."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.directory import Directory
from producers.rules import Rules
from producers.source import Found, Reason, Skip, Source
from stream.errors import WrongConfig
from stream.records import SourceFile, file_id
from tests.tries import tries


def plant(top: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files below `top`; a path that ends in "/" is an empty folder."""
    for path, content in files.items():
        file = top / path
        (file if path.endswith("/") else file.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return top


def read(top: Path | str, known: set[Any] | None = None, **rules: Any) -> list[Found]:
    return list(Directory(top, Rules(**rules)).found(known or set()))


def record(found: Found) -> SourceFile:
    (only,) = found.outcome.emitted
    return only


def paths(top: Path | str, **rules: Any) -> list[str]:
    return [found.path for found in read(top, **rules) if found.outcome.emitted]


def rejects(top: Path | str, **rules: Any) -> dict[str, tuple[str, str]]:
    return {
        found.path: (str(reject.reason), reject.evidence)
        for found in read(top, **rules)
        for reject in found.outcome.rejected
    }


def test_a_directory_is_a_source(tmp_path: Path) -> None:
    source: Source = Directory(plant(tmp_path, {"a.py": ""}), Rules())
    assert source.name == str(tmp_path)


def test_a_file_becomes_a_record_with_its_lineage(tmp_path: Path) -> None:
    plant(tmp_path, {"pkg/a.py": "x = 1\r\n", "LICENSE": "This project is licensed under the MIT License.\n"})
    (found,) = read(tmp_path)
    made = record(found)
    assert (made.text, made.file.path, made.file.source) == ("x = 1\n", "pkg/a.py", str(tmp_path))
    assert (made.file.language, made.file.licence) == ("python", "MIT")
    assert (made.file.repository, made.file.revision) == (None, None)
    assert made.key == found.file_id == file_id(str(tmp_path), "pkg/a.py", b"x = 1\r\n")


def test_files_come_in_the_order_of_their_names_folder_by_folder(tmp_path: Path) -> None:
    plant(tmp_path, dict.fromkeys(("b.py", "a.py", "a/z.py", "a/b/c.py", "Z.py", "c/a.py"), ""))
    assert paths(tmp_path) == ["Z.py", "a/b/c.py", "a/z.py", "a.py", "b.py", "c/a.py"]


def test_only_files_of_the_asked_languages_are_candidates(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": "", "A.PY": "", "a.pyi": "", "a.pyc": b"\0", "a.txt": "", "py": "", ".py": ""})
    assert paths(tmp_path) == ["A.PY", "a.py"]


@pytest.mark.parametrize("written", ["{}/", "{}/.", "{}//", "{}/../{name}"])
def test_one_folder_written_in_two_ways_has_one_name_and_equal_ids(tmp_path: Path, written: str) -> None:
    top = plant(tmp_path / "top", {"a.py": "x = 1\n"})
    plain, other = read(top), read(written.format(top, name=top.name))
    assert [found.file_id for found in plain] == [found.file_id for found in other]


def test_a_source_is_named_as_the_user_gave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path / "src", {"a.py": ""})
    monkeypatch.chdir(tmp_path)
    assert {Directory(path, Rules()).name for path in ("src", "./src", "src/")} == {"src"}
    assert str(tmp_path) not in repr(read("src"))


def test_a_single_file_may_be_named(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": "x = 1\n", "b.py": "", "LICENSE": "Released under the MIT license.", ".gitignore": "*"})
    (found,) = read(tmp_path / "a.py")
    assert (found.path, record(found).file.source) == ("a.py", str(tmp_path / "a.py"))
    assert record(found).file.licence == "MIT"


def test_a_link_that_the_user_named_is_followed(tmp_path: Path) -> None:
    top = plant(tmp_path / "top", {"a.py": ""})
    (tmp_path / "link").symlink_to(top)
    (tmp_path / "link.py").symlink_to(top / "a.py")
    assert paths(tmp_path / "link") == ["a.py"]
    assert paths(tmp_path / "link.py") == ["link.py"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing", "no such folder or file"),
        ("a.py/below", "Not a directory"),
        ("empty", r"no source file to read; expected \.py$"),
        ("other", r"no source file to read; expected \.py \(skipped: 2 other language\)"),
        ("other/a.txt", r"no source file to read; expected \.py"),
        ("fifo", "neither a folder nor a file"),
        ("loop", "symbolic links"),
        ("nul\0", "null byte"),
        ("line\nbreak", r"'.*line\\nbreak': no such"),
        ("\udcff", r"\\udcff': the path is not UTF-8"),
        ("x" * 300, "name too long"),
    ],
)
def test_a_source_that_cannot_be_one_is_refused_in_one_line_that_names_it(tmp_path: Path, path: str, says: str) -> None:
    plant(tmp_path, {"a.py": "", "empty/": "", "other/a.txt": "", "other/b.c": ""})
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WrongConfig, match=says) as refused:
        Directory(f"{tmp_path}/{path}", Rules())
    message = str(refused.value)
    assert message.isprintable()
    assert str(tmp_path) in message
    assert refused.value.exit_code == 2


def test_an_empty_path_is_refused_and_is_not_the_current_folder() -> None:
    with pytest.raises(WrongConfig, match="empty path"):
        Directory("", Rules())


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"languages": ("cobol",)}, r"languages: 'cobol' is not read here; expected one of: python"),
        ({"languages": ()}, "languages: none named"),
        ({"licences": ("MIT", "Apache2")}, "licences: 'Apache2' is no SPDX identifier"),
        ({"max_file_bytes": 0}, "max_file_bytes: 0; expected at least 1"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongConfig, match=says):
        Rules(**rules)


@pytest.mark.parametrize(
    "folder",
    [
        *("vendor", "pkg/_vendor", "third_party", "node_modules", "lib/site-packages", "__pycache__", "build", "dist"),
        *("a/dist-packages", "pkg/vendored", "__pypackages__"),
    ],
)
def test_a_copy_of_other_peoples_code_is_passed_over_and_counted(tmp_path: Path, folder: str) -> None:
    source = Directory(plant(tmp_path, {f"{folder}/x/a.py": "", "own.py": ""}), Rules())
    assert [found.path for found in source.found(set())] == ["own.py"]
    assert source.summary().skipped[Skip.VENDORED] == 1


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/"])
def test_a_virtual_environment_is_known_by_its_marks_whatever_its_name(tmp_path: Path, mark: str) -> None:
    plant(tmp_path, {f"env/{mark}": "", "env/lib/a.py": "", "venv/__init__.py": ""})
    assert paths(tmp_path) == ["venv/__init__.py"]


def test_a_package_that_is_called_build_is_no_build_output(tmp_path: Path) -> None:
    plant(tmp_path, {"pkg/build/__init__.py": "", "pkg/build/a.py": "", "pkg/dist/a.py": ""})
    assert paths(tmp_path) == ["pkg/build/__init__.py", "pkg/build/a.py"]


@pytest.mark.parametrize("top", ["site-packages", "vendor/pkg", ".hidden/pkg", "build", "env"])
def test_the_top_itself_is_read_whatever_it_is_called(tmp_path: Path, top: str) -> None:
    plant(tmp_path / top, {"a.py": "", "site-packages/b.py": "", "pyvenv.cfg": ""})
    assert paths(tmp_path / top) == ["a.py"]


def test_hidden_entries_are_read_on_demand_but_never_the_git_folder(tmp_path: Path) -> None:
    plant(tmp_path, {".a.py": "", ".b/c.py": "", ".git/d.py": "", ".venv/e.py": "", "f.py": ""})
    assert paths(tmp_path) == ["f.py"]
    assert paths(tmp_path, include_hidden=True) == [".a.py", ".b/c.py", "f.py"]


def test_ignore_files_hold_without_a_repository_too(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {".gitignore": "gen/\n*_x.py\n", "gen/a.py": "", "a_x.py": "", "a.py": "", "s/.gitignore": "!k_x.py\n"},
    )
    plant(tmp_path, {"s/k_x.py": "", "s/l_x.py": "", "s/gen/b.py": ""})
    source = Directory(tmp_path, Rules())
    assert [found.path for found in source.found(set())] == ["a.py", "s/k_x.py"]
    assert source.summary().skipped[Skip.GITIGNORED] == 4


def test_a_file_of_exactly_the_cap_passes_and_one_byte_more_does_not(tmp_path: Path) -> None:
    plant(tmp_path, {"at.py": "#" * 100, "over.py": "#" * 101})
    assert paths(tmp_path, max_file_bytes=100) == ["at.py"]
    assert rejects(tmp_path, max_file_bytes=100) == {"over.py": ("too_large", "101 bytes; at most 100 are read")}


def test_a_huge_file_is_turned_down_without_reading_it(tmp_path: Path) -> None:
    with (plant(tmp_path, {"a.py": ""}) / "huge.py").open("wb") as sparse:
        sparse.truncate(1 << 32)
    assert rejects(tmp_path)["huge.py"][0] == Reason.TOO_LARGE


def test_a_file_that_tells_no_size_is_read_up_to_the_cap() -> None:
    maps = Path("/proc/self/smaps")
    if not maps.exists() or maps.stat().st_size:
        pytest.skip("no file here that tells no size")
    source = Directory(maps, _everything(1_000))
    (found,) = source.found(set())
    assert [reject.reason for reject in found.outcome.rejected] == [Reason.TOO_LARGE]


def _everything(max_file_bytes: int) -> Rules:
    class Everything(Rules):
        __slots__ = ()

        def language(self, name: str) -> str | None:
            return "python"

    return Everything(max_file_bytes=max_file_bytes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x = 1\0", "binary"),
        (b"x = '\xe9'", "encoding"),
        (b"# coding: nonsense\n", "encoding"),
        (b"# @generated\n", "generated"),
        (b"# SPDX-License-Identifier: GPL-3.0-only\n", "licence"),
        (b"x = 1\n", "licence"),  # unknown
    ],
)
def test_a_candidate_that_a_rule_turns_down_is_a_reject_and_the_next_file_still_comes(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    plant(tmp_path, {"a.py": content, "b.py": "# SPDX-License-Identifier: MIT\n"})
    bad, good = read(tmp_path, licences=("MIT",))
    (reject,) = bad.outcome.rejected
    assert (bad.path, reject.reason, reject.record_id) == ("a.py", reason, bad.file_id)
    assert good.outcome.emitted


def test_the_nearest_licence_holds_and_a_files_own_outweighs_it(tmp_path: Path) -> None:
    plant(tmp_path, {"LICENSE": "Released under the MIT license.", "a.py": "", "sub/b.py": "", "lic/c.py": ""})
    plant(tmp_path, {"lic/COPYING": "Mozilla Public License Version 2.0", "lic/deep/d.py": "", "odd/LICENSE": "ours"})
    plant(tmp_path, {"odd/e.py": "", "lic/f.py": "# SPDX-License-Identifier: ISC\n", "license/g.py": ""})
    assert {found.path: record(found).file.licence for found in read(tmp_path)} == {
        "a.py": "MIT",
        "sub/b.py": "MIT",
        "lic/c.py": "MPL-2.0",
        "lic/deep/d.py": "MPL-2.0",
        "lic/f.py": "ISC",
        "odd/e.py": "unknown",
        "license/g.py": "MIT",
    }


def test_what_is_known_is_not_sent_again(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": "x = 1\n", "b.py": b"\0", "c.py": ""})
    first = read(tmp_path, max_file_bytes=10)
    known = {found.file_id for found in first}
    assert len(known) == 3
    source = Directory(tmp_path, Rules(max_file_bytes=10))
    assert list(source.found(known)) == []
    assert source.summary().known == 3
    plant(tmp_path, {"a.py": "x = 2\n"})
    assert [found.path for found in source.found(known)] == ["a.py"]
    assert source.summary().found == 3


def test_a_licence_added_later_brings_back_what_was_rejected_for_want_of_one(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": "x = 1\n"})
    (rejected,) = read(tmp_path, licences=("MIT",))
    plant(tmp_path, {"LICENSE": "Released under the MIT license."})
    (now,) = read(tmp_path, {rejected.file_id}, licences=("MIT",))
    assert record(now).file.licence == "MIT"
    assert read(tmp_path, {rejected.file_id, now.file_id}, licences=("MIT",)) == []


def test_a_rejection_on_other_grounds_is_reported_again(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": "x = 1\n"})
    (first,) = read(tmp_path, licences=("MIT",))
    plant(tmp_path, {"LICENSE": "Released under the ISC license."})
    (second,) = read(tmp_path, {first.file_id}, licences=("MIT",))
    assert [reject.evidence for found in (first, second) for reject in found.outcome.rejected] == ["unknown", "ISC"]


def test_the_summary_accounts_for_everything_come_upon(tmp_path: Path) -> None:
    plant(
        tmp_path, {"a.py": "", "b.py": b"\0", "c.txt": "", ".d": "", "vendor/e.py": "", "f.py": "x", ".gitignore": "f*"}
    )
    source = Directory(tmp_path, Rules())
    assert len(list(source.found(set()))) == 2
    summary = source.summary()
    assert (summary.emitted, summary.known, summary.found) == (1, 0, 2)
    assert summary.rejected == {Reason.BINARY: 1}
    assert summary.skipped == {Skip.OTHER_LANGUAGE: 1, Skip.HIDDEN: 2, Skip.VENDORED: 1, Skip.GITIGNORED: 1}
    assert summary.notes == {}


def test_a_source_may_be_read_twice_and_given_up_half_way(tmp_path: Path) -> None:
    source = Directory(plant(tmp_path, {"a.py": "", "b.py": ""}), Rules())
    next(source.found(set()))
    assert [found.path for found in source.found(set())] == ["a.py", "b.py"]
    assert source.summary().emitted == 2


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).map(
    lambda name: name + ".py"
)
CONTENTS = st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode))


@tries(60)
@given(st.dictionaries(NAMES, CONTENTS, min_size=1, max_size=6), st.randoms())
def test_any_names_and_contents_give_one_outcome_each_and_equal_records_in_any_order(
    files: dict[str, bytes], rnd: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder) / "top"

        def once() -> list[Found]:
            top.mkdir()
            for name in rnd.sample(sorted(files), len(files)):
                (top / name).write_bytes(files[name])
            found = read(top, include_hidden=True)
            shutil.rmtree(top)
            return found

        first, second = once(), once()
    assert sorted(found.path for found in first) == sorted(files)
    assert len({found.file_id for found in first}) == len(files)
    assert [found.file_id for found in first] == [found.file_id for found in second]
    assert [found.outcome.emitted for found in first] == [found.outcome.emitted for found in second]
    for found in first:
        orjson.dumps([found.path, found.outcome.emitted, [reject.evidence for reject in found.outcome.rejected]])
