"""Which licence a head or a LICENSE grants. The texts as published come with the installed dependencies."""

import os
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.licence import is_licence_file, of_folder, of_head, of_text
from producers.spdx import UNKNOWN, canonical
from tests.licence_texts import (
    ADVERTISING,
    APACHE,
    BSD_2,
    GPL_3,
    ISC,
    LGPL_3,
    MIT,
    MIT_0,
    PYTHON,
    THIRD,
    ZERO_BSD,
    ZLIB,
)


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (MIT, "MIT"),
        (MIT.replace("\n", "\r\n"), "MIT"),
        (MIT_0, "MIT-0"),
        (MIT + "\nExcept as contained in this notice, the name of the authors shall not be used.", "X11"),
        (MIT + "\nThe Software shall be used for Good, not Evil.", "JSON"),
        (BSD_2.format(more=""), "BSD-2-Clause"),
        (BSD_2.format(more=THIRD), "BSD-3-Clause"),
        (BSD_2.format(more=ADVERTISING + THIRD), "BSD-4-Clause"),
        (ISC, "ISC"),
        (ISC.replace("and/or", "and"), "ISC"),
        (ZERO_BSD, "0BSD"),
        (ZLIB, "Zlib"),
        (GPL_3, "GPL-3.0-only"),
        (GPL_3.replace("Version 3, 29 June 2007", "Version 2, June 1991"), "GPL-2.0-only"),
        (LGPL_3, "LGPL-3.0-only"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999\n", "LGPL-2.1-only"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007\n", "AGPL-3.0-only"),
        (APACHE, "Apache-2.0"),
        (PYTHON + ZERO_BSD, "PSF-2.0"),
        ("Mozilla Public License Version 2.0\n===\n", "MPL-2.0"),
        ("Boost Software License - Version 1.0 - August 17th, 2003\n", "BSL-1.0"),
        ("This is free and unencumbered software released into the public domain.\n", "Unlicense"),
        ("Creative Commons Legal Code\n\nCC0 1.0 Universal\n", "CC0-1.0"),
        ("This project is licensed under the MIT License.\n", "MIT"),
        ("SPDX-License-Identifier: Apache-2.0 OR MIT\n\n" + MIT, "Apache-2.0 OR MIT"),
        (APACHE + "x " * 400 + "SPDX-License-Identifier: GPL-3.0-only\n", "Apache-2.0"),  # of bundled code
        (MIT + "\n\nBundled:\n\n" + GPL_3, "MIT"),
        (BSD_2.format(more="") + "\nBundled:\n" + BSD_2.format(more=THIRD), "BSD-2-Clause"),
        ('"Commons Clause" License Condition v1.0\n\n' + APACHE, UNKNOWN),
        ("Business Source License 1.1\n", "BUSL-1.1"),
        ("Attribution 4.0 International\nCreative Commons Attribution 4.0\n", UNKNOWN),
        ("GNU Free Documentation License\nVersion 1.2, November 2002\n the GNU General Public License", UNKNOWN),
        ("Redistribution and use of the software in source forms as well\n", UNKNOWN),
        ("All rights reserved. Ask us.\n", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_licence_file_is_named_by_its_own_sentences(text: str, licence: str) -> None:
    assert of_text(text) == licence


@pytest.mark.parametrize(
    ("distribution", "licence"),
    [
        ("rich", "MIT"),
        ("datasketch", "MIT"),
        ("httpx", "BSD-3-Clause"),
        ("click", "BSD-3-Clause"),
        ("pygments", "BSD-2-Clause"),
        ("pyarrow", "Apache-2.0"),
        ("multidict", "Apache-2.0"),
        ("hypothesis", "MPL-2.0"),
        ("typing_extensions", "PSF-2.0"),
        ("pebble", "LGPL-3.0-only"),
        ("shellingham", "ISC"),
        ("packaging", "Apache-2.0 AND BSD-2-Clause"),  # "either", it says, but not in words that we read
    ],
)
def test_the_licence_files_of_published_packages_are_recognised(distribution: str, licence: str) -> None:
    files = [file for file in metadata.files(distribution) or () if ".dist-info" in file.parts[0]]
    texts = {
        file.name: Path(str(file.locate())).read_text(errors="replace") for file in files if is_licence_file(file.name)
    }
    assert of_folder(texts) == licence


def test_the_licence_of_the_running_standard_library_is_recognised_where_it_is_installed() -> None:
    text = Path(os.__file__).parent / "LICENSE.txt"
    if not text.exists():
        pytest.skip("this Python was installed without its LICENSE.txt")
    assert of_text(text.read_text()) == "PSF-2.0"


LATER = """# This program is free software; you can redistribute it and/or modify
# it under the terms of the GNU {kind}General Public License as published by
# the Free Software Foundation; either version {version} of the License, or
# (at your option) any later version.
"""


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("# SPDX-License-Identifier: MIT\n", "MIT"),
        ("# spdx-license-identifier: apache-2.0 or mit\n", "Apache-2.0 OR MIT"),
        ("# SPDX-License-Identifier: GPL-2.0+\n", "GPL-2.0-or-later"),
        ('"""SPDX-License-Identifier: ISC"""\n', "ISC"),
        ("# SPDX-License-Identifier: MIT */\n", "MIT"),
        (
            "# SPDX-License-Identifier: Apache-2.0 OR MIT\n# SPDX-License-Identifier: ISC\n",
            "(Apache-2.0 OR MIT) AND ISC",
        ),
        ("# SPDX-License-Identifier: whatever\n", UNKNOWN),
        ("# SPDX-License-Identifier:\n", UNKNOWN),
        ('# Licensed under the Apache License, Version 2.0 (the "License");\n# you may not use this\n', "Apache-2.0"),
        ("# Licensed under the MIT license, see LICENSE\n", "MIT"),
        ("# License: MIT\n", "MIT"),
        ("# License: BSD 3 clause\n", "BSD-3-Clause"),
        ("# Licensed to PSF under a Contributor Agreement.\n", "PSF-2.0"),
        ("# This Source Code Form is subject to the terms of the Mozilla Public\n# License, v. 2.0.\n", "MPL-2.0"),
        ("\n".join("# " + line for line in MIT.splitlines()), "MIT"),
        ('"""' + BSD_2.format(more=THIRD) + '"""', "BSD-3-Clause"),
        (LATER.format(kind="", version="2"), "GPL-2.0-or-later"),
        (LATER.format(kind="", version="3"), "GPL-3.0-or-later"),
        (LATER.format(kind="Lesser ", version="2.1"), "LGPL-2.1-or-later"),
        (LATER.format(kind="Affero ", version="3"), "AGPL-3.0-or-later"),
        ("# under the terms of the GNU General Public License version 2 as published by the FSF.\n", "GPL-2.0-only"),
        ("# License: GPLv3\n", "GPL-3.0-only"),
        ("# License: GPL v2+\n", "GPL-2.0-or-later"),
        ("# License: LGPL-2.1-or-later\n", "LGPL-2.1-or-later"),
        ("# Released under the GNU GPL.\n", "GPL-1.0-or-later"),
        ("# Copyright 2020. Proprietary and confidential.\n", UNKNOWN),
        ("# This file is NOT licensed under the MIT license.\n", UNKNOWN),
        ("# This file is not licensed under the MIT (open source) license, unlike others.\n", UNKNOWN),
        ("# It was formerly released under the terms of the Apache License, Version 2.0.\n", UNKNOWN),
        ("# Portions of this file are under the Apache License 2.0.\n", UNKNOWN),
        ("# It is not covered by the GNU General Public License.\n", UNKNOWN),
        ("# Unauthorized copying of this file is prohibited.\n", UNKNOWN),
        ("# Permission to use, copy, modify, and distribute this software and its documentation\n", UNKNOWN),
        ("# Use of this source code is governed by a BSD-style license in LICENSE.\n", None),
        ("# Copyright 2020 A. N. Author. All rights reserved.\n", None),
        ('"""Parses a licence plate."""\n', None),
        ("", None),
    ],
)
def test_a_head_that_names_a_licence_outweighs_the_folder_and_any_other_does_not(
    head: str, licence: str | None
) -> None:
    assert of_head(head) == licence


@pytest.mark.parametrize(
    ("texts", "licence"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENSE": MIT, "LICENSE-APACHE": APACHE}, "MIT"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 AND MIT"),
        ({"LICENSE": "see below", "LICENSE.bsd": BSD_2.format(more="")}, "BSD-2-Clause"),
        ({"LICENSE-MIT": MIT, "LICENSE-OURS": "ours"}, UNKNOWN),
        ({"COPYING": GPL_3, "COPYING.LESSER": LGPL_3}, "LGPL-3.0-only"),
        ({"LICENSE.txt": "ours"}, UNKNOWN),
    ],
)
def test_a_plain_licence_decides_and_those_with_a_suffix_hold_together(texts: dict[str, str], licence: str) -> None:
    assert of_folder(texts) == licence


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("LICENSE", "LICENCE", "license.txt", "LICENSE.md", "COPYING", "COPYING.LESSER")),
        *((name, True) for name in ("UNLICENSE", "LICENSE-MIT", "LICENSE.APACHE", "LICENSE-GPL-2.0.txt")),
        *((name, False) for name in ("license.py", "licences.md", "LICENSE.json", "mylicense", "copying.c", "README")),
    ],
)
def test_a_licence_file_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_licence_file(name) is expected


@given(st.text(max_size=300))
def test_any_text_gives_an_spdx_expression_or_unknown(text: str) -> None:
    for found in (of_text(text), of_head("# license " + text) or UNKNOWN, of_head("# SPDX-License-Identifier:" + text)):
        assert found == UNKNOWN or (found is not None and canonical(found) == found)
