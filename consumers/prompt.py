"""Few-shot prompts from files: one TOML per LLM stage, and the worked examples that its shots are drawn from. Pure
but for the reading in `load`.

    PROMPTS/seeds.toml concepts.toml instructions.toml responses.toml   system, ask, reply, prefill, stop
    PROMPTS/judge/*.toml                                                code, verdict                 (for seeds)
    PROMPTS/examples/*.toml                                             Worked below                  (for the others)

`ask` and `reply` are templates with `$field`s; a dollar sign is written `$$`. `ask` puts the question, in the shots
and for the record itself; `reply` is the whole answer, begins with `prefill`, and is rendered for the shots alone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Literal

from consumers.llm.request import Prompt, Shot
from consumers.quoting import Markers, substituted, template_lines
from consumers.reply import Form
from stream import config
from stream.errors import WrongConfig
from stream.records import Category, Difficulty, digest

BUILT_IN = Path(__file__).parent / "prompts"


@dataclass(frozen=True, slots=True)
class Worked:
    """A worked example: a piece of code, the task it inspired, and an answer to that task with its tests."""

    category: Category
    language: str
    difficulty: Difficulty
    concepts: tuple[str, ...]
    code: str
    instruction: str
    response: str
    tests: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A worked example of the judge: a function, and whether its docstring is good."""

    code: str
    verdict: Literal["yes", "no"]


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a stage's prompt is made of: the folder and type of its examples, and the fields that it asks with."""

    folder: str
    example: type[Worked] | type[Judged]
    asks: tuple[str, ...]


_STAGES = {
    "seeds": _Stage("judge", Judged, ("code",)),
    "concepts": _Stage("examples", Worked, ("code",)),
    "instructions": _Stage("examples", Worked, ("category", "language", "difficulty", "concepts")),
    "responses": _Stage("examples", Worked, ("instruction",)),
}


@dataclass(frozen=True, slots=True)
class _File:
    """The keys of a stage's TOML file, all of them required."""

    system: str
    ask: str
    reply: str
    prefill: str
    stop: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FewShot:
    """A stage's prompt: its templates, and the pool of shots in the order of their file names."""

    path: Path
    system: str
    ask: Template
    reply: Template
    prefill: str
    stop: tuple[str, ...]
    pool: Mapping[str, Shot]  # by the name of the example's file
    sha256: str  # of the templates and the whole pool
    markers: Markers  # escaped in what is asked

    @property
    def form(self) -> Form:
        """How replies to it begin and end."""
        return Form(self.prefill, self.stop)

    def require(self, shots: int) -> None:
        """Raise WrongConfig unless the pool has `shots` examples."""
        if shots > len(self.pool):
            raise WrongConfig(f"{self.path} has {len(self.pool)} worked examples, but shots = {shots}")

    def prompt(self, seed: int, shots: int, asked: Mapping[str, str]) -> Prompt:
        """Ask with the fields `asked`, after `shots` examples of the pool: which ones, and their order, is drawn by
        `seed`.

        Ordering by hash rather than by `random` keeps the draw the same on every version of Python.
        """
        drawn = sorted(self.pool, key=lambda name: digest(seed, name))[:shots]
        quoted = {name: self.markers.escaped(value) for name, value in asked.items()}
        question = substituted(self.ask, quoted)
        return Prompt(self.system, tuple(self.pool[name] for name in drawn), question, self.prefill)


def load(prompts: str | Path, stage: str) -> FewShot:
    """Read the prompt of `stage` from a folder, or from the built-in set of that name.

    Raises:  WrongConfig for a missing or unreadable file, an unknown or missing key, or a template that names a field
             which does not exist.
    """
    folder, kind = find(prompts), _STAGES[stage]
    document = config.read(folder / f"{stage}.toml")
    file = config.convert(document.data, _File, [document])
    ask = _template(document, "ask", kind.asks)
    reply = _template(document, "reply", tuple(field.name for field in dataclasses.fields(kind.example)))
    if not file.reply.startswith(file.prefill):
        config.refuse(f"expected it to begin with the prefill {file.prefill!r}", [document], ("reply",))
    pool = {name: shot(ask, reply, example) for name, example in worked_examples(folder, stage).items()}
    sha256 = digest(
        *(file.system, ask.template, reply.template, file.prefill, *file.stop),
        *(part for name, shot in pool.items() for part in (name, shot.ask, shot.reply)),
    )
    markers = Markers((*template_lines(ask, reply), *(line for stop in file.stop if (line := stop.strip()))))
    return FewShot(
        Path(document.name), file.system.strip("\n"), ask, reply, file.prefill, file.stop, pool, sha256, markers
    )


def shot(ask: Template, reply: Template, example: Worked | Judged) -> Shot:
    """Render an example as it stands in a prompt. Pure."""
    return Shot(substituted(ask, fields(example)), substituted(reply, fields(example)))


def find(prompts: str | Path) -> Path:
    """Return the folder of a prompt set: a path where it has a "/", else a built-in name.

    Raises:  WrongConfig when there is none.
    """
    if isinstance(prompts, Path) or "/" in prompts:
        if Path(prompts).is_dir():
            return Path(prompts)
        raise WrongConfig(f"{prompts} is no folder: expected one with prompt files")
    built_in = sorted(path.name for path in BUILT_IN.iterdir() if path.is_dir())
    if prompts in built_in:
        return BUILT_IN / prompts
    known = config.suggestion(prompts, built_in)
    raise WrongConfig(f"no built-in prompts are named {prompts!r} (a folder is written with a /): {known}")


def worked_examples(folder: Path, stage: str) -> Mapping[str, Worked | Judged]:
    """Read the examples that the shots of `stage` are made of, in the order of their file names.

    Raises:  WrongConfig when there is none, or a file is not one.
    """
    kind = _STAGES[stage]
    paths = sorted((folder / kind.folder).glob("*.toml"))
    if not paths:
        raise WrongConfig(f"{folder / kind.folder} has no worked examples: expected *.toml files")
    documents = {path.stem: config.read(path) for path in paths}
    return {name: config.convert(document.data, kind.example, [document]) for name, document in documents.items()}


def fields(example: Worked | Judged) -> dict[str, str]:
    """Return an example's fields as they stand in a prompt.

    >>> fields(Judged("\\ndef f(): ...\\n", "no"))
    {'code': 'def f(): ...', 'verdict': 'no'}
    """
    if isinstance(example, Judged):
        return {"code": example.code.strip("\n"), "verdict": example.verdict}
    return {
        "category": example.category,
        "language": example.language,
        "difficulty": example.difficulty,
        "concepts": listed(example.concepts),
        "code": example.code.strip("\n"),
        "instruction": example.instruction.strip("\n"),
        "response": example.response.strip("\n"),
        "tests": example.tests.strip("\n"),
    }


def listed(concepts: Sequence[str]) -> str:
    """Return concepts as they stand in a prompt."""
    return ", ".join(concepts)


def _template(document: config.Document, key: str, known: tuple[str, ...]) -> Template:
    template = Template(document.data[key].strip("\n"))
    if not template.is_valid():
        config.refuse("a $ stands before no field: write $$ for a dollar sign", [document], (key,))
    named = template.get_identifiers()
    for name in named:
        if name not in known:
            config.refuse(f"unknown field ${name}; {config.suggestion(name, known)}", [document], (key,))
    if not named:
        config.refuse(f"it names no field: expected {' or '.join(f'${name}' for name in known)}", [document], (key,))
    return template
