"""Programs nobody should trust, as tables of (name, program, verdict). A new attack is a new entry.

A table is a text file, so that a program stands in it as it would be run:

    # what the table is about
    (lines that begin each program of this table)
    ## a heading
    ### name -> verdict
    (the program)
"""

import re
from pathlib import Path

Row = tuple[str, str | bytes, str]


def table(name: str) -> list[Row]:
    """Return the rows of `name`.txt beside this file."""
    text = (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")
    begin, *entries = text.split("\n### ")
    prelude = _program(re.sub(r"^# .*\n", "", begin))
    rows: list[Row] = []
    for entry in entries:
        head, _, program = entry.partition("\n")
        row_name, arrow, verdict = head.partition(" -> ")
        assert arrow, f"{name}.txt: {head!r} is not «name -> verdict»"
        rows.append((row_name, prelude + _program(program), verdict))
    return rows


def _program(lines: str) -> str:
    """Without headings, and without the empty lines around it."""
    program = re.sub(r"^## .*\n", "", lines + "\n", flags=re.MULTILINE).strip("\n")
    return program + "\n" if program else ""
