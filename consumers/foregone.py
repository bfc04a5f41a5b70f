"""Errors that pyright is certain to report, found without asking it: it is by far the slowest step before the models.

Most functions of real code are not self-contained, and the compiler's symbol table knows which names they leave open.
But pyright reports nothing in code that it takes for unreachable, and it knows many ways for code to be that: after a
call that never returns, under a condition that types decide, … So a name counts only where nothing like that can
stand before it; whatever is not certain is left to pyright. A verdict given here is the one that pyright would give.
"""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from consumers.imports import undefined_names
from consumers.pyright_cli import Diagnostic, package_folder
from consumers.python311 import BUILTINS

# What silences pyright for a whole file or function, or declares that a call never returns.
_LEAVE_TO_PYRIGHT = re.compile(r"^\s*#\s*type:\s*ignore|pyright\s*:|no_type_check|NoReturn|Never", re.MULTILINE)
_IGNORED_LINE = re.compile(r"#\s*type:\s*ignore")

_DECIDED_BY_CONFIGURATION = frozenset(("platform", "version_info", "name", "TYPE_CHECKING", "__debug__"))
"""Names and attributes by which pyright decides a condition: of `sys`, `os` and `typing`."""

_NEVER_RETURN = """
ExitProcess __call__ __delitem__ __getitem__ __getstate__ __init_subclass__ __new__ __setattr__ __sub__
__typing_subst__ _exit _handle_conflict_error abort activate_stack_trampoline appendChild assert_never close
createDOMWriter default_int_handler end_doctype_decl_handler error execl execle execlp execlpe execv execve execvp
execvpe exit exit_thread fail fatalError fromkeys get_child_watcher getmark getsockbyname getstate insertBefore
ioctl joinpath load loadXML log_error open parseWithContext quit raise_error read_bytes read_text recvmsg recvmsg_into
removeChild removeNamedItem removeNamedItemNS replaceChild sendmsg sendmsg_afalg setNamedItem setNamedItemNS
set_child_watcher setmark setstate share skipTest start_element_handler stls unknown_open which
"""
NEVER_RETURN = frozenset(_NEVER_RETURN.split())
"""Names of functions and methods that somewhere in the standard library's stubs return NoReturn."""


_KNOWN_TO_PYRIGHT = frozenset(("reveal_type", "reveal_locals", "__class__", "__module__", "__qualname__"))
"""Names that are neither in its stubs nor undefined: its own, and those of class bodies."""


@dataclass(frozen=True, slots=True)
class Stubs:
    """What pyright's stubs define: names that are never undefined, modules that are never missing."""

    builtins: frozenset[str]
    modules: frozenset[str]


@cache
def bundled_stubs() -> Stubs:
    """Read the stubs that pyright brings along. Takes 0.1 s, once for each process.

    Raises:  Unavailable when pyright is not installed.
    """
    folder = package_folder() / "dist" / "dist" / "typeshed-fallback" / "stdlib"
    return Stubs(
        frozenset(_defined(ast.parse((folder / "builtins.pyi").read_text(encoding="utf-8")).body)),
        frozenset(path.stem for path in folder.iterdir()),
    )


def _defined(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign():
                yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.If():
                yield from _defined(node.body)
                yield from _defined(node.orelse)
            case _:
                pass


def foregone_errors(codes: Sequence[str]) -> list[Diagnostic | None]:
    """Return, for each code, an error that pyright would report, alone or with others, or None: ask it.

    Cost:    about 0.3 ms a function.
    Raises:  Unavailable when pyright is not installed.
    """
    stubs = bundled_stubs()
    found: list[Diagnostic | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, about somebody else's code
        for code in codes:
            try:
                found.append(foregone_error(code, stubs))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                found.append(None)  # no Python, or nested too deep for us
    return found


def foregone_error(code: str, stubs: Stubs) -> Diagnostic | None:
    """
    >>> stubs = Stubs(frozenset({"len"}), frozenset({"re"}))
    >>> print(foregone_error("def f(x):\\n    return helper(x)", stubs))
    line 2: "helper" is not defined (reportUndefinedVariable)
    >>> print(foregone_error("import numpy\\ndef f(x):\\n    return numpy.sum(x)", stubs))
    line 1: Import "numpy" could not be resolved (reportMissingImports)
    >>> foregone_error("def f(x):\\n    return 1\\n    helper(x)", stubs)
    """
    if _LEAVE_TO_PYRIGHT.search(code):
        return None
    module = ast.parse(code)
    reached = _Reached(module, code, undefined_names(code) - stubs.builtins - _KNOWN_TO_PYRIGHT, stubs.modules)
    reached.block(module.body)
    return min(reached.found, key=lambda error: error.line, default=None)


class _Reached:
    """Walks a module in the order it runs and collects the errors that pyright must take for reachable. The methods
    return whether what follows is certainly reached too; nothing is collected behind doubt.
    """

    def __init__(self, module: ast.Module, code: str, undefined: set[str], modules: frozenset[str]) -> None:
        self.found: list[Diagnostic] = []
        self._undefined = undefined
        self._modules = modules
        self._ignored = {n for n, line in enumerate(code.split("\n"), 1) if _IGNORED_LINE.search(line)}
        self._never_return: set[str] = set(NEVER_RETURN)
        self._typed = set[str]()  # names by whose type a condition may be decided: those with a declared one
        arguments = set[str]()
        imported = set[str]()
        elsewhere = set[str]()  # bound in other ways, perhaps to a function that never returns
        for node in ast.walk(module):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    elsewhere.add(name)
                    self._typed.add(name)
                    if node not in module.body:  # a function of a module is no attribute
                        self._never_return.add(name)
                case ast.arg(arg=name, annotation=annotation):
                    (self._typed if annotation else arguments).add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    self._typed.add(name)
                case ast.alias(name=name, asname=asname):
                    imported.add(asname or name)
                    self._typed.add(asname or name.partition(".")[0])
                    if name in NEVER_RETURN:
                        self._never_return.add(asname or name)
                case ast.Name(id=name, ctx=ast.Store()):
                    elsewhere.add(name)
                case _:
                    pass
        builtins = BUILTINS - {"exit", "quit"} - imported - arguments - self._typed
        known = (imported - self._never_return) | (arguments - self._typed)
        self._harmless = (undefined | builtins | known) - elsewhere  # names whose call surely returns, or is unknown
        self._doubt = False

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        return all(self._statement(statement) for statement in statements)

    def _statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.AnnAssign() | ast.Delete():
                return self._expressions(node)
            case ast.Return() | ast.Raise():
                self._expressions(node)
                return False
            case ast.If():
                return self._expressions(node.test) and self._branches(node)
            case ast.For() | ast.AsyncFor():
                if not self._expressions(node.target, node.iter):
                    return False
                self.block(node.body)
                return self.block(node.orelse)
            case ast.While():
                if not self._expressions(node.test) or not self._is_open(node.test):
                    return False
                self.block(node.body)
                return self.block(node.orelse)
            case ast.Try():
                return self._try(node)
            case ast.With() | ast.AsyncWith():
                return self._expressions(*node.items) and self.block(node.body)
            case ast.Match():
                return self._expressions(node.subject) and self._in_doubt(*(case.body for case in node.cases))
            case ast.Assert():
                return self._expressions(node.test) and self._is_open(node.test)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if not self._expressions(*node.decorator_list, node.args, node.returns):
                    return False
                self.block(node.body)
                return True
            case ast.ClassDef():
                return self._expressions(*node.decorator_list, *node.bases, *node.keywords) and self.block(node.body)
            case ast.Import(names=names):
                self._imports(node, [alias.name for alias in names])
                return True
            case ast.ImportFrom(module=str(name), level=0):
                self._imports(node, [name])
                return True
            case ast.Global() | ast.Nonlocal() | ast.Pass():
                return True
            case _:
                return False

    def _imports(self, node: ast.stmt, names: Sequence[str]) -> None:
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for name in names:
            if name.partition(".")[0] not in self._modules and not self._doubt and self._ignored.isdisjoint(lines):
                message = f'Import "{name}" could not be resolved'
                self.found.append(Diagnostic(node.lineno, message, "reportMissingImports"))

    def _branches(self, node: ast.If) -> bool:
        if not self._is_open(node.test):
            return self._in_doubt(node.body, node.orelse)
        body = self.block(node.body)
        orelse = self.block(node.orelse)
        return body or orelse

    def _try(self, node: ast.Try) -> bool:
        # Each handler can be reached from where the body begins.
        body = self.block(node.body) and self.block(node.orelse)
        handlers = [self._expressions(handler.type) and self.block(handler.body) for handler in node.handlers]
        return self.block(node.finalbody) and (body or any(handlers))

    def _in_doubt(self, *blocks: Sequence[ast.stmt]) -> bool:
        """Walk blocks of which not each may be reached; collect nothing. What follows is reached if all of them end."""
        before, self._doubt = self._doubt, True
        ends = [self.block(block) for block in blocks]
        self._doubt = before
        return all(ends)

    def _expressions(self, *nodes: ast.AST | None) -> bool:
        found: list[Diagnostic] = []
        pending = [(node, not self._doubt) for node in nodes if node is not None]
        while pending:
            node, certain = pending.pop()
            match node:
                case ast.Name(id=name, lineno=line) if name in self._undefined and certain:
                    if line not in self._ignored:
                        found.append(Diagnostic(line, f'"{name}" is not defined', "reportUndefinedVariable"))
                case ast.Call() if not self._returns(node.func):
                    return False
                case ast.BoolOp():
                    for value in node.values:
                        pending.append((value, certain))
                        certain = certain and self._is_open(value)
                case ast.IfExp():
                    pending.append((node.test, certain))
                    certain = certain and self._is_open(node.test)
                    pending += [(node.body, certain), (node.orelse, certain)]
                case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                    *results, generators = [value for _, value in ast.iter_fields(node)]
                    for generator in generators:
                        pending += [(generator.target, certain), (generator.iter, certain)]
                        for condition in generator.ifs:
                            pending.append((condition, certain))
                            certain = certain and self._is_open(condition)
                    pending += [(result, certain) for result in results]
                case _:
                    pending += [(child, certain) for child in ast.iter_child_nodes(node)]
        self.found += found
        return True

    def _returns(self, function: ast.expr) -> bool:
        """Whether a call of it certainly returns, as far as pyright can know."""
        match function:
            case ast.Name(id=name):
                return name in self._harmless
            case ast.Attribute(attr=name):
                return name not in self._never_return
            case _:
                return False

    def _is_open(self, test: ast.expr) -> bool:
        """Whether pyright leaves open how a condition turns out: it is no constant, and no declared type decides it."""
        match test:
            case ast.UnaryOp(op=ast.Not()):
                return self._is_open(test.operand)
            case ast.BoolOp():
                return all(self._is_open(value) for value in test.values)
            case _:
                pass
        called: set[ast.AST] = set()
        depends = False
        for node in ast.walk(test):
            match node:
                case ast.NamedExpr():
                    return False
                case ast.Call(func=function):
                    # Not what is called decides, but what is passed: `isinstance(x, T)`.
                    depends = True
                    while isinstance(function, ast.Attribute):
                        function = function.value
                    called.add(function)
                case ast.Name(id=name) | ast.Attribute(attr=name) if name in _DECIDED_BY_CONFIGURATION:
                    return False
                case ast.Name(id=name) if node not in called:
                    depends = True
                    if name in self._typed:
                        return False
                case _:
                    pass
        return depends
