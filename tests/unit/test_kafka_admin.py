"""How long the brokers are asked, before it is said that they do not answer."""

from stream.kafka.admin import PENDING_S
from stream.kafka.owner import BEGIN_S, TRANSACTION_MS

ABORT_LOOK_S = 10.0
"""Apache Kafka's transaction.abort.timed.out.transaction.cleanup.interval.ms, where nobody has set it."""


def test_what_an_abandoned_transaction_holds_back_is_waited_for():
    lasts_s = TRANSACTION_MS / 1000 + ABORT_LOOK_S
    assert lasts_s < min(PENDING_S, BEGIN_S)
