"""The rules that turn a function down, after SelfCodeAlign (arXiv:2410.24198) and the code of its seed gathering. Pure.

Each returns the evidence for a person to read, or None.
"""

from consumers.extraction import Function


def too_large(code: str, max_seed_bytes: int) -> str | None:
    """
    >>> too_large("é" * 6, 10)
    '12 bytes, at most 10'
    """
    size = len(code.encode())
    return f"{size} bytes, at most {max_seed_bytes}" if size > max_seed_bytes else None


def too_long(function: Function, max_lines: int) -> str | None:
    """Counts the function's own lines, decorators included: imports put in front of it do not make it longer."""
    lines = function.code.count("\n") + 1
    return f"{lines} lines, at most {max_lines}" if lines > max_lines else None


def no_arguments(function: Function) -> str | None:
    return None if function.has_arguments else "takes no argument"


def no_return_value(function: Function) -> str | None:
    return None if function.returns_value else "no `return` with a value of its own"


def banned_word(code: str, words: tuple[str, ...]) -> str | None:
    """A word anywhere, lower-cased, in other words too, as in the reference.

    >>> banned_word("x = 1\\nlogging.DEBUG = 2", ("todo", "bug"))
    "'bug' in: logging.DEBUG = 2"
    """
    return _containing(code, words)


def banned_import(code: str, modules: tuple[str, ...]) -> str | None:
    """`import NAME` or `from NAME` anywhere, NAME as the beginning of a module's, as in the reference.

    >>> banned_import("from os.path import join", ("os",))
    "'from os' in: from os.path import join"
    """
    return _containing(code, tuple(f"{word} {module}" for module in modules for word in ("import", "from")))


def _containing(code: str, words: tuple[str, ...]) -> str | None:
    lower = code.lower()
    for word in words:
        at = lower.find(word)
        if at >= 0:
            line = code.split("\n")[lower.count("\n", 0, at)]
            return f"{word!r} in: {line.strip()[:200]}"
    return None
