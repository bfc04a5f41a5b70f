"""The head of a dataset card, in YAML: what `datasets.load_dataset` and the hub read. Pure."""

import json
from collections.abc import Iterable, Mapping

HUB_LICENCES = {
    spdx.lower()
    for spdx in (
        "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "BSL-1.0", "CC0-1.0", "Unlicense",
        "MPL-2.0", "LGPL-2.1", "LGPL-3.0", "GPL-2.0", "GPL-3.0", "AGPL-3.0", "CC-BY-4.0", "unknown",
    )
}  # fmt: skip
"""Those of SPDX that the hub has a name for: the same in lower case. Any other is `other` there."""

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def header(data_files: Mapping[str, str], rows: int, licences: Iterable[str], *, conversations: bool) -> str:
    """Return the front matter. `data_files` maps splits to the names of their Parquet files."""
    lines = ["---"]
    named = sorted({licence.lower() if licence.lower() in HUB_LICENCES else "other" for licence in licences})
    if named:
        lines += ["license:", *(f"- {name}" for name in named)]
    if conversations:
        lines += ["language:", "- en", "task_categories:", "- text-generation"]
    lines += ["tags:", "- code", "- synthetic", *(["- instruction-tuning"] if conversations else [])]
    lines += ["size_categories:", f"- {size(rows)}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split, name in data_files.items():
        lines += [f"  - split: {split}", f"    path: {json.dumps(name)}"]
    return "\n".join([*lines, "---"])


def size(rows: int) -> str:
    """Return the hub's name for a size.

    >>> size(58), size(1_000), size(74_000), size(20_000_000)
    ('n<1K', '1K<n<10K', '10K<n<100K', 'n>10M')
    """
    return next((name for limit, name in SIZES if rows < limit), "n>10M")
