"""The precise encoder: defaults, members and unions; what it shares with the compiled path is in `test_codec.py`."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.precise_encoder import compile_encoder, encode_default, first_member, member
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.reading import Reason
from tests.contract_values import record

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
ENUM = {"type": "enum", "name": "E", "symbols": ["on", "off"]}


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("int", 3), ("double", 1.5), ("string", "x"), (["null", "int"], None), (ENUM, "off"),
        ({"type": "array", "items": "int"}, [1, 2]), ({"type": "map", "values": "int"}, {"a": 1}), (MILLIS, 5),
        (record({"name": "i", "type": "int", "default": 7}, name="I"), {}),
    ],
)  # fmt: skip
def test_encode_default_writes_what_fastavro_writes_for_an_absent_field(kind: Any, default: Any) -> None:
    schema = record({"name": "f", "type": kind, "default": default})
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {})
    assert encode_default(build(schema).fields[0]) == out.getvalue()


def test_encode_default_reads_bytes_as_code_points() -> None:
    """Fastavro takes no text for bytes here; the specification does."""
    field = build(record({"name": "f", "type": "bytes", "default": "a\u00ff"})).fields[0]
    assert encode_default(field) == b"\4a\xff"


def test_encode_default_refuses_text_for_a_time_unless_a_payload_says_it() -> None:
    field = build(record({"name": "f", "type": MILLIS, "default": "1970-01-01T00:00:01Z"})).fields[0]
    with pytest.raises(ValidationError):
        encode_default(field)
    assert encode_default(field, logical=True) == b"\xd0\x0f"


def test_member_follows_a_path() -> None:
    value = {"a": {"b": None}, "c": 5}
    assert member(value, ("a", "b")) is None
    assert member(value, ("a", "x")) is ABSENT
    assert first_member(value, [("a", "x"), ("c",)]) == 5
    with pytest.raises(ValidationError) as refused:
        member(value, ("c", "d"))
    assert (refused.value.reason, pointer(refused.value.tokens)) == (Reason.WRONG_TYPE, "/c")


@pytest.mark.parametrize(
    ("branches", "value", "detail"),
    [
        (["null", "string"], 5, "expected text, got an integer"),
        (["int", "string"], None, "expected int or string, got null"),
        (["int", "string"], 2**31, "2147483648 is outside int: -2147483648 to 2147483647"),
    ],
)
def test_a_union_reports_the_branch_that_was_meant(branches: list[str], value: Any, detail: str) -> None:
    """The one branch beside null, or the one of the value's JSON type; else all of them."""
    with pytest.raises(ValidationError, match=detail):
        compile_encoder(build(branches))(value, bytearray())
