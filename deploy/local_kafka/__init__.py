"""A real Apache Kafka on this machine, for development and tests: one node or three, without Docker."""

from deploy.local_kafka.cluster import LocalKafka
from deploy.local_kafka.properties import Listener

__all__ = ["Listener", "LocalKafka"]
