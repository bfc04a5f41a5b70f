"""The embedded bus: the default, one SQLite file on one machine."""

from stream.embedded.bus import Embedded

__all__ = ["Embedded"]
