"""Whether a text takes back the licence that it names, or adds to it: its terms are then others, that we cannot name.

On words alone, as `licence` compares them: lower case, one space between two. The usual phrases are known; an addition
in words of its own is seen where a short licence's last condition is not followed by its disclaimer, as it always is.
"""

import re

RESTRICTED = (
    "functional source licen[cs]e|fair (?:source|core) licen[cs]e|elastic licen[cs]e|sustainable use licen[cs]e"
    "|confluent community licen[cs]e|timescale licen[cs]e|source available licen[cs]e|community licen[cs]e agreement"
    "|responsible ai licen[cs]e|hippocratic licen[cs]e|prosperity public licen[cs]e|openrail|polyform|commons clause"
)
"""Licences that forbid a use or a trade. They often name a free one beside: the one they change, or turn into."""

_TERMS = r"(?:clauses?|conditions?|limitations?|modifications?|provisions?|requirements?|restrictions?|terms)"
_SOME = r"(?: (?:an?|certain|following|our|several|some|the|these|two|three))*"
_MORE = r"(?:added|additional|extra|further|special)"
_PLEASURE = r"(?:academic|educational|evaluation|non ?commercial|personal|research)"
_TRADE = r"commercial (?:distribution|exploitation|products?|purposes?|sale|use)"
_ADDITION = re.compile(
    rf"\b(?:and|but|plus|subject to|under|with){_SOME} {_MORE}(?: \w+){{0,2}} {_TERMS}\b"
    r"|\bnotwithstanding any(?:thing)?(?: \w+){0,3} (?:above|licen[cs]e)\b"
    rf"|\bfor (?!(?:\w+ )?commercial )(?:\w+ ){{0,2}}{_PLEASURE}(?: (?!commercial\b)\w+){{0,3}}"
    r" (?:only|purposes?|use)\b"
    rf"|\b{_TRADE}(?: \w+){{0,3}} (?:forbidden|not (?:allowed|permitted)|prohibited|requires?)\b"
    rf"|\bno {_TRADE}\b|\bnot be (?:sold|used (?:for|in)(?: \w+){{0,2}} {_TRADE})\b"
    r"|\b(?:must|need to|requires?|shall)(?: \w+){0,4} a commercial licen[cs]e\b"
    r"|\bcommercial licen[cs]e (?:is required|must be)\b"
    r"|\bmodified (?:form|version) of the (?:\w+ ){0,3}licen[cs]e\b"
)
_CHANGE = re.compile(
    rf"\b(?:but|subject to|with){_SOME} (?:clauses?|conditions|limitations|modifications|restrictions)\b"
)
"""Beside the mere name of a licence. In the text of one it is how its own conditions begin."""

_TAKEN_BACK = re.compile(
    r"\b(?:isn t|never|no longer|not|neither|nor|formerly|previously|instead of|rather than|unlike"
    r"|certain|elsewhere|partially|partly|parts?|portions?|sections?|some|variously"
    r"|(?:adapted|altered|customi[sz]ed|modified) (?:form|version) of|(?:variant|variation) of"
    r"|based on|compatible with|similar to)"
    r"(?: (?:an?|any|are|available|be|been|being|by|code|covered|currently|distributed|either|files?|governed|in|is|it"
    r"|itself|licen[cs]ed|longer|made|of|offered|provided|published|released|software|source|subject|terms|the|these"
    r"|this|to|under|yet))* $"
)
_BEFORE_CHARS, _AFTER_CHARS = 120, 200

_PREAMBLE_CHARS = 1_000
_SHORT = frozenset(("MIT", "MIT-0", "X11", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause", "BSD-4-Clause", "Zlib"))
"""Licences whose own text holds no phrase of an addition."""

_LAST_CONDITIONS = {
    "MIT": r"substantial portions of the software",
    "ISC": r"appear in all copies",
    "BSD-2-Clause": r"reproduce the above copyright notice.{0,200}? distribution",
    "BSD-3-Clause": r"products derived from th(?:e|is) software(?: without(?: \w+){0,4} permission)?",
}
# A number or a heading may stand there. To offer the GPL as an alternative, as the kernel's files do, restricts nobody.
_NOTHING_MORE = (
    r"(?: (?:by|from|of)(?: \w+){1,8}?)?(?: \w+){0,2}?"
    r"(?: th(?:e|is)(?: \w+){1,8}? (?:is|are) (?:distributed|provided)\b| alternatively\b| disclaimer| in no event\b"
    r"| no warranty\b| ?$)"
)
_LAST = {name: re.compile(rf"{last}(?P<whole>{_NOTHING_MORE})?") for name, last in _LAST_CONDITIONS.items()}


def of_mention(words: str, start: int, end: int) -> bool:
    """Whether what stands around a licence's name, at `start` to `end`, denies it, limits it to a part or adds to it.

    >>> words = "this file is not licensed under the mit license"
    >>> of_mention(words, words.index("under"), len(words))
    True
    """
    before, after = words[max(0, start - _BEFORE_CHARS) : start], words[end : end + _AFTER_CHARS]
    return any((_TAKEN_BACK.search(before), _ADDITION.search(before), _ADDITION.search(after), _CHANGE.search(after)))


def of_text(licence: str, words: str, start: int, end: int) -> bool:
    """Whether the text of `licence`, at `start` to `end`, is announced as changed, or holds a condition of its own."""
    if _ADDITION.search(words, max(0, start - _PREAMBLE_CHARS), start):
        return True
    body = words[start:end]
    if licence in _SHORT and _ADDITION.search(body):
        return True
    last = _LAST[licence].search(body) if licence in _LAST else None
    return last is not None and last["whole"] is None
