"""The training itself, with torch, transformers and trl. Only the process that trains imports this package."""

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # trl reports each training to the hub unless told not to
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
