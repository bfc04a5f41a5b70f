"""What the benchmarks of seeds share: the standard library of the running interpreter, and the form of a result."""

import json
import platform
import re
import statistics
import sysconfig
import tokenize
from collections.abc import Iterable, Sequence
from importlib.metadata import files
from pathlib import Path

from stream.records import File, SourceFile, file_id

BASE = Path(__file__).parents[2] / "requirements" / "base.txt"


def installed_packages() -> list[SourceFile]:
    """Return every source file of what our base requirements install, in the order of their paths."""
    pinned = re.findall(r"^([\w.-]+)(?:\[.*\])?==", BASE.read_text(encoding="utf-8"), re.MULTILINE)
    root = Path(sysconfig.get_paths()["purelib"])
    paths = {root / file for name in pinned for file in files(name) or () if file.suffix == ".py"}
    return _sources("site-packages", root, sorted(path for path in paths if path.is_file()))


def standard_library() -> list[SourceFile]:
    """Return every source file of it that can be decoded, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = (path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.relative_to(root).parts)
    return _sources("stdlib", root, found)


def _sources(name: str, root: Path, paths: Iterable[Path]) -> list[SourceFile]:
    sources: list[SourceFile] = []
    for path in paths:
        relative = path.relative_to(root)
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
