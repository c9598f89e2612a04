"""What happens to members that no field reads, object by object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.unread import IGNORED, REFUSED, common, is_open, unread
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import record

if TYPE_CHECKING:
    from gateway.core.codec.conversion import Unknown

OPEN = {"type": "object", "additionalProperties": True}
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": "long"}]}


@pytest.mark.parametrize(
    ("schema", "expected"), [(True, True), (OPEN, True), ({}, False), (False, False), (None, False)]
)
def test_is_open_only_of_a_schema_that_says_so(schema: Any, expected: bool) -> None:  # noqa: FBT001 - a column
    assert is_open(schema) is expected


def test_unread_is_refused_unless_a_schema_allows_it() -> None:
    assert unread({"properties": {"a": {"additionalProperties": {"type": "number"}}}}, ignores=False) is REFUSED
    assert unread(None, ignores=True) is IGNORED
    inside = unread({"properties": {"a": OPEN, "b": True, "c": {"items": OPEN}, "d": {}}}, ignores=False)
    assert inside.refuses
    assert [inside.member(name).refuses for name in "abcde"] == [False, False, True, True, True]
    assert inside.at(("a", "z", "z")) is IGNORED
    assert not inside.member("c").item.refuses


def test_unread_of_a_map_is_allowed_where_all_its_members_allow_it() -> None:
    every = unread({"properties": {"a": OPEN}, "additionalProperties": OPEN}, ignores=False)
    some = unread({"properties": {"a": OPEN}, "additionalProperties": {"type": "object"}}, ignores=False)
    assert not every.members.refuses
    assert not every.member("other").refuses
    assert some.members.refuses
    assert not some.member("a").refuses
    assert common([some.member("a"), some.member("b")]).refuses
    assert common([some.member("a"), some.member("a")]) is some.member("a")


def test_unread_members_of_patterns_are_refused() -> None:
    """`patternProperties` is not enforced, so it is not known which schema describes a member."""
    described = {"patternProperties": {"^a": {}}, "additionalProperties": OPEN}
    assert unread(described, ignores=False).member("a").refuses


REGISTER = {"properties": {"value": {"type": "number"}}, "additionalProperties": True}
FIELDS = (
    {"name": "a", "type": "double", "x-source": "$message.payload#/r/value"},
    {"name": "i", "type": ["null", INNER], "default": None},
    {"name": "l", "type": {"type": "array", "items": "Inner"}, "default": []},
    {"name": "m", "type": {"type": "map", "values": "Inner"}, "default": {}},
)
BOTH = {"name": "a", "type": "double", "x-source": ["$message.payload#/r/value", "$message.payload#/s/value"]}
REST = {"name": "rest", "type": {"type": "map", "values": INNER}, "x-source": "$message.payload#"}
A = {"r": {"value": 1}}


def described(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members}


@pytest.mark.parametrize(
    ("fields", "schema", "payload", "pointer"),
    [
        (FIELDS, described(r=REGISTER), {"r": {"value": 1, "time": {"deep": []}}}, None),
        (FIELDS, described(r=True), {"r": {"value": 1, "time": 2}}, None),
        (FIELDS, described(r={"type": "object"}), {"r": {"value": 1, "time": 2}}, "/r/time"),
        (FIELDS, described(r=REGISTER), {"r": {"value": 1}, "time": 2}, "/time"),
        (FIELDS, {"type": "object", "additionalProperties": REGISTER}, {"r": {"value": 1, "time": 2}}, None),
        (FIELDS, described(i=OPEN), {**A, "i": {"x": 1, "y": 2}}, None),
        (FIELDS, described(r=REGISTER), {**A, "i": {"x": 1, "y": 2}}, "/i/y"),
        (FIELDS, described(l={"items": OPEN}), {**A, "l": [{"x": 1}, {"x": 1, "y": 2}]}, None),
        (FIELDS, described(i=OPEN, l={"items": {}}), {**A, "l": [{"x": 1}, {"x": 1, "y": 2}]}, "/l/1/y"),
        (FIELDS, described(m={"additionalProperties": OPEN}), {**A, "m": {"k": {"x": 1, "y": 2}}}, None),
        (FIELDS, described(m=OPEN), {**A, "m": {"k": {"x": 1, "y": 2}}}, None),
        (FIELDS, described(m={"properties": {"k": OPEN}}), {**A, "m": {"k": {"x": 1, "y": 2}}}, "/m/k/y"),
        ((BOTH,), described(r=REGISTER, s=REGISTER), {"s": {"value": 1, "time": 2}}, None),
        ((BOTH,), described(r=REGISTER, s={}), {"s": {"value": 1, "time": 2}}, "/s/time"),
        ((FIELDS[0], REST), described(r=REGISTER), {"r": {"value": 1, "time": 2}, "k": {"x": 1}}, None),
        ((FIELDS[0], REST), described(r={}), {"r": {"value": 1, "time": 2}, "k": {"x": 1}}, "/r/time"),
        ((FIELDS[0], REST), OPEN, {"r": {"value": 1, "time": 2}}, "/r/time"),
        ((FIELDS[0], REST), {"properties": {"id": {}, "r": {}}, "additionalProperties": OPEN},
         {**A, "k": {"x": 1, "y": 2}}, None),
    ],
)  # fmt: skip
def test_both_paths_ignore_what_the_schema_of_an_object_allows(
    fields: tuple[Any, ...], schema: Any, payload: Any, pointer: str | None
) -> None:
    unknown: Unknown = "ignore" if is_open(schema) else "reject"
    codec = Codec(
        Conversion(build(record({"name": "id", "type": "string"}, *fields)), ("/id",), unknown=unknown, schema=schema)
    )
    assert codec.not_fast_because == ""
    text = json.dumps({"id": "x", **payload}).encode()
    found = codec.encode_precisely(text)
    assert codec.encode(text) == found
    if isinstance(found, DeadLetter):
        assert (found.reason, found.pointer) == (Reason.EXTRA_FIELD, pointer)
    else:
        assert pointer is None
        assert codec.fast(text, codec.prepare(())) == found
