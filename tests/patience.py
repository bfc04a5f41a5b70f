"""How long a test waits for what must happen."""

PATIENCE_S = 120.0
"""Seconds after which it has not happened. Nothing is measured by it: a condition comes true in milliseconds on a quiet
machine, and on one where a dozen others work it may take fifty times as long."""

LONG_S = 900.0
"""The same for a whole run of the program."""
