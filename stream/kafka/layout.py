"""What our topics are like on Kafka: their configs, and what is wrong with those that stand. Pure."""

from collections.abc import Mapping

from stream.topics import Topic

MAX_MESSAGE_BYTES = 8 << 20
"""A source file of 1 MB in JSON, or ten responses with their tests, exceeds a broker's default of 1,048,588."""

DAY_MS = 86_400_000

KEPT = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Nothing is deleted by time or size: `prune` deletes what every stage has passed."""

COMPACTED = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    "segment.ms": str(DAY_MS),
    # Longer than the longest scan: what is newer than the end that a scan goes to takes no record below it away, so a
    # scan finds the latest record below its end for every key.
    "min.compaction.lag.ms": str(DAY_MS),
    "max.compaction.lag.ms": str(7 * DAY_MS),
    "delete.retention.ms": str(7 * DAY_MS),  # longer than the longest scan: a scan sees each tombstone
}

YEAR_MINUTES = 365 * 24 * 60


def configs(topic: Topic, replication: int) -> dict[str, str]:
    """Return the configs that a topic must have."""
    kept = COMPACTED if topic.retention == "compacted" else KEPT
    safe = {"min.insync.replicas": str(min(2, replication))}
    return {**kept, **safe, "max.message.bytes": str(MAX_MESSAGE_BYTES), "compression.type": "producer"}


def wrong_configs(topic: Topic, found: Mapping[str, str], replication: int) -> list[str]:
    """Return a line for each config of a standing topic that breaks a promise; `found` are its configs.

    More room and a stricter safety than ours are as good.
    """
    lines: list[str] = []
    for name, expected in configs(topic, replication).items():
        value = found.get(name)
        if value is None or value == expected or name in TUNING:
            continue
        if name in AT_LEAST and value.isdigit() and int(value) >= int(expected):
            continue
        lines.append(f"{name} is {value}, {expected} expected")
    return lines


AT_LEAST = {"min.insync.replicas", "max.message.bytes", "min.compaction.lag.ms"}

TUNING = {"min.cleanable.dirty.ratio", "segment.ms", "max.compaction.lag.ms", "delete.retention.ms", "compression.type"}
"""Set on new topics; another value breaks no promise."""
