"""A node's settings, sized for a small machine. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PLAIN = "PLAINTEXT"
CONTROLLER = "CONTROLLER"
HOST = "127.0.0.1"
YEAR_MINUTES = 525_600

SIZED: Mapping[str, str] = {
    "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
    "log.retention.ms": "-1",
    "log.retention.bytes": "-1",
    "offsets.retention.minutes": str(YEAR_MINUTES),
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",  # so that a test may take over after a second
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.cleaner.dedupe.buffer.size": "8388608",  # the default is half of the heap
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
}

FAILOVER: Mapping[str, str] = {  # the defaults take 9 s to miss a dead node, and to let it in again
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "controller.quorum.election.timeout.ms": "1000",
    "controller.quorum.election.backoff.max.ms": "500",
    "controller.quorum.fetch.timeout.ms": "2000",
    "controller.quorum.request.timeout.ms": "1500",
    "replica.lag.time.max.ms": "4000",
    "replica.fetch.wait.max.ms": "200",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """One more listener of every node, beside the plain one: where clients must name themselves, or speak TLS.

    `advertised_port` is what clients are told to connect to instead, on a single node: a proxy's.
    `properties` get the prefix of this listener: `ssl.keystore.location`, `plain.sasl.jaas.config`.
    """

    name: str
    protocol: str = PLAIN  # or SSL, SASL_PLAINTEXT, SASL_SSL
    properties: Mapping[str, str] = field(default_factory=dict[str, str])
    advertised_port: int | None = None


Ports = Mapping[str, Sequence[int]]
"""By listener: the port of each node."""


def properties(
    number: int, nodes: int, ports: Ports, listeners: Sequence[Listener] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the settings of node `number` (1 to `nodes`); `extra` come last and so win."""
    doors = [Listener(PLAIN), *listeners]
    replicas, min_isr = str(nodes), str(max(1, nodes - 1))
    settings = {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": ",".join(f"{n + 1}@{HOST}:{port}" for n, port in enumerate(ports[CONTROLLER])),
        "controller.listener.names": CONTROLLER,
        "inter.broker.listener.name": PLAIN,
        "listeners": ",".join(
            f"{name}://{HOST}:{ports[name][number - 1]}" for name in (*(door.name for door in doors), CONTROLLER)
        ),
        "advertised.listeners": ",".join(
            f"{door.name}://{HOST}:{door.advertised_port or ports[door.name][number - 1]}" for door in doors
        ),
        "listener.security.protocol.map": ",".join(
            [*(f"{door.name}:{door.protocol}" for door in doors), f"{CONTROLLER}:{PLAIN}"]
        ),
        "log.dirs": "data",  # in the node's folder, where it runs: any path will do
        "default.replication.factor": replicas,
        "min.insync.replicas": min_isr,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": min_isr,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": min_isr,
        **SIZED,
        **FAILOVER,
    }
    for door in listeners:
        settings |= {f"listener.name.{door.name.lower()}.{key}": value for key, value in door.properties.items()}
    return settings | dict(extra or {})


def text(settings: Mapping[str, str]) -> str:
    r"""Return settings as Java reads them from a file.

    >>> text({"log.dirs": "data", "sasl": 'user="é\\"'})
    'log.dirs=data\nsasl=user="\\u00e9\\\\"\n'
    """
    return "".join(f"{key}={_escaped(value)}\n" for key, value in settings.items())


def _escaped(value: str) -> str:
    pairs = value.replace("\\", "\\\\").replace("\n", "\\n").encode("utf-16-be")
    units = (int.from_bytes(pairs[i : i + 2], "big") for i in range(0, len(pairs), 2))
    return "".join(chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in units)
