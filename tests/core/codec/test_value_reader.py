"""Values as devices write them: exactly as `x-source` says, alike on both paths."""

from __future__ import annotations

import io
import json
import math
import struct
from decimal import Decimal
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
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
DAYTIME = {"type": "int", "logicalType": "time-millis"}
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
BIG = {"type": "bytes", "logicalType": "big-decimal"}
FIXED = {"type": "fixed", "name": "F", "size": 4}
NUMBER = {"parse": "number"}


def schema(kind: Any, words: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Give a record with a field in which values are written as `words` say."""
    field = {"name": "v", "type": kind, "x-source": {"location": "$message.payload#/raw", **words}, **more}
    return {"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}, field]}


def codec(kind: Any, words: dict[str, Any], **more: Any) -> Codec:
    made = codec_of(schema(kind, words, **more), ("/id",), ["/id"])
    assert made.not_fast_because == ""
    return made


def read(kind: Any, words: dict[str, Any], raw: str, **more: Any) -> Any:
    """Give the value that a reader of the topic sees, or the dead letter; the same on both paths."""
    payload = f'{{"raw":{raw}}}'.encode()
    made = codec(kind, words, **more)
    found = made.encode(payload, ("a",))
    assert found == made.encode_precisely(payload, ("a",))
    if isinstance(found, DeadLetter):
        assert found.pointer == "/raw"
        return found.reason, found.detail
    assert found == made.fast(payload, made.prepare(("a",)))
    plain = json.loads(json.dumps(schema(kind, words, **more)).replace('"logicalType": "t', '"was": "t'))
    datum: Any = fastavro.schemaless_reader(io.BytesIO(found[1]), fastavro.parse_schema(plain), None)
    return datum["v"]


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("double", '"317.3988"', 317.3988),
        ("double", '"005779.835"', 5779.835),
        ("double", '"+21.5"', 21.5),
        ("double", '"-0.5"', -0.5),
        ("double", '"-003"', -3.0),
        ("double", '" 21.5\\r"', 21.5),
        ("double", '"1e3"', 1000.0),
        ("double", '"0000"', 0.0),
        ("double", "21.5", 21.5),
        ("double", "3", 3.0),
        ("float", '"0.3"', struct.unpack("<f", struct.pack("<f", 0.3))[0]),
        ("int", '"0042"', 42),
        ("long", '"9223372036854775807"', 2**63 - 1),
        ("long", '"42.000"', 42),
        ("long", '"4.2e1"', 42),
        (["null", "double"], "null", None),
        (["null", "double"], '"-273.15"', -273.15),
        (CENTS, '"0005779.80"', Decimal("5779.80")),
        (CENTS, '"9007199254.99"', Decimal("9007199254.99")),
        (MILLIS, '"1697622940000"', 1_697_622_940_000),
    ],
)
def test_a_number_in_text_is_read_with_all_its_digits(kind: Any, raw: str, expected: Any) -> None:
    """Meters write leading zeros, and some a sign + or spaces; numbers of JSON stay valid."""
    assert read(kind, NUMBER, raw) == expected
    assert math.copysign(1, read("double", NUMBER, '"-0.0"')) == -1


@pytest.mark.parametrize(
    ("kind", "raw", "reason", "detail"),
    [
        *(
            ("double", json.dumps(text), Reason.BAD_FORMAT, f"{text!a} is not a number")
            for text in ("", " ", "nan", "NaN", "inf", "-Infinity", "0x10", "1_000", "12 W", ".5", "5.", "1e", "--1",
                         "+-1", "1.2.3", "\u0663", "\uff11", "1\u00a0", "true", "null", "[1]", '"1"', "1\x00", "1,")
        ),
        ("double", '"21,5"', Reason.BAD_FORMAT, "'21,5' is not a number; a number has a point, not a comma"),
        ("double", '"1e999"', Reason.OUT_OF_RANGE, "the number is beyond double"),
        ("double", f'"{"9" * 401}"', Reason.OUT_OF_RANGE, "a number of more digits than double has"),
        ("double", '"9007199254740993"', Reason.NOT_EXACT, "double would turn the integer 9007199254740993 into"),
        ("int", '"21.5"', Reason.NOT_EXACT, "21.5 is not a whole number"),
        ("int", '"2147483648"', Reason.OUT_OF_RANGE, "2147483648 is outside int"),
        ("long", '"1.00000000000000000000001"', Reason.NOT_EXACT, "1.00000000000000000000001 is not a whole number"),
        (CENTS, '"1.005"', Reason.NOT_EXACT, "more than 2 digits after the point"),
        ("double", "true", Reason.WRONG_TYPE, "expected a number (double), got a boolean"),
        ("double", "null", Reason.WRONG_TYPE, "expected a number (double), got null"),
        ("double", '["1"]', Reason.WRONG_TYPE, "expected a number (double), got an array"),
    ],
)  # fmt: skip
def test_other_text_is_a_dead_letter(kind: Any, raw: str, reason: Reason, detail: str) -> None:
    """Nothing is guessed: no notation of another language, and no word."""
    found = read(kind, NUMBER, raw)
    assert found[0] == reason
    assert found[1].startswith(detail.partition("'")[0] if len(raw) > 40 else detail)


def test_a_long_text_of_zeros_takes_linear_time() -> None:
    assert read("double", NUMBER, f'"{"0" * 200_000}x"')[0] == Reason.BAD_FORMAT
    assert read("double", NUMBER, f'"{"0" * 200_000}7"') == 7


def test_text_without_the_word_stays_a_dead_letter() -> None:
    record = {"type": "record", "name": "R", "fields": [{"name": "v", "type": "double"}]}
    made = codec_of(record, ("/v",), is_fast=False)
    assert made.encode(b'{"v":"21.5"}') == DeadLetter(Reason.WRONG_TYPE, "/v", "expected a number (double), got text")


def test_a_number_in_text_has_a_factor() -> None:
    """The text is read first, and the product is exact."""
    assert read("double", {**NUMBER, "factor": "0.001"}, '"005779835"') == 5779.835
    assert read("double", {**NUMBER, "factor": "0.001"}, '"83402.5"') == 83.4025
    assert read(MILLIS, {**NUMBER, "factor": 1000}, '"1697622940.125"') == 1_697_622_940_125
    assert read("double", {**NUMBER, "factor": 10}, '"x"') == (Reason.BAD_FORMAT, "'x' is not a number")


numbers = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:e}"),
    st.decimals(-(10**9), 10**9, places=6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"[ +-]?0{0,3}[0-9]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?[ \n]?", fullmatch=True),
)
odd = st.sampled_from(["null", "true", "false", "[]", "{}", "-0", "-0.0", "0e5", "1e400", "1e-400", "1" * 401, "-9999",
                       "-9999.0", "-9999.00000000000000000000001", "1.0", "0", '"ON"', '"off"', '""', '"nan"', '"AQI="',
                       '"a0"', '"2026-03-29T02:30:00"', '"2026-10-25T02:30:00.123456789"'])  # fmt: skip
texts = st.text(max_size=8).map(json.dumps)
raws = st.one_of(numbers.map(json.dumps), numbers.filter(lambda text: text[0] not in " +0"), odd, texts)
CASES: list[tuple[Any, dict[str, Any]]] = [
    *((kind, {**NUMBER, **more}) for kind in ("int", "long", "float", "double", MILLIS, CENTS, BIG, ["null", "double"])
      for more in ({}, {"factor": "0.001"}, {"factor": 1000})),
    *((kind, {"nulls": [-9999, "nan", "", "-0.5", True, 0.1]}) for kind in (["null", "double"], ["long", "null"],
      ["null", "string"], ["null", "boolean"], ["null", "double", "string"], ["null", CENTS], ["null", MILLIS])),
    (["null", "double"], {**NUMBER, "nulls": ["", "nan", 0]}),
    (["null", "double"], {**NUMBER, "nulls": ["", "nan", -9999.5], "factor": "0.1"}),
    ("boolean", {"parse": "boolean"}),
    ("boolean", {"trues": ["ON", 1], "falses": ["off", 0, ""]}),
    (["null", "boolean"], {"trues": [False], "falses": [True, 0.1], "nulls": ["nan"]}),
    *((kind, {"parse": parse}) for kind in ("bytes", FIXED, ["null", "bytes"])
      for parse in ("base64", "base64url", "hex")),
    *((kind, {"round": "floor", **more}) for kind in ("int", MILLIS, NANOS, CENTS, LOCAL, DAYTIME, "long")
      for more in ({}, {"factor": "0.001"}, {"factor": 1000}, NUMBER)),
    *((kind, {"zone": "Europe/Vienna", **more}) for kind in (MILLIS, MICROS, ["null", NANOS])
      for more in ({}, {"repeated": "second"}, {"round": "floor"}, {"round": "floor", "factor": 1000})),
]  # fmt: skip


@settings(max_examples=2_000, deadline=None)
@given(case=st.sampled_from(CASES), raw=raws)
def test_both_paths_read_alike(case: tuple[Any, dict[str, Any]], raw: str) -> None:
    """Any value, whatever the words: the same bytes or the same dead letter."""
    made = codec(*case)
    payload = f'{{"raw":{raw}}}'.encode()
    assert made.encode(payload, ("a",)) == made.encode_precisely(payload, ("a",))
