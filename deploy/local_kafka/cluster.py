"""A local Kafka: its nodes started, waited for, and stopped together."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

from deploy.local_kafka import layout
from deploy.local_kafka.archive import ready
from deploy.local_kafka.layout import Layout
from deploy.local_kafka.lock import held
from deploy.local_kafka.node import START_S, Node, PortTaken, kill, stop, wait
from deploy.local_kafka.properties import PLAIN, Listener, properties
from stream.errors import WrongConfig

SIZES = (1, 3)
ATTEMPTS = 3
"""Starts with new ports, when another program takes one in the moment between."""


def default_folder() -> Path:
    """Return where a local Kafka keeps its data when nobody says where: the XDG state folder's `seedstream/kafka`."""
    xdg = os.environ.get("XDG_STATE_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else Path.home() / ".local" / "state") / "seedstream" / "kafka"


class LocalKafka:
    """The Kafka of one folder. Everything blocks: in a coroutine call it through `asyncio.to_thread`.

        kafka = LocalKafka(folder, nodes=3, properties={"offsets.retention.minutes": "1"})
        kafka.start()
        kafka.bootstrap                 "127.0.0.1:20011,127.0.0.1:24242,127.0.0.1:29753"
        kafka.node(2).kill()            also pause(), resume(), stop(), start(), restart(), .pid, .log
        kafka.stop()

    It runs on when this process ends, and any other process may stop it by its folder. `properties` win over ours;
    each of `listeners` is one more beside the plain one, and `kafka.addresses(NAME)` tells where; `scram` are users
    and passwords for SCRAM-SHA-256 and -512, and `features` levels of features (`transaction.version`), made with the
    storage.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int | None = None,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        scram: Mapping[str, str] | None = None,
        features: Mapping[str, int] | None = None,
    ) -> None:
        if nodes is not None and nodes not in SIZES:
            raise WrongConfig(f"--nodes {nodes}: a local Kafka has 1 node, or 3")
        self.folder = folder.resolve()
        self._asked_nodes = nodes
        self._port = port
        self._properties = dict(properties or {})
        self._listeners = tuple(listeners)
        self._scram = dict(scram or {})
        self._features = dict(features or {})
        self._layout: Layout | None = None
        self._nodes: list[Node] = []
        self._look()

    @property
    def nodes(self) -> Sequence[Node]:
        """Its nodes: none before the first start."""
        return self._nodes

    def node(self, number: int) -> Node:
        """Return a node by its number, the broker id that clients see: 1, or 1 to 3."""
        return self._nodes[number - 1]

    @property
    def bootstrap(self) -> str:
        """Host and port of every node's plain listener, with commas between them."""
        return self.addresses(PLAIN)

    def addresses(self, listener: str) -> str:
        """Host and port of a listener on every node, with commas between them."""
        assert self._layout is not None, "start it first"
        return self._layout.addresses(listener)

    @property
    def running(self) -> bool:
        """Whether any node runs."""
        return any(node.pid for node in self._nodes)

    def __enter__(self) -> "LocalKafka":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> bool:
        """Start what does not run and wait until it serves; the data is what it was. False when all of it ran before.

        Raises:  DependencyDown when Java, Maven or the network is missing, or a node dies; WrongConfig when a port
                 is taken, or the folder holds another number of nodes, or runs at another port than asked for.
        """
        with self._locked():
            self._look()
            self._refuse_another_number()
            if self._nodes and all(node.pid for node in self._nodes):
                self._refuse_another_port()
                wait(self._nodes)  # who started them may have been killed meanwhile
                return False
            ready()
            for attempt in range(1, ATTEMPTS + 1):
                stopped = self._prepare()
                try:
                    self._launch(stopped)
                    return True
                except PortTaken:
                    if attempt == ATTEMPTS or self._port is not None or self.running:
                        raise
            raise AssertionError("unreachable")

    def stop(self) -> bool:
        """Stop every node: in order, or by force when that takes too long. False when none ran."""
        if not self.folder.is_dir():
            return False
        with self._locked():
            self._look()
            ran = self.running
            stop(self._nodes)
            return ran

    def kill(self) -> None:
        """SIGKILL every node."""
        self._look()
        kill(self._nodes)

    def _locked(self) -> AbstractContextManager[None]:
        return held(self.folder / "lock", f"the local Kafka in {self.folder}", ATTEMPTS * START_S)

    def _look(self) -> None:
        """Read what the folder says: another process may have made or changed it."""
        self._layout = layout.read(self.folder)
        number = self._layout.nodes if self._layout else 0
        if len(self._nodes) != number:
            self._nodes = [Node(n, self.folder / f"node-{n}", ready) for n in range(1, number + 1)]

    def _refuse_another_number(self) -> None:
        nodes = len(self._nodes)
        if any(node.formatted for node in self._nodes) and self._asked_nodes not in (None, nodes):
            has = "1 node" if nodes == 1 else f"{nodes} nodes"
            raise WrongConfig(f"the Kafka in {self.folder} has {has}: leave --nodes out, or name another --dir")

    def _refuse_another_port(self) -> None:
        port = self._layout.ports[PLAIN][0] if self._layout else None
        if self._port not in (None, port):
            raise WrongConfig(f"the Kafka in {self.folder} runs already, at port {port}: stop it first to move it")

    def _prepare(self) -> list[Node]:
        """Choose ports, write down what stands where, make storage. Return the nodes that do not run."""
        found = self._layout
        if found is None or not any(node.formatted for node in self._nodes):
            found = layout.new(self._asked_nodes or SIZES[0])
        if not self.running:  # else the others know each other by their ports
            found = layout.placed(found, [listener.name for listener in self._listeners], self._port)
            found.write(self.folder)
        self._look()
        stopped = [node for node in self._nodes if node.pid is None]
        for node in stopped:
            settings = properties(node.number, found.nodes, found.ports, self._listeners, self._properties)
            node.configure(settings)
        made_with = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for name, password in self._scram.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        for feature, level in self._features.items():
            made_with += ["--feature", f"{feature}={level}"]
        with ThreadPoolExecutor(len(stopped)) as pool:
            for made in [pool.submit(node.format, found.cluster_id, made_with) for node in stopped]:
                made.result()
        return stopped

    def _launch(self, stopped: Sequence[Node]) -> None:
        try:
            for node in stopped:
                node.launch()
            wait(stopped)
        except BaseException:
            kill(stopped)
            raise
