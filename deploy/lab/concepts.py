"""The programming concepts in a function, by its syntax tree alone: what the lab model learns to name."""

import ast
from collections.abc import Iterator

# Rarest first: a function's label is the first MOST that hold, in this order.
CONCEPTS = (
    "recursion", "regular expressions", "set comprehension", "dictionary comprehension", "random numbers",
    "date and time handling", "memoization", "bit manipulation", "environment variables", "sorting",
    "zipping sequences", "mapping and filtering", "file input and output", "path manipulation",
    "binary data handling", "reflection", "context managers", "generator functions", "closures",
    "lambda functions", "decorators", "minimum and maximum", "set operations", "case conversion",
    "string joining", "string splitting", "string trimming", "prefix and suffix checks", "string replacement",
    "enumeration", "modulo arithmetic", "nested loops", "while loops", "generator expressions",
    "list comprehension", "dictionary lookup", "variable arguments", "string formatting", "exception handling",
    "raising exceptions", "type checking", "slicing", "list building", "tuple unpacking",
    "conditional expressions", "length computation", "membership testing", "default arguments", "iteration",
    "boolean logic", "conditional branching", "attribute access", "function calls",
)  # fmt: skip
MOST, FEWEST = 5, 2
COMMON = ("function calls", "attribute access")
"""What a function that shows too little else is said to show."""

_BY_NAME = {
    "sorting": "sort sorted",
    "zipping sequences": "zip",
    "mapping and filtering": "map filter",
    "file input and output": "open read write readline",
    "reflection": "getattr hasattr setattr",
    "minimum and maximum": "min max",
    "set operations": "set frozenset union intersection difference",
    "enumeration": "enumerate",
    "type checking": "isinstance issubclass",
    "length computation": "len",
    "binary data handling": "bytes bytearray encode decode",
    "dictionary lookup": "get setdefault items",
    "string joining": "join",
    "string splitting": "split rsplit partition rpartition splitlines",
    "string trimming": "strip lstrip rstrip",
    "prefix and suffix checks": "startswith endswith",
    "string replacement": "replace",
    "case conversion": "lower upper title",
    "list building": "append extend",
    "string formatting": "format",
}
_BY_MODULE = {
    "regular expressions": "re",
    "random numbers": "random",
    "date and time handling": "datetime time",
    "binary data handling": "struct",
    "path manipulation": "shutil os.path",
    "environment variables": "os.environ",
}
_CALLED = {name: concept for concept, names in _BY_NAME.items() for name in names.split()}
_MODULES = {name: concept for concept, names in _BY_MODULE.items() for name in names.split()}
_NODES: dict[type[ast.AST], str] = {
    ast.ListComp: "list comprehension",
    ast.SetComp: "set comprehension",
    ast.DictComp: "dictionary comprehension",
    ast.GeneratorExp: "generator expressions",
    ast.Yield: "generator functions",
    ast.YieldFrom: "generator functions",
    ast.JoinedStr: "string formatting",
    ast.Try: "exception handling",
    ast.Raise: "raising exceptions",
    ast.With: "context managers",
    ast.AsyncWith: "context managers",
    ast.Lambda: "lambda functions",
    ast.While: "while loops",
    ast.For: "iteration",
    ast.IfExp: "conditional expressions",
    ast.If: "conditional branching",
    ast.BoolOp: "boolean logic",
    ast.Slice: "slicing",
}
_LOOPS = (ast.For, ast.While, ast.AsyncFor)
_BITS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.LShift, ast.RShift)


def label(function: ast.FunctionDef) -> tuple[str, ...]:
    """Return two to five concepts of a function, the rarest first.

    >>> label(ast.parse("def f(words):\\n    return sorted(w.upper() for w in words)").body[0])
    ('sorting', 'case conversion', 'generator expressions')
    """
    shown = shows(function)
    named = [concept for concept in CONCEPTS if concept in shown][:MOST]
    more = [concept for concept in COMMON if concept not in named]
    return (*named, *more[: max(0, FEWEST - len(named))])


def shows(function: ast.FunctionDef) -> set[str]:
    """Return every concept that a function shows."""
    found = {concept for node in ast.walk(function) for concept in _of(node, function)}
    if function.decorator_list:
        cached = any("cache" in ast.unparse(decorator) for decorator in function.decorator_list)
        found.add("memoization" if cached else "decorators")
    return found


def _of(node: ast.AST, function: ast.FunctionDef) -> Iterator[str]:
    if type(node) in _NODES:
        yield _NODES[type(node)]
    match node:
        case ast.Call(func=ast.Name(id=name)):
            yield "recursion" if name == function.name else _CALLED.get(name, "function calls")
        case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)):
            recursive = owner == "self" and name == function.name
            yield "recursion" if recursive else _MODULES.get(owner, _CALLED.get(name, "function calls"))
        case ast.Call(func=ast.Attribute(attr=name)):
            yield _CALLED.get(name, "function calls")
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            yield _MODULES.get(f"{owner}.{name}", "attribute access")
        case ast.Attribute():
            yield "attribute access"
        case ast.BinOp(op=ast.Mod(), left=left):
            text = isinstance(left, ast.JoinedStr) or (isinstance(left, ast.Constant) and isinstance(left.value, str))
            yield "string formatting" if text else "modulo arithmetic"
        case ast.BinOp(op=op) if isinstance(op, _BITS):
            yield "bit manipulation"
        case ast.FunctionDef() if node is not function:
            yield "closures"
        case ast.Subscript(slice=ast.Constant(value=str())):
            yield "dictionary lookup"
        case ast.Compare(ops=ops) if any(isinstance(op, ast.In | ast.NotIn) for op in ops):
            yield "membership testing"
        case ast.Assign(targets=[ast.Tuple(), *_]):
            yield "tuple unpacking"
        case ast.arguments():
            if node.vararg or node.kwarg:
                yield "variable arguments"
            if node.defaults:
                yield "default arguments"
        case ast.Constant(value=bytes()):
            yield "binary data handling"
        case ast.For() | ast.While() | ast.AsyncFor():
            if any(isinstance(inner, _LOOPS) for statement in node.body for inner in ast.walk(statement)):
                yield "nested loops"
        case _:
            pass
