"""A folder of Python functions that pass every filter and are no near-duplicates of each other: made from a seed."""

import random
from pathlib import Path

SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
    "va",
    "bra",
    "flo",
)

BODIES = (
    """    {b} = [{a} * {k} + step for step in range({m})]
    return sum(value for value in {b} if value % {n})""",
    """    {b}: dict[int, list[int]] = {{}}
    for {c} in range({m}):
        {b}.setdefault(({c} * {k} + {a}) % {n}, []).append({c})
    return max(len(group) for group in {b}.values())""",
    """    {b} = {a}
    while {b} > {n}:
        {b} = {b} // {k} if {b} % {k} == 0 else {b} - {m}
    return {b}""",
    """    {b} = str({a} + {m}).zfill({n})
    {c} = "".join(reversed({b}))
    return [int(digit) % {k} for digit in {c} if digit.isdigit()]""",
    """    {b}, {c} = {m}, {n}
    for turn in range(abs({a}) % {k} + 1):
        {b}, {c} = {c} + turn, {b} ^ turn
    return ({b}, {c})""",
    """    if {a} < {m}:
        return None
    {b} = set(range({n}, {a}, {k}))
    {c} = {{item * item for item in {b}}}
    return sorted({b} & {c})""",
)


def word(rng: random.Random) -> str:
    """A word that nobody uses."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def function(rng: random.Random) -> str:
    """One top-level function with a docstring, an argument and a return value, in words of its own."""
    a, b, c, name = (f"{word(rng)}_{word(rng)}" for _ in range(4))
    numbers = {key: rng.randint(2, 97) for key in "kmn"}
    text = " ".join(word(rng) for _ in range(rng.randint(18, 40)))
    body = rng.choice(BODIES).format(a=a, b=b, c=c, **numbers)
    return f'def {name}({a}: int):\n    """Find the {text}.\n\n    The {word(rng)} is {word(rng)}.\n    """\n{body}\n'


def write_corpus(folder: Path, files: int, functions: int = 2, seed: int = 0) -> None:
    """Write `files` modules of `functions` functions each, under the MIT licence."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(files):
        parts = ["# SPDX-License-Identifier: MIT\n", *(function(rng) for _ in range(functions))]
        (folder / f"module_{k:04d}.py").write_text("\n\n".join(parts), encoding="utf-8")
