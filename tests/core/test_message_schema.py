"""The JSON Schema of a message that holds several readings: split, and still the same demands."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.json_text import parse
from gateway.core.codec.validation_error import ValidationError
from gateway.core.message_schema import (
    rules_around,
    schema_at,
    schema_of_record,
    unknown_around,
    without_records,
)
from gateway.core.reading import DeadLetter
from gateway.core.record_path import EACH_ITEM, RecordPath, Step
from tests.contract_values import record

STEPS = (Step("member", "values"), Step("items"))
TIME = "$message.envelope#/timestamp"
RECORD = build(record({"name": "time", "type": "long", "x-source": TIME}, ("id", "string"), ("v", ["null", "double"])))
ONE: dict[str, Any] = {
    "type": "object", "required": ["id", "v"], "additionalProperties": False, "maxProperties": 2,
    "properties": {"id": {"type": "string", "maxLength": 2}, "v": {"type": ["number", "null"], "minimum": 0}},
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "type": "object", "required": ["timestamp", "values"], "additionalProperties": False,
    "properties": {"timestamp": {"type": "integer", "minimum": 1},
                   "values": {"type": "array", "maxItems": 2, "items": ONE}},
}  # fmt: skip


def test_schema_of_record_describes_what_a_record_reads() -> None:
    made = schema_of_record(ONE, WHOLE, STEPS, RECORD)
    assert made["properties"] == {**ONE["properties"], TIME: {"type": "integer", "minimum": 1}}
    assert made["required"] == ["id", "v", TIME]
    assert "maxProperties" not in made  # which would count what stands for the message


def test_schema_of_record_is_that_of_the_record_where_it_reads_nothing_around() -> None:
    assert schema_of_record(ONE, WHOLE, STEPS, build(record(("id", "string")))) is ONE


def test_rules_around_are_none_where_the_path_demands_all() -> None:
    plain = record(("id", "string"))
    assert rules_around({"type": "array", "items": ONE}, EACH_ITEM, build(plain)) is None
    described = {"type": "object", "required": ["timestamp", "values"],
                 "properties": {"timestamp": {"type": "integer"}, "values": {"type": "array"}}}  # fmt: skip
    assert rules_around(described, STEPS, RECORD) is None


@pytest.mark.parametrize(
    ("schema", "steps", "message", "reason"),
    [
        ({"type": "array", "maxItems": 1, "items": ONE}, EACH_ITEM, [{}, {}], "out_of_range"),
        (WHOLE, STEPS, {"timestamp": 1, "values": [{}, {}, {}]}, "out_of_range"),
        (WHOLE, STEPS, {"timestamp": 1, "values": [{"id": "a", "v": 1, "w": 2}]}, "out_of_range"),
        ({"properties": {"kind": {"const": "x"}, "values": {"items": {}}}}, STEPS, {"kind": "y"}, "not_allowed"),
        ({"required": ["kind"], "properties": {"values": {"items": {}}}}, STEPS, {"values": []}, "missing"),
        ({"additionalProperties": {"type": "array", "minItems": 1, "items": {}}},
         (Step("members", "device"), Step("items")), {"a": []}, "out_of_range"),
    ],
)  # fmt: skip
def test_rules_around_are_the_rest_of_the_schema(
    schema: Any, steps: tuple[Step, ...], message: Any, reason: str
) -> None:
    rules = rules_around(schema, steps, RECORD)
    assert rules is not None
    error = rules.error(parse(json.dumps(message).encode()))
    assert error is not None
    assert error.reason == reason


def test_unknown_around_is_that_of_the_outermost_schema() -> None:
    assert [unknown_around(one) for one in (None, {}, {"additionalProperties": True})] == ["reject", "reject", "ignore"]


def test_schema_at_follows_the_path() -> None:
    assert schema_at(WHOLE, STEPS) == ONE
    assert schema_at(WHOLE, STEPS, ("v",)) == ONE["properties"]["v"]
    assert schema_at(WHOLE, EACH_ITEM) is None
    assert without_records(WHOLE, STEPS)["properties"]["values"] == {"type": "array", "maxItems": 2, "items": {}}


values: Any = st.sampled_from([0, 1, -1, 2.5, "a", "abc", None, True, [], {}])
some = st.dictionaries(st.sampled_from(["id", "v", "w", TIME]), values, max_size=3)
fits = st.fixed_dictionaries({"id": st.just("a"), "v": st.sampled_from([1, None])})
messages = st.dictionaries(st.sampled_from(["timestamp", "values", "x"]), values, max_size=3) | st.fixed_dictionaries(
    {"timestamp": st.just(5) | values, "values": st.lists(fits | some | values, max_size=3)}
)


@given(message=messages)
@settings(max_examples=500, deadline=None)
def test_a_message_is_valid_where_its_schema_says_so_and_both_paths_agree(message: Any) -> None:
    """Split and applied in parts, the schema is that of the whole message."""
    codec = Codec(Conversion(RECORD, ("/id",), schema=schema_of_record(ONE, WHOLE, STEPS, RECORD), is_wrapped=True))
    path, rules = RecordPath(STEPS, RECORD), rules_around(WHOLE, STEPS, RECORD)
    assert rules is not None
    payload = json.dumps(message).encode()
    try:
        texts = [text for group in path.cut(payload) for text in group.texts]
    except ValidationError:
        is_valid = False
    else:
        assert not codec.not_fast_because
        encoded = [codec.encode(text) for text in texts]
        assert encoded == [codec.encode_precisely(text) for text in texts]
        is_valid = not any(isinstance(one, DeadLetter) for one in encoded) and rules.error(parse(payload)) is None
    is_described = jsonschema.Draft7Validator(WHOLE).is_valid(message) and bool(message["values"])
    has_key = is_described and all(one["id"] for one in message["values"])
    assert is_valid == (is_described and has_key)
