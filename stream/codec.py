"""Records to bytes and back: JSON on the wire, {"schema": N, "record": {...}}; types checked on the way in."""

import functools
from typing import Any, Generic, TypeVar, cast

import msgspec
import orjson

from stream.errors import BadRecord, NewerSchema
from stream.records import SCHEMA, Record

R = TypeVar("R", bound=Record)

_ENCODER = msgspec.json.Encoder()
"""Four times as fast with dataclasses that have slots as orjson."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `msgspec.json.decode` raises for bytes that are not what was expected, RecursionError for a depth of 1,500."""


class _Envelope(msgspec.Struct, Generic[R]):
    schema: int
    record: R


@functools.cache
def _decoder(kind: type[R]) -> "msgspec.json.Decoder[_Envelope[R]]":
    return msgspec.json.Decoder(_Envelope[kind])


def encode(record: Record) -> bytes:
    """Return the wire form of a record. Equal records give equal bytes.

    Raises:  BadRecord when a text cannot be UTF-8 (a lone surrogate).
    """
    try:
        return _ENCODER.encode({"schema": SCHEMA, "record": record})
    except UnicodeEncodeError as err:
        raise BadRecord(f"{type(record).__name__} {record.key} cannot be encoded: {err}") from err


def decode(value: bytes, kind: type[R]) -> R:
    """Return the record of type `kind` in `value`.

    Raises:  NewerSchema when a newer seedstream wrote it; BadRecord when it is not a `kind`.
    """
    try:
        envelope = _decoder(kind).decode(value)
    except UNREADABLE as err:
        _refuse(value, kind)
        raise BadRecord(f"expected a {kind.__name__}: {err}") from err
    if not 1 <= envelope.schema <= SCHEMA:
        _refuse(value, kind)
    return cast("R", envelope.record)


def _refuse(value: bytes, kind: type[R]) -> None:
    """Say what is wrong with a value, in an order that a user can follow: JSON, schema, record."""
    try:
        envelope: Any = orjson.loads(value)
    except orjson.JSONDecodeError as err:
        raise BadRecord(f"expected a {kind.__name__} as JSON: {err}") from err
    fields = cast("dict[str, Any]", envelope) if isinstance(envelope, dict) else {}
    schema = fields.get("schema")
    if type(schema) is not int or schema < 1:  # `true` is an instance of int
        raise BadRecord(f'expected a {kind.__name__} with an integer "schema" from 1 on')
    if schema > SCHEMA:
        raise NewerSchema(f"a {kind.__name__} on the bus", schema, SCHEMA)
    try:
        msgspec.convert(fields.get("record"), kind)
    except (msgspec.ValidationError, RecursionError) as err:
        raise BadRecord(f"expected a {kind.__name__}: {err}") from err
