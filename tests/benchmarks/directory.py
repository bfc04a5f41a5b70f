"""Files/s from a folder: the standard library of the running interpreter, to records and, all known, to nothing.

    python -m tests.benchmarks.directory [--folder PATH] [--runs 7]

The answer is checked first: one outcome for each file that a plain listing finds outside site-packages, and none for
what is known.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Collection
from pathlib import Path

from producers.directory import Directory
from producers.rules import Rules
from stream.records import FileId


def check(source: Directory, folder: Path) -> tuple[set[FileId], int]:
    """Return the ids of what is found, and how many bytes were read for it."""
    found = list(source.found(set()))
    known = {each.file_id for each in found}
    listed = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.is_file() and not path.is_symlink() and "site-packages" not in path.relative_to(folder).parts
    }
    assert len(known) == len(found)
    assert {each.path for each in found} == listed, {each.path for each in found} ^ listed
    assert list(source.found(known)) == []
    return known, sum((folder / each.path).stat().st_size for each in found)


def files_per_cpu_s(source: Directory, known: Collection[FileId], files: int) -> float:
    started_s = time.process_time()
    for _ in source.found(known):
        pass
    return files / (time.process_time() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(os.__file__).parent)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    source = Directory(options.folder, Rules())
    known, size = check(source, options.folder)  # and warms up
    fresh = [files_per_cpu_s(source, set(), len(known)) for _ in range(options.runs)]
    again = [files_per_cpu_s(source, known, len(known)) for _ in range(options.runs)]
    print(
        json.dumps(
            {
                "benchmark": "directory",
                "files": len(known),
                "mean_bytes": round(size / len(known)),
                "files_per_cpu_s": {
                    "median": round(statistics.median(fresh)),
                    "spread": [*map(round, (min(fresh), max(fresh)))],
                },
                "known_files_per_cpu_s": {
                    "median": round(statistics.median(again)),
                    "spread": [*map(round, (min(again), max(again)))],
                },
                "seed": None,
                "host": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            }
        )
    )


if __name__ == "__main__":
    main()
