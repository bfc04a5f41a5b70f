"""How models say that they will not answer, and what else is no answer: a question back, an error in place of a text.
Pure."""

import re

from consumers import fences

_FILLER = r"(?:(?:hmm|well|oh|ah|unfortunately|regrettably|i(?:'m| am) afraid(?: that)?)[,.… ]+)*"
_SORRY = r"(?:i(?:'m| am)\s+(?:so |very |really |truly |deeply )?sorry|sorry|my apologies|i apologi[sz]e|apologies)"
_CANNOT = (
    r"(?:can(?:not|'t| not)|could(?:n't| not)|won't|will not"
    r"|(?:must|have to|need to) (?:respectfully |politely )?decline"
    r"|(?:am|'m) (?:not able|unable)|(?:am|'m) not (?:comfortable|allowed|permitted)"
    r"|don't have|do not have|(?:respectfully )?decline|regret)"
)
_TO_ANSWER = (
    r"(?:help|assist|compl(?:y|ete)|provide|do (?:that|this)|fulfil+|answer|continue|create|generate|write|produce"
    r"|engage|support|discuss|proceed|process|see any|determine|judge|tell|evaluate|share|the ability|access|decline"
    r"|comfortable|cannot|can't)"
)
_REFUSAL = re.compile(
    rf"{_FILLER}(?:{_SORRY}\b[,.:;!]?\s*(?:but\s+)?(?:(?:i|as an ai|that|this|we|the|no)\b.*)?$"
    rf"|as an? (?:ai|large|language model)\b.*\b{_CANNOT}\b|as (?:claude|chatgpt|gemini|an assistant)\b.*\b{_CANNOT}\b"
    rf"|i\s*(?:{_CANNOT}\b.{{0,40}}\b{_TO_ANSWER}\b|(?:must|have to|need to) (?:\w+ )?decline\b"
    r"|(?:do not|don't) feel comfortable\b)"
    r"|(?:this|your|the) (?:request|prompt|content|question)\b.{0,40}"
    r"\b(?:violates?|against|inappropriate|not allowed)\b"
    r"|my (?:guidelines|policies|programming|instructions)\b.{0,30}\b(?:prevent|prohibit|forbid|(?:do not|don't) allow)"
    r"|request (?:declined|denied|refused|blocked)\b"
    r"|es tut mir leid\b|leider kann ich\b|das kann ich (?:leider )?nicht\b"
    r"|ich kann (?:dabei |dir |ihnen )?(?:leider )?nicht\b"
    r"|(?:je suis )?désolée?\b|je ne peux pas\b|lo siento\b|no puedo (?:ayudar|responder|proporcionar)"
    r"|mi dispiace\b|non posso (?:aiutar|rispondere)|desculpe\b|sinto muito\b|não posso (?:ajudar|responder)"
    r"|извините|к сожалению|я не могу|抱歉|很抱歉|对不起|我(?:无法|不能)|申し訳|すみません|죄송)",
    re.IGNORECASE,
)
_LONGEST = 1_200
"""Characters of a refusal, with its reasons and what it offers instead."""

_ERROR = re.compile(
    r"(?:internal server error|bad gateway|service unavailable|gateway time-?out|too many requests|rate limit"
    r"|error:? *(?:code|\d{3}|rate|internal|timeout|the model|an error)|<!doctype|<html|<\?xml|traceback \(most recent"
    r"|\[?tool_calls?\]|<tool_call|<function_call|<\|tool)",
    re.IGNORECASE,
)
_BACK = re.compile(
    r"(?:please (?:provide|share|paste|specify|clarify)"
    r"|(?:could|can|would) you (?:please )?(?:provide|share|clarify|specify|paste)"
    r"|(?:hello|hi|hey)\b[^\n]{0,40}[!,.]|how (?:can|may) i (?:help|assist)|i'?m (?:ready|happy|here) to help"
    r"|it (?:seems|looks like) (?:that )?(?:you|your|there))",
    re.IGNORECASE,
)
_NOTHING = frozenset(
    {"null", "none", "nil", "n/a", "na", "undefined", "nan", "todo", "tbd", "unknown", "error", "empty"}
)


def refuses(text: str) -> bool:
    """Whether a text is a refusal: it begins with one, is short, and holds no code.

    >>> refuses("I’m sorry, but I can't help with that."), refuses("Sorry a list in place.")
    (True, False)
    """
    first = _first_line(text).lstrip("*_\"' >#-")
    return len(text) <= _LONGEST and _REFUSAL.match(first) is not None and not fences.blocks(text)


def is_no_content(text: str) -> bool:
    """Whether a text stands where an answer should: nothing but a word for nothing, an error, JSON, a question back.

    >>> [is_no_content(text) for text in ("null", "...", "Internal server error", '{"task": "x"}', "Hello! Who is it?")]
    [True, True, True, True, True]
    >>> is_no_content("Write a function that returns null for an empty list.")
    False
    """
    bare = text.strip()
    if bare.strip(".!…-_*`'\"[]{}() ").lower() in {"", *_NOTHING}:
        return True
    first = _first_line(text)
    is_json = bare[:1] in "{[" and bare[-1:] in "}]"
    return is_json or _ERROR.match(first) is not None or (len(bare) <= _LONGEST and _BACK.match(first) is not None)


def _first_line(text: str) -> str:
    return text.lstrip().partition("\n")[0].replace("’", "'")
