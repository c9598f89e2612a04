"""Avro's primitive types at their borders."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.primitives import LONG, long
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of, record


@given(value=st.integers(*LONG) | st.sampled_from([*LONG, 63, 64, -64, -65, 8191, 8192]))
def test_long_writes_what_fastavro_writes(value: int) -> None:
    """Zigzag, and as few bytes as possible."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, {"type": "long"}, value)
    assert long(value) == out.getvalue()


TYPED: list[tuple[Any, str, Reason | None]] = [
    ("int", "2147483648", Reason.OUT_OF_RANGE),
    ("int", "1.5", Reason.NOT_EXACT),
    ("int", "1e2", Reason.NOT_EXACT),
    ("int", "true", Reason.WRONG_TYPE),
    ("long", "9223372036854775807", None),
    ("long", "9223372036854775808", Reason.OUT_OF_RANGE),
    ("long", "1" * 500, Reason.OUT_OF_RANGE),
    ("long", '"1"', Reason.WRONG_TYPE),
    ("double", "9007199254740992", None),
    ("double", "9007199254740993", Reason.NOT_EXACT),
    ("double", "9007199254740994", None),
    ("double", "1e308", None),
    ("double", "1.8e308", Reason.OUT_OF_RANGE),
    ("boolean", "1", Reason.WRONG_TYPE),
    ("string", "1", Reason.WRONG_TYPE),
    ("bytes", '"\\u0100"', Reason.BAD_FORMAT),
    ({"type": "fixed", "name": "F", "size": 2}, '"abc"', Reason.BAD_FORMAT),
    ({"type": "enum", "name": "E", "symbols": ["open", "closed"]}, '"ajar"', Reason.BAD_FORMAT),
    ({"type": "enum", "name": "E", "symbols": ["open", "closed"]}, "0", Reason.WRONG_TYPE),
    ({"type": "array", "items": "int"}, "[1,2,null]", Reason.WRONG_TYPE),
    ({"type": "map", "values": "int"}, '{"a":1.5}', Reason.NOT_EXACT),
    (["null", "long"], '"--"', Reason.WRONG_TYPE),
    (["int", "string"], "1.5", Reason.NOT_EXACT),
    (["int", "string"], "null", Reason.WRONG_TYPE),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-19T12:22:45Z"', None),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-19T13:22:45.120+01:00"', None),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-19T12:22:45"', Reason.BAD_FORMAT),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-30T12:22:45Z"', Reason.BAD_FORMAT),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-19T12:22:60Z"', Reason.BAD_FORMAT),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"2020-02-19T12:22:45.1234Z"', Reason.NOT_EXACT),
    ({"type": "long", "logicalType": "timestamp-millis"}, '"yesterday"', Reason.BAD_FORMAT),
    ({"type": "long", "logicalType": "timestamp-millis"}, "1582114965.5", Reason.NOT_EXACT),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, '"2020-02-19T12:22:45Z"', Reason.BAD_FORMAT),
    ({"type": "long", "logicalType": "timestamp-nanos"}, '"2020-02-19T12:22:45.123456789Z"', None),
    ({"type": "int", "logicalType": "date"}, '"2020-02-30"', Reason.BAD_FORMAT),
    ({"type": "int", "logicalType": "time-millis"}, "86400000", Reason.OUT_OF_RANGE),
    ({"type": "int", "logicalType": "time-millis"}, '"24:00:00"', Reason.BAD_FORMAT),
    ({"type": "string", "logicalType": "uuid"}, '"not-a-uuid"', Reason.BAD_FORMAT),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "12.34", None),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "12.345", Reason.NOT_EXACT),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "123.4", Reason.OUT_OF_RANGE),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "1e9999", Reason.OUT_OF_RANGE),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, '"12.34"', Reason.WRONG_TYPE),
    ({"type": "fixed", "name": "D", "size": 1, "logicalType": "decimal", "precision": 2}, "200", Reason.OUT_OF_RANGE),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "reason"), TYPED)
def test_encode_checks_every_type(kind: Any, text: str, reason: Reason | None) -> None:
    """Values at the border of each type are taken exactly or refused with their reason, on both paths."""
    codec = codec_of(record(("key", "string"), ("v", kind)), ("/key",))
    payload = f'{{"key":"k","v":{text}}}'.encode()
    found = codec.encode(payload)
    assert found == codec.encode_precisely(payload)
    assert (found.reason if isinstance(found, DeadLetter) else None) == reason
    if isinstance(found, DeadLetter):
        assert found.pointer.startswith("/v")
