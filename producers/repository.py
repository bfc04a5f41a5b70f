"""Which git repository a folder is the top of, and at which commit: asked of git itself, twice a repository.

The folder may be hostile. Nothing asked for here runs hooks, filters or a file-system monitor, and no variable of the
environment can point git elsewhere. Git's own refusal to read a repository of another owner stands.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from producers.source import Note, Tally

LIMIT_S = 20.0
"""Reading two short files takes git milliseconds; a hung network file system must not hang the source."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What lineage says of a repository: each None where git does not know it."""

    url: str | None = None  # of the remote `origin`, without credentials
    revision: str | None = None  # commit hash


class _Refused(Exception):  # noqa: N818
    """Git could not, or would not, answer."""


def read(top: str, tally: Tally) -> Repository:
    """Return the repository whose `.git` lies in `top` (an absolute path without links); notes what went wrong.

    Cost:  two processes, about 5 ms.
    """
    try:
        revision = _git(top, "rev-parse", "--verify", "--quiet", "HEAD")
        origin = _git(top, "config", "--get", "remote.origin.url")
    except FileNotFoundError:
        tally.notes[Note.GIT_MISSING] += 1
        return Repository()
    except (_Refused, subprocess.TimeoutExpired):
        tally.notes[Note.GIT_REFUSED] += 1
        return Repository()
    return Repository(_public(origin) if origin else None, revision)


def _git(top: str, *question: str) -> str | None:
    """Return git's one-line answer, or None when there is none (no commit yet, no such setting).

    Raises:  _Refused; FileNotFoundError where git is not installed; TimeoutExpired.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_CEILING_DIRECTORIES": str(Path(top).parent),  # an empty .git is no repository: do not look further up
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    answer = subprocess.run(  # noqa: S603 - fixed questions, no shell; `top` follows -C, so it is never an option
        ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", top, *question],  # noqa: S607
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    if answer.returncode == 0:
        return answer.stdout.decode(errors="replace").strip()
    if answer.returncode == 1 and not answer.stderr:
        return None
    raise _Refused


def _public(url: str) -> str | None:
    """Return a remote's URL without what may be secret: user, password, query; None for a path on this machine.

    >>> _public("https://me:token@example.org/a/b.git?private_token=x")
    'https://example.org/a/b.git'
    >>> _public("git@example.org:a/b.git"), _public("/home/me/b.git"), _public("file:///home/me/b.git")
    ('example.org:a/b.git', None, None)
    """
    if not url.isprintable():
        return None
    if "://" not in url:
        host, colon, path = url.rpartition("@")[2].partition(":")
        return f"{host}:{path}" if colon and "/" not in host else None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme == "file" or not parts.netloc:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
