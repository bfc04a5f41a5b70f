"""How models say that they will not answer. Pure."""

import re

from consumers import fences

_SORRY = r"(?:i(?:'m| am)\s+(?:so |very |really |truly |deeply )?sorry|sorry|my apologies|i apologi[sz]e|apologies)"
_CANNOT = (
    r"(?:can(?:not|'t| not)|could(?:n't| not)|won't|will not|must decline|(?:am|'m) (?:not able|unable)"
    r"|(?:am|'m) not (?:comfortable|allowed|permitted)|have to decline|don't have|do not have|decline)"
)
_TO_ANSWER = (
    r"(?:help|assist|compl(?:y|ete)|provide|do (?:that|this)|fulfil+|answer|continue|create|generate|write|produce"
    r"|engage|support|discuss|proceed|process|see any|determine|judge|tell|evaluate|share|the ability|access)"
)
_REFUSAL = re.compile(
    rf"(?:unfortunately,?\s+)?(?:{_SORRY}\b[,.:;!]?\s*(?:but\s+)?(?:(?:i|as an ai|that|this|we|the)\b.*)?$"
    rf"|as an? (?:ai|large)\b.*\b{_CANNOT}\b"
    rf"|i\s*{_CANNOT}\b.{{0,40}}\b{_TO_ANSWER}\b)",
    re.IGNORECASE,
)
_LONGEST = 1_200
"""Characters of a refusal, with its reasons and what it offers instead."""


def refuses(text: str) -> bool:
    """Whether a text is a refusal: it begins with one, is short, and holds no code.

    >>> refuses("I’m sorry, but I can't help with that."), refuses("Sorry a list in place.")
    (True, False)
    """
    first = text.lstrip().partition("\n")[0].replace("’", "'").lstrip("*_\"' ")
    return len(text) <= _LONGEST and _REFUSAL.match(first) is not None and not fences.python(fences.blocks(text))
