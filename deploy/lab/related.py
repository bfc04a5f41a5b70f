"""Which lab operations belong to a concept of real code, so that the task set for it has to do with it."""

from deploy.lab.tasks import PAIRS, Chain

_RELATED = {
    "sorting": "ascending descending alphabetical",
    "list comprehension": "even odd above square multiply lengths",
    "mapping and filtering": "even multiples no_multiples upper_case long",
    "generator expressions": "sum occurrences below",
    "minimum and maximum": "largest smallest cap at_least",
    "modulo arithmetic": "remainders remainder multiples quotient",
    "bit manipulation": "even odd remainders remainder",
    "length computation": "length word_count lengths",
    "slicing": "rest but_last leading reverse rest_of_words but_last_word",
    "list building": "append prepend twice",
    "set operations": "distinct",
    "membership testing": "without occurrences distinct",
    "case conversion": "upper_case",
    "string joining": "dashes concatenate",
    "string splitting": "lengths rest_of_words",
    "string formatting": "dashes plural",
    "string trimming": "rest_of_words but_last_word",
    "prefix and suffix checks": "plural of_length",
    "string replacement": "plural upper_case",
    "recursion": "sum reverse times",
    "conditional branching": "above below at_least smallest largest",
    "conditional expressions": "first last largest smallest",
    "exception handling": "first last largest smallest",
    "raising exceptions": "first last",
    "type checking": "absolute at_least",
    "iteration": "sum add subtract multiply occurrences",
    "nested loops": "twice multiply distinct",
    "while loops": "minus quotient leading",
    "enumeration": "first leading rest",
    "zipping sequences": "add twice",
    "dictionary lookup": "distinct occurrences",
    "tuple unpacking": "first last reverse",
    "default arguments": "plus add append",
    "binary data handling": "remainders remainder quotient",
    "regular expressions": "long of_length",
    "path manipulation": "dashes concatenate",
    "reflection": "alphabetical backwards",
}
RELATED = {concept: tuple(names.split()) for concept, names in _RELATED.items()}


def chains(operation: str) -> list[Chain]:
    """Return the chains of the corpus that an operation stands in."""
    return [pair for pair in PAIRS if operation in pair]
