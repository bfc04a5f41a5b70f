"""Each of aiokafka's errors is one of ours, and a user can act on its words."""

import inspect

import aiokafka.errors as kafka
import pytest

from stream.errors import BrokerDown, Fatal, LeaseLost, PipelineError, TooLarge, WrongConfig
from stream.kafka.errors import translated, translation

ALL = [
    kind for _, kind in inspect.getmembers(kafka, inspect.isclass)
    if issubclass(kind, kafka.KafkaError) and "__init__" not in vars(kind)
]  # fmt: skip

OURS: list[tuple[type[kafka.KafkaError], type[PipelineError], str]] = [
    (kafka.ProducerFenced, LeaseLost, "another owner"),
    (kafka.InvalidProducerEpoch, LeaseLost, "another owner"),
    (kafka.InvalidTxnState, LeaseLost, "another owner"),
    (kafka.MessageSizeTooLargeError, TooLarge, "no message of this size"),
    (kafka.RecordListTooLargeError, TooLarge, "no message of this size"),
    (kafka.SaslAuthenticationFailed, WrongConfig, "login refused"),
    (kafka.UnsupportedSaslMechanismError, WrongConfig, "mechanism in [kafka]"),
    (kafka.TopicAuthorizationFailedError, WrongConfig, "needs Read, Write, Describe"),
    (kafka.GroupAuthorizationFailedError, WrongConfig, "needs Read on its groups"),
    (kafka.TransactionalIdAuthorizationFailed, WrongConfig, "on its transactional ids"),
    (kafka.ClusterAuthorizationFailedError, WrongConfig, "needs Create on the cluster"),
    (kafka.InvalidSessionTimeoutError, WrongConfig, "group.min.session.timeout.ms"),
    (kafka.InconsistentGroupProtocolError, WrongConfig, "another program"),
    (kafka.UnsupportedVersionError, Fatal, "3.8 or newer"),
    (kafka.NotLeaderForPartitionError, BrokerDown, "NotLeaderForPartitionError"),
    (kafka.CoordinatorNotAvailableError, BrokerDown, "CoordinatorNotAvailableError"),
    (kafka.NotEnoughReplicasError, BrokerDown, "NotEnoughReplicasError"),
    (kafka.KafkaConnectionError, BrokerDown, "KafkaConnectionError"),
    (kafka.KafkaTimeoutError, BrokerDown, "KafkaTimeoutError"),
    (kafka.UnknownError, BrokerDown, "the broker failed at it and gave no reason (UnknownError): its log names"),
]


@pytest.mark.parametrize(("theirs", "ours", "said"), OURS, ids=lambda value: getattr(value, "__name__", None))
def test_the_class_of_an_error_says_what_to_do(
    theirs: type[kafka.KafkaError], ours: type[PipelineError], said: str
) -> None:
    error = translation(theirs(), "topic t.files")
    assert type(error) is ours
    assert str(error).startswith("topic t.files: ") and said in str(error)


@pytest.mark.parametrize("theirs", ALL, ids=lambda kind: kind.__name__)
def test_every_error_becomes_one_line_of_ours(theirs: type[kafka.KafkaError]) -> None:
    with pytest.raises(PipelineError) as raised, translated("topic t.files"):
        raise theirs("two\nlines")
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value.__cause__, theirs)


def test_what_ended_a_background_task_is_what_counts() -> None:
    wrapped = kafka.KafkaError("Unexpected error during batch delivery")
    wrapped.__cause__ = kafka.ProducerFenced()
    assert type(translation(wrapped, "t")) is LeaseLost


def test_a_deadline_that_has_passed_and_a_broken_connection_are_a_broker_that_is_down() -> None:
    for theirs, said in ((TimeoutError(), "no answer in time"), (ConnectionResetError("reset"), "reset")):
        with pytest.raises(BrokerDown, match=f"^t: {said}$"), translated("t"):
            raise theirs


def test_an_acl_that_lacks_names_what_it_is_about() -> None:
    error = translation(kafka.TopicAuthorizationFailedError("t.files"), "writing")
    assert str(error).startswith("writing: not allowed (t.files): this user needs ")


def test_what_is_none_of_theirs_passes() -> None:
    with pytest.raises(KeyError), translated("t"):
        raise KeyError("x")
