"""What the benchmarks of seeds share: the standard library of the running interpreter, and the form of a result."""

import json
import platform
import statistics
import sysconfig
import tokenize
from collections.abc import Sequence
from pathlib import Path

from stream.records import File, SourceFile, file_id


def standard_library() -> list[SourceFile]:
    """Return every source file of it that can be decoded, in the order of their paths."""
    return _sources("stdlib", Path(sysconfig.get_paths()["stdlib"]))


def installed_packages() -> list[SourceFile]:
    """Return every source file of what our pinned requirements install, in the order of their paths."""
    return _sources("site-packages", Path(sysconfig.get_paths()["purelib"]))


def _sources(name: str, root: Path) -> list[SourceFile]:
    sources: list[SourceFile] = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if "site-packages" in relative.parts:
            continue
        try:
            with tokenize.open(path) as file:
                text = file.read()
            content = text.encode()
        except (SyntaxError, UnicodeError):
            continue  # made so, to test decoders
        identity = file_id(name, str(relative), content)
        where = File(identity, name, str(relative), "python", None, None, "unknown")
        sources.append(SourceFile(where, text))
    return sources


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Return the median of some rounds, and the least and the most."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def report(benchmark: str, **figures: object) -> None:
    """Print the one line of a benchmark. The corpus is fixed, so there is no seed to name but the interpreter."""
    host = {"machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps({"benchmark": benchmark, **figures, "host": host}))
