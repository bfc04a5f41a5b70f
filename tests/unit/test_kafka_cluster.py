"""How a user names a cluster and a login, and what is said when it is wrong."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from stream.errors import WrongConfig
from stream.kafka.cluster import Cluster
from stream.kafka.security import KafkaConfig

LOGIN: dict[str, Any] = {"mechanism": "SCRAM-SHA-512", "user_env": "T_USER", "password_env": "T_PASSWORD"}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_USER", "ann")
    monkeypatch.setenv("T_PASSWORD", "hush-hush")


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("kafka://a:9092", ("a:9092",)),
        ("kafka://a:9092/", ("a:9092",)),
        ("kafka://a:1,b.c:65535", ("a:1", "b.c:65535")),
        ("kafka://[::1]:9092", ("[::1]:9092",)),
    ],
)
def test_an_address_is_hosts_with_ports(url: str, servers: tuple[str, ...]) -> None:
    assert Cluster.of(url, KafkaConfig()).servers == servers


@pytest.mark.parametrize(
    "url",
    ["kafka://", "kafka://a", "kafka://a:", "kafka://:9092", "kafka://a:0", "kafka://a:65536", "kafka://a:b",
     "kafka://a:9092,", "kafka://a:9092,b", "kafka://a:-1", "kafka://a:²"],
)  # fmt: skip
def test_another_address_is_refused_with_the_form_that_was_expected(url: str) -> None:
    with pytest.raises(WrongConfig, match=r"expected kafka://host:port\[,host:port…\]$"):
        Cluster.of(url, KafkaConfig())


@pytest.mark.parametrize(
    ("config", "protocol"),
    [
        (KafkaConfig(), "PLAINTEXT"),
        (KafkaConfig(tls=True), "SSL"),
        (KafkaConfig(**LOGIN), "SASL_PLAINTEXT"),
        (KafkaConfig(tls=True, **LOGIN), "SASL_SSL"),
    ],
)
def test_the_protocol_follows_from_tls_and_login(secrets: None, config: KafkaConfig, protocol: str) -> None:
    assert Cluster.of("kafka://a:1", config).client["security_protocol"] == protocol


def test_secrets_come_from_the_environment_and_are_not_shown(secrets: None) -> None:
    cluster = Cluster.of("kafka://a:1", KafkaConfig(**LOGIN))
    assert (cluster.client["sasl_plain_username"], cluster.client["sasl_plain_password"]) == ("ann", "hush-hush")
    assert "hush" not in repr(cluster) and "hush" not in str(cluster)


@pytest.mark.parametrize("variable", ["T_USER", "T_PASSWORD"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_there_is_named(
    secrets: None, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None
) -> None:
    monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)
    with pytest.raises(WrongConfig, match=f"the environment has no variable {variable}$") as refused:
        Cluster.of("kafka://a:1", KafkaConfig(**LOGIN))
    assert "hush" not in str(refused.value)


def test_a_file_of_certificates_that_is_none_is_named(tmp_path: Path) -> None:
    for name, content in (("missing", None), ("empty", ""), ("other", "x")):
        file = tmp_path / name
        if content is not None:
            file.write_text(content, encoding="utf-8")
        with pytest.raises(WrongConfig, match=f"ca = .*{name}: not a file of PEM certificates"):
            Cluster.of("kafka://a:1", KafkaConfig(tls=True, ca=file))


def test_with_tls_brokers_are_verified() -> None:
    context: ssl.SSLContext = Cluster.of("kafka://a:1", KafkaConfig(tls=True)).client["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"partitions": 0}, "partitions must be from 1 to 10,000, got 0"),
        ({"replication": 0}, "replication must be at least 1, got 0"),
        ({"session_s": 0.5}, "session_s must be at least 1, got 0.5"),
        ({"ca": Path("x")}, "ca is for tls = true"),
        ({"user_env": "A"}, "want a mechanism"),
        ({"password_env": "A"}, "want a mechanism"),
        ({"mechanism": "PLAIN", "user_env": "A"}, "PLAIN needs user_env and password_env"),
        ({"mechanism": "PLAIN"}, "PLAIN needs user_env and password_env"),
    ],
)
def test_a_table_that_does_not_fit_together_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KafkaConfig(**wrong)
