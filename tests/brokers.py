"""Real Kafka for tests: one broker that all tests of a run share, and clusters of one's own.

Where Java or Maven is missing the tests that need it fail with the line that says what to install; with
SEEDSTREAM_TEST_KAFKA=off they are skipped.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from deploy.local_kafka import Listener, LocalKafka
from deploy.local_kafka.archive import ready
from deploy.local_kafka.process import launch
from stream.errors import DependencyDown
from tests.broker_keeper import users

SWITCH = "SEEDSTREAM_TEST_KAFKA"
ROOT = Path(__file__).parents[1]


def needs_kafka() -> None:
    """Skip where the user switched these tests off; fail, saying what to install, where Kafka cannot run."""
    if os.environ.get(SWITCH) == "off":
        pytest.skip(f"{SWITCH}=off")
    try:
        ready()
    except DependencyDown as err:
        pytest.fail(f"{err}; {SWITCH}=off skips the tests that need it", pytrace=False)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Use the brokers of a folder: they end after the last process that does, also when it is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(users(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        keeper = f"{folder.name}.keeper-{os.getpid()}"
        command = [sys.executable, "-m", "tests.broker_keeper", folder]
        launch(command, folder.with_name(f"{keeper}.pid"), folder.with_name(f"{keeper}.log"), ROOT)
        yield
    finally:
        os.close(fd)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """The broker of this run, one node, shared by all tests and all workers: isolate yourself by `namespace`."""
    needs_kafka()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "brokers"
    with kept(folder):
        broker = LocalKafka(folder / "shared", nodes=1)
        broker.start()
        yield broker


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"t{secrets.token_hex(6)}"


class MakeKafka(Protocol):
    """What `own_kafka` gives: starts a cluster with these settings, and ends it when the test does."""

    def __call__(
        self,
        nodes: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        scram: Mapping[str, str] | None = None,
        features: Mapping[str, int] | None = None,
    ) -> LocalKafka: ...


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[MakeKafka]:
    """Clusters of this test's own: for what kills, pauses or restarts nodes, or needs other settings."""
    needs_kafka()
    folder = tmp_path / "brokers"
    made: list[LocalKafka] = []

    def make(
        nodes: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        scram: Mapping[str, str] | None = None,
        features: Mapping[str, int] | None = None,
    ) -> LocalKafka:
        own = LocalKafka(
            folder / str(len(made)), nodes=nodes, properties=properties, listeners=listeners, scram=scram,
            features=features,
        )  # fmt: skip
        made.append(own)
        own.start()
        return own

    with kept(folder):
        try:
            yield make
        finally:
            for own in made:
                own.kill()
                for node in own.nodes:
                    shutil.rmtree(node.folder / "data", ignore_errors=True)
