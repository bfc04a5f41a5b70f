"""Listeners where clients must name themselves or speak TLS, and what each user may do there.

The plain listener stays open to everything: the brokers talk to each other through it, and a test uses it to prepare.

    kafka = own_kafka(properties=ACLS, listeners=[sasl({"ann": "secret"}), tls(tmp_path)], scram={"ann": "secret"})
    await allow(kafka, "ann", Resource.TOPIC, "t1.", Operation.READ)
    kafka.addresses("SASL"), kafka.addresses("TLS"), tmp_path / CA
"""

import enum
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.local_kafka import Listener, LocalKafka

ACLS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:admin",
}
"""Who is not named on the plain listener may do everything; all others what `allow` says, and nothing else."""
CA = "ca.pem"
"""In the folder given to `tls`: the certificate that a client must trust."""

_PASSWORD = "changeit"
_SECURITY = "org.apache.kafka.common.security"


def sasl(plain: Mapping[str, str]) -> Listener:
    """Listener SASL, without TLS: PLAIN with these users and passwords, SCRAM with those that `scram=` made."""
    return Listener("SASL", "SASL_PLAINTEXT", _mechanisms(plain))


def tls(folder: Path) -> Listener:
    """Listener TLS: a certificate of its own making, kept in `folder`, for 127.0.0.1 and localhost."""
    return Listener("TLS", "SSL", _certificate(folder))


def sasl_tls(folder: Path, plain: Mapping[str, str]) -> Listener:
    """Listener SASLTLS: both."""
    return Listener("SASLTLS", "SASL_SSL", {**_certificate(folder), **_mechanisms(plain)})


def _mechanisms(plain: Mapping[str, str]) -> dict[str, str]:
    users = " ".join(f'user_{name}="{password}"' for name, password in plain.items())
    scram = f"{_SECURITY}.scram.ScramLoginModule required;"
    return {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "plain.sasl.jaas.config": f"{_SECURITY}.plain.PlainLoginModule required {users};",
        "scram-sha-256.sasl.jaas.config": scram,
        "scram-sha-512.sasl.jaas.config": scram,
    }


def _certificate(folder: Path) -> dict[str, str]:
    store = folder / "broker.p12"
    if not store.exists():
        keytool = shutil.which("keytool")
        assert keytool, "keytool comes with every Java"
        common = ["-keystore", store, "-storepass", _PASSWORD, "-alias", "broker"]
        subprocess.run(
            [keytool, "-genkeypair", *common, "-storetype", "PKCS12", "-keyalg", "EC", "-groupname", "secp256r1",
             "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1,dns:localhost", "-ext", "bc:c=ca:true"],
            check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run([keytool, "-exportcert", *common, "-rfc", "-file", folder / CA], check=True, capture_output=True)
    return {"ssl.keystore.type": "PKCS12", "ssl.keystore.location": str(store), "ssl.keystore.password": _PASSWORD}


class Resource(enum.IntEnum):
    """What may be allowed: org.apache.kafka.common.resource.ResourceType."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(enum.IntEnum):
    """What may be done with it: org.apache.kafka.common.acl.AclOperation."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


_PREFIXED, _ALLOW = 4, 3


async def allow(kafka: LocalKafka, user: str, resource: Resource, prefix: str, operation: Operation) -> None:
    """Allow a user something on every resource whose name begins with `prefix`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        request = CreateAclsRequest(resource, prefix, _PREFIXED, f"User:{user}", "*", operation, _ALLOW)
        answer = await admin._send_to_controller(request)
        assert all(code == 0 for code, _ in answer.creation_responses), answer
    finally:
        await admin.close()
