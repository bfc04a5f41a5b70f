"""Which folders of this machine a program sees: those the interpreter loads its standard library from."""

import os
import sys
import sysconfig
from pathlib import Path, PurePosixPath

_STDLIB = str(Path(os.__file__).parent)

_SHARED_PREFIXES = ("/usr", "/usr/local", "/")  # prefixes whose lib holds more than the interpreter's own files


def library_folders() -> list[str]:
    """Return the folders to bind read-only, each under its own name, none inside another."""
    # Not the paths of `sysconfig`, some of which are a virtual environment's own.
    wanted = [_STDLIB, str(sysconfig.get_config_var("DESTSHARED") or _STDLIB)]
    # A prefix of its own: the extension modules of such a build name shared objects in its lib.
    wanted += [f"{p}/lib" for p in (sys.base_prefix, sys.base_exec_prefix) if p not in _SHARED_PREFIXES]
    multiarch = str(sysconfig.get_config_var("MULTIARCH") or "")
    for system in ("/usr/lib", "/lib"):
        narrow = f"{system}/{multiarch}"
        wanted.append(narrow if multiarch and Path(narrow).is_dir() else system)
    wanted += ["/usr/lib64", "/lib64", "/usr/share/zoneinfo"]
    return _outermost(_distinct(wanted))


def hidden_folders(folders: list[str]) -> list[str]:
    """Return the folders of third-party packages in `folders`: a verdict must not depend on what is installed."""
    stdlib = PurePosixPath(_STDLIB)
    packages = [stdlib / "site-packages", stdlib / "dist-packages", stdlib.parent / "python3" / "dist-packages"]
    return [str(p) for p in packages if Path(p).is_dir() and any(p.is_relative_to(folder) for folder in folders)]


def _distinct(folders: list[str]) -> list[str]:
    """Existing folders, one name for each: on most systems /lib is a link to /usr/lib, and the loader tries both."""
    found: dict[Path, str] = {}
    for folder in folders:
        if Path(folder).is_dir():
            found.setdefault(Path(folder).resolve(), folder)
    return list(found.values())


def _outermost(folders: list[str]) -> list[str]:
    """
    >>> _outermost(["/usr/lib/python3", "/usr/lib", "/opt/lib"])
    ['/usr/lib', '/opt/lib']
    """
    return [f for f in folders if not any(f != other and PurePosixPath(f).is_relative_to(other) for other in folders)]
