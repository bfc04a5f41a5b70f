"""aiokafka's errors, turned into ours at the border. The words are for a user: what, why, and the cure."""

import contextlib
from collections.abc import Generator
from typing import cast

import aiokafka.errors as kafka

from stream.errors import BrokerDown, Fatal, LeaseLost, PipelineError, TooLarge, WrongConfig

FENCED = (
    kafka.ProducerFenced,
    kafka.InvalidProducerEpoch,
    kafka.InvalidProducerIdMapping,
    kafka.InvalidTxnState,
    kafka.OutOfOrderSequenceNumber,
    kafka.UnknownProducerId,
    kafka.TransactionCoordinatorFenced,
)
"""Somebody else began a transaction under our id, or the coordinator has ended ours."""

TOO_LARGE = (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError, kafka.RecordTooLargeError)

LOGIN = (
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationMethodNotSupported,
    kafka.UnsupportedSaslMechanismError,
    kafka.SecurityDisabled,
)

FAILED = "the broker failed at it and gave no reason (UnknownError): its log names the cause"

CREATE = "Create on the cluster, or somebody who runs `seedstream topics create` for it"

ACLS: dict[type[kafka.KafkaError], str] = {
    kafka.TopicAuthorizationFailedError: "Read, Write, Describe and DescribeConfigs on its topics",
    kafka.GroupAuthorizationFailedError: "Read on its groups",
    kafka.TransactionalIdAuthorizationFailed: "Write and Describe on its transactional ids",
    kafka.ClusterAuthorizationFailedError: CREATE,
}
"""What a user must be allowed, by the refusal. Each by the prefix of the namespace."""

REFUSED: dict[type[kafka.KafkaError], str] = {
    kafka.InvalidSessionTimeoutError: "session_s in [kafka] is out of bounds: the brokers take "
    "group.min.session.timeout.ms (6 s, unless it is set) to group.max.session.timeout.ms (30 minutes)",
    kafka.InconsistentGroupProtocolError: "another program, or another version of seedstream, is in this group and "
    "shares partitions out in another way: end it, or run in a namespace of your own",
}
"""Why a group takes no member like this one, now or later, and the cure."""


@contextlib.contextmanager
def translated(what: str) -> Generator[None]:
    """Raise our errors for aiokafka's, and for a deadline that has passed. `what` begins the message."""
    try:
        yield
    except kafka.KafkaError as err:
        raise translation(err, what) from err
    except (kafka.IllegalOperation, AssertionError) as err:  # aiokafka's state after a failure that it did not tell
        raise BrokerDown(f"{what}: {_said(err)}") from err
    except (TimeoutError, OSError) as err:
        said = "no answer in time" if isinstance(err, TimeoutError) else str(err) or "the connection was closed"
        raise BrokerDown(f"{what}: {said}") from err


def translation(err: BaseException, what: str) -> PipelineError:
    """Return the error of ours for one of aiokafka's. What is not known is taken for a broker's illness: it is waited
    for, and shown."""
    while isinstance(err.__cause__, kafka.KafkaError):  # aiokafka wraps what ended its background task
        err = err.__cause__
    if isinstance(err, FENCED):
        return LeaseLost(f"{what}: another owner has taken over, or the transaction took too long")
    if isinstance(err, TOO_LARGE):
        return TooLarge(f"{what}: the broker takes no message of this size")
    if isinstance(err, kafka.IllegalSaslStateError):
        return WrongConfig(f"{what}: this port takes no login: leave mechanism out of [kafka], or name one that does")
    if isinstance(err, LOGIN):
        return WrongConfig(f"{what}: login refused ({_said(err)}): see user_env, password_env and mechanism in [kafka]")
    for kind, acls in ACLS.items():
        if isinstance(err, kind):
            named = f" ({', '.join(map(_line, err.args))})" if err.args else ""
            return WrongConfig(f"{what}: not allowed{named}: this user needs {acls}")
    for kind, cure in REFUSED.items():
        if isinstance(err, kind):
            return WrongConfig(f"{what}: refused: {cure}")
    if isinstance(err, kafka.UnsupportedVersionError | kafka.IncompatibleBrokerVersion):
        return Fatal(f"{what}: the broker is too old ({_said(err)}): Apache Kafka 3.8 or newer is needed")
    return BrokerDown(f"{what}: {FAILED if isinstance(err, kafka.UnknownError) else _said(err)}")


def _plain(said: object) -> str:
    """What an error carries: words, or names in a set.

    >>> _plain({"v1.files"})
    'v1.files'
    """
    return ", ".join(sorted(map(str, cast("set[object]", said)))) if isinstance(said, set) else str(said)


def _said(err: BaseException) -> str:
    """The name of an error, and what it adds to it, on one line.

    >>> _said(kafka.NotLeaderForPartitionError())
    'NotLeaderForPartitionError'
    """
    name = type(err).__name__
    words = " ".join(map(_line, err.args))
    return f"{name}: {words}" if words else name


def _line(said: object) -> str:
    """As `_plain`, on one line."""
    return " ".join(_plain(said).split())
