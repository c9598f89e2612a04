"""Which places of a payload a JSON Schema describes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.contract.payload_place import describes

INNER = {"properties": {"b": {"type": "number"}}}


@pytest.mark.parametrize(
    ("schema", "path", "is_described"),
    [
        (True, ("a", "b"), True),
        (False, ("a",), False),
        ({}, (), True),
        ({}, ("a",), False),
        ({"properties": {"a": INNER}}, ("a", "b"), True),
        ({"properties": {"a": INNER}}, ("a", "c"), False),
        ({"properties": {"a": {}}, "additionalProperties": INNER}, ("a", "b"), False),  # a has a schema of its own
        ({"additionalProperties": INNER}, ("x", "b"), True),
        ({"anyOf": [{"required": ["a"]}, {"properties": {"a": INNER}}]}, ("a", "b"), True),
        ({"allOf": [{"properties": {"a": {}}}], "properties": {"b": {}}}, ("a",), True),
        ({"patternProperties": {r"^a\d$": {}}}, ("a1",), True),
        ({"patternProperties": {r"^a\d$": {}}}, ("a1\n",), False),  # where Python's $ would match
        ({"patternProperties": {"^a(?=b)": {}}}, ("c",), True),  # a pattern that is not supported may match
        ({"patternProperties": {"(": {}}}, ("c",), False),  # which is reported
    ],
)
def test_describes_follows_the_path(schema: Any, path: tuple[str, ...], *, is_described: bool) -> None:
    assert describes(schema, path) is is_described
