"""Files -> functions. Reads `files`, writes `functions`. Source: SelfCodeAlign, arXiv:2410.24198.

Every top-level function of a file is emitted or rejected, under a seed id of its own. Where we differ from the
reference: a docstring in any form counts, not only a triple-quoted one; decorators stay; `async def` counts; the
imports come from the file (`consumers.imports`); a function counts as returning a value only by a `return` of its own.
"""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from consumers import filters, imports
from consumers.decontamination import Decontamination
from consumers.extraction import Function, Module, parse
from consumers.pool import Pool
from stream.records import Seed, SeedId, SourceFile, Step, seed_id
from stream.stage import Map, Outcome, Reject

VERSION = 2


class Reason(StrEnum):
    # of a file
    NOT_PYTHON = "not_python"
    NO_FUNCTIONS = "no_functions"
    # of a function; of a file, when a part that is no Python could have held one
    SYNTAX_ERROR = "syntax_error"
    # of a function
    NO_DOCSTRING = "no_docstring"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    NO_ARGUMENTS = "no_arguments"
    NO_RETURN_VALUE = "no_return_value"
    BANNED_WORD = "banned_word"
    BANNED_IMPORT = "banned_import"
    CONTAMINATED = "contaminated"


@dataclass(frozen=True, slots=True)
class Params:
    """The recipe's table `functions`."""

    max_lines: int = 150
    max_seed_bytes: int = 65_536  # imports included
    banned_words: tuple[str, ...] = ("todo", "fixme", "bug")
    banned_imports: tuple[str, ...] = (
        "argparse",
        "os",
        "subprocess",
        "sys",
        "setuptools",
        "distutils",
        "matplotlib",
        "seaborn",
    )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reject on its way out of a worker process: plain data, cheap to pickle."""

    reason: Reason
    evidence: str
    record_id: str | None = None


def stage(params: Params, pool: Pool, decontamination: Decontamination) -> Map[SourceFile, Seed]:
    """Cut files into functions in `pool`'s workers, each file for itself."""

    async def functions(source: SourceFile) -> Outcome[Seed]:
        parts = await pool.call(cut, source, params)
        return Outcome.of(*(_decontaminated(part, decontamination) for part in parts))

    return Map[SourceFile, Seed].single(functions, concurrency=2 * pool.workers)


def cut(source: SourceFile, params: Params) -> list[Seed | Refusal]:
    """Return what becomes of each function of a file, in its order, at least one part. Pure."""
    if source.file.language != "python":
        return [Refusal(Reason.NOT_PYTHON, f"language is {source.file.language!r}")]
    text = source.text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        module = parse(text)
    except UnicodeEncodeError as err:
        return [Refusal(Reason.SYNTAX_ERROR, f"lone surrogate {err.object[err.start]!a} at character {err.start}")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in somebody's string is no business of our log
        parts = list(_functions(source, module, params))
    if module.broken_line is not None:
        line = text.split("\n")[module.broken_line - 1]
        parts.append(Refusal(Reason.SYNTAX_ERROR, f"line {module.broken_line}: {line[:200]}"))
    return parts or [Refusal(Reason.NO_FUNCTIONS, f"{source.file.path} defines no function at its top level")]


def _functions(source: SourceFile, module: Module, params: Params) -> Iterator[Seed | Refusal]:
    file_imports: imports.Imports | None = None  # read only when a function gets that far
    for index, function in enumerate(module.functions):
        record_id = seed_id(source.file.file_id, index)
        found = _refuse_early(function, params)
        if found is None:
            file_imports = file_imports or imports.read(module.imports(), module.definitions())
            found = _seed(source, function, index, record_id, file_imports, params)
        if isinstance(found, Seed):
            yield found
        else:
            reason, evidence = found
            yield Refusal(reason, f"{function.name}, line {function.line}: {evidence}", record_id)


def _refuse_early(function: Function, params: Params) -> tuple[Reason, str] | None:
    """The rules that need no compiler, cheapest first."""
    if function.broken:
        return Reason.SYNTAX_ERROR, function.code[:200]
    if not function.has_docstring:
        return Reason.NO_DOCSTRING, "its first statement is no string"
    if evidence := filters.too_long(function, params.max_lines):
        return Reason.TOO_LONG, evidence
    if evidence := filters.no_arguments(function):
        return Reason.NO_ARGUMENTS, evidence
    if evidence := filters.no_return_value(function):
        return Reason.NO_RETURN_VALUE, evidence
    # Before the compiler sees it, for time; once more with the imports.
    if evidence := filters.too_large(function.code, params.max_seed_bytes):
        return Reason.TOO_LARGE, evidence
    return None


def _seed(
    source: SourceFile,
    function: Function,
    index: int,
    record_id: SeedId,
    file_imports: imports.Imports,
    params: Params,
) -> Seed | tuple[Reason, str]:
    try:
        lines = imports.infer(function.code, file_imports)
        code = "\n".join((*lines, "", "", function.code)) if lines else function.code
        # tree-sitter takes more than Python does: `print x`, a `break` outside of a loop.
        compile(code, "<seed>", "exec", dont_inherit=True)
    except SyntaxError as err:
        return Reason.SYNTAX_ERROR, f"{err.msg}: {(err.text or '').strip()[:200]}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as err:  # NUL; nested too deep
        return Reason.SYNTAX_ERROR, f"{type(err).__name__}: {err}"
    if evidence := filters.too_large(code, params.max_seed_bytes):
        return Reason.TOO_LARGE, evidence
    if evidence := filters.banned_word(code, params.banned_words):
        return Reason.BANNED_WORD, evidence
    if evidence := filters.banned_import(code, params.banned_imports):
        return Reason.BANNED_IMPORT, evidence
    return Seed(
        seed_id=record_id,
        file=source.file,
        index=index,
        line=function.line,
        kind="function",
        name=function.name,
        code=code,
        code_sha256=hashlib.sha256(code.encode()).hexdigest(),
        imports=lines,
        steps=(Step("functions", VERSION),),
    )


def _decontaminated(part: Seed | Refusal, decontamination: Decontamination) -> Seed | Reject:
    # Here and not in the worker: it takes microseconds, and the strings take tens of megabytes in each process.
    if isinstance(part, Refusal):
        return Reject(part.reason, part.evidence, part.record_id)
    known = decontamination.find(part.code)
    if known is None:
        return part
    return Reject(Reason.CONTAMINATED, f"{part.name}, line {part.line}: contains {known}", part.seed_id)
