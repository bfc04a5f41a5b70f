"""An export's folder: the user's own files are never replaced, an earlier export's are, and nothing empty is left."""

from pathlib import Path

import pytest

from deploy.cli import run
from deploy.dataset.export import CARD, Wanted
from deploy.dataset.folder import names_of, publish, scratch
from stream.errors import WrongConfig
from stream.records import Rejected
from stream.topics import TOPICS
from tests.unit.test_export import exported, unlike

EXAMPLES = TOPICS["examples"]
THEIRS = (
    "README.md",
    "examples.parquet",
    "examples.jsonl",
    "examples-train.jsonl",
    "examples-test.parquet",
    "funnel.png",
)

OLDER_CARDS = (
    "# examples\n\n1,234 rows, sorted by instruction id. Both files hold the same rows in the same order.\n\n| a |\n",
    "---\ntags:\n- code\n---\n\n# seeds\n\n7 rows, sorted by seed id. The Parquet and the JSONL file of a split hold "
    "the same rows in the same order.\n\n| file |\n",
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", THEIRS)
async def test_a_file_of_the_users_own_is_refused_by_its_name_and_nothing_is_written(name: str, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("---\ntags: []\n---\n# mine, sorted by hand\n")
    before = contents(out)
    with pytest.raises(WrongConfig, match=rf"out/{name} is there, .* name an empty or a new one"):
        await exported(tmp_path / "bus", out, EXAMPLES, [unlike(1)])
    assert contents(out) == before and len(list(out.iterdir())) == 1


async def test_a_link_that_leads_nowhere_is_a_file_of_the_users_own(tmp_path: Path):
    (tmp_path / "README.md").symlink_to(tmp_path / "gone")
    with pytest.raises(WrongConfig, match=r"README\.md is there"):
        await exported(tmp_path / "bus", tmp_path, EXAMPLES, [unlike(1)])
    assert (tmp_path / "README.md").is_symlink()


async def test_a_readme_that_is_no_text_is_a_file_of_the_users_own(tmp_path: Path):
    (tmp_path / "README.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WrongConfig, match=r"README\.md is there"):
        await exported(tmp_path / "bus", tmp_path, EXAMPLES, [unlike(1)])


async def test_an_export_replaces_an_earlier_one_of_another_topic_form_or_split(tmp_path: Path):
    out, examples = tmp_path / "out", [unlike(n) for n in range(20)]
    await exported(tmp_path / "a", out, EXAMPLES, examples)
    await exported(tmp_path / "b", out, TOPICS["rejects"], [Rejected("i", "s", "r", "e")])
    done = await exported(tmp_path / "c", out, EXAMPLES, examples, Wanted("messages", 0.3))
    again = await exported(tmp_path / "d", tmp_path / "new", EXAMPLES, examples, Wanted("messages", 0.3))
    assert [path.read_bytes() for path in done.files] == [path.read_bytes() for path in again.files]
    assert set(contents(out)) == {path.name for path in done.files} | {"rejects.parquet", "rejects.jsonl"}


@pytest.mark.parametrize("card", OLDER_CARDS, ids=["first", "present"])
async def test_an_export_of_an_earlier_version_is_known_by_its_card_and_replaced(card: str, tmp_path: Path):
    (tmp_path / CARD).write_text(card)
    (tmp_path / "examples.jsonl").write_text("{}\n")
    done = await exported(tmp_path / "bus", tmp_path, EXAMPLES, [unlike(1)])
    assert done.rows == 1 and (tmp_path / CARD).read_text() != card


async def test_where_there_is_no_card_yet_it_comes_first_so_that_a_killed_export_can_be_made_again(tmp_path: Path):
    work, out = tmp_path / "work", tmp_path / "out"
    for folder in (work, out):
        folder.mkdir()
    (work / CARD).write_text(OLDER_CARDS[1])
    gone = work / "examples.parquet"  # what comes after the card is not put in its place: as after a kill
    with pytest.raises(FileNotFoundError):
        publish([gone, work / CARD], out)
    assert (out / CARD).is_file()
    with scratch(out, names_of("examples")):
        pass  # it is known for an export


async def test_where_a_card_stands_it_is_replaced_last_so_that_it_names_no_file_that_is_not_there(tmp_path: Path):
    work, out = tmp_path / "work", tmp_path / "out"
    for folder in (work, out):
        folder.mkdir()
    (work / CARD).write_text("new")
    (out / CARD).write_text("old")
    with pytest.raises(FileNotFoundError):
        publish([work / "examples.parquet", work / CARD], out)
    assert (out / CARD).read_text() == "old"


async def test_an_export_that_is_refused_leaves_no_folder_behind(tmp_path: Path):
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "new", tmp_path / "new" / "and" / "deep", tmp_path / "there", tmp_path / "there" / "new"):
        with pytest.raises(WrongConfig, match="leaves the test split empty"):
            await exported(tmp_path / "bus", out, EXAMPLES, [unlike(1), unlike(2)], Wanted(test_share=1e-9))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bus", "there"]
    assert not list((tmp_path / "there").iterdir())


async def test_an_export_that_fails_for_a_folder_in_its_way_leaves_none_of_its_parents(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", tmp_path / ("n" * 300), tmp_path / "new" / ("n" * 300)):
        with pytest.raises(WrongConfig, match="cannot be written"):
            await exported(tmp_path / "bus", out, EXAMPLES, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bus", "file"]


def test_the_command_refuses_in_one_line_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("code").mkdir()
    Path("code", "a.py").write_text("x = 1\n")
    Path("README.md").write_text("# My project\n")
    assert run(["ingest", "code", "--dir", "run", "--llm", "http://127.0.0.1:9", "--model", "m"]) == 0
    capsys.readouterr()
    assert run(["export", ".", "--dir", "run", "--topic", "files"]) == 2
    assert capsys.readouterr().err == (
        "seedstream: README.md is there, and its folder is no export of seedstream's: name an empty or a new one\n"
    )
    assert Path("README.md").read_text() == "# My project\n"
    assert run(["export", "new/out", "--dir", "run", "--namespace", "nope"]) == 2
    assert not Path("new").exists()
    assert run(["export", "out", "--dir", "run", "--topic", "files"]) == 0


def test_the_help_and_the_check_agree_on_the_share(capsys: pytest.CaptureFixture[str]):
    assert run(["export", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 to below 1" in shown and "x<=1" not in shown
    for share in ("1", "-0.1", "nan"):
        assert run(["export", "out", "--dir", "run", "--test-share", share]) == 2
        assert "expected a share from 0 to below 1" in capsys.readouterr().err
