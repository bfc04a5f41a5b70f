"""The benchmarks there are, and where their problems are read from: a file in the published form, or the hub."""

import gzip
import importlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.config import suggestion
from stream.errors import DependencyDown, WrongConfig
from stream.records import digest
from trainer.problems import Format, Problem, read

MOST_BYTES = 1 << 30
"""Of an unpacked file: EvalPlus' largest is some 20 MB."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A data set on the Hugging Face hub."""

    repository: str
    config: str | None
    split: str


@dataclass(frozen=True, slots=True)
class Published:
    """A benchmark known by name."""

    name: str
    form: Format
    files: tuple[str, ...]  # as its authors name them; the first that a folder has is read
    home: str  # where its authors publish it
    hub: Hub | None  # None where the hub has not all of it
    tasks: range | None = None  # numbers of the tasks that are asked; None for all


# fmt: off
PUBLISHED: dict[str, Published] = {b.name: b for b in (
    Published("humaneval", "HumanEval", ("HumanEval.jsonl.gz", "HumanEval.jsonl"),
              "github.com/openai/human-eval", Hub("openai/openai_humaneval", None, "test")),
    # 1 to 10 are for worked examples, 511 on for tuning and training.
    Published("mbpp", "MBPP", ("mbpp.jsonl", "mbpp.jsonl.gz"),
              "github.com/google-research/google-research/tree/master/mbpp",
              Hub("google-research-datasets/mbpp", "full", "test"), range(11, 511)),
    # The hub's edition has the tests as programs that import numpy, which the sandbox has not.
    Published("humaneval+", "EvalPlus", ("HumanEvalPlus*.jsonl.gz", "HumanEvalPlus*.jsonl"),
              "github.com/evalplus/humanevalplus_release/releases", None),
    Published("mbpp+", "EvalPlus", ("MbppPlus*.jsonl.gz", "MbppPlus*.jsonl"),
              "github.com/evalplus/mbppplus_release/releases", None),
)}
# fmt: on


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Problems to ask, in their file's order."""

    name: str
    problems: tuple[Problem, ...]

    @property
    def sha256(self) -> str:
        """Of all that is asked and tested."""
        return digest(*(problem.sha256 for problem in self.problems))

    def first(self, count: int | None) -> "Benchmark":
        """Return the benchmark with its first problems alone, under a name that says so."""
        if count is None or count >= len(self.problems):
            return self
        return Benchmark(f"{self.name}[:{count}]", self.problems[:count])


def load(benchmark: str, place: Path | None = None) -> Benchmark:
    """Read a benchmark: a name of `PUBLISHED`, from the file or folder `place` or else from the hub; or the path of a
    file in one of the published forms.

    Raises:  WrongConfig naming file and line, and what was expected; DependencyDown where the hub cannot be reached.
    """
    known = PUBLISHED.get(benchmark.lower())
    if known is None:
        path = Path(benchmark)
        if not path.is_file() and ".json" not in path.name:
            raise WrongConfig(f"no benchmark is named {benchmark}; {suggestion(benchmark, list(PUBLISHED))}, or a file")
        if place is not None:
            raise WrongConfig(f"--file {place}: {benchmark} is a file itself; name a benchmark, or one of the files")
        return Benchmark(path.name.partition(".")[0], _whole(path.name, read_file(path)))
    if place is None:
        problems = _whole(known.name, _from_hub(known))
    else:
        path = _find(known, place)
        problems = _whole(str(path), read_file(path, known.form))
    asked = tuple(problem for problem in problems if _asked(known, problem))
    if not asked:
        raise WrongConfig(f"benchmark {known.name} asks tasks {known.tasks}, and none of those read is one")
    return Benchmark(known.name, asked)


def read_file(path: Path, expected: Format | None = None) -> Iterator[Problem]:
    """Yield the problems of a JSON Lines file, which may be gzipped.

    Raises:  WrongConfig naming file and line, and what was expected.
    """
    try:
        raw = _unpacked(path)
        text = raw.decode("utf-8")
    except (OSError, EOFError, zlib.error) as err:
        raise WrongConfig(f"{path} cannot be read: {getattr(err, 'strerror', None) or err}") from err
    except UnicodeDecodeError as err:
        raise WrongConfig(f"{path} is not UTF-8: {err.reason} at byte {err.start}") from err
    # Not splitlines, which also splits at characters that JSON may hold as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield read(_json(line), expected)
            except ValueError as err:
                raise WrongConfig(f"{path}, line {number}: {err}") from err


def _unpacked(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    with gzip.open(path) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise OSError(f"more than {MOST_BYTES:,} bytes when unpacked")
    return raw


def _json(line: str) -> object:
    try:
        return json.loads(line)  # not orjson: EvalPlus has integers of more than 64 bits, and Infinity
    except (json.JSONDecodeError, RecursionError) as err:
        raise ValueError(f"expected a JSON object: {err}") from err


def _find(known: Published, place: Path) -> Path:
    if not place.is_dir():
        return place
    for pattern in known.files:
        found = sorted(place.glob(pattern))
        if found:
            return found[-1]  # the newest of several releases
    raise WrongConfig(f"--file {place}: no {' or '.join(known.files)} is in it; it comes from {known.home}")


def _from_hub(known: Published) -> Iterator[Problem]:
    """Yield the problems that the hub has, through its own cache.

    Raises:  WrongConfig where it has none or `datasets` is not installed; DependencyDown.
    """
    by_hand = f"download {known.files[0]} from {known.home} and name it with --file"
    if known.hub is None:
        raise WrongConfig(f"benchmark {known.name}: {by_hand}")
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as err:
        raise WrongConfig(
            f'benchmark {known.name}: to load it from the hub pip install "seedstream[train]"; or {by_hand}'
        ) from err
    hub = known.hub
    try:
        rows: Iterable[dict[str, Any]] = datasets.load_dataset(hub.repository, hub.config, split=hub.split)
    except (OSError, RuntimeError, ValueError) as err:  # all of them how it says that it cannot reach or find one
        raise DependencyDown(f"benchmark {known.name}: the hub gave no {hub.repository} ({err}); {by_hand}") from err
    for number, row in enumerate(rows, start=1):
        try:
            yield read(dict(row), known.form)
        except ValueError as err:
            raise WrongConfig(f"{hub.repository}, row {number}: {err}") from err


def _whole(name: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return all problems.

    Raises:  WrongConfig when there is none, or two have one id.
    """
    found: dict[str, Problem] = {}
    for problem in problems:
        if problem.task_id in found:
            raise WrongConfig(f"{name}: two tasks have the id {problem.task_id}")
        found[problem.task_id] = problem
    if not found:
        raise WrongConfig(f"{name}: expected at least one task, one JSON object a line")
    return tuple(found.values())


def _asked(known: Published, problem: Problem) -> bool:
    number = problem.task_id.rpartition("/")[2]
    return known.tasks is None or not number.isdecimal() or int(number) in known.tasks
