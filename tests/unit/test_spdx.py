"""SPDX expressions: spelling, and what a list of allowed licences permits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.spdx import UNKNOWN, canonical, permits

LICENCES = st.sampled_from(["MIT", "Apache-2.0", "GPL-3.0-only", "BSD-3-Clause", "ISC"])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("mit", "MIT"),
        ("apache-2.0 OR mit", "Apache-2.0 OR MIT"),
        ("GPL-2.0", "GPL-2.0-only"),
        ("gpl-3.0+", "GPL-3.0-or-later"),
        ("LGPL-2.1+ WITH GCC-exception-2.0", "LGPL-2.1-or-later WITH GCC-exception-2.0"),
        ("(MIT AND (ISC or 0bsd))", "(MIT AND (ISC OR 0BSD))"),
        ("LicenseRef-Mine", "LicenseRef-Mine"),
        ("GPL2", None),
        ("MIT/Apache-2.0", None),
        ("", None),
        ("unknown", None),
        ("MIT OR", None),
        (" OR ".join(["MIT"] * 100), None),
        ("(" * 250 + "MIT" + ")" * 40, None),
    ],
)
def test_an_expression_is_spelled_as_spdx_spells_it_or_is_none(written: str, expected: str | None) -> None:
    assert canonical(written) == expected


@pytest.mark.parametrize(
    ("allowed", "expression", "expected"),
    [
        (("MIT",), "MIT", True),
        (("mit",), "MIT", True),
        (("MIT",), "ISC", False),
        (("MIT",), "MIT OR GPL-3.0-only", True),
        (("MIT",), "MIT AND GPL-3.0-only", False),
        (("MIT", "GPL-3.0"), "MIT AND GPL-3.0-only", True),
        (("MIT",), "GPL-3.0-only OR ISC AND MIT", False),
        (("MIT",), "MIT OR ISC AND GPL-3.0-only", True),  # AND binds closer
        (("MIT",), "(MIT OR ISC) AND GPL-3.0-only", False),
        (("MIT", "ISC"), "(GPL-3.0-only OR (ISC AND MIT)) AND MIT", True),
        (("GPL-2.0-only",), "GPL-2.0-only WITH Classpath-exception-2.0", True),
        (("GPL-2.0-only WITH Classpath-exception-2.0",), "GPL-2.0-only WITH Classpath-exception-2.0", True),
        (("GPL-2.0-only WITH Classpath-exception-2.0",), "GPL-2.0-only", False),
        (("MIT",), UNKNOWN, False),
        (("MIT", UNKNOWN), UNKNOWN, True),
        ((), UNKNOWN, True),
    ],
)
def test_or_permits_by_one_side_and_by_both(allowed: tuple[str, ...], expression: str, expected: bool) -> None:
    assert permits(allowed, expression) is expected


EXPRESSIONS = st.recursive(
    LICENCES.map(lambda name: (name, name)),
    lambda inner: st.tuples(inner, st.sampled_from(["or", "and"]), inner).map(
        lambda t: (f"({t[0][0]}) {t[1].upper()} ({t[2][0]})", f"({t[0][1]}) {t[1]} ({t[2][1]})")
    ),
    max_leaves=6,
)


@given(EXPRESSIONS, st.sets(LICENCES, min_size=1))
def test_permits_agrees_with_boolean_logic(both: tuple[str, str], allowed: set[str]) -> None:
    expression, logic = both
    for name in ("MIT", "Apache-2.0", "GPL-3.0-only", "BSD-3-Clause", "ISC"):
        logic = logic.replace(name, str(name in allowed))
    assert permits(tuple(sorted(allowed)), expression) is eval(logic)


@given(st.text(max_size=50))
def test_canonical_takes_any_text_and_changes_nothing_twice(text: str) -> None:
    once = canonical(text)
    assert once is None or canonical(once) == once
