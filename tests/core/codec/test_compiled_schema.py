"""The code of rules takes at once what is sure to pass; `test_payload_schema.py` compares its verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.codec.unsupported import FallBack
from gateway.core.reading import DeadLetter
from tests.contract_values import codec_of, record


def read_one(schema: Any, kind: Any, value: str) -> Any:
    made = codec_of(record(("k", "string"), ("v", kind)), ("/k",), schema={"properties": {"v": schema}})
    return made.fast(f'{{"k":"k","v":{value}}}'.encode(), made.prepare(()))


@pytest.mark.parametrize(
    ("schema", "kind", "value"),
    [
        ({"minimum": 0, "maximum": 100}, "double", "21.5"),
        ({"minimum": 0, "maximum": 100}, "double", "0"),
        ({"minimum": 0, "maximum": 100}, "double", "100.0"),
        ({"minimum": 0.1}, "double", "0.1"),
        ({"minimum": 99.99}, {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "99.99"),
        ({"multipleOf": 0.1}, "double", "21.3"),
        ({"multipleOf": 5}, "int", "20"),
        ({"enum": [1, 2.5]}, "double", "2.5"),
        ({"type": "integer"}, "double", "3.0"),
        ({"pattern": "^a+$", "minLength": 1}, "string", '"aaa"'),
        ({"uniqueItems": True}, {"type": "array", "items": "double"}, "[1,1.5]"),
    ],
)
def test_the_fast_path_takes_what_is_sure_to_pass(schema: Any, kind: Any, value: str) -> None:
    """Values at the limits included; the precise path would cost ten times as much."""
    assert read_one(schema, kind, value)


@pytest.mark.parametrize("digits", ["100.0000000000000000001", "99.9999999999999999999", "1000000000000000000000e-19"])
def test_the_fast_path_leaves_digits_that_a_float_loses(digits: str) -> None:
    with pytest.raises(FallBack):
        read_one({"maximum": 100}, "double", digits)


@pytest.mark.parametrize("number", ["1" + "0" * 500, "-1" + "0" * 500, "9" * 400, "1e9999999999"])
@pytest.mark.parametrize("schema", [{"type": "integer"}, {"minimum": 0}, {"exclusiveMaximum": 0}, {"multipleOf": 10}])
def test_both_paths_agree_on_whole_numbers_of_any_length(schema: Any, number: str) -> None:
    """Also where no field reads the number, so that no type limits it."""
    codec = codec_of(record(("k", "string")), ("/k",), schema={"properties": {"v": schema}}, unknown="ignore")
    payload = f'{{"k":"k","v":{number}}}'.encode()
    assert codec.encode(payload) == codec.encode_precisely(payload)


def test_a_number_beyond_all_types_is_a_whole_one_above_every_minimum() -> None:
    schema = {"properties": {"v": {"type": "integer", "minimum": 0}}}
    codec = codec_of(record(("k", "string")), ("/k",), schema=schema, unknown="ignore")
    assert not isinstance(codec.encode_precisely(b'{"k":"k","v":1%b}' % (b"0" * 500)), DeadLetter)
