"""What our topics are like on Kafka, and what is wrong with those that stand."""

import pytest

from stream.kafka.layout import MAX_MESSAGE_BYTES, configs, wrong_configs
from stream.topics import TOPICS, state_topic

PRUNED, COMPACTED, FOR_EVER = TOPICS["files"], TOPICS["examples"], state_topic("unique")


@pytest.mark.parametrize("topic", [*TOPICS.values(), FOR_EVER], ids=lambda topic: topic.name)
def test_nothing_is_wrong_with_a_topic_as_we_make_it(topic) -> None:
    for replication in (1, 2, 3, 5):
        assert wrong_configs(topic, configs(topic, replication), replication) == []


@pytest.mark.parametrize("topic", [PRUNED, FOR_EVER])
def test_no_time_and_no_size_deletes_what_is_not_compacted(topic) -> None:
    made = configs(topic, 3)
    assert (made["cleanup.policy"], made["retention.ms"], made["retention.bytes"]) == ("delete", "-1", "-1")


def test_what_is_compacted_is_never_deleted() -> None:
    assert configs(COMPACTED, 3)["cleanup.policy"] == "compact"


def test_a_write_is_on_two_brokers_where_there_are_two() -> None:
    assert [configs(PRUNED, n)["min.insync.replicas"] for n in (1, 2, 3)] == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("topic", "change", "line"),
    [
        (PRUNED, {"retention.ms": "604800000"}, "retention.ms is 604800000, -1 expected"),
        (PRUNED, {"retention.bytes": "1000"}, "retention.bytes is 1000, -1 expected"),
        (PRUNED, {"cleanup.policy": "compact"}, "cleanup.policy is compact, delete expected"),
        (COMPACTED, {"cleanup.policy": "compact,delete"}, "cleanup.policy is compact,delete, compact expected"),
        (PRUNED, {"max.message.bytes": "1048588"}, f"max.message.bytes is 1048588, {MAX_MESSAGE_BYTES} expected"),
        (PRUNED, {"min.insync.replicas": "1"}, "min.insync.replicas is 1, 2 expected"),
    ],
)
def test_a_config_that_breaks_a_promise_is_named(topic, change: dict[str, str], line: str) -> None:
    assert wrong_configs(topic, {**configs(topic, 3), **change}, 3) == [line]


@pytest.mark.parametrize(
    "change",
    [
        {"max.message.bytes": str(2 * MAX_MESSAGE_BYTES)},
        {"min.insync.replicas": "3"},
        {"compression.type": "zstd"},
        {"segment.ms": "1"},
        {"something.else": "x"},
    ],
)
def test_more_room_more_safety_and_other_tuning_are_as_good(change: dict[str, str]) -> None:
    for topic in (PRUNED, COMPACTED):
        assert wrong_configs(topic, {**configs(topic, 3), **change}, 3) == []


def test_what_a_broker_does_not_tell_is_not_called_wrong() -> None:
    assert wrong_configs(PRUNED, {}, 3) == []
