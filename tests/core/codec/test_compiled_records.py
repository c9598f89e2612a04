"""The compiled path for records: sources, defaults, and records that are used again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of
from tests.core.codec.test_codec import SOURCE, record, written_by_fastavro


def test_encode_handles_recursive_records() -> None:
    """A record may hold itself, as a linked list does, down to the depth limit."""
    schema = record({"name": "key", "type": "string"}, {"name": "next", "type": ["null", "R"], "default": None})
    codec = codec_of(schema, ("/key",))
    assert codec.not_fast_because == ""
    value: dict[str, Any] = {"key": "end"}
    for place in range(31):
        value = {"key": str(place), "next": value}
    assert codec.encode(json.dumps(value).encode()) == (b"30", written_by_fastavro(schema, value), None, None, None)
    deeper = codec.encode(json.dumps({"key": "x", "next": value}).encode())
    assert deeper == DeadLetter(Reason.TOO_DEEP, "", "nested deeper than 32 levels")


def test_encode_handles_a_record_that_is_used_again() -> None:
    """The second use is a call; also inside another record that is used again."""
    inner = {"type": "record", "name": "I", "fields": [{"name": "v", "type": "long"}]}
    outer = {"type": "record", "name": "O", "fields": [{"name": "one", "type": inner}, {"name": "two", "type": "I"}]}
    schema = record({"name": "key", "type": "string"}, {"name": "a", "type": outer}, {"name": "b", "type": "O"})
    value = {"key": "k", **{name: {"one": {"v": 1}, "two": {"v": 2}} for name in ("a", "b")}}
    codec = codec_of(schema, ("/key",))
    expected = (b"k", written_by_fastavro(schema, value), None, None, None)
    assert codec.fast(json.dumps(value).encode(), codec.prepare(())) == expected
    assert codec.encode_precisely(json.dumps(value).encode()) == expected


CHOSEN = record(
    {"name": "key", "type": "string", "default": "none"},
    {"name": "other", "type": ["string", "null"], "default": "another"},
    {"name": "time", "type": ["null", "long"], "default": None, "x-source": [f"{SOURCE}/a/time", f"{SOURCE}/b/time"]},
    {"name": "part", "default": {}, "type": {"type": "record", "name": "Part", "fields": [
        {"name": "id", "type": "string", "default": "x"}]}},
    {"name": "rest", "type": {"type": "map", "values": "long"}, "x-source": SOURCE},
)  # fmt: skip


@pytest.mark.parametrize("keys", [("/key",), ("/other", "/key"), ("/part/id", "/key"), ("/part/id",)])
@pytest.mark.parametrize("unknown", ["reject", "ignore"])
@pytest.mark.parametrize(
    "payload",
    [
        "{}",
        '{"key":""}',
        '{"key":"","other":null}',
        '{"key":"k","other":"o","part":{"id":"p"}}',
        '{"part":{}}',
        '{"part":{"id":"p","id":""}}',
        '{"a":{"time":null},"b":{"time":5}}',
        '{"a":{"time":1},"b":{"time":"text"}}',
        '{"a":{"time":1},"b":5}',
        '{"a":{"time":1,"more":2},"b":{}}',
        f'{{"a":{{"time":1}},"b":{{"time":{"[" * 40}{"]" * 40}}}}}',
        f'{{"a":{{"time":1}},"b":{{"time":{"[" * 20}{"]" * 20}}}}}',
        f'{{"more":{"[" * 40}{"]" * 40},"more":1}}',
        f'{{"more":{"[" * 700}{"]" * 700},"more":1}}',
        '{"more":1,"less":2.0}',
        '{"more":1,"less":true}',
        '{"more":9223372036854775808}',
    ],
)
def test_encode_chooses_alike_on_both_paths(keys: tuple[str, ...], unknown: Any, payload: str) -> None:
    """Defaults, sources passed over, keys tried in order and the rest come out alike on both paths."""
    codec = codec_of(CHOSEN, keys, unknown=unknown)
    assert codec.not_fast_because == ""
    assert codec.encode(payload.encode()) == codec.encode_precisely(payload.encode())
