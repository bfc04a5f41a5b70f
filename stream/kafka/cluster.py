"""One Kafka cluster as a user names it: how clients are made for it, and whether it answers."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest

from stream.errors import BrokerDown, DependencyDown, WrongConfig
from stream.kafka.errors import translated
from stream.kafka.security import KafkaConfig

START_S = 5.0
"""What the first answer may take: a wrong address must not look like a slow one for long."""

TRY_S = 3.0

REQUEST_MS = 10_000
"""One request of a client. aiokafka's default of 40 s would hold each of its background tasks as long."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Addresses and login. `client` is what every aiokafka client is made with."""

    url: str  # as the user wrote it, for messages
    servers: tuple[str, ...]  # host:port
    client: Mapping[str, Any] = field(repr=False)  # holds the password

    @staticmethod
    def of(url: str, config: KafkaConfig) -> "Cluster":
        """Read `kafka://host:port[,host:port…]` and the login that the config names.

        Raises:  WrongConfig.
        """
        servers = tuple(url.removeprefix("kafka://").rstrip("/").split(","))
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
                raise WrongConfig(f"--bus {url}: expected kafka://host:port[,host:port…]")
        kind = "SASL_" if config.mechanism else ""
        client: dict[str, Any] = {
            "bootstrap_servers": list(servers),
            "request_timeout_ms": REQUEST_MS,
            "security_protocol": f"{kind}{'SSL' if config.tls else 'PLAINTEXT'}",
        }
        if config.tls:
            client["ssl_context"] = _tls(config)
        if config.mechanism:
            client["sasl_mechanism"] = config.mechanism
            client["sasl_plain_username"] = _secret(config.user_env, "user_env")
            client["sasl_plain_password"] = _secret(config.password_env, "password_env")
        return Cluster(url, servers, client)

    async def answers(self) -> None:
        """Wait until one of the servers answers.

        Raises:  DependencyDown when none has after START_S; WrongConfig when one refuses the login, or is not trusted.
        """
        end_s = time.monotonic() + START_S
        while True:
            why: list[str] = []
            for server in self.servers:
                try:
                    await self._ask(server)
                except BrokerDown as err:
                    why.append(str(err))
                else:
                    return
            if time.monotonic() + TRY_S / 2 > end_s:
                raise DependencyDown(f"{self.url} does not answer ({'; '.join(why)}): {self._doubt()}")
            await asyncio.sleep(0.5)

    async def _ask(self, server: str) -> None:
        """Connect and log in, as a client does; a client would only say that none of its servers is there."""
        host, _, port = server.rpartition(":")
        rest = {k: v for k, v in self.client.items() if k not in {"bootstrap_servers", "request_timeout_ms"}}
        with translated(server):
            async with asyncio.timeout(TRY_S):
                try:
                    connection = await create_conn(
                        host.strip("[]"), int(port), request_timeout_ms=int(TRY_S * 1000), **rest
                    )
                except ssl.SSLCertVerificationError as err:
                    cure = "name the certificate of who signed it, a PEM file, with ca in [kafka]"
                    said = f"its certificate is not trusted ({err.verify_message})"
                    raise WrongConfig(f"{server}: {said}: {cure}") from err
                try:
                    # Who does not log in where it must is hung up on, but not before the first real question.
                    await connection.send(MetadataRequest([]))
                finally:
                    await connection.close()

    def _doubt(self) -> str:
        """What may be wrong where no broker answers: a port that expects something else does not say so."""
        tls = self.client["security_protocol"].endswith("SSL")
        login = "" if "sasl_mechanism" in self.client else " and wants no login"
        speaks = "TLS" if tls else "no TLS"
        return f"is a broker up there that speaks {speaks}{login}? Else see tls and mechanism in [kafka]"


def _tls(config: KafkaConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca)
    except (OSError, ssl.SSLError) as err:
        raise WrongConfig(f"[kafka] ca = {config.ca}: not a file of PEM certificates: {err}") from err


def _secret(variable: str | None, key: str) -> str:
    value = os.environ.get(variable or "")
    if not value:
        raise WrongConfig(f"[kafka] {key}: the environment has no variable {variable}")
    return value
