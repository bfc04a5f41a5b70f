"""Real functions for the corpus: those of the running interpreter's standard library, as stage `functions` would cut
them, and the methods of its classes too, since there are few functions."""

import ast
import hashlib
import inspect
import re
import sysconfig
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from consumers import extraction, imports
from deploy.lab import concepts

HELD_OUT = 10
"""One file in so many is kept from the corpus, drawn by the hash of its path."""

Part = Literal["corpus", "held out"]

_SKIPPED = {"site-packages", "test", "tests", "idle_test", "lib2to3", "pydoc_data", "__pycache__"}
_SHORT_CHARS = 200
_FEWEST_WORDS = 3  # of a docstring that says something


@dataclass(frozen=True)
class Function:
    """One function or method with a docstring."""

    path: str
    imports: tuple[str, ...]
    before: str  # the code up to the docstring
    docstring: str  # as it stands there, quotes included
    after: str
    concepts: tuple[str, ...]

    def with_docstring(self, docstring: str) -> str:
        """Return the code with another docstring, quotes included, as a seed looks."""
        function = f"{self.before}\n    {docstring}\n{self.after}"
        return "\n".join((*self.imports, "", "", function)) if self.imports else function

    @cached_property
    def code(self) -> str:
        return self.with_docstring(self.docstring)

    @cached_property
    def compact(self) -> str:
        """The code with the first paragraph of its docstring alone."""
        return self.with_docstring(f'"""{self.summary}"""')

    @cached_property
    def summary(self) -> str:
        """The first paragraph of the docstring on one line, cut at some 200 characters."""
        text = ast.literal_eval(self.docstring)
        first = " ".join(re.split(r"\n\s*\n", inspect.cleandoc(text).strip())[0].split())
        first = first if len(first) <= _SHORT_CHARS else f"{first[:_SHORT_CHARS].rsplit(' ', 1)[0]} ..."
        return first.replace("\\", "/").replace('"""', "'''")

    @property
    def lines(self) -> int:
        return self.code.count("\n") + 1


ROOT = Path(sysconfig.get_path("stdlib"))


def standard_library(part: Part) -> list[Function]:
    """Return the functions of one part of the standard library, none twice, in the order of their files."""
    found = {function.code: function for function in read(files(part), ROOT)}
    return list(found.values())


def files(part: Part) -> list[Path]:
    """Return the files of one part of the standard library, tests and generated ones left out, by name."""
    paths = sorted(path for path in ROOT.rglob("*.py") if not _SKIPPED & set(path.relative_to(ROOT).parts))
    return [path for path in paths if _part(path.relative_to(ROOT)) == part]


def _part(path: Path) -> Part:
    drawn = int.from_bytes(hashlib.sha256(path.as_posix().encode()).digest()[:8])
    return "held out" if drawn % HELD_OUT == 0 else "corpus"


def read(paths: Iterable[Path], root: Path) -> Iterator[Function]:
    """Cut the functions and methods out of files; a file that is not Python has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            try:
                text = path.read_text(encoding="utf-8")
                tree = ast.parse(text)
            except (UnicodeDecodeError, SyntaxError):
                continue
            module = extraction.parse(text)
            bound = imports.read(module.imports(), module.definitions())
            for node in _functions(tree):
                if function := cut(text, node, path.relative_to(root).as_posix(), bound):
                    yield function


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (inner for inner in inside if isinstance(inner, ast.FunctionDef))


def cut(text: str, node: ast.FunctionDef, path: str, bound: imports.Imports) -> Function | None:
    """Cut one function out of its file; None when it has no docstring that says something, or nothing besides."""
    docstring = ast.get_docstring(node)
    if docstring is None or len(re.findall(r"[A-Za-z]{2,}", docstring)) < _FEWEST_WORDS or len(node.body) == 1:
        return None
    lines = text.split("\n")
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    said, rest = node.body[0], node.body[1]
    if said.lineno == node.lineno or said.end_lineno is None or rest.lineno <= said.end_lineno:
        return None  # on one line with its neighbours
    whole = textwrap.dedent("\n".join(lines[first : node.end_lineno])).expandtabs(4).split("\n")
    at, end = said.lineno - 1 - first, said.end_lineno - first
    before, quoted, after = ("\n".join(part) for part in (whole[:at], whole[at:end], whole[end:]))
    try:
        named = concepts.label(_without_docstring(node))
        lines_needed = imports.infer("\n".join(whole), bound)
        ast.literal_eval(quoted.strip())
    except (SyntaxError, ValueError):  # a docstring with a comment behind it, a tab in a string
        return None
    return Function(path, lines_needed, before, quoted.strip(), after, named)


def _without_docstring(node: ast.FunctionDef) -> ast.FunctionDef:
    fields = {name: value for name, value in ast.iter_fields(node) if name != "body"}
    return ast.FunctionDef(**fields, body=node.body[1:])
