"""Python source text -> its top-level functions and module-level imports, by tree-sitter. Pure.

A file that is not quite Python still gives the functions that are: tree-sitter goes on after an error. Two short cuts
make this three to five times as fast as a query over the whole tree, with the same functions: a text without a
top-level `def` is not parsed, and the bodies of top-level classes, most of the text in many files, are not either.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import tree_sitter_python
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_python.language()))

_TOP_LEVEL_DEF = re.compile(rb"(?:^|\f)(?:async|def)[ \t\f\\]", re.MULTILINE)  # or what looks like one

# A form feed sends Python's tokenizer back to column 0, as a new line does.
_FORM_FEEDS = re.compile(rb"^(?:[ \t]*+\f)++", re.MULTILINE)

# Comments, strings and newlines behind a backslash are matched whole, so that nothing inside one is taken for a
# statement. No step is ever taken back, and a string that does not end is the last match: the time is linear in the
# text, whatever it is.
_TOP_LEVEL = re.compile(
    rb"""
      \#[^\n]*+
    | \"{3} [^"\\]*+ (?: (?: \\. | "(?!"") ) [^"\\]*+ )*+ \"{3}
    | '{3}  [^'\\]*+ (?: (?: \\. | '(?!'') ) [^'\\]*+ )*+ '{3}
    | "     [^"\\\n]*+ (?: \\. [^"\\\n]*+ )*+ "
    | '     [^'\\\n]*+ (?: \\. [^'\\\n]*+ )*+ '
    | (?P<endless> ["'] )
    | \\\n
    | (?: \A | \n ) (?: [ \t]*+ \f | \\\n )*+
      (?: (?P<class> class[ ][\w\x80-\xff]++ ) | (?P<other> (?=[^\s\#)\]}\\]) ) )
    """,
    re.DOTALL | re.VERBOSE,
)

_COMPOUND = frozenset(
    (
        *("if_statement", "elif_clause", "else_clause"),
        *("try_statement", "except_clause", "except_group_clause", "finally_clause"),
        *("for_statement", "while_statement", "with_statement", "match_statement", "case_clause", "block"),
    )
)
"""Nodes that may hold statements of the same scope."""

_IMPORTS = frozenset(("import_statement", "import_from_statement", "future_import_statement"))


@dataclass(frozen=True)
class Function:
    """One top-level function. `code` has its decorators and ends without a newline; `line` counts from 1."""

    node: Node  # function_definition
    whole: Node  # the same, or the decorated_definition around it

    @property
    def name(self) -> str:
        name = self.node.child_by_field_name("name")
        return _text(name) if name else ""

    @property
    def line(self) -> int:
        return self.whole.start_point.row + 1

    @cached_property
    def code(self) -> str:
        return _text(self.whole)

    @property
    def broken(self) -> bool:
        """Whether tree-sitter met a syntax error inside it."""
        return self.whole.has_error

    @property
    def has_docstring(self) -> bool:
        """Whether `ast.get_docstring` would see one: its first statement is a literal of str, in any form."""
        first = next(self._body(), None)
        if first is None or first.type != "expression_statement" or first.child_count != 1:
            return False  # a second child is a comma: a tuple
        return _is_string(first.children[0])

    @property
    def has_arguments(self) -> bool:
        parameters = self.node.child_by_field_name("parameters")
        return parameters is not None and any(_code(parameters))

    @property
    def returns_value(self) -> bool:
        """Whether a `return` of its own, not of a function inside it, has a value."""
        return any(node.type == "return_statement" and any(_code(node)) for node in _statements(self._body()))

    def _body(self) -> Iterator[Node]:
        body = self.node.child_by_field_name("body")
        return _code(body) if body else iter(())


@dataclass(frozen=True, slots=True)
class ImportStatement:
    """An import at module level, as it stands in the file."""

    text: str
    conditional: bool  # inside if, try, with, …
    position: int  # in the order of the file


@dataclass(frozen=True, slots=True)
class Module:
    """What a source text holds."""

    functions: tuple[Function, ...]  # in the order of the file
    broken_line: int | None  # first line at module level that is no Python, and could have hidden a function
    root: Node | None

    def imports(self) -> Iterator[ImportStatement]:
        """Yield the imports of module level, in the order of the file."""
        for node, conditional in _module_level(self.root):
            if node.type in _IMPORTS:
                yield ImportStatement(_text(node), conditional, node.start_byte)

    def definitions(self) -> dict[str, int]:
        """Return where each name is last bound, always, by a function, a class or a plain assignment."""
        bound: dict[str, int] = {}
        for node in self.root.children if self.root else ():
            target = node
            if node.type == "decorated_definition":
                target = node.child_by_field_name("definition") or node
            elif node.type == "expression_statement" and node.children[0].type == "assignment":
                target = node.children[0]
            name = target.child_by_field_name("left" if target.type == "assignment" else "name")
            if name is not None and name.type == "identifier":
                bound[_text(name)] = node.start_byte
        return bound


def parse(text: str) -> Module:
    """Return the functions and imports at module level of `text`, whose newlines are "\\n".

    Cost:    O(n); no recursion, so no nesting is too deep.
    Raises:  UnicodeEncodeError when `text` holds a lone surrogate.

    >>> [(f.name, f.line, f.has_docstring) for f in parse("\\n@cache\\ndef f(x):\\n    'Doc.'\\n").functions]
    [('f', 2, True)]
    """
    source = text.encode()
    if not _TOP_LEVEL_DEF.search(source):
        return Module((), None, None)
    parsed = _without_class_bodies(source)
    root = _PARSER.parse(parsed).root_node
    if root.has_error:  # either is not Python: the file, or what the short cut made of it
        parsed = source
        root = _PARSER.parse(parsed).root_node
    functions: list[Function] = []
    broken_line: int | None = None
    for node in _top_level(root, parsed):
        definition = node.child_by_field_name("definition") if node.type == "decorated_definition" else node
        if definition is not None and definition.type == "function_definition":
            functions.append(Function(definition, node))
        elif root.has_error and broken_line is None and node.has_error and node.type != "class_definition":
            broken_line = node.start_point.row + 1
    return Module(tuple(functions), broken_line, root)


def _without_class_bodies(source: bytes) -> bytes:
    """Return `source` with `class A: …` at top level cut down to `class A:0` and its newlines, so that every line
    keeps its number. A class that this misjudges leaves half a bracket behind: a syntax error."""
    kept: list[bytes] = []
    start = 0
    cut: int | None = None  # where the class under way has its body
    for match in _TOP_LEVEL.finditer(source):
        if match.lastgroup is None:
            continue  # a comment, a string or a line that goes on
        if match.lastgroup == "endless":
            return source
        if cut is not None:
            start = match.start(match.lastgroup)
            kept.append(b":0" + b"\n" * source.count(b"\n", cut, start))
            cut = None
        if match.lastgroup == "class":
            cut = match.end()
            kept.append(source[start:cut])
    kept.append(source[start:] if cut is None else b":0\n")
    return b"".join(kept)


def _top_level(root: Node, source: bytes) -> Iterator[Node]:
    """Yield the statements at module level, and those that an error node swallowed."""
    fed = {match.end() for match in _FORM_FEEDS.finditer(source)} if b"\f" in source else frozenset[int]()
    pending = [root]
    while pending:
        node = pending.pop()
        at_column_0 = node.start_point.column == 0 or node.start_byte in fed
        if node.type == "ERROR" and at_column_0:
            yield node
        if node is root or node.type == "ERROR":
            pending.extend(reversed(node.children))
        elif at_column_0:
            yield node


def _module_level(root: Node | None) -> Iterator[tuple[Node, bool]]:
    """Yield each simple statement that runs when the module does, and whether it stands under a condition."""
    for node in root.children if root else ():
        if node.type in _COMPOUND:
            yield from ((inner, True) for inner in _statements(iter(node.children)))
        else:
            yield node, False


def _statements(nodes: Iterator[Node]) -> Iterator[Node]:
    """Yield the statements among `nodes` and in the blocks under them, in order; never those of an inner scope."""
    pending = [nodes]
    while pending:
        node = next(pending[-1], None)
        if node is None:
            pending.pop()
        elif node.type in _COMPOUND:
            pending.append(iter(node.children))
        else:
            yield node


def _is_string(node: Node) -> bool:
    """Whether the expression is a literal of str: not of bytes, no f-string; concatenated or in parentheses too."""
    while node.type == "parenthesized_expression":
        inner = list(_code(node))
        if len(inner) != 1:
            return False
        node = inner[0]
    parts = _code(node) if node.type == "concatenated_string" else (node,)
    return all(part.type == "string" and not set(_text(part.children[0]).lower()) & set("bft") for part in parts)


def _code(node: Node) -> Iterator[Node]:
    """Yield the named children of a node that are no comments."""
    return (child for child in node.named_children if child.type != "comment")


def _text(node: Node) -> str:
    return (node.text or b"").decode()
