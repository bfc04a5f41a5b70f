"""Half of a node's start is Java reading classes. It is done once, and kept beside the jars (JEP 350)."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from deploy.local_kafka import jars, layout
from deploy.local_kafka.java import Java, java
from deploy.local_kafka.node import Node
from deploy.local_kafka.program import Program
from deploy.local_kafka.properties import properties

WRITE_S = 180.0


def ready() -> Program:
    """Return what a node runs. The first time it is fetched (44 MB), started once and stopped to make the archive.

    Raises:  DependencyDown when Java, Maven or the network is missing; WrongConfig when the cache cannot be written.
    """
    with_java, folder = java(), jars.fetched()
    archive = folder / f"classes-{_key(with_java)}.jsa"
    program = Program(with_java.path, folder)
    if not archive.exists():
        with jars.locked():
            if not archive.exists():  # else another process was faster
                _make(program, archive)
    return Program(with_java.path, folder, archive if archive.stat().st_size else None)


def _key(with_java: Java) -> str:
    """An archive is good for the very Java that made it."""
    return hashlib.sha256(f"{with_java.path.resolve()}\n{with_java.version}".encode()).hexdigest()[:12]


def _make(program: Program, archive: Path) -> None:
    """Let a node run once and write down its classes at its end. A Java that cannot leaves an empty file."""
    folder = Path(tempfile.mkdtemp(prefix=jars.UNFINISHED, dir=jars.cache()))
    fresh = folder / archive.name
    node = Node(1, folder, lambda: program, flags=(f"-XX:ArchiveClassesAtExit={fresh}",))
    try:
        cluster = layout.placed(layout.new(1), [], None)
        node.configure(properties(1, 1, cluster.ports))
        node.format(cluster.cluster_id, [])
        node.start()
        node.stop(WRITE_S)
        fresh.touch()
        fresh.rename(archive)
    finally:
        try:
            node.kill()  # what tells of it goes with the folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
