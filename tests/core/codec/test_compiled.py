"""The compiled path: which schemas it covers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.codec.unsupported import FallBack
from tests.contract_values import codec_of, record

SOURCE = "$message.payload#"
NOT_COVERED: list[tuple[str, list[dict[str, Any]], list[str | None]]] = [
    ("a union with two branches for text", [{"name": "a", "type": ["bytes", "string"]}], []),
    ("a union with two branches for text",
     [{"name": "a", "type": [{"type": "int", "logicalType": "date"}, "string"]}], []),
    ("a union with two branches for objects",
     [{"name": "a", "type": [{"type": "map", "values": "int"}, {"type": "record", "name": "A", "fields": []}]}], []),
    ("a decimal of 400 digits or more",
     [{"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 400}}], []),
    ("fields that read a member as a whole and in parts",
     [{"name": "a", "type": "int", "x-source": f"{SOURCE}/d/a"}, {"name": "d", "type": "int"}], []),
    ("fields that read one array or object",
     [{"name": "a", "type": {"type": "array", "items": "int"}, "x-source": f"{SOURCE}/d"},
      {"name": "d", "type": ["null", "int"], "default": None}], []),
    ("a parameter's location that no field reads as a whole", [{"name": "a", "type": "int"}], ["/b"]),
    ("a parameter's location below the top level, or that of two parameters", [{"name": "a", "type": "int"}], ["/a/b"]),
    ("a parameter's location below the top level, or that of two parameters",
     [{"name": "a", "type": "string"}], ["/a", "/a"]),
    ("the default of a, which its type does not take",
     [{"name": "a", "type": {"type": "enum", "name": "E", "symbols": ["on"]}, "default": "off"}], []),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "fields", "parameters"), NOT_COVERED)
def test_codec_says_why_a_schema_has_no_fast_path(
    reason: str, fields: list[dict[str, Any]], parameters: list[str | None]
) -> None:
    """A shape that could be read in two ways is left to the precise path, and the codec says which it is."""
    codec = codec_of(record(("key", "string"), *fields), ("/key",), parameters)
    assert codec.not_fast_because == reason
    with pytest.raises(FallBack):
        codec.fast(b'{"key":"k","a":1}', codec.prepare(()))
