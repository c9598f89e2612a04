"""What a field is made from: level by level, as the encoder reads it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.field_value import FieldValue
from tests.contract_values import record

ROOM = {"name": "room", "type": "string", "default": "hall"}
PLACE = {"name": "place", "type": ["null", record(ROOM, name="Place")], "default": None,
         "x-source": ["$message.payload#/a", "$message.payload#/b/c"]}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"room": "attic"}}, "attic"),
        ({"b": {"c": {"room": "attic"}}}, "attic"),
        ({"a": {}, "b": {"c": {"room": "attic"}}}, "hall"),
        ({"a": None, "b": {"c": {"room": "attic"}}}, None),
        ({"a": {"room": None}}, None),
        ({}, None),
    ],
)
def test_of_descends_as_the_encoder_does(value: Any, expected: Any) -> None:
    """The first source of a level decides, also when it is null or lacks what another one has."""
    assert FieldValue(build(record(PLACE)), "/place/room").of(value) == expected


def test_place_is_that_of_the_first_sources() -> None:
    assert FieldValue(build(record(PLACE)), "/place/room").place == ("a", "room")


def test_a_pointer_to_no_field_raises() -> None:
    with pytest.raises(KeyError):
        FieldValue(build(record(PLACE)), "/place/floor")
