"""The files of a local Kafka: what is fetched, what a node is told, which ports it gets, where its data is."""

import socket
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from deploy.local_kafka import Listener, LocalKafka, jars, layout
from deploy.local_kafka.cluster import default_folder
from deploy.local_kafka.ports import asked_ports, free_ports
from deploy.local_kafka.properties import CONTROLLER, PLAIN, properties, text
from stream.errors import WrongConfig

PORTS = {PLAIN: [1, 2, 3], CONTROLLER: [4, 5, 6], "SASL": [7, 8, 9]}


def test_the_pom_names_kafka_and_what_it_logs_with():
    dependencies = ET.fromstring(jars.pom()).iter("{http://maven.apache.org/POM/4.0.0}dependency")
    assert [tuple(part.text for part in dependency) for dependency in dependencies] == [
        ("org.apache.kafka", f"kafka_{jars.SCALA}", jars.KAFKA),
        ("org.slf4j", "slf4j-simple", jars.SLF4J),
    ]


def test_the_cache_is_where_the_user_says_else_where_xdg_says_else_in_the_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv(jars.CACHE, raising=False)
    assert jars.home() == Path(f"/home/ann/.cache/seedstream/kafka-{jars.KAFKA}")
    assert default_folder() == Path("/home/ann/.local/state/seedstream/kafka")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert jars.cache() == Path("/home/ann/.cache/seedstream")
    monkeypatch.setenv("XDG_CACHE_HOME", "/big/cache")
    monkeypatch.setenv("XDG_STATE_HOME", "/big/state")
    assert jars.cache() == Path("/big/cache/seedstream")
    assert default_folder() == Path("/big/state/seedstream/kafka")
    monkeypatch.setenv(jars.CACHE, "/own")
    assert jars.home() == Path(f"/own/kafka-{jars.KAFKA}")


def test_one_node_needs_nobody_and_three_go_on_with_two():
    one = properties(1, 1, {PLAIN: [1], CONTROLLER: [2]})
    assert (one["default.replication.factor"], one["min.insync.replicas"]) == ("1", "1")
    assert one["controller.quorum.voters"] == "1@127.0.0.1:2"
    two = properties(2, 3, PORTS)
    for key in ("default.replication.factor", "offsets.topic.replication.factor"):
        assert two[key] == "3"
    for key in ("min.insync.replicas", "transaction.state.log.min.isr"):
        assert two[key] == "2"
    assert two["node.id"] == "2"
    assert two["controller.quorum.voters"] == "1@127.0.0.1:4,2@127.0.0.1:5,3@127.0.0.1:6"
    assert two["listeners"] == "PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:5"
    assert two["advertised.listeners"] == "PLAINTEXT://127.0.0.1:2"


def test_nothing_is_deleted_by_age_and_no_topic_made_by_a_misspelling():
    settings = properties(1, 3, PORTS)
    assert settings["log.retention.ms"] == settings["log.retention.bytes"] == "-1"
    assert settings["auto.create.topics.enable"] == "false"
    assert int(settings["offsets.retention.minutes"]) >= 365 * 24 * 60


def test_what_a_caller_sets_wins():
    assert properties(1, 3, PORTS, extra={"offsets.retention.minutes": "1"})["offsets.retention.minutes"] == "1"


def test_one_more_listener_has_its_port_its_protocol_and_its_settings():
    sasl = Listener("SASL", "SASL_PLAINTEXT", {"sasl.enabled.mechanisms": "PLAIN"})
    settings = properties(3, 3, PORTS, [sasl])
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:3,SASL://127.0.0.1:9,CONTROLLER://127.0.0.1:6"
    assert "SASL:SASL_PLAINTEXT" in settings["listener.security.protocol.map"].split(",")
    assert settings["listener.name.sasl.sasl.enabled.mechanisms"] == "PLAIN"
    assert "listener.name.sasl.sasl.enabled.mechanisms=PLAIN\n" in text(settings)


def test_clients_are_sent_to_a_proxy_where_one_is_named():
    settings = properties(1, 1, {PLAIN: [1], CONTROLLER: [2], "PROXY": [3]}, [Listener("PROXY", advertised_port=99)])
    assert settings["listeners"].split(",")[1] == "PROXY://127.0.0.1:3"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:1,PROXY://127.0.0.1:99"


def test_free_ports_are_distinct_and_none_that_is_spoken_for():
    first = free_ports(50)
    assert len({*first, *free_ports(50, taken=first)}) == 100


def test_a_port_that_is_taken_or_does_not_exist_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(WrongConfig, match=f"port {port} of 127.0.0.1 cannot be used"):
            asked_ports(port, 1)
    with pytest.raises(WrongConfig, match="port 65536 does not exist"):
        asked_ports(65_535, 2)


def test_the_id_of_a_cluster_is_never_taken_for_an_option():
    ids = [layout.new(1).cluster_id for _ in range(1_000)]
    assert all(len(id_) == 22 and id_[0].isalpha() for id_ in ids) and len({*ids}) == 1_000


def test_a_cluster_keeps_its_ports_unless_another_program_took_one(tmp_path: Path):
    first = layout.placed(layout.new(3), ["SASL"], None)
    assert {name: len(ports) for name, ports in first.ports.items()} == {PLAIN: 3, "SASL": 3, CONTROLLER: 3}
    first.write(tmp_path)
    assert layout.read(tmp_path) == first
    assert layout.placed(first, ["SASL"], None) == first
    with socket.create_server(("127.0.0.1", first.ports[PLAIN][1])):
        second = layout.placed(first, ["SASL"], None)
    assert second.ports[CONTROLLER] == first.ports[CONTROLLER]
    assert not {*second.ports[PLAIN]} & {first.ports[PLAIN][1]}
    assert first.addresses("SASL") == ",".join(f"127.0.0.1:{port}" for port in first.ports["SASL"])


def test_a_port_that_is_asked_for_is_given_to_nothing_else():
    first = layout.placed(layout.new(1), [], None)
    moved = layout.placed(first, [], first.ports[CONTROLLER][0])
    assert moved.ports[PLAIN] == first.ports[CONTROLLER] != moved.ports[CONTROLLER]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cluster_id": "x", "nodes": "many", "ports": {}}'])
def test_a_folder_that_is_something_else_is_refused_by_name(content: str, tmp_path: Path):
    (tmp_path / layout.FILE).write_text(content)
    with pytest.raises(WrongConfig, match=f"{layout.FILE}: is not what a local Kafka wrote"):
        LocalKafka(tmp_path)
