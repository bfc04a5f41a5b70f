"""SPDX licence expressions: their canonical form, and whether a list of allowed licences permits one.

Source:  SPDX specification 2.3, annex D; the list of identifiers is that of the package `packaging`.
"""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

UNKNOWN = "unknown"
"""No licence was found, or none that we can name. No SPDX identifier, so it is permitted only by name."""

MAX_CHARS = 300
"""A longer expression is taken for none: a real one names a few licences."""

_GNU = re.compile(r"^([AL]?GPL-\d\.\d)(\+?)$")


@lru_cache(maxsize=4096)
def canonical(expression: str) -> str | None:
    """Return the expression with identifiers spelled as SPDX does and the old GNU ones replaced; None if it is none.

    >>> canonical("mit or GPL-2.0+")
    'MIT OR GPL-2.0-or-later'
    >>> canonical("GPL2") is None
    True
    """
    if len(expression) > MAX_CHARS:
        return None
    try:
        spelled = canonicalize_license_expression(expression)
    except InvalidLicenseExpression:
        return None
    # Up to SPDX 3.0 "GPL-2.0" meant this version only and "+" any later one.
    modern = (_GNU.sub(lambda m: m[1] + ("-or-later" if m[2] else "-only"), token) for token in _tokens(spelled))
    return " ".join(modern).replace("( ", "(").replace(" )", ")")


@lru_cache(maxsize=4096)
def permits(allowed: tuple[str, ...], expression: str) -> bool:
    """Whether `allowed` lets through what is under `expression`: of an OR one side, of an AND both.

    A licence WITH an exception is permitted where the licence alone is: an exception only grants more. An empty
    `allowed` permits all. `expression` is canonical, or "unknown".

    >>> [permits(("MIT",), expression) for expression in ("GPL-3.0-only OR MIT", "GPL-3.0-only AND MIT", "unknown")]
    [True, False, False]
    """
    if not allowed:
        return True
    names = {canonical(name) or name for name in allowed}
    if expression in names:
        return True
    tokens = list(_tokens(expression))[::-1]  # the next one is at the end
    return _any_of(tokens, names)


def _tokens(expression: str) -> Iterator[str]:
    return iter(expression.replace("(", " ( ").replace(")", " ) ").split())


def _any_of(tokens: list[str], names: Collection[str]) -> bool:
    holds = _all_of(tokens, names)
    while tokens and tokens[-1] == "OR":
        tokens.pop()
        holds = _all_of(tokens, names) or holds  # the right side is always read: its tokens must go
    return holds


def _all_of(tokens: list[str], names: Collection[str]) -> bool:
    holds = _one(tokens, names)
    while tokens and tokens[-1] == "AND":
        tokens.pop()
        holds = _one(tokens, names) and holds
    return holds


def _one(tokens: list[str], names: Collection[str]) -> bool:
    licence = tokens.pop()
    if licence == "(":
        holds = _any_of(tokens, names)
        tokens.pop()  # the closing one
        return holds
    holds = licence in names
    if tokens and tokens[-1] == "WITH":
        tokens.pop()
        holds = f"{licence} WITH {tokens.pop()}" in names or holds
    return holds
