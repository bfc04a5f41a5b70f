"""The head of a Python file: where a licence, or the mark of a generator, is written."""

import re

MAX_CHARS = 8_000
"""Where a head is cut. The longest licence header in common use, the whole BSD text, has about 1,600."""

_HEAD = re.compile(
    r"""
    (?: [ \t\f]*+ (?: \#[^\n]*+ )? \n                                              # a comment, an empty line
      | [rRuUbB]{0,2} (?: \"{3} .*? (?: \"{3} | \Z ) | '{3} .*? (?: '{3} | \Z ) )  # a docstring
      | [rRuUbB]{0,2} (?: "[^"\n]*+" | '[^'\n]*+' )
    )*+
    """,
    re.VERBOSE | re.DOTALL,
)


def head(text: str) -> str:
    """Return the comments and strings before the first statement, cut at MAX_CHARS.

    >>> head("#! python\\n'''Doc.'''\\n# MIT\\nimport os  # not this\\n")
    "#! python\\n'''Doc.'''\\n# MIT\\n"
    """
    found = _HEAD.match(text[:MAX_CHARS])
    return found[0] if found else ""
