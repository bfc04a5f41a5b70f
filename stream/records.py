"""Every record on the bus, in the order of the stream. Frozen, slotted, typed; the unit sits on the field.

Records hold no clock, duration or host (those are headers), so equal inputs give equal bytes. Each record embeds its
parent: an example carries its whole lineage back to repository, revision and line without a join.

Ids (all sha256, hex): file id of (source, path, content); seed id of (file id, index in the file); every other id of
(parent id, stage, index). The parts are length-prefixed, so no two different tuples hash the same bytes.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, NewType

SCHEMA = 1
"""Version of the wire form of all records below. A reader refuses a newer one."""

FileId = NewType("FileId", str)
SeedId = NewType("SeedId", str)
ConceptsId = NewType("ConceptsId", str)
InstructionId = NewType("InstructionId", str)
ModelId = NewType("ModelId", str)


def digest(*parts: str | bytes | int) -> str:
    """Return the sha256 of length-prefixed parts, as 64 hex digits.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    >>> digest("a", 1) == digest("a", 1)
    True
    """
    h = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")  # any str has an id
        h.update(b"%d:" % len(raw))
        h.update(raw)
    return h.hexdigest()


def file_id(source: str, path: str, content: bytes) -> FileId:
    """The id of a source file: changes with its content, so a changed file is a new record."""
    return FileId(digest(source, path, content))


def seed_id(file: FileId, index: int) -> SeedId:
    """The id of the `index`-th function (or snippet) of a file, counted before any filter."""
    return SeedId(digest(file, index))


def derived_id(parent: str, stage: str, index: int) -> str:
    """The id of the `index`-th record that `stage` made from `parent`."""
    return digest(parent, stage, index)


def sampling_seed(request_id: str, recipe_seed: int) -> int:
    """The seed of one LLM request: a 31-bit hash, since servers take a C int.

    >>> 0 <= sampling_seed("a", 3407) < 2**31
    True
    """
    return int(digest(request_id, recipe_seed)[:8], 16) & 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a record's lineage: what made it, exactly enough to make it again."""

    stage: str
    version: int  # of the stage's code: raised when its outcome for the same input changes
    prompt_sha256: str | None = None  # of the prompt template with its examples, where a model was asked
    model: str | None = None
    sampling_seed: int | None = None
    verdict: str | None = None  # what the step found: "0 errors", "yes", "pass"
    prompt_tokens: int | None = None  # of the request, where a model was asked for one sample; see also Response
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A source file, without its text: the lineage that travels with everything made from it."""

    file_id: FileId
    source: str  # the source's name: a directory as the user gave it, a dataset
    path: str  # relative to the source, "/" between parts
    language: str  # lower case: "python"
    repository: str | None  # remote URL without credentials, or None outside git
    revision: str | None  # commit hash
    licence: str  # SPDX expression, or "unknown"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Topic `files`."""

    file: File
    text: str

    @property
    def key(self) -> str:
        return self.file.file_id


SeedKind = Literal["function", "snippet"]


@dataclass(frozen=True, slots=True)
class Seed:
    """A self-contained piece of code. Topics `functions`, `typed`, `unique`, `seeds`."""

    seed_id: SeedId
    file: File
    index: int  # among the functions of its file, before any filter
    line: int  # first line of the code in its file, counted from 1
    kind: SeedKind
    name: str  # of the function; "" for a snippet
    code: str  # as it stands in the file, dedented; inferred imports in front
    code_sha256: str
    imports: tuple[str, ...]  # the import lines that were inferred and put in front
    steps: tuple[Step, ...]  # one per stage passed: functions, typed, unique, seeds

    @property
    def key(self) -> str:
        return self.seed_id


@dataclass(frozen=True, slots=True)
class Concepts:
    """Topic `concepts`: a seed and the programming concepts a model named in it."""

    concepts_id: ConceptsId
    seed: Seed
    concepts: tuple[str, ...]
    step: Step

    @property
    def key(self) -> str:
        return self.concepts_id


Category = Literal["function", "class", "program"]
Difficulty = Literal["easy", "medium", "hard"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """Topic `instructions`: a task in words."""

    instruction_id: InstructionId
    concepts: Concepts
    category: Category
    difficulty: Difficulty
    language: str
    text: str
    step: Step

    @property
    def key(self) -> str:
        return self.instruction_id


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer to an instruction."""

    index: int  # of the sample, 0 <= index < n
    text: str  # what is trained on: the answer without its tests
    code: str  # the code of `text`
    tests: str  # the code of the tests part
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    step: Step


@dataclass(frozen=True, slots=True)
class Responses:
    """Topic `responses`: an instruction with the samples that could be parsed. The others are in `rejects`."""

    instruction: Instruction
    responses: tuple[Response, ...]

    @property
    def key(self) -> str:
        return self.instruction.instruction_id


@dataclass(frozen=True, slots=True)
class Execution:
    """What running one response with its tests showed. No duration: that is no property of the record."""

    index: int  # of the response
    verdict: str  # one of sandbox.Verdict
    detail: str  # last lines of the traceback, at most 2,000 characters


@dataclass(frozen=True, slots=True)
class Executions:
    """Topic `executions`: an instruction, its samples and a verdict for each, in the same order."""

    instruction: Instruction
    responses: tuple[Response, ...]
    executions: tuple[Execution, ...]
    step: Step

    @property
    def key(self) -> str:
        return self.instruction.instruction_id


@dataclass(frozen=True, slots=True)
class Example:
    """Topic `examples`: one accepted (instruction, response) with its whole lineage."""

    instruction: Instruction
    response: Response
    execution: Execution
    step: Step

    @property
    def key(self) -> str:
        return self.instruction.instruction_id


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint was trained on: enough to build the same file again, byte for byte."""

    namespace: str
    source: str  # the topic it was read from, or the name of a file of the user's
    ends: tuple[int, ...]  # end offset of each partition of the topic, in order; () for a file
    keys: int  # rows of the file, one a key
    sha256: str  # of the file: a row a line, sorted by key
    recipe: str  # the effective recipe as canonical JSON; "" where the namespace has none
    recipe_sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """Topic `models`: a checkpoint that was trained and published. The newest one is the trainer's progress."""

    model_id: ModelId  # of (base, manifest, hyper-parameters): the same training again is the same model
    predecessor: ModelId | None  # the newest model of the namespace when this training began
    base: str  # as the user named it
    base_sha256: str  # of its configuration, tokenizer and weights
    manifest: Manifest
    hyperparameters: str  # as canonical JSON
    losses: tuple[float, ...]  # of each optimizer step, in nats per trained token (DPO: per pair)
    held_out_losses: tuple[float, ...]  # before the training and after each epoch; () where nothing was held out
    left_out: int  # rows longer than the context: they were not trained on
    weights_sha256: str  # of what was published, as base_sha256
    directory: str  # where it was published, as the user named it

    @property
    def key(self) -> str:
        return self.model_id


@dataclass(frozen=True, slots=True)
class PassAt:
    """pass@k of a benchmark: the mean over its problems, and the 95% confidence interval around it. All in [0, 1]."""

    k: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """Topic `scores`: what a model scored on a benchmark when it was asked in one way."""

    model_id: str  # of topic `models`, or the name that a server gives a model which was not trained here
    benchmark: str
    benchmark_sha256: str  # of the problems asked, their tests included
    setting: str  # how it was asked: "completions, greedy"
    samples: int  # of each problem
    passed: tuple[int, ...]  # samples that passed, of each problem in the benchmark's order
    pass_at: tuple[PassAt, ...]
    prompt_tokens: int  # of all samples together
    completion_tokens: int
    step: Step

    @property
    def key(self) -> str:
        """The score id: a later score of the same model, benchmark and setting takes the place of an earlier one."""
        return digest(self.model_id, self.benchmark, self.setting)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Topic `rejects`: a record that a model, a source or a rule turned down."""

    record_id: str  # of the input, or of the part of it that was turned down
    stage: str
    reason: str  # a value of that stage's Reason
    evidence: str  # the whole reply, line or name that shows it; a person will read it

    @property
    def key(self) -> str:
        return self.record_id


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Topic `dead`: a record that we failed. The input stands at its position until pruned, and can be replayed."""

    record_id: str
    stage: str
    error: str  # class and message
    topic: str  # position of the input
    partition: int
    offset: int
    head: str  # the input's first 64 KB

    @property
    def key(self) -> str:
        return self.record_id


@dataclass(frozen=True, slots=True)
class RecipeText:
    """Topic `recipe`: what this namespace runs."""

    name: str
    text: str  # the effective recipe as canonical JSON
    parent: str | None  # the namespace this one was branched from
    first: str | None = None  # the stage it was branched at: those above it run in the parent
    reads: str | None = None  # what that stage reads, with the namespace: "main/seeds"

    @property
    def key(self) -> str:
        return "recipe"


@dataclass(frozen=True, slots=True)
class Kept:
    """One entry of a state log: a record that was let through, and what remembering it takes."""

    offset: int  # of the input
    record_id: str
    change: str  # the stage's own, opaque to the runner


@dataclass(frozen=True, slots=True)
class StateChange:
    """Topic `<stage>.state`: what one committed step added to a Fold's state (or to what a source has sent)."""

    entries: tuple[Kept, ...]

    @property
    def key(self) -> str:
        return "-"


@dataclass(frozen=True, slots=True)
class Counts:
    """Outcomes of some inputs."""

    emitted: int = 0
    rejected: tuple[tuple[str, int], ...] = ()  # by reason, sorted
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Audited:
    """Topic `audit`: inputs that were proven to have all of their outcomes, once, so that these may be deleted; or,
    where `stage` is "", how far a topic was deleted."""

    stage: str  # whose inputs they are; of what a source sent, the topic it sends to
    topic: str  # that holds the inputs; the source's name
    partition: int
    below: int  # all inputs below this offset
    inputs: int  # how many these are
    emitting: int = 0  # how many of them emitted a record
    made: Counts = Counts()  # what was made from them
    gone: Counts = Counts()  # of those, what was deleted since

    @property
    def key(self) -> str:
        return f"{self.stage}:{self.topic}:{self.partition}"


Record = (
    SourceFile
    | Seed
    | Concepts
    | Instruction
    | Responses
    | Executions
    | Example
    | Model
    | Score
    | Rejected
    | DeadLetter
    | RecipeText
    | Audited
    | StateChange
)
