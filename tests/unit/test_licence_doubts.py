"""A text that changes, limits or takes back the licence that it names is under none that we can name."""

import pytest

from producers.licence import of_head, of_text
from producers.spdx import UNKNOWN
from tests.licence_texts import APACHE, BSD_2, ISC, MIT, MIT_0, THIRD, ZERO_BSD

COMMONS_CLAUSE = '\n"Commons Clause" License Condition v1.0\n\nThe License does not grant you the right to Sell.\n'
BRANDING = "4. Notwithstanding any other provision of this License, nobody may alter or remove our branding.\n"
SOURCE = "5. Redistributions in any form must come with the complete source code, at no more than its cost.\n"
OWN_WORDS = "   * The makers of toasters shall first ask all of us, one by one.\n"
AGPL_OR_PAY = "under the GNU Affero General Public License v3, or else purchase a commercial license from us"


@pytest.mark.parametrize(
    "text",
    [
        # another licence's name beside that of a free one
        "# Functional Source License, Version 1.1, Apache 2.0 Future License\n",
        "Ours. Functional Source License. In two years: available under\nthe Apache License, Version 2.0.\n",
        "Licensed variously under the Apache License\nVersion 2.0, or the Elastic License.\n",
        "PolyForm Shield License 1.0.0\n\n" + MIT,
        # changed, whether by name
        "Licensed under a modified version of the Apache License 2.0, with the following additional conditions:\n",
        "Licensed under the Apache License 2.0, with the following additional conditions:\n1. Ask us first.\n",
        "Licensed under the MIT License with the following restrictions:\n- do not sell it\n",
        "Licensed under the MIT License, for academic research use only.\n",
        "Licensed under the MIT License. Commercial use is not permitted.\n",
        "Licensed under the GNU General Public License version 2 with the following additional conditions:\n",
        # or in the text
        MIT + COMMONS_CLAUSE,
        APACHE + "x " * 4000 + COMMONS_CLAUSE,
        "Apache License 2.0 with three additional conditions: ask, pay, wait.\n\n" + APACHE,
        MIT + "\nThe Software shall not be used in commercial products.\n",
        MIT.replace("THE SOFTWARE IS", OWN_WORDS + "\nTHE SOFTWARE IS"),
        ISC + OWN_WORDS + '\nTHE SOFTWARE IS PROVIDED "AS IS".\n',
        BSD_2.format(more=THIRD + BRANDING),
        BSD_2.format(more=THIRD + SOURCE),
        BSD_2.format(more=THIRD + OWN_WORDS),
        BSD_2.format(more=SOURCE),
        BSD_2.format(more=THIRD + BRANDING).partition("THIS SOFTWARE IS")[0],
        MIT_0.replace("furnished to do so", "furnished to do so, after asking us"),
        ZERO_BSD.replace("hereby granted.", "hereby granted, after asking us."),
    ],
)
def test_a_licence_that_is_changed_or_added_to_is_no_longer_that_licence(text: str) -> None:
    assert of_text(text) == UNKNOWN
    assert of_head('"""' + text + '"""') == UNKNOWN


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Dual licensed under the Apache License, Version 2.0, and the BSD License.\n", "Apache-2.0"),
        ("Licensed under either the Apache License, Version 2.0 or the MIT license, at your option\n", "Apache-2.0"),
        ("This is free for commercial and non-commercial use, under the MIT license.\n", "MIT"),
        ("Under the Apache License 2.0 with LLVM Exceptions\n", "Apache-2.0"),
        (f"This program is {AGPL_OR_PAY}.\n", "AGPL-3.0-only"),
        ("# A part of frob, with some additional tools.\n# License: MIT\n# Some of it is slow.\n", "MIT"),
        ("Not an official product. Licensed under the MIT license.\n", "MIT"),
        (
            BSD_2.format(
                more=THIRD.replace("software.", "software without\n   specific prior written permission of us.")
            ),
            "BSD-3-Clause",
        ),
        (
            BSD_2.format(more=THIRD + "\nAlternatively, this may be distributed under the terms of the GNU GPL.\n"),
            "BSD-3-Clause",
        ),
    ],
)
def test_a_choice_an_exception_or_words_nearby_do_not_change_a_licence(text: str, licence: str) -> None:
    assert of_text(text) == licence
