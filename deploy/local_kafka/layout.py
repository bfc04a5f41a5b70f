"""What a local Kafka's folder says of it: how many nodes it has, and where they listen."""

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.local_kafka.ports import asked_ports, free_ports, is_free
from deploy.local_kafka.properties import CONTROLLER, HOST, PLAIN
from stream.errors import WrongConfig

FILE = "cluster.json"


@dataclass(frozen=True, slots=True)
class Layout:
    """One cluster. `ports` holds by listener the port of each node."""

    cluster_id: str
    nodes: int
    ports: dict[str, list[int]]

    def addresses(self, listener: str = PLAIN) -> str:
        """Return host:port of every node's listener, with commas between them."""
        return ",".join(f"{HOST}:{port}" for port in self.ports[listener])

    def write(self, folder: Path) -> None:
        """Keep it. Raises WrongConfig when the folder cannot be written."""
        fresh = folder / f"{FILE}.new"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
            fresh.rename(folder / FILE)
        except OSError as err:
            raise WrongConfig(f"{folder}: cannot be written: {err.strerror}") from err


def read(folder: Path) -> Layout | None:
    """Return the layout of the cluster in a folder, None when there is none.

    Raises:  WrongConfig when it cannot be read.
    """
    path = folder / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Layout(
            str(told["cluster_id"]), int(told["nodes"]), {k: list(map(int, v)) for k, v in told["ports"].items()}
        )
    except FileNotFoundError:
        return None
    except OSError as err:
        raise WrongConfig(f"{path}: cannot be read: {err.strerror}: name another --dir") from err
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise WrongConfig(f"{path}: is not what a local Kafka wrote ({err}): name another --dir") from err


def new(nodes: int) -> Layout:
    """Return a cluster that nobody has seen before, without ports."""
    first, *others = uuid.uuid4().bytes
    raw = bytes([first & 0x7F, *others])  # so that it begins with a letter: Kafka takes "-…" for an option
    return Layout(urlsafe_b64encode(raw).rstrip(b"=").decode(), nodes, {})


def placed(layout: Layout, listeners: Sequence[str], port: int | None) -> Layout:
    """Return it with a port for every listener: those asked for, else those it had where they are free, else new ones.

    Raises:  WrongConfig when what is asked for is taken.
    """
    names = [PLAIN, *listeners, CONTROLLER]
    asked = {PLAIN: asked_ports(port, layout.nodes)} if port else {}
    kept = {
        name: ports
        for name, ports in layout.ports.items()
        if name in names and name not in asked and len(ports) == layout.nodes and all(map(is_free, ports))
        if not {*ports} & {*asked.get(PLAIN, ())}
    }
    ports = asked | kept
    lacking = [name for name in names if name not in ports]
    fresh = free_ports(layout.nodes * len(lacking), [port for taken in ports.values() for port in taken])
    for name in lacking:
        ports[name] = [fresh.pop() for _ in range(layout.nodes)]
    return replace(layout, ports=ports)
