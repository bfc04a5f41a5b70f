"""The ignore rules, one by one and, on random trees, against git itself."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import pytest

from producers.gitignore import Ignores, parse


def excluded(patterns: bytes, path: str, *, is_folder: bool = False) -> bool:
    return Ignores().adding(0, parse(patterns)).excludes(tuple(path.encode().split(b"/")), is_folder)


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (b"*.py", "a.py", True),
        (b"*.py", "deep/down/a.py", True),
        (b"/a.py", "deep/a.py", False),
        (b"deep/a.py", "deep/a.py", True),
        (b"deep/a.py", "more/deep/a.py", False),
        (b"**/deep/a.py", "more/deep/a.py", True),
        (b"a/**/z.py", "a/z.py", True),
        (b"a/**/z.py", "a/b/c/z.py", True),
        (b"a/**", "a/b/c.py", True),
        (b"a/**", "a", False),
        (b"*.py\n!a.py", "a.py", False),
        (b"!a.py\n*.py", "a.py", True),
        (b"a.py/", "a.py", False),  # only a folder of that name
        (b"# a.py", "# a.py", False),
        (rb"\#a.py", "#a.py", True),
        (rb"\!a.py", "!a.py", True),
        (b"a.py   ", "a.py", True),
        (b"a.py\\ ", "a.py ", True),
        (b"a.py\r\n", "a.py", True),
        (b"\xef\xbb\xbfa.py", "a.py", True),
        (b"[a-c].py", "b.py", True),
        (b"[!a-c].py", "b.py", False),
        (b"[[:digit:]].py", "7.py", True),
        (b"[a.py", "[a.py", False),  # malformed: matches nothing
        (b"?.py", "\N{LATIN SMALL LETTER E WITH ACUTE}.py", False),  # two bytes
        (b"", "a.py", False),
        (b"!\n/\n!/\n\\", "a.py", False),
    ],
)
def test_a_pattern_matches_as_the_manual_says(patterns: bytes, path: str, expected: bool) -> None:
    assert excluded(patterns, path) is expected


def test_the_deepest_file_that_matches_decides() -> None:
    ignores = Ignores().adding(0, parse(b"*.py\nkeep")).adding(1, parse(b"!/x.py\nother"))
    assert not ignores.excludes((b"a", b"x.py"), False)
    assert ignores.excludes((b"a", b"y.py"), False)


def test_a_folder_brought_back_does_not_bring_back_what_another_pattern_excludes_in_it() -> None:
    ignores = Ignores().adding(0, parse(b"*.py")).adding(1, parse(b"!a/"))
    assert ignores.excludes((b"x", b"a", b"f.py"), False)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (b"*a" * 40 + b"*b", (b"a" * 255,)),
        (b"*?" * 60 + b"b", (b"a" * 255,)),
        (b"**/a/" * 60 + b"b", (b"a",) * 2000),
        (b"**/*a*a*a*a*b/" * 20 + b"b", (b"a" * 255,) * 15),
    ],
)
def test_no_pattern_takes_exponential_time(pattern: bytes, path: tuple[bytes, ...]) -> None:
    began = process_time()
    assert not parse(pattern)[0].matches(path, False)
    assert process_time() - began < 1.0


SEGMENTS = [
    *(b"a", b"b", b"c", b"*", b"**", b"*.py", b"a*", b"?", b"[ab]", b"*.txt", b"b.py", b"***", b"[!a]", b"[^a-b]*"),
    *(b"[]]", b"[]-a]", b"[a-]", b"[b-a]", b"[[:alpha:]]", b"[[:upper:]x]", b"[[:foo:]]", b"[a", b"\\", b"\\a"),
    *(b"\\#h", b"\\!n", b"#h", b"s\\ ", b"s ", b"a b", b"\\*", b"\\\\", b"??", b"*a*b", b"[\\]]", b"[a-c]", b"[--0]"),
    *(b"\xc3\xa9", b"[\xc3]\xa9", b"\\[x\\]", b"[[]x[]]", b"*?*", b"[[:digit:]-z]", b"[!]", b"[]", b"**.py", b"[x"),
]
NAMES = [b"a.py", b"b.py", b"x.txt", b"[x]", b"a]", b"\xc3\xa9", b"-", b"#h", b"!n", b"s ", b"\\", b"*", b"aab", b"A"]


def random_pattern(rnd: random.Random) -> bytes:
    segments = [rnd.choice(SEGMENTS) for _ in range(rnd.choice([1, 1, 1, 2, 2, 3, 4]))]
    ending = rnd.choice([b"", b"", b"/", b" ", b"\t", b"\r", b"//"])
    return rnd.choice([b"", b"", b"!"]) + rnd.choice([b"", b"", b"/"]) + b"/".join(segments) + ending


def grow(rnd: random.Random, folder: Path, depth: int = 0) -> None:
    folder.mkdir()
    for name in NAMES:
        if rnd.random() < 0.5:
            (folder / name.decode()).touch()
    if depth == 0 or rnd.random() < 0.25:
        lines = [random_pattern(rnd) for _ in range(rnd.randint(1, 4))]
        (folder / ".gitignore").write_bytes(b"\n".join(lines))
    for name in ("a", "b", "c", "a b"):
        if depth < 3 and rnd.random() < 0.5:
            grow(rnd, folder / name, depth + 1)


def kept(folder: Path, ignores: Ignores, path: tuple[bytes, ...] = ()) -> Iterator[bytes]:
    rules = folder / ".gitignore"
    if rules.exists():
        ignores = ignores.adding(len(path), parse(rules.read_bytes()))
    for entry in folder.iterdir():
        here = (*path, entry.name.encode())
        if entry.name == ".git" or ignores.excludes(here, entry.is_dir()):
            continue
        if entry.is_dir():
            yield from kept(entry, ignores, here)
        else:
            yield b"/".join(here)


@pytest.mark.parametrize("seed", range(40))
def test_on_a_random_tree_it_keeps_the_files_that_git_keeps(tmp_path: Path, seed: int) -> None:
    top = tmp_path / "top"
    grow(random.Random(seed), top)
    subprocess.run(["git", "init", "-q", top], check=True)
    listed = subprocess.run(
        ["git", "-c", "core.excludesFile=/dev/null", "-C", top, "ls-files", "-o", "--exclude-standard", "-z"],
        check=True,
        capture_output=True,
    )
    assert sorted(kept(top, Ignores())) == sorted(filter(None, listed.stdout.split(b"\0")))
