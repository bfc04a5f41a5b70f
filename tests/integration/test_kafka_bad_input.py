"""What is wrong with the way to a broker, with a login or with topics is told in one line that names it and its cure,
within ten seconds; and with everything right, TLS and a login are no hindrance.
"""

import asyncio
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local_kafka import LocalKafka
from deploy.scripted_llm.replies import Shares
from deploy.scripted_llm.server import ScriptedLLM
from tests.broker_security import ACLS, CA, Operation, Resource, allow, sasl, sasl_tls, tls
from tests.brokers import kept, needs_kafka
from tests.corpus import write_corpus
from tests.integration.processes import seedstream
from tests.integration.streams import CONFIG

LIMIT_S = 10.0
QUIET_S = 2.0  # a command that is answered at once takes less on a machine with nothing else to do


def limit_s(answered_s: float) -> float:
    """What a refusal may take, when at the same moment a command takes `answered_s` that is answered at once: on a busy
    machine that alone is many seconds, and one process may get a third of what another one gets."""
    return LIMIT_S if answered_s < QUIET_S else LIMIT_S + 3.0 * answered_s


PASSWORDS = {user: f"{user}-secret" for user in ("admin", "no_topic", "no_write", "no_group", "no_transaction")}
SCRAM = {"bob": "bob-secret"}


@dataclass(frozen=True)
class Guarded:
    """A broker with every kind of door."""

    kafka: LocalKafka
    folder: Path

    def url(self, door: str) -> str:
        return f"kafka://{self.kafka.addresses(door)}"

    def config(self, name: str, *lines: str) -> list[str]:
        """Options that give a [kafka] table; `name` is that of its file."""
        path = self.folder / f"{name}.toml"
        path.write_text("\n".join([CONFIG, "[kafka]", *lines, ""]), encoding="utf-8")
        return ["--config", str(path)]

    def login(self, user: str, mechanism: str = "PLAIN", *more: str) -> list[str]:
        named = [f'mechanism = "{mechanism}"', f'user_env = "USER_{user}"', f'password_env = "PASSWORD_{user}"']
        return self.config(f"{user}-{mechanism}-{len(more)}", *named, *more)

    @property
    def trusted(self) -> list[str]:
        return ["tls = true", f'ca = "{self.folder / CA}"']


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    needs_kafka()
    folder = tmp_path_factory.mktemp("guarded")
    doors = [sasl(PASSWORDS), tls(folder), sasl_tls(folder, PASSWORDS)]
    with kept(folder / "brokers"):
        kafka = LocalKafka(folder / "brokers" / "own", nodes=1, properties=ACLS, listeners=doors, scram=SCRAM)
        kafka.start()
        yield Guarded(kafka, folder)


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for user, password in {**PASSWORDS, **SCRAM}.items():
        monkeypatch.setenv(f"USER_{user}", user)
        monkeypatch.setenv(f"PASSWORD_{user}", password)
    monkeypatch.setenv("USER_stranger", "admin")
    monkeypatch.setenv("PASSWORD_stranger", "guessed")


async def timed(*arguments: str) -> tuple[int, str, str, float]:
    began_s = time.monotonic()
    code, out, err = await seedstream(*arguments)
    return code, out, err, time.monotonic() - began_s


async def refused(guarded: Guarded, cases: dict[str, tuple[list[str], int, str]]) -> None:
    """Run each command, all at once; it must end with the code, and one line that begins and ends as said."""
    answered, *found = await asyncio.gather(
        timed("topics", "list", "--bus", guarded.url("PLAINTEXT")), *(timed(*case[0]) for case in cases.values())
    )
    assert answered[0] == 2 and "namespace main has no topics" in answered[2], answered  # a broker's answer, in time
    allowed_s = limit_s(answered[3])
    for (name, (_, code, said)), (got, out, err, wall_s) in zip(cases.items(), found, strict=True):
        print(f"{name}: exit {got} after {wall_s:.1f} s (one that is answered: {answered[3]:.1f} s): {err.strip()}")
        first, last = said.split(" … ")
        assert (got, out) == (code, ""), f"{name}: {err}"
        line = [line for line in err.splitlines() if " INFO " not in line]
        assert len(line) == 1 and first in line[0] and last in line[0], f"{name}: {err}"
        assert wall_s < allowed_s, f"{name}: {wall_s:.1f} s, {allowed_s:.1f} s allowed"
        assert not any(secret in err for secret in ("secret", "guessed")), name


async def test_an_address_where_no_broker_answers_is_told(guarded: Guarded):
    with socket.socket() as silent, socket.socket() as closed:
        for door in silent, closed:
            door.bind(("127.0.0.1", 0))
        silent.listen()  # it takes connections, and says nothing
        nobody, mute = (f"127.0.0.1:{door.getsockname()[1]}" for door in (closed, silent))
        write_corpus(guarded.folder / "sources", 3)
        source = ["--source", str(guarded.folder / "sources"), "--llm", "http://127.0.0.1:9", "--model", "m"]
        plain = "speaks no TLS and wants no login? Else see tls and mechanism in [kafka]"
        await refused(
            guarded,
            {
                "closed": (["status", "--bus", f"kafka://{nobody}"], 3, f"kafka://{nobody} does not answer … {plain}"),
                "up": (["up", *source, "--bus", f"kafka://{nobody}"], 3, f"{nobody} does not answer … {plain}"),
                "silent": (["audit", "--bus", f"kafka://{mute}"], 3, f"{mute} does not answer … no answer in time"),
                "no such host": (
                    ["topics", "check", "--bus", "kafka://nowhere.invalid:9092"], 3, "nowhere.invalid:9092 … not known"
                ),
                "no port": (["status", "--bus", "kafka://localhost"], 2, "--bus kafka://localhost … HOST:PORT"),
            },
        )  # fmt: skip


async def test_a_door_of_another_kind_than_the_config_says_is_told(guarded: Guarded):
    secure, login = guarded.config("tls", *guarded.trusted), guarded.login("admin")
    both = guarded.login("admin", "PLAIN", *guarded.trusted)
    nothing = "speaks no TLS and wants no login? Else see tls and mechanism in [kafka]"
    cases = {
        "nothing for TLS": ("TLS", [], 3, f"does not answer … {nothing}"),
        "nothing for a login": ("SASL", [], 3, f"does not answer … {nothing}"),
        "TLS for nothing": ("PLAINTEXT", secure, 3, "does not answer … speaks TLS and wants no login?"),
        "TLS for both": ("SASLTLS", secure, 3, "does not answer … speaks TLS and wants no login?"),
        "login for nothing": ("PLAINTEXT", login, 2, "this port takes no login … leave mechanism out of [kafka]"),
        "both for TLS": ("TLS", both, 2, "this port takes no login … leave mechanism out of [kafka]"),
        "login for both": ("SASLTLS", login, 3, "does not answer … speaks no TLS? Else see tls"),
        "a certificate nobody trusts": (
            "TLS", guarded.config("distrust", "tls = true"), 2, "its certificate is not trusted … with ca in [kafka]"
        ),
        "no certificate": (
            "TLS", guarded.config("no-pem", "tls = true", f'ca = "{__file__}"'), 2, "[kafka] ca = … PEM certificates"
        ),
    }  # fmt: skip
    await refused(
        guarded,
        {
            name: (["status", "--bus", guarded.url(door), *options], code, said)
            for name, (door, options, code, said) in cases.items()
        },
    )


async def test_a_wrong_login_is_told_and_not_the_password(guarded: Guarded):
    cure = "see user_env, password_env and mechanism in [kafka]"
    cases = {
        "PLAIN": (guarded.login("stranger"), f"login refused … {cure}"),
        "SCRAM-SHA-256": (guarded.login("stranger", "SCRAM-SHA-256"), f"login refused … {cure}"),
        "SCRAM-SHA-512": (guarded.login("stranger", "SCRAM-SHA-512"), f"login refused … {cure}"),
        "nobody": (guarded.login("nobody"), "[kafka] user_env … has no variable USER_nobody"),
    }
    where = ["topics", "list", "--bus", guarded.url("SASL")]
    await refused(guarded, {name: ([*where, *options], 2, said) for name, (options, said) in cases.items()})


async def test_what_a_user_is_not_allowed_is_told_with_what_he_needs(guarded: Guarded, namespace: str):
    kafka, prefix = guarded.kafka, f"{namespace}."
    everything = {Resource.TOPIC, Resource.GROUP, Resource.TRANSACTIONAL_ID}
    lacks = {"no_topic": Resource.TOPIC, "no_group": Resource.GROUP, "no_transaction": Resource.TRANSACTIONAL_ID}
    for user, lacking in {**lacks, "no_write": Resource.TOPIC}.items():
        for resource in everything - {lacking}:
            await allow(kafka, user, resource, prefix, Operation.ALL)
    for operation in Operation.READ, Operation.DESCRIBE, Operation.DESCRIBE_CONFIGS:
        await allow(kafka, "no_write", Resource.TOPIC, namespace, operation)

    write_corpus(guarded.folder / "sources", 3)
    async with ScriptedLLM() as server:
        code, _, err = await seedstream(
            "ingest", str(guarded.folder / "sources"), "--bus", guarded.url("PLAINTEXT"), "--namespace", namespace,
            "--llm", server.url, "--model", "scripted", *guarded.config("open"),
        )  # fmt: skip
        assert code == 0, err
    where = ["--bus", guarded.url("SASL"), "--namespace", namespace]
    runs = {user: ["run", "functions", *where, *guarded.login(user), "--until-idle"] for user in (*lacks, "no_write")}
    topics = "this user needs Read, Write, Describe and DescribeConfigs on its topics"
    other = ["--bus", guarded.url("SASL"), "--namespace", f"{namespace}-more"]
    await refused(
        guarded,
        {
            "no topic": (runs["no_topic"], 2, f"topic {prefix}recipe cannot be seen: not allowed … {topics}"),
            "no topic, looking": (
                ["status", *where, *guarded.login("no_topic")], 2, f"topic {prefix}recipe cannot be seen … {topics}"
            ),
            "no write": (runs["no_write"], 2, f"not allowed … {topics}"),
            "no group": (runs["no_group"], 2, f"not allowed … {prefix}functions): this user needs Read on its groups"),
            "no transactional id": (
                runs["no_transaction"], 2, f"transactional id {prefix}functions.files. … : not allowed: this user "
                "needs Write and Describe on its transactional ids"
            ),
            "no create": (
                ["topics", "create", *other, *guarded.login("no_write")], 2, f"topic {namespace}-more. … cannot be "
                "created: this user needs Create on the cluster, or somebody who runs `seedstream topics create` for it"
            ),
        },
    )  # fmt: skip


@pytest.mark.parametrize("door", ["SASL", "SASLTLS"])
async def test_with_the_right_login_a_stream_runs_to_its_end(guarded: Guarded, namespace: str, door: str):
    write_corpus(guarded.folder / "sources", 3)
    options = (
        guarded.login("admin", "PLAIN", *guarded.trusted)
        if door == "SASLTLS"
        else guarded.login("bob", "SCRAM-SHA-512")
    )
    for resource in Resource.TOPIC, Resource.GROUP, Resource.TRANSACTIONAL_ID:
        await allow(guarded.kafka, "bob", resource, f"{namespace}.", Operation.ALL)
    where = ["--bus", guarded.url(door), "--namespace", namespace, *options]
    async with ScriptedLLM(shares=Shares(hanging=0.0)) as server:
        code, out, err = await seedstream(
            "up", "--source", str(guarded.folder / "sources"), *where, "--llm", server.url, "--model", "scripted",
            "--limit", "3", "--until-idle",
        )  # fmt: skip
    assert code == 0, err
    assert "examples" in out
    code, _, err = await seedstream("audit", *where)
    assert (code, err) == (0, "every input has its outcomes, once\n")
    code, _, err = await seedstream("topics", "check", *where)
    assert (code, err) == (0, "all topics are as they must be\n")
