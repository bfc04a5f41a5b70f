"""How a Kafka cluster is reached, and what new topics are like: the config's [kafka] table. Secrets come from the
environment alone: the table names their variables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stream.topics import MOST_PARTITIONS

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """The table [kafka]."""

    partitions: int = 6  # of a new topic that many workers may share
    replication: int | None = None  # copies of a new topic; None: 3, or as many as there are brokers if these are fewer
    session_s: float = 10.0  # a worker that is silent for so long is taken for dead; the brokers bound it
    tls: bool = False
    ca: Path | None = None  # PEM of who signed the brokers' certificates; None: whom this machine trusts
    mechanism: Mechanism | None = None  # of SASL; None: no login
    user_env: str | None = None  # the variable that holds the user's name
    password_env: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.partitions <= MOST_PARTITIONS:
            raise ValueError(f"partitions must be from 1 to {MOST_PARTITIONS:,}, got {self.partitions}")
        if self.replication is not None and self.replication < 1:
            raise ValueError(f"replication must be at least 1, got {self.replication}")
        if self.session_s < 1:
            raise ValueError(f"session_s must be at least 1, got {self.session_s:g}")
        if self.ca is not None and not self.tls:
            raise ValueError("ca is for tls = true")
        named = (self.user_env, self.password_env)
        if self.mechanism is None and any(named):
            raise ValueError("user_env and password_env want a mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        if self.mechanism is not None and not all(named):
            raise ValueError(f"mechanism {self.mechanism} needs user_env and password_env, the names of two variables")
