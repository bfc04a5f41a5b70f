"""The imports that a function cut out of its file needs in front of it. Pure; on the standard library's `symtable`.

The reference asks autoimport, which sees the bare function and guesses from what is installed. We see the file: a name
that the function leaves open is bound by the import that binds it there, or it stays open (a helper or a constant of
the module, a star import), and the type check rejects the function as not self-contained. So the outcome depends on
the file alone. Relative imports mean nothing outside their package and are left out. Names that a file nowhere binds
are not guessed: of 10,382 functions with docstrings in the standard library and twenty packages it would mend two.
"""

import ast
import re
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from consumers.extraction import ImportStatement
from consumers.python311 import BUILTINS, MODULE_NAMES, STANDARD_LIBRARY

_UNEVALUATED = "from __future__ import annotations"

# `symtable` sees neither an annotation inside a string nor one inside a comment. The first pattern only suspects.
_QUOTED_ANNOTATION = re.compile(r"(?:->|[\w\])]\s*:)[\w .,|\[\]]*[\"']")
_TYPE_COMMENT = re.compile(r"#\s*type:\s*([^\n]*)")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Binding:
    """One name that an import statement binds."""

    name: str
    module: str
    statement: str  # "import" or "from MODULE import"
    clause: str  # what stands behind it: "os.path", "numpy as np"
    conditional: bool
    position: int  # in the order of the file

    @property
    def standard(self) -> bool:
        return self.module.partition(".")[0] in STANDARD_LIBRARY

    @property
    def plain(self) -> bool:
        """Whether it is an `import a.b`, which binds `a`, and leaves what an `import a.c` added to it."""
        return self.statement == "import" and self.clause == self.module


@dataclass(frozen=True)
class Bound:
    """What binds one name of a file. Worked out once, since a file can have as many imports as functions."""

    usual: Binding
    modules: Mapping[str, Binding]  # where `usual` is plain: the first import of each module that is

    @cached_property
    def lengths(self) -> frozenset[int]:
        """In characters, of the names of the modules."""
        return frozenset(map(len, self.modules))


@dataclass(frozen=True, slots=True)
class Imports:
    """What the imports of one file bind, and whether its annotations are left unevaluated (PEP 563)."""

    bindings: Mapping[str, Bound]
    future_annotations: bool


def read(statements: Iterable[ImportStatement], definitions: Mapping[str, int]) -> Imports:
    """Collect what a file's imports bind. A name that a definition binds later is no import any more.

    `definitions` is `Module.definitions()`. A statement that is not Python binds nothing.
    """
    bindings: dict[str, list[Binding]] = {}
    future_annotations = False
    for statement in statements:
        for binding in _bound_by(statement):
            if binding.module == "__future__":
                future_annotations |= binding.clause == "annotations"
            elif definitions.get(binding.name, -1) < binding.position:
                bindings.setdefault(binding.name, []).append(binding)
    bound = {name: chosen for name, found in bindings.items() if (chosen := _bound(name, found))}
    return Imports(bound, future_annotations)


def infer(code: str, imports: Imports) -> tuple[str, ...]:
    """Return the import lines that `code` needs, in the order of its file, names from one module on one line.

    Cost:    O(n).
    Raises:  SyntaxError (ValueError for a NUL) when `code` is not Python.

    >>> file = [ImportStatement("import os, re", False, 0), ImportStatement("from typing import Any as A", False, 14)]
    >>> infer("def f(x: A):\\n    return re.sub('a', 'b', x)", read(file, {}))
    ('import re', 'from typing import Any as A')
    """
    if not imports.bindings and not imports.future_annotations:
        return ()
    names = _open_names(code)
    annotations = _annotations(code) if imports.future_annotations or _QUOTED_ANNOTATION.search(code) else ()
    names.update(_names_in_strings(annotations))
    for comment in _TYPE_COMMENT.findall(code):
        names.update(_IDENTIFIER.findall(comment))
    chosen: set[Binding] = set()
    for name in names & imports.bindings.keys():
        chosen.update(_choose(name, imports.bindings[name], code))
    lines: dict[str, str] = {}
    for binding in sorted(chosen, key=lambda b: (b.position, b.clause)):
        line = f"{binding.statement} {binding.clause}"
        if binding.statement == "import":
            lines[line] = line
        else:
            before = lines.get(binding.statement)
            lines[binding.statement] = f"{before}, {binding.clause}" if before else line
    future = (_UNEVALUATED,) if imports.future_annotations and annotations else ()
    return (*future, *lines.values())


def undefined_names(code: str) -> set[str]:
    """Return the names that `code`, as a whole module, reads but never binds, and Python does not bring along.

    Raises:  SyntaxError (ValueError for a NUL).

    >>> sorted(undefined_names("def f(x):\\n    global seen\\n    seen = g(len(x))\\n    return seen"))
    ['g']
    """
    return _open_names(code) - BUILTINS - MODULE_NAMES


def _open_names(code: str) -> set[str]:
    """Names that are read and nowhere bound, those of Python itself included."""
    # Unevaluated annotations are hidden from the table, but not from who reads the code.
    module = symtable.symtable(code.removeprefix(_UNEVALUATED), "<seed>", "exec")
    used: set[str] = set()
    bound: set[str] = set()
    for symbol in module.get_symbols():
        (bound if symbol.is_assigned() or symbol.is_imported() else used).add(symbol.get_name())
    pending = module.get_children()
    while pending:
        scope = pending.pop()
        for symbol in scope.get_symbols():
            if symbol.is_global():
                (bound if symbol.is_assigned() or symbol.is_imported() else used).add(symbol.get_name())
        pending.extend(scope.get_children())
    return used - bound


def _bound_by(statement: ImportStatement) -> Iterator[Binding]:
    try:
        (node,) = ast.parse(statement.text).body
    except (SyntaxError, ValueError):
        return
    match node:
        case ast.Import(names):
            for alias in names:
                name = alias.asname or alias.name.partition(".")[0]
                yield _binding(name, alias.name, "import", alias, statement)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            for alias in names:
                if alias.name != "*":
                    yield _binding(alias.asname or alias.name, module, f"from {module} import", alias, statement)
        case _:
            pass


def _binding(name: str, module: str, statement: str, alias: ast.alias, at: ImportStatement) -> Binding:
    return Binding(name, module, statement, ast.unparse(alias), at.conditional, at.position)


def _bound(name: str, bindings: Sequence[Binding]) -> Bound | None:
    """Choose among the imports that bind `name`: of those that always run the last, as Python would; of those in a
    `try` or an `if` the first from the standard library, which every reader has.

    A builtin that a compatibility package replaces stays the builtin: None.
    """
    if name in BUILTINS:
        bindings = [b for b in bindings if b.standard]
    always = [b for b in bindings if not b.conditional]
    if not always:
        usual = next((b for b in bindings if b.standard), bindings[0] if bindings else None)
        return Bound(usual, {}) if usual else None
    last = always[-1]
    modules: dict[str, Binding] = {}
    if last.plain:
        for binding in always:
            if binding.plain:
                modules.setdefault(binding.module, binding)
    return Bound(last, modules)


def _choose(name: str, bound: Bound, code: str) -> Sequence[Binding]:
    """Choose what to import for `name`: the modules that the code spells out, but for packages of other ones."""
    endings = sorted(f"{module}." for module in _spelled_out(name, bound, code))
    # Sorted, what lies in a package follows it at once.
    deepest = [one for one, after in zip(endings, [*endings, ""][1:], strict=True) if not after.startswith(one)]
    return [bound.modules[ending[:-1]] for ending in deepest] or [bound.usual]


def _spelled_out(name: str, bound: Bound, code: str) -> set[str]:
    """The modules that occur in `code`, looked up where their first part does: a package can have thousands."""
    found: set[str] = set()
    at = code.find(name) if bound.modules else -1
    while at >= 0:
        found.update(code[at : at + length] for length in bound.lengths)
        at = code.find(name, at + 1)
    return found & bound.modules.keys()


def _annotations(code: str) -> Sequence[ast.expr]:
    """Return the annotations of arguments, results and variables."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.arg() | ast.AnnAssign():
                found.append(node.annotation)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.append(node.returns)
            case _:
                pass
    return [annotation for annotation in found if annotation is not None]


def _names_in_strings(annotations: Sequence[ast.expr]) -> Iterator[str]:
    for annotation in annotations:
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from _IDENTIFIER.findall(node.value)
