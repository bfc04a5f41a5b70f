"""The candidates below a folder, in one order: path rules, ignore files, what holds where.

Symbolic links below the top are never followed: one that stays inside leads to what is found anyway, one that leaves
would bring in what the user did not name (a hostile `x.py -> ~/.ssh/id_rsa`). So no loop can arise.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from producers import licence, repository
from producers.gitignore import Ignores, parse
from producers.licence import is_licence_file
from producers.regular import open_regular
from producers.repository import Repository
from producers.rules import Rules
from producers.source import Note, Skip, Tally
from producers.spdx import UNKNOWN

# fmt: off
_VENDORED = frozenset({
    "vendor", "_vendor", "vendored", "_vendored", "third_party", "third-party", "thirdparty",
    "site-packages", "dist-packages", "node_modules", "bower_components", "__pypackages__",
    "__pycache__", ".venv", ".tox", ".nox", ".eggs", ".git",
})
# fmt: on
_BUILD_OUTPUT = frozenset({"build", "dist"})
"""Vendored unless they hold an `__init__.py`: then they are packages that happen to be called so."""

_RULES_BYTES = 1_000_000  # how much of a .gitignore or LICENSE is read


@dataclass(frozen=True, slots=True)
class Place:
    """What holds for the files of one folder."""

    ignores: Ignores = field(default_factory=Ignores)
    inside: tuple[bytes, ...] = ()  # the folder's path below the top that `ignores` counts from
    licence: str = UNKNOWN  # of the nearest LICENSE
    repository: Repository = field(default_factory=Repository)

    def excludes(self, name: str, is_folder: bool) -> bool:
        return bool(self.ignores.files) and self.ignores.excludes((*self.inside, os.fsencode(name)), is_folder)

    def below(self, name: str) -> "Place":
        """What holds, so far, in the folder `name` in here."""
        return replace(self, inside=(*self.inside, os.fsencode(name)))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file to be read. `path` is relative to the source."""

    path: str
    location: str  # where to open it
    language: str
    place: Place


@dataclass(frozen=True, slots=True)
class Unread:
    """What the system would not show: a folder (its path ends in "/") that could not be listed, so that none of its
    files is seen, or an entry of which it cannot be told what it is."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be entered. `place` is what holds in it before it is looked into."""

    path: str  # "" for the top, else it ends in "/"
    location: str
    place: Place


def walk(top: str, rules: Rules, tally: Tally) -> Iterator[Candidate | Unread]:
    """Yield what lies below `top`, each folder's entries sorted by name. The top's own name and those above it are
    not judged: the user named it."""
    waiting: list[Candidate | Unread | _Folder] = [_Folder("", top, above(top, tally))]
    while waiting:  # a stack, since a tree may be deeper than Python recurses
        here = waiting.pop()
        if isinstance(here, _Folder):
            waiting.extend(reversed(_entries(here, rules, tally)))
        else:
            yield here


def above(top: str, tally: Tally) -> Place:
    """Return what the repository around `top` says of it; nothing where it lies in none, or is ignored by it (a
    virtual environment in a project is not the project's code, nor under its licence)."""
    real = Path(top).resolve()
    outer = next((folder for folder in (real, *real.parents) if os.path.lexists(folder / ".git")), None)
    if outer is None:
        return Place()
    place, location = Place(), outer
    for name in real.relative_to(outer).parts:
        place = _enter(place, location, _names(location, tally), tally)
        if place.excludes(name, is_folder=True):
            return Place()
        place, location = place.below(name), location / name
    return place


def place_of(file: str, tally: Tally) -> Place:
    """Return what holds for a file that the user named."""
    folder = Path(file).resolve().parent
    return _enter(above(str(folder), tally), folder, _names(folder, tally), tally)


def _entries(folder: _Folder, rules: Rules, tally: Tally) -> list[Candidate | Unread | _Folder]:
    try:
        with os.scandir(folder.location) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as err:
        return [Unread(folder.path or "./", err.strerror or str(err))]
    names = frozenset(entry.name for entry in entries)
    if folder.path and _is_made(folder, names):
        tally.skipped[Skip.VENDORED] += 1
        return []
    here = replace(folder, place=_enter(folder.place, Path(folder.location), names, tally))
    kept: list[Candidate | Unread | _Folder] = []
    for entry in entries:
        try:
            what = _judge(entry, here, rules)
        except OSError as err:
            what = Unread(here.path + entry.name, err.strerror or str(err))
        if isinstance(what, Skip):
            tally.skipped[what] += 1
        else:
            kept.append(what)
    return kept


def _judge(entry: os.DirEntry[str], folder: _Folder, rules: Rules) -> Candidate | _Folder | Skip:
    """Apply the path rules to one entry.

    Raises:  OSError where the file system does not say what it is.
    """
    path, place = folder.path + entry.name, folder.place
    if entry.name.startswith(".") and not rules.include_hidden:
        return Skip.HIDDEN
    if entry.is_symlink():
        leads_somewhere = os.path.exists(entry.path)  # noqa: PTH110 - Path.exists raises where the end is forbidden
        return Skip.SYMLINK if leads_somewhere else Skip.BROKEN_SYMLINK
    if entry.is_dir(follow_symlinks=False):
        if entry.name in _VENDORED:
            return Skip.VENDORED
        if place.excludes(entry.name, is_folder=True):
            return Skip.GITIGNORED
        return _Folder(f"{path}/", entry.path, place.below(entry.name))
    if not entry.is_file(follow_symlinks=False):
        return Skip.SPECIAL
    language = rules.language(entry.name)
    if language is None:
        return Skip.OTHER_LANGUAGE
    if place.excludes(entry.name, is_folder=False):
        return Skip.GITIGNORED
    return Candidate(path, entry.path, language, place)


def _is_made(folder: _Folder, names: frozenset[str]) -> bool:
    """Whether a folder is a virtual environment or the output of a build."""
    if "pyvenv.cfg" in names or "conda-meta" in names:
        return True
    return Path(folder.location).name in _BUILD_OUTPUT and "__init__.py" not in names


def _names(folder: Path, tally: Tally) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        tally.notes[Note.RULES_UNREAD] += 1
        return frozenset()


def _enter(place: Place, location: Path, names: frozenset[str], tally: Tally) -> Place:
    """Return the place of the folder at `location`, which holds `names`; `place` is that of the folder above, its
    `inside` already this folder's."""
    if ".git" in names:  # a repository of its own: nothing from above holds
        place = Place(repository=repository.read(str(location.resolve()), tally))
        exclude = location / ".git" / "info" / "exclude"
        if os.path.lexists(exclude):
            place = _ignoring(place, exclude, tally)
    if ".gitignore" in names:
        place = _ignoring(place, location / ".gitignore", tally)
    texts: dict[str, str] = {}
    for name in filter(is_licence_file, names):
        text = _read(location / name, tally, follow_links=True)  # only the licence's name leaves here
        if text is not None:
            texts[name] = text.decode(errors="replace")
    return replace(place, licence=licence.of_folder(texts)) if texts else place


def _ignoring(place: Place, file: Path, tally: Tally) -> Place:
    text = _read(file, tally, follow_links=False)  # as git
    return replace(place, ignores=place.ignores.adding(len(place.inside), parse(text or b"")))


def _read(path: Path, tally: Tally, *, follow_links: bool) -> bytes | None:
    """Return the beginning of a regular file that holds rules; None of anything else, with a note where it failed."""
    try:
        file = open_regular(str(path), follow_links=follow_links)
        if file is None:
            return None
        with file:
            return file.read(_RULES_BYTES)
    except OSError:
        tally.notes[Note.RULES_UNREAD] += 1
        return None
