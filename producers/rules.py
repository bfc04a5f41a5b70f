"""What a source takes and what it turns down: the recipe's table `[source]`."""

from dataclasses import dataclass

from producers import spdx
from stream.errors import WrongConfig

EXTENSIONS: dict[str, tuple[str, ...]] = {"python": (".py",)}
"""By language, the endings of its source files, lower case. Stubs (.pyi) have no bodies to learn from."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a recipe for its sources.

    Raises:  WrongConfig for a language we do not read, a licence that is no SPDX identifier, a size below one byte.
    """

    languages: tuple[str, ...] = ("python",)
    licences: tuple[str, ...] = ()  # allowed SPDX identifiers, and "unknown"; none named: all are
    max_file_bytes: int = 1_000_000
    include_hidden: bool = False  # files and folders whose name begins with "."

    def __post_init__(self) -> None:
        for language in self.languages:
            if language not in EXTENSIONS:
                known = ", ".join(sorted(EXTENSIONS))
                raise WrongConfig(f"[source] languages: {language!r} is not read here; expected one of: {known}")
        if not self.languages:
            raise WrongConfig("[source] languages: none named; expected at least one")
        for licence in self.licences:
            if licence != spdx.UNKNOWN and spdx.canonical(licence) is None:
                raise WrongConfig(
                    f"[source] licences: {licence!r} is no SPDX identifier; expected one such as 'Apache-2.0', "
                    f"or '{spdx.UNKNOWN}'"
                )
        if self.max_file_bytes < 1:
            raise WrongConfig(f"[source] max_file_bytes: {self.max_file_bytes}; expected at least 1")

    def language(self, name: str) -> str | None:
        """The language of a file of this name, or None when no rule asks for it.

        >>> Rules().language("Setup.PY"), Rules().language("stub.pyi")
        ('python', None)
        """
        lower = name.lower()
        return next((lang for lang in self.languages if lower.endswith(EXTENSIONS[lang])), None)

    @property
    def endings(self) -> str:
        """The endings asked for, for people."""
        return ", ".join(ending for language in self.languages for ending in EXTENSIONS[language])
