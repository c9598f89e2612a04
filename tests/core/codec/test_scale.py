"""Numbers times the factor of their field: exactly, and alike on both paths."""

from __future__ import annotations

import io
import json
import struct
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of

if TYPE_CHECKING:
    from gateway.core.codec.codec import Codec

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
BIG = {"type": "bytes", "logicalType": "big-decimal"}
FIXED = {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 9, "scale": 3}
KINDS: list[Any] = [
    "int", "long", "float", "double", MILLIS, CENTS, FIXED, ["null", "double"], ["int", "null"], ["null", CENTS],
]  # fmt: skip


def schema(kind: Any, factor: Any, **more: Any) -> dict[str, Any]:
    """Give a record with a number that stands at `/raw` in another unit."""
    field = {"name": "v", "type": kind, "x-source": {"location": "$message.payload#/raw", "factor": factor}, **more}
    return {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, field]}


def codec(kind: Any, factor: Any, **more: Any) -> Codec:
    made = codec_of(schema(kind, factor, **more), ("/id",), ["/id"])
    assert made.not_fast_because == ""
    return made


def product(kind: Any, factor: Any, raw: str, **more: Any) -> Any:
    """Give the value that a reader of the topic sees, or the dead letter; the same on both paths."""
    payload = f'{{"raw":{raw}}}'.encode()
    made = codec(kind, factor, **more)
    found = made.encode(payload, ("a",))
    assert found == made.encode_precisely(payload, ("a",))
    if isinstance(found, DeadLetter):
        return found
    read: Any = fastavro.schemaless_reader(
        io.BytesIO(found[1]), fastavro.parse_schema(schema(kind, factor, **more)), None
    )
    return read["v"]


@pytest.mark.parametrize(
    ("kind", "factor", "raw", "expected"),
    [
        ("double", "0.1", "215", 21.5),
        ("double", 0.1, "3", 0.3),  # 3 * 0.1 is 0.30000000000000004
        ("double", "0.1", "21.5", 2.15),
        ("double", "0.001", "83402", 83.402),
        ("double", "-1", "3.25", -3.25),
        ("double", 1000, "1.1", 1100.0),
        ("double", "1e-3", "9007199254740993", 9007199254740.993),
        ("float", "0.1", "3", struct.unpack("<f", struct.pack("<f", 0.3))[0]),
        ("int", "0.1", "210", 21),
        ("int", "0.5", "4e1", 20),
        ("int", 10, "21.5", 215),
        ("int", "0.5", "4294967294", 2**31 - 1),
        ("long", 1000, "-7", -7000),
        (["null", "double"], "0.1", "null", None),
        (["null", "double"], "0.1", "215", 21.5),
        (CENTS, "0.001", "83400", Decimal("83.40")),
        (CENTS, "0.1", "1.1", Decimal("0.11")),
        (FIXED, "0.001", "83402", Decimal("83.402")),
    ],
)
def test_encode_multiplies_exactly(kind: Any, factor: Any, raw: str, expected: Any) -> None:
    """The product is that of decimal arithmetic, whatever the number and the factor are written as."""
    assert product(kind, factor, raw) == expected


def test_encode_turns_seconds_into_a_timestamp() -> None:
    """A timestamp's factor is for numbers; text is a time already."""
    made = codec(MILLIS, 1000)
    seconds = made.encode(b'{"raw":1767592800}', ("a",))
    assert (
        seconds
        == made.encode(b'{"raw":"2026-01-05T06:00:00Z"}', ("a",))
        == made.encode(b'{"raw":1767592800.000}', ("a",))
    )
    assert not isinstance(seconds, DeadLetter)


def test_encode_takes_a_default_as_it_is() -> None:
    """A default is in the field's own unit."""
    made = codec("double", "0.1", default=7.5)
    assert made.encode(b"{}", ("a",)) == made.encode(b'{"raw":75}', ("a",)) == made.encode_precisely(b"{}", ("a",))


def test_encode_multiplies_the_member_of_the_fields_own_name() -> None:
    """A location may be left out, and be a list."""
    field = {"name": "v", "type": "double", "x-source": {"factor": "0.1"}}
    own = codec_of(
        {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, field]}, ("/id",), ["/id"]
    )
    field = {**field, "x-source": {"location": ["$message.payload#/a", "$message.payload#/v"], "factor": "0.1"}}
    two = codec_of(
        {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, field]}, ("/id",), ["/id"]
    )
    assert own.encode(b'{"v":215}', ("a",)) == two.encode(b'{"v":215}', ("a",)) == two.encode(b'{"a":215}', ("a",))


def test_encode_multiplies_a_payload_that_is_one_value() -> None:
    field = {"name": "v", "type": "double", "x-source": {"location": "$message.payload#", "factor": "0.1"}}
    whole = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, field]}
    made = codec_of(whole, ("/id",), ["/id"], content="text")
    assert made.encode(b"215\n", ("a",)) == (b"a", b"\2a" + struct.pack("<d", 21.5), None, None, None)
    assert made.encode(b"215\n", ("a",)) == made.fast(b"215\n", made.prepare(("a",)))


@pytest.mark.parametrize(
    ("kind", "factor", "raw", "reason", "detail"),
    [
        ("int", "0.1", "215", Reason.NOT_EXACT, "215 times 0.1 is not a whole number"),
        ("int", 10, "2.15", Reason.NOT_EXACT, "2.15 times 10 is not a whole number"),
        ("long", "0.1", "1e-9999", Reason.NOT_EXACT, "1E-9999 times 0.1 is not a whole number"),
        ("int", "0.5", "4294967296", Reason.OUT_OF_RANGE, "2147483648 is outside int: -2147483648 to 2147483647"),
        ("long", 1000, "9223372036854775807", Reason.OUT_OF_RANGE, "9223372036854775807000 is outside long"),
        ("long", 1000, "1e999999999", Reason.OUT_OF_RANGE, "a number of more digits than long has"),
        ("double", 1000, "1e306", Reason.OUT_OF_RANGE, "the number is beyond double"),
        ("double", 1000, "9" * 307, Reason.OUT_OF_RANGE, ""),
        ("double", 1000, "1" * 500, Reason.OUT_OF_RANGE, "a number of more digits than double has"),
        ("float", 1000, "1e36", Reason.OUT_OF_RANGE, "1.000E+39 is beyond float"),
        (CENTS, "0.001", "83402", Reason.NOT_EXACT, "more than 2 digits after the point"),
        (BIG, "0.001", "1" * 401, Reason.OUT_OF_RANGE, "more than 400 digits"),
        (CENTS, 1000, "99999", Reason.OUT_OF_RANGE, "more than 9 digits"),
        ("double", "0.1", "null", Reason.WRONG_TYPE, "expected a number (double), got null"),
        ("double", "0.1", '"215"', Reason.WRONG_TYPE, "expected a number (double), got text"),
        ("double", "0.1", "true", Reason.WRONG_TYPE, "expected a number (double), got a boolean"),
        ("int", "0.1", "[210]", Reason.WRONG_TYPE, "expected an integer (int), got an array"),
    ],
)  # fmt: skip
def test_encode_refuses_a_product_that_its_type_does_not_hold(
    kind: Any, factor: Any, raw: str, reason: Reason, detail: str
) -> None:
    """The place is that of the number in the payload."""
    letter = product(kind, factor, raw)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, "/raw")
    assert letter.detail.startswith(detail)


integers = st.integers(-(2**70), 2**70).map(str)
fractions = st.decimals(allow_nan=False, allow_infinity=False).map(
    lambda number: f"{number:f}" if abs(number.adjusted()) < 50 else f"{number:e}"
)
floats = st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)
odd = st.sampled_from(
    ["null", "true", '"1"', "[]", "{}", "-0", "-0.0", "0e5", "1e400", "1e-400", "1" * 401, "1." + "1" * 500]
)
factors = st.one_of(
    st.sampled_from(["0.1", "0.001", "1000", "-1", "0.25", "3", "1e-30", "3.6e6"]),
    st.decimals(-(10**6), 10**6, places=4).filter(bool).map(str),
)


@settings(max_examples=1_500, deadline=None)
@given(kind=st.sampled_from(KINDS), factor=factors, raw=integers | fractions | floats | odd)
def test_encode_multiplies_alike_on_both_paths(kind: Any, factor: str, raw: str) -> None:
    """Any number times any factor: the same bytes or the same dead letter."""
    made = codec(kind, factor)
    payload = f'{{"raw":{raw}}}'.encode()
    assert made.encode(payload, ("a",)) == made.encode_precisely(payload, ("a",))


@settings(max_examples=500, deadline=None)
@given(factor=factors, raw=st.integers(-(2**70), 2**70).map(str) | st.decimals(-(10**9), 10**9, places=6).map(str))
def test_encode_gives_the_nearest_double(factor: str, raw: str) -> None:
    """The oracle are rational numbers; `float` of one is the nearest."""
    exact = Fraction(raw) * Fraction(factor)
    assert product("double", factor, raw) == exact.numerator / exact.denominator


def test_fast_path_takes_numbers_with_a_factor() -> None:
    """Whole numbers, which is what meters send, and fractions."""
    for kind in ("double", "long", ["null", "double"], CENTS):
        for raw in (b"210", b"21e1", b"200.00"):
            made = codec(kind, "0.1")
            made.fast(b'{"raw":' + raw + b"}", made.prepare(("a",)))
