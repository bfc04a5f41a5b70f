"""A folder of source code, or one file, as a source."""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from producers.intake import Origin, take
from producers.regular import open_regular
from producers.rules import Rules
from producers.source import Found, Reason, Summary, Tally
from producers.walk import Candidate, Unread, place_of, walk
from stream.errors import WrongConfig
from stream.records import FileId
from stream.stage import Reject


class Directory:
    """The candidates below `path`, or `path` itself, as `producers.source.Source` promises.

    `name` is the path as the user gave it, normalised: `src/` and `./src` are one source with the same ids, and a
    record tells no more of the machine than the user typed. A relative path is therefore another source than its
    absolute form, and the ids of one survive a move of the folder.

    Raises:  WrongConfig, when made, for a path that is missing, forbidden, neither folder nor file, not UTF-8, or
        without a single file that the path rules let through.
    """

    def __init__(self, path: str | os.PathLike[str], rules: Rules) -> None:
        self.name = os.path.normpath(path)
        self._given = os.fspath(path)
        self._rules = rules
        self._is_file = _is_file(self._given)
        self._tally = Tally()
        self._require_a_candidate()

    def found(self, known: Collection[FileId]) -> Iterator[Found]:
        self._tally = tally = Tally()
        for here in self._come_upon(tally):
            found = self._found(here, known)
            if found is None or found.file_id in known:
                tally.known += 1
            else:
                tally.add(found)
                yield found

    def summary(self) -> Summary:
        return self._tally.summary()

    def _come_upon(self, tally: Tally) -> Iterator[Candidate | Unread]:
        if not self._is_file:
            return walk(self._given, self._rules, tally)
        name = Path(self._given).name
        language = self._rules.language(name)
        if language is None:
            return iter(())
        return iter((Candidate(name, self._given, language, place_of(self._given, tally)),))

    def _require_a_candidate(self) -> None:
        if next(self._come_upon(self._tally), None) is None:
            skipped = [f"{count} {kind}" for kind, count in sorted(self._tally.skipped.items())]
            raise WrongConfig(
                f"source {_shown(self._given)}: no source file to read; expected {self._rules.endings}"
                + (f" (skipped: {', '.join(skipped)})" if skipped else "")
            )

    def _found(self, here: Candidate | Unread, known: Collection[FileId]) -> Found | None:
        path = os.fsencode(here.path).decode(errors="backslashreplace")
        if isinstance(here, Unread):
            return Found.rejected(self.name, path, b"", Reject(Reason.UNREADABLE, here.why))
        if path != here.path:
            raw = os.fsencode(here.path)  # in place of the content: two such names may be written alike
            return Found.rejected(self.name, path, raw, Reject(Reason.PATH, f"the name is not UTF-8: {path}"))
        content = self._read(here.location)
        if isinstance(content, Reject):
            return Found.rejected(self.name, path, b"", content)
        place = here.place
        origin = Origin(self.name, path, here.language, place.repository, place.licence)
        return take(origin, content, self._rules, known)

    def _read(self, location: str) -> bytes | Reject:
        limit = self._rules.max_file_bytes
        try:
            file = open_regular(location, follow_links=self._is_file)  # a link is followed where the user named it
            if file is None:
                return Reject(Reason.UNREADABLE, "no regular file any more")
            with file:
                size = os.fstat(file.fileno()).st_size
                if size > limit:
                    return Reject(Reason.TOO_LARGE, f"{size} bytes; at most {limit} are read")
                content = file.read(size + 1)
                if len(content) > size:  # it has grown since, or tells no size
                    content += file.read(limit - size)
        except OSError as err:
            return Reject(Reason.UNREADABLE, err.strerror or str(err))
        return content if len(content) <= limit else Reject(Reason.TOO_LARGE, f"more than {limit} bytes")


def _is_file(path: str) -> bool:
    """Whether `path` is a file; if not, it is a folder. Raises WrongConfig where it is neither, or cannot be read."""
    shown = _shown(path)
    if not path:
        raise WrongConfig("source: an empty path; expected a folder or a file")
    try:
        path.encode()
        mode = Path(path).stat().st_mode
    except UnicodeEncodeError as err:
        raise WrongConfig(f"source {shown}: the path is not UTF-8, so no record could name it") from err
    except FileNotFoundError as err:
        raise WrongConfig(f"source {shown}: no such folder or file") from err
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        why = err.strerror if isinstance(err, OSError) else str(err)
        raise WrongConfig(f"source {shown}: cannot be read: {why}") from err
    is_folder = stat.S_ISDIR(mode)
    if not is_folder and not stat.S_ISREG(mode):
        raise WrongConfig(f"source {shown}: neither a folder nor a file")
    needed = os.R_OK | os.X_OK if is_folder else os.R_OK
    if not os.access(path, needed, effective_ids=True):
        raise WrongConfig(f"source {shown}: cannot be read: no permission")
    return not is_folder


def _shown(path: str) -> str:
    """A path in one line of a message, whatever it is made of."""
    return path if path.isprintable() else ascii(path)
