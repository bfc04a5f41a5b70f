"""What every source of code promises, and what it hands to the stream."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from stream.records import FileId, SourceFile, digest
from stream.stage import Outcome, Reject


class Reason(StrEnum):
    """Why a candidate (a file that the path rules let through) was turned down. The stage is the source's topic."""

    PATH = "path"  # its name is not UTF-8
    UNREADABLE = "unreadable"  # a file, or a whole folder (its path ends in "/"): no permission, gone, an I/O error
    TOO_LARGE = "too_large"
    BINARY = "binary"  # holds a NUL byte
    ENCODING = "encoding"  # is not what it declares, or UTF-8 where it declares nothing
    GENERATED = "generated"  # written by a program
    LICENCE = "licence"  # not on the recipe's list


class Skip(StrEnum):
    """Why a path rule passed over an entry (for a folder: with all below it). Counted, no record."""

    OTHER_LANGUAGE = "other language"
    GITIGNORED = "gitignored"
    HIDDEN = "hidden"
    VENDORED = "vendored"  # a copy of other people's code, a virtual environment, build output
    SYMLINK = "symlink"
    BROKEN_SYMLINK = "broken symlink"
    SPECIAL = "special file"  # FIFO, socket, device


class Note(StrEnum):
    """What a user may want to mend: a source went on without it."""

    GIT_MISSING = "git is not installed: repository and revision are left out"
    GIT_REFUSED = "git would not read a repository (see safe.directory): its URL and revision are left out"
    RULES_UNREAD = "a .gitignore, a LICENSE or a folder above the source could not be read"


@dataclass(frozen=True, slots=True)
class Found:
    """One candidate, whichever way it ended: one SourceFile emitted, or one Reject with `record_id` = `file_id`.

    An emitted file has `records.file_id(source, path, content)`. A turned-down one has an id of its own, of
    (source, path, content, reason, evidence): it is reported once, and the same file comes again as soon as another
    rule, licence or permission gives another answer.
    """

    file_id: FileId
    path: str  # relative to the source, "/" between parts; bytes that are not UTF-8 written as \\xNN
    outcome: Outcome[SourceFile]

    @staticmethod
    def emitted(record: SourceFile) -> "Found":
        return Found(record.file.file_id, record.file.path, Outcome((record,)))

    @staticmethod
    def rejected(source: str, path: str, content: bytes, reject: Reject) -> "Found":
        """`content` is empty where it was not read."""
        rejection_id = FileId(digest(source, path, content, reject.reason, reject.evidence))
        return Found(rejection_id, path, Outcome((), (Reject(reject.reason, reject.evidence, rejection_id),)))


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of everything a source came upon, so far. Kinds that did not occur are left out."""

    emitted: int
    known: int  # found, and not sent again
    rejected: Mapping[Reason, int]
    skipped: Mapping[Skip, int]
    notes: Mapping[Note, int]

    @property
    def found(self) -> int:
        return self.emitted + self.known + sum(self.rejected.values())


@dataclass(slots=True)
class Tally:
    """The counts behind a Summary, as they grow."""

    emitted: int = 0
    known: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter[Reason])
    skipped: Counter[Skip] = field(default_factory=Counter[Skip])
    notes: Counter[Note] = field(default_factory=Counter[Note])

    def add(self, found: Found) -> None:
        self.emitted += len(found.outcome.emitted)
        self.rejected.update(Reason(reject.reason) for reject in found.outcome.rejected)

    def summary(self) -> Summary:
        return Summary(self.emitted, self.known, self.rejected.copy(), self.skipped.copy(), self.notes.copy())


class Source(Protocol):
    """A place where code comes from. It knows nothing of the bus: whoever drives it appends what it yields.

    Promises:

    - What is wrong with the source as a whole is raised when it is made (WrongConfig, one line that names it); after
      that no file's fault ends the run.
    - Every candidate is yielded once, in an order that depends on the source's content alone, or is in `known`;
      everything else that was come upon is counted in `summary`. Nothing is lost without a trace.
    - Equal content under an equal name and path gives an equal id, in every process and run; each id is yielded at
      most once a run.
    - `found` blocks on input: run it in a thread. At most one file's text is held at a time. Giving up the iterator
      half-way leaves nothing open.
    """

    @property
    def name(self) -> str:
        """The name that goes into every record and id."""
        ...

    def found(self, known: Collection[FileId]) -> Iterator[Found]:
        """Yield what is not in `known`: the ids, emitted or rejected, that earlier runs committed."""
        ...

    def summary(self) -> Summary:
        """The counts of the latest `found`; may be asked for from another thread while it runs."""
        ...
