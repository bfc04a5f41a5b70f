"""Apache Kafka's jars: fetched once by Maven, kept in the user's cache."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from deploy.local_kafka.java import INSTEAD, maven
from deploy.local_kafka.lock import held
from stream.errors import DependencyDown, WrongConfig

KAFKA = "4.3.1"
SCALA = "2.13"
SLF4J = "1.7.36"
"""Kafka logs through SLF4J 1.7; slf4j-simple writes it to stderr, which is the node's log file."""
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
UNFINISHED = f".kafka-{KAFKA}-"
"""How the folder is called that is not finished: one that nobody holds the lock for is left of a killed process."""
CACHE = "SEEDSTREAM_CACHE"
"""Names another folder for what can be fetched again."""

FETCH_S = 900.0
_CAUSES = re.compile(r"Could not (?:transfer|find) artifact.*|Unknown host.*|No space left.*|Permission denied.*")


def cache() -> Path:
    """Return the folder for what can be fetched again: $SEEDSTREAM_CACHE, else the XDG cache folder's `seedstream`."""
    if own := os.environ.get(CACHE):
        return Path(own).absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(xdg) if xdg.startswith("/") else Path.home() / ".cache"
    return base / "seedstream"


def pom() -> str:
    """Return the project file that names what is fetched. Pure."""
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>seedstream</groupId><artifactId>local-kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_{SCALA}</artifactId><version>{KAFKA}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>{SLF4J}</version></dependency>
  </dependencies>
</project>
"""


def home() -> Path:
    """Return the folder of the jars, whether or not they are there."""
    return cache() / f"kafka-{KAFKA}"


def present() -> bool:
    """Whether the jars are in the cache. The folder gets its name when it is complete."""
    return home().is_dir()


def locked() -> AbstractContextManager[None]:
    """Hold the right to write into the cache. Raises DependencyDown when somebody else does for too long."""
    return held(cache() / f"kafka-{KAFKA}.lock", "fetching Kafka", FETCH_S)


def fetched() -> Path:
    """Return the folder of the jars; the first time Maven fetches them, 44 MB. Several may ask at once.

    Raises:  DependencyDown without Maven, or when it cannot fetch; WrongConfig when the cache cannot be written.
    """
    target = home()
    if present():
        return target
    mvn = maven()
    with locked():
        if present():  # another process was faster
            return target
        for left in target.parent.glob(f"{UNFINISHED}*"):  # of one that was killed: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        try:
            fresh = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
        except OSError as err:
            raise WrongConfig(f"{target.parent}: the cache cannot be written: {err.strerror}") from err
        try:
            (fresh / "pom.xml").write_text(pom(), encoding="utf-8")
            _copy(mvn, fresh)
            fresh.chmod(0o755)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target


def _copy(mvn: Path, folder: Path) -> None:
    """Let Maven put the jars into a folder. It is killed with its children when it takes too long."""
    command = [mvn, "--quiet", "--batch-mode", "--no-transfer-progress", "-Dstyle.color=never", COPY,
               "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]  # fmt: skip
    process = subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            output, _ = process.communicate(timeout=FETCH_S)
        except subprocess.TimeoutExpired as err:
            raise DependencyDown(f"Maven did not fetch Kafka within {FETCH_S:g} s; {INSTEAD}") from err
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0 or not (folder / f"kafka_{SCALA}-{KAFKA}.jar").is_file():
        why = cause(output.decode(errors="replace"))
        raise DependencyDown(f"Maven cannot fetch Kafka {KAFKA} ({why}): is the network there? Try again, {INSTEAD}")


def cause(output: str) -> str:
    r"""Return what Maven complains of, from all that it says. Pure.

    >>> cause("[ERROR] Failed to execute\n[ERROR] Could not transfer artifact a:b:1: Unknown host repo.example\n")
    'Could not transfer artifact a:b:1: Unknown host repo.example'
    >>> cause("[ERROR] no such goal\n")
    'no such goal'
    """
    lines = [line.removeprefix("[ERROR]").strip() for line in output.splitlines()]
    match = _CAUSES.search(output)
    said = match[0].partition(" -> [Help")[0] if match else next((line for line in lines if line), "it says nothing")
    return said if len(said) <= 200 else f"{said[:100]} … {said[-100:]}"  # what, and why
