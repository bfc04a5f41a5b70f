"""Which licence a text grants, as an SPDX identifier: from a file's head, or from a folder's LICENSE.

Offline and small on purpose: the licences under which Python code is commonly published, by sentences that each has
and no other has, rather than a comparison with all texts of the SPDX list (the libraries that do so are scanners for
whole products, or fetch an index at first use). A doubt ends in "unknown", which an allow-list lets through only by
name.
"""

import re
from collections.abc import Iterable, Mapping

from producers import doubts, spdx
from producers.spdx import UNKNOWN

_FILE = re.compile(
    r"(?P<stem>unlicen[cs]e|licen[cs]e|copying)(?P<which>[-_.](?!(?:txt|md|rst)$)[\w.+-]+?)?(?:\.(?:txt|md|rst))?",
    re.IGNORECASE,
)
_CODE = re.compile(r"\.(?:py[a-z]?|[ch]|js|ts|html?|json|ya?ml|toml|css|sh|exe|so)$", re.IGNORECASE)

_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]*)", re.IGNORECASE)
_TOP_CHARS = 400  # where a LICENSE has its tag; further down it tags bundled code
_TAG_END = re.compile(r"""\s*(?:\*/|-->|"{3}|'{3}|["'#].*)?\s*$""")

_HINTS = (
    "licen",
    "permission",
    "redistribution",
    "proprietary",
    "confidential",
    "unauthorized",
    "unencumbered",
    "cc0",
    "gpl",
)
"""A head without any of these says nothing of a licence."""

# Texts are compared as their words alone: lower case, one space between them.
# fmt: off
_TEXTS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    # a sentence that opens the text                (a sentence within it, the licence), the first that is there
    ("permission is hereby granted free of charge to any person obtaining a copy of this software and associated"
     " documentation files",                        (("except as contained in this notice", "X11"),
                                                     ("shall be used for good not evil", "JSON"),
                                                     ("the above copyright notice and this permission notice", "MIT"),
                                                     ("furnished to do so the software is provided", "MIT-0"),
                                                     ("", UNKNOWN))),
    ("permission is hereby granted free of charge to any person or organization obtaining a copy of the software and"
     " accompanying documentation covered by",      (("", "BSL-1.0"),)),
    ("redistribution and use in source and binary forms with or without modification are permitted",
                                                    (("all advertising materials mentioning", "BSD-4-Clause"),
                                                     ("to any party s patent rights", "BSD-3-Clause-Clear"),
                                                     ("endorse or promote products", "BSD-3-Clause"),
                                                     ("reproduce the above copyright notice", "BSD-2-Clause"),
                                                     ("", UNKNOWN))),
    ("permission to use copy modify and (?:or )?distribute this software for any purpose with or without fee is hereby"
     " granted",                                    (("provided that the above copyright notice", "ISC"),
                                                     ("hereby granted the software is provided", "0BSD"),
                                                     ("", UNKNOWN))),
    ("this software is provided as is without any express or implied warranty in no event will the authors be held",
                                                    (("the origin of this software must not be misrepresented", "Zlib"),
                                                     ("", UNKNOWN))),
    ("this is free and unencumbered software released into the public domain", (("", "Unlicense"),)),
    ("cc0 1 0 universal",                           (("", "CC0-1.0"),)),
    ("apache license version 2 0 january 2004",     (("", "Apache-2.0"),)),
    ("mozilla public license version 2 0",          (("", "MPL-2.0"),)),
    ("boost software license version 1 0",          (("", "BSL-1.0"),)),
    ("python software foundation license version 2", (("", "PSF-2.0"),)),
    ("gnu general public license version 1 february 1989", (("", "GPL-1.0-only"),)),
    ("gnu general public license version 2 june 1991", (("", "GPL-2.0-only"),)),
    ("gnu general public license version 3 29 june 2007", (("", "GPL-3.0-only"),)),
    ("gnu library general public license version 2 june 1991", (("", "LGPL-2.0-only"),)),
    ("gnu lesser general public license version 2 1 february 1999", (("", "LGPL-2.1-only"),)),
    ("gnu lesser general public license version 3 29 june 2007", (("", "LGPL-3.0-only"),)),
    ("gnu affero general public license version 3 19 november 2007", (("", "AGPL-3.0-only"),)),
    ("eclipse public license v(?:ersion)? 2 0",     (("", "EPL-2.0"),)),
    ("business source license 1 1",                 (("", "BUSL-1.1"),)),
    ("server side public license",                  (("", "SSPL-1.0"),)),
    # Terms that bind and that we cannot name: better none than the wrong one.
    ("creative commons attribution|gnu free documentation license", (("", UNKNOWN),)),
    ("permission is hereby granted|permission to use copy modify|redistribution and use", (("", UNKNOWN),)),
    ("proprietary and confidential|confidential and proprietary|unauthorized copying", (("", UNKNOWN),)),
)

_MENTIONS: tuple[tuple[str, str], ...] = (
    ("apache (?:software )?licen[cs]e (?:v|version )?2(?: 0)?", "Apache-2.0"),
    ("apache 2 0 licen[cs]e|licen[cs]e apache 2 0|under (?:the )?apache 2 0", "Apache-2.0"),
    ("under (?:the )?(?:terms of )?(?:the )?mit licen[cs]e|licen[cs]e mit|mit licen[cs]ed", "MIT"),
    ("3 clause bsd|bsd 3 clause|(?:new|modified) bsd licen[cs]e|licen[cs]e new bsd", "BSD-3-Clause"),
    ("2 clause bsd|bsd 2 clause|simplified bsd licen[cs]e", "BSD-2-Clause"),
    ("mozilla public licen[cs]e v ?2 0|under (?:the )?mpl 2 0", "MPL-2.0"),
    ("licensed to psf under a contributor agreement|under the psf licen[cs]e", "PSF-2.0"),
    ("under the isc licen[cs]e|licen[cs]e isc", "ISC"),
    ("under (?:the )?cc0|licen[cs]e cc0", "CC0-1.0"),
    ("under the boost software licen[cs]e", "BSL-1.0"),
    ("under the zlib licen[cs]e", "Zlib"),
)
# fmt: on

_TEXT = re.compile("|".join(f"(?P<t{n}>{opening})" for n, (opening, _) in enumerate(_TEXTS)))
_MENTION = re.compile("|".join(f"(?P<m{n}>{words})" for n, (words, _) in enumerate(_MENTIONS)))
_RESTRICTED = re.compile(doubts.RESTRICTED)
_MAX_TEXT_CHARS = 4_000  # from a text's opening, where another text does not begin before

_GNU = re.compile(
    r"\bgnu (?P<kind>affero |lesser |library )?general public licen[cs]e|\b(?P<short>[al]?)gpl ?v? ?(?=\d)"
    r"|under (?:the )?(?:terms of )?(?:the )?(?:gnu )?(?P<bare>[al]?)gpl\b"
)
_GNU_VERSION = re.compile(r"(?:^ ?(?:v ?)?|\bversion |\bv ?)([123])(?: ([01]))?(?!\d)")
_GNU_CHARS = 200  # where a notice names its version, after the licence's name


def is_licence_file(name: str) -> bool:
    """Whether a file of this name states the licence of its folder.

    >>> [is_licence_file(name) for name in ("LICENSE", "LICENCE.md", "COPYING.LESSER", "license-MIT.txt", "license.py")]
    [True, True, True, True, False]
    """
    return _FILE.fullmatch(name) is not None and _CODE.search(name) is None


def of_head(head: str) -> str | None:
    """Return the licence that a file's head names, UNKNOWN where it states terms that we cannot name, or None where
    it says nothing (or only points to a LICENSE)."""
    lower = head.lower()
    if not any(hint in lower for hint in _HINTS):
        return None
    tags = _TAG.findall(head)
    return _of_tags(tags) if tags else _of_words(_words(head))


def of_text(text: str) -> str:
    """Return the licence that a LICENSE file states first, or UNKNOWN.

    First, because the project's own terms stand there and those of code it bundles after them. A GNU licence's text
    does not say whether later versions will do, so it is taken for "only"; a file's head may say more.
    """
    tags = _TAG.findall(text[:_TOP_CHARS])
    return (_of_tags(tags) if tags else _of_words(_words(text))) or UNKNOWN


def of_folder(texts: Mapping[str, str]) -> str:
    """Return the licence of a folder from its licence files (`is_licence_file`), by name. At least one.

    A plain LICENSE decides. Where there is none that we can name, those with a suffix (LICENSE-MIT, LICENSE.APACHE)
    hold together: nothing here says that one may choose. The LGPL 3 comes as an addition beside the GPL.
    """
    plain: set[str] = set()
    others: set[str] = set()
    for name, text in texts.items():
        match = _FILE.fullmatch(name)
        (others if match and match["which"] else plain).add(of_text(text))
    lesser = sorted(licence for licence in plain | others if licence.startswith("LGPL"))
    if lesser:
        return lesser[0]
    return _together(plain - {UNKNOWN}) or _together(others) or UNKNOWN


def _together(licences: Iterable[str]) -> str | None:
    names = sorted(licences)
    return UNKNOWN if UNKNOWN in names else " AND ".join(names) or None


def _of_tags(tags: Iterable[str]) -> str:
    """All tags hold together: a file with parts of several origins has several."""
    found = [spdx.canonical(_TAG_END.sub("", tag)) for tag in tags]
    names = sorted({name for name in found if name is not None})
    if None in found or not names:
        return UNKNOWN
    if len(names) == 1:
        return names[0]
    return " AND ".join(f"({name})" if " OR " in name else name for name in names)


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9+]+", " ", text.lower()).split())


def _of_words(words: str) -> str | None:
    if _RESTRICTED.search(words):
        return UNKNOWN
    opening = _TEXT.search(words)
    if opening is not None:
        return _variant(words, opening)
    gnu = _GNU.search(words)
    mention = _MENTION.search(words)
    named = gnu if gnu is not None and (mention is None or gnu.start() < mention.start()) else mention
    if named is None:
        return UNKNOWN if "not licensed under" in words else None
    if doubts.of_mention(words, named.start(), named.end()):
        return UNKNOWN
    return _gnu(words, named) if named is gnu else _MENTIONS[int((named.lastgroup or "")[1:])][1]


def _variant(words: str, opening: re.Match[str]) -> str:
    following = _TEXT.search(words, opening.end())
    start, end = opening.start(), opening.start() + _MAX_TEXT_CHARS
    end = min(end, following.start()) if following else end
    _, variants = _TEXTS[int((opening.lastgroup or "")[1:])]
    licence = next(licence for sentence, licence in variants if words.find(sentence, start, end) >= 0)
    return UNKNOWN if doubts.of_text(licence, words, start, end) else licence


def _gnu(words: str, named: re.Match[str]) -> str:
    """The licence of a GNU notice. Where no version is named any will do: so says section 9 of the GPL."""
    kind = {"affero ": "AGPL", "a": "AGPL", "lesser ": "LGPL", "library ": "LGPL", "l": "LGPL"}.get(
        named["kind"] or named["short"] or named["bare"] or "", "GPL"
    )
    notice = words[named.end() : named.end() + _GNU_CHARS]
    version = _GNU_VERSION.search(notice)
    if version is None:
        return {"GPL": "GPL-1.0-or-later", "LGPL": "LGPL-2.0-or-later", "AGPL": "AGPL-3.0-or-later"}[kind]
    later = re.search(r"\d ?\+|(?:or|any) (?:\w+ ){0,3}(?:later|newer)", notice) is not None
    return f"{kind}-{version[1]}.{version[2] or 0}-{'or-later' if later else 'only'}"
