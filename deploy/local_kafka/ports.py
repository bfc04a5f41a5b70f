"""Ports on this machine that nobody listens on."""

import random
import socket
from collections.abc import Collection

from deploy.local_kafka.properties import HOST
from stream.errors import WrongConfig

LOW, HIGH = 20_000, 32_000
"""Below the range from which Linux takes the ports of outgoing connections: a node that is down keeps its own."""
TRIES = 1_000


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(number: int, taken: Collection[int] = ()) -> list[int]:
    """Return so many distinct free ports, none of those that are `taken`.

    Raises:  WrongConfig when there are none.
    """
    found: list[int] = []
    for _ in range(TRIES):
        if len(found) == number:
            return found
        port = random.randrange(LOW, HIGH)
        if port not in found and port not in taken and is_free(port):
            found.append(port)
    raise WrongConfig(f"no {number} free ports between {LOW} and {HIGH}: name one with --port")


def asked_ports(first: int, number: int) -> list[int]:
    """Return `number` ports from `first` on.

    Raises:  WrongConfig naming the one that is taken.
    """
    ports = list(range(first, first + number))
    for port in ports:
        if port > 65_535:
            raise WrongConfig(f"port {port} does not exist: name a lower --port")
        if not is_free(port):
            raise WrongConfig(f"port {port} of {HOST} cannot be used, something listens there: name another --port")
    return ports
