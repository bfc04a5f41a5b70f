"""The Java that a local Kafka needs, and what to do where it is not there."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stream.errors import DependencyDown

MIN_JAVA = 17
INSTALL_JAVA = "install Java 17 or newer (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
INSTALL_MAVEN = "install Maven (Debian, Ubuntu: apt install maven)"
INSTEAD = (
    "or run Kafka in Docker (docker compose -f deploy/compose.yaml up kafka), "
    "or use a cluster of your own (--bus kafka://HOST:PORT)"
)

_ANSWERS_S = 30.0
_MAJOR = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True)
class Java:
    """A program `java`, and all that it says of its version."""

    path: Path
    version: str


def java() -> Java:
    """Return the `java` to run: of JAVA_HOME where that is set, else the one on PATH.

    Raises:  DependencyDown when there is none, or none new enough.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    if found is None:
        where = f"in JAVA_HOME ({home})" if home else "on PATH"
        raise DependencyDown(f"a local Kafka needs Java, and there is no `java` {where}: {INSTALL_JAVA}; {INSTEAD}")
    try:
        said = subprocess.run(  # noqa: S603
            [found, "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWERS_S, check=True
        ).stderr.decode(errors="replace")
    except (OSError, subprocess.SubprocessError) as err:
        raise DependencyDown(f"`{found} -version` does not answer ({err}): {INSTALL_JAVA}; {INSTEAD}") from err
    major = major_version(said)
    if major is None or major < MIN_JAVA:
        version = f"Java {major}" if major else "unknown"
        raise DependencyDown(f"a local Kafka needs Java {MIN_JAVA}, {found} is {version}: {INSTALL_JAVA}; {INSTEAD}")
    return Java(Path(found), said)


def major_version(said: str) -> int | None:
    """Read what `java -version` says. Pure.

    >>> major_version('openjdk version "17.0.15" 2025-04-15'), major_version('java version "1.8.0_401"')
    (17, 8)
    """
    match = _MAJOR.search(said)
    return int(match[1]) if match else None


def maven() -> Path:
    """Return the `mvn` to run.

    Raises:  DependencyDown when there is none.
    """
    found = shutil.which("mvn")
    if found is None:
        raise DependencyDown(
            f"Kafka's jars are fetched by Maven, and there is no `mvn` on PATH: {INSTALL_MAVEN}; {INSTEAD}"
        )
    return Path(found)
