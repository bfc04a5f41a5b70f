"""The wire form: what goes in comes out, and what is no record says so."""

import contextlib
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from stream.codec import decode, encode
from stream.errors import BadRecord, NewerSchema
from stream.records import SCHEMA, Record, Rejected, Seed, SourceFile, StateChange
from tests.records import seed

kinds: tuple[type[Record], ...] = get_args(Record)

st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))  # JSON has neither, nor have we

json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", kinds)
def test_a_record_of_any_type_comes_back_as_it_was(kind: type[Record]) -> None:
    @given(st.from_type(kind))
    def round_trip(record: Record) -> None:
        try:
            value = encode(record)
        except BadRecord:
            reject()  # an integer of more than 64 bits: none of ours comes near
        assert decode(value, kind) == record

    round_trip()


@given(st.binary(max_size=200))
def test_garbage_is_a_bad_record(value: bytes) -> None:
    for kind in (SourceFile, StateChange):
        with pytest.raises(BadRecord):
            decode(value, kind)


@given(json, st.sampled_from(kinds))
def test_any_json_is_a_bad_record_or_a_newer_one(body: Any, kind: type[Record]) -> None:
    for value in (body, {"schema": SCHEMA, "record": body}):
        with pytest.raises((BadRecord, NewerSchema)):
            decode(orjson.dumps(value), kind)


@given(st.integers(0, 10_000), st.binary(max_size=8))
def test_a_damaged_record_raises_nothing_but_that_it_is_bad_or_newer(at: int, damage: bytes) -> None:
    whole = encode(seed())
    at %= len(whole)
    with contextlib.suppress(BadRecord, NewerSchema):  # another letter in a text is a record still
        decode(whole[:at] + damage + whole[at + len(damage) :], Seed)


@given(st.integers(SCHEMA + 1, 2**63 - 1), json)
def test_a_newer_schema_is_told_by_both_versions_whatever_the_record_looks_like(schema: int, body: Any) -> None:
    with pytest.raises(NewerSchema, match=rf"Seed .* schema {schema}, this seedstream knows {SCHEMA}") as caught:
        decode(orjson.dumps({"schema": schema, "record": body}), Seed)
    assert (caught.value.found, caught.value.known) == (schema, SCHEMA)


@pytest.mark.parametrize("schema", [None, "1", 1.5, [], {}, 2**80, True, 0, -1])
def test_a_record_without_a_schema_number_is_bad(schema: Any) -> None:
    value = orjson.dumps({"schema": 1, "record": {"record_id": "", "stage": "", "reason": "", "evidence": ""}})
    with pytest.raises(BadRecord, match="schema"):
        decode(value.replace(b'"schema":1', b'"schema":' + _json(schema)), Rejected)


def _json(value: Any) -> bytes:
    return str(value).encode() if isinstance(value, int) and value > 2**64 else orjson.dumps(value)


def test_a_field_that_is_missing_or_of_another_type_is_named() -> None:
    whole = orjson.loads(encode(seed()))
    del whole["record"]["file"]["path"]
    with pytest.raises(BadRecord, match=r"expected a Seed: .*`path` - at `\$.file`"):
        decode(orjson.dumps(whole), Seed)
    whole["record"]["file"] |= {"path": 7}
    with pytest.raises(BadRecord, match=r"expected a Seed: .*`str`, got `int` - at `\$.file.path`"):
        decode(orjson.dumps(whole), Seed)


def test_a_field_that_this_version_does_not_know_is_passed_over() -> None:
    whole = orjson.loads(encode(seed()))
    whole["record"]["file"]["mood"] = "fine"
    assert decode(orjson.dumps(whole), Seed) == seed()


@pytest.mark.parametrize("depth", [500, 1_500, 100_000])
def test_a_field_nested_however_deep_is_passed_over_or_makes_a_bad_record(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    for value in (encode(seed())[:-2] + b',"x":' + nested + b"}}", b'{"schema":1,"x":' + nested + b"}"):
        try:
            assert decode(value, Seed) == seed()
        except BadRecord as err:
            assert str(err).startswith("expected a Seed")
            assert len(str(err)) < 200


def test_a_lone_surrogate_cannot_be_encoded_and_the_record_is_named() -> None:
    with pytest.raises(BadRecord, match="Rejected r1 cannot be encoded"):
        encode(Rejected("r1", "s", "r", "\ud800"))


def test_equal_records_have_equal_bytes() -> None:
    assert encode(seed()) == encode(seed())
