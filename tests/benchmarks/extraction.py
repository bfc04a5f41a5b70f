"""Functions with a docstring per CPU-second, from the whole standard library, against a plain tree-sitter query.

    python -m tests.benchmarks.extraction [--rounds 5]

Both give name, first line and code with decorators of every top-level function whose docstring is a literal string.
The answer is checked first: the two sets are equal. Rounds take turns; `ratio` is ours over plain; the goal is 1.5.
"""

import argparse
import time
from collections.abc import Callable

import tree_sitter_python
from tree_sitter import Language, Parser, Query, QueryCursor

from consumers.extraction import parse
from tests.benchmarks._corpus import report, spread, standard_library

LANGUAGE = Language(tree_sitter_python.language())
PARSER = Parser(LANGUAGE)
BODY = "body: (block . (comment)* . (expression_statement . [(string) (concatenated_string)] @docstring .))"
QUERY = Query(
    LANGUAGE,
    f"""
    (module (function_definition name: (identifier) @name {BODY}) @function)
    (module (decorated_definition
      definition: (function_definition name: (identifier) @name {BODY})) @function)
    """,
)

Found = set[tuple[str, int, str]]


def plain(text: str) -> Found:
    found: Found = set()
    for _, captures in QueryCursor(QUERY).matches(PARSER.parse(text.encode()).root_node):
        (function,), (name,), (docstring,) = captures["function"], captures["name"], captures["docstring"]
        if any(
            set((part.children[0].text or b"").lower()) & set(b"bft")
            for part in [docstring, *docstring.children]
            if part.type == "string"
        ):
            continue
        found.add(((name.text or b"").decode(), function.start_point.row + 1, (function.text or b"").decode()))
    return found


def ours(text: str) -> Found:
    return {(f.name, f.line, f.code) for f in parse(text).functions if f.has_docstring}


def per_cpu_s(extract: Callable[[str], Found], texts: list[str]) -> float:
    started_s = time.process_time()
    found = sum(len(extract(text)) for text in texts)
    return found / (time.process_time() - started_s)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds: int = arguments.parse_args().rounds
    sources = standard_library()
    functions = 0
    for source in sources:  # the answer, and the warm-up
        found = ours(source.text)
        assert found == plain(source.text), source.file.path
        functions += len(found)
    texts = [source.text for source in sources]
    pairs = [(per_cpu_s(ours, texts), per_cpu_s(plain, texts)) for _ in range(rounds)]
    report(
        "extraction",
        files=len(texts),
        functions=functions,
        functions_per_cpu_s=spread([mine for mine, _ in pairs], 0),
        plain_per_cpu_s=spread([other for _, other in pairs], 0),
        ratio=spread([mine / other for mine, other in pairs]),
        goal="ratio >= 1.5",
    )


if __name__ == "__main__":
    main()
