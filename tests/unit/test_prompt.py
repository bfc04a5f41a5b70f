import random
from pathlib import Path

import pytest

from consumers import prompt
from stream.errors import WrongConfig

SEEDS = """
system = "Judge."
ask = '''
[Code]
$code
Good?
'''
reply = '''
[Verdict]
$verdict
'''
prefill = "[Verdict]\\n"
stop = ["\\n"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "seeds.toml").write_text(SEEDS)
    (tmp_path / "judge").mkdir()
    for n, verdict in enumerate(["yes", "no", "yes"]):
        write_example(tmp_path, f"{n}", f"def f{n}(): ...", verdict)
    return tmp_path


def write_example(folder: Path, name: str, code: str, verdict: str) -> None:
    (folder / "judge" / f"{name}.toml").write_text(f"code = '''\n{code}\n'''\nverdict = \"{verdict}\"\n")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_shots_are_rendered_from_the_examples_and_the_question_from_its_fields(folder: Path) -> None:
    asked = prompt.load(folder, "seeds").prompt(1, 3, {"code": "def g(): ..."})
    assert asked.system == "Judge."
    assert asked.ask == "[Code]\ndef g(): ...\nGood?"
    assert asked.prefill == "[Verdict]\n"
    assert {(shot.ask, shot.reply) for shot in asked.shots} == {
        ("[Code]\ndef f0(): ...\nGood?", "[Verdict]\nyes"),
        ("[Code]\ndef f1(): ...\nGood?", "[Verdict]\nno"),
        ("[Code]\ndef f2(): ...\nGood?", "[Verdict]\nyes"),
    }


def test_a_dollar_sign_in_a_value_is_no_field(folder: Path) -> None:
    assert "$code $$ ${x}" in prompt.load(folder, "seeds").prompt(1, 0, {"code": "$code $$ ${x}"}).ask


def test_the_draw_of_shots_follows_from_the_seed_alone(folder: Path) -> None:
    few_shot = prompt.load(folder, "seeds")
    first = few_shot.prompt(7, 2, {"code": "a"})
    random.seed(0)
    assert prompt.load(folder, "seeds").prompt(7, 2, {"code": "b"}).shots == first.shots
    draws = {few_shot.prompt(seed, 2, {"code": "a"}).shots for seed in range(200)}
    assert len(draws) == 6, "every ordered pair of three examples is drawn"


def test_each_example_is_drawn_equally_often(folder: Path) -> None:
    few_shot = prompt.load(folder, "seeds")
    draws = [few_shot.prompt(seed, 1, {"code": ""}).shots[0] for seed in range(3000)]
    assert all(900 < draws.count(shot) < 1100 for shot in few_shot.pool.values())


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("seeds.toml", "Judge.", "Judge!"),
        ("seeds.toml", "Good?", "Really good?"),
        ("seeds.toml", 'stop = ["\\n"]', "stop = []"),
        ("judge/1.toml", "no", "yes"),
        ("judge/2.toml", "f2", "f3"),
    ],
)
def test_the_hash_changes_with_the_template_and_with_each_example(folder: Path, file: str, old: str, new: str) -> None:
    before = prompt.load(folder, "seeds").sha256
    assert prompt.load(folder, "seeds").sha256 == before
    edit(folder / file, old, new)
    assert prompt.load(folder, "seeds").sha256 != before


def test_a_new_example_changes_the_hash(folder: Path) -> None:
    before = prompt.load(folder, "seeds").sha256
    write_example(folder, "3", "def f3(): ...", "no")
    assert prompt.load(folder, "seeds").sha256 != before


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("seeds.toml", "system =", "sytem =", r"seeds\.toml, line 2, sytem: unknown key; did you mean system\?"),
        ("seeds.toml", 'stop = ["\\n"]', "", r"seeds\.toml: the key stop is missing"),
        ("seeds.toml", 'stop = ["\\n"]', 'stop = "\\n"', r"seeds\.toml, line 13, stop: expected array, got str"),
        ("seeds.toml", "$code", "$cod", r"seeds\.toml, line 3, ask: unknown field \$cod; did you mean code\?"),
        ("seeds.toml", "$code", "{code}", r"line 3, ask: it names no field: expected \$code"),
        ("seeds.toml", "$code", "$code for $5", r"line 3, ask: .*\$\$ for a dollar sign"),
        ("seeds.toml", "$verdict", "$answer", r"line 8, reply: unknown field \$answer; expected one of code, verdict"),
        ("seeds.toml", "[Verdict]\n$", "[Answer]\n$", r"line 8, reply: expected it to begin with the prefill"),
        ("judge/1.toml", '"no"', '"maybe"', r"1\.toml, line 4, verdict: .*maybe"),
        ("judge/1.toml", "verdict", "verdct", r"1\.toml, line 4, verdct: unknown key; did you mean verdict\?"),
        ("judge/1.toml", "verdict =", "verdict", r"1\.toml is not TOML: .*line 4"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place_and_what_was_expected(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(folder / file, old, new)
    with pytest.raises(WrongConfig, match=message):
        prompt.load(folder, "seeds")


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongConfig, match=r"concepts\.toml cannot be read"):
        prompt.load(folder, "concepts")
    with pytest.raises(WrongConfig, match=r"nowhere is no folder"):
        prompt.load(tmp_path / "nowhere", "seeds")
    for example in (folder / "judge").iterdir():
        example.unlink()
    with pytest.raises(WrongConfig, match=r"judge has no worked examples"):
        prompt.load(folder, "seeds")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(WrongConfig, match=r"'selfcodealing' .*did you mean selfcodealign\?"):
        prompt.load("selfcodealing", "seeds")


def test_more_shots_than_examples_are_refused(folder: Path) -> None:
    few_shot = prompt.load(folder, "seeds")
    few_shot.require(3)
    with pytest.raises(WrongConfig, match=r"seeds\.toml has 3 worked examples, but shots = 4"):
        few_shot.require(4)
