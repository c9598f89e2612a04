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


def read(kind: Any, words: dict[str, Any], raw: str, *, is_fast: bool = True, **more: Any) -> Any:
    """Give the value that a reader of the topic sees, or the dead letter; the same on both paths."""
    payload = f'{{"raw":{raw}}}'.encode() if raw else b"{}"
    made = codec(kind, words, **more)
    found = made.encode(payload, ("a",))
    assert found == made.encode_precisely(payload, ("a",))
    if isinstance(found, DeadLetter):
        assert found.pointer == "/raw"
        return found.reason, found.detail
    if is_fast:
        assert found == made.fast(payload, made.prepare(("a",)))
    plain = json.loads(json.dumps(schema(kind, words, **more)).replace("time", "no-time"))  # times stay integers
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


JANUARY = 1_767_592_800_000  # 2026-01-05T06:00:00Z
VIENNA = {"zone": "Europe/Vienna"}
FLOOR = {"round": "floor"}


@pytest.mark.parametrize(
    ("kind", "words", "raw", "expected"),
    [
        (MILLIS, VIENNA, '"2026-01-05T07:00:00"', JANUARY),
        (MILLIS, VIENNA, '"2026-01-05 07:00:00.25"', JANUARY + 250),
        (MILLIS, VIENNA, '"2026-07-05T08:00:00"', 1_783_231_200_000),
        *((MILLIS, VIENNA, f'"2026-01-05T06:00:00{zone}"', JANUARY) for zone in ("Z", "z", "+00:00", "-0000", "+00")),
        (MILLIS, VIENNA, '"2026-01-05T07:00:00+01"', JANUARY),
        (MILLIS, VIENNA, '"2026-01-05T02:15:00-0345"', JANUARY),
        (MILLIS, VIENNA, str(JANUARY), JANUARY),
        (["null", MILLIS], VIENNA, "null", None),
        # the hour that repeats: from 02:00 in summer time (00:00 UTC) to 02:59 in winter time
        (MILLIS, VIENNA, '"2026-10-25T02:30:00"', 1_792_888_200_000),
        (MILLIS, {**VIENNA, "repeated": "first"}, '"2026-10-25T02:30:00"', 1_792_888_200_000),
        (MILLIS, {**VIENNA, "repeated": "second"}, '"2026-10-25T02:30:00"', 1_792_891_800_000),
        (MILLIS, {**VIENNA, "repeated": "second"}, '"2026-10-25T02:30:00+0200"', 1_792_888_200_000),
        # fractions
        (MILLIS, FLOOR, '"2026-01-05T06:00:00.1239999Z"', JANUARY + 123),
        (MICROS, FLOOR, '"2026-01-05T06:00:00.123456789Z"', JANUARY * 1000 + 123_456),
        (NANOS, {}, '"2026-01-05T06:00:00.123456789Z"', JANUARY * 10**6 + 123_456_789),
        (MILLIS, FLOOR, '"1969-12-31T23:59:59.9999Z"', -1),
        (MILLIS, FLOOR, '"1969-12-31T23:59:58.0001Z"', -2000),
        (LOCAL, FLOOR, '"2026-01-05T06:00:00.1239999"', JANUARY + 123),
        (DAYTIME, FLOOR, '"06:00:00.9999"', 21_600_999),
        (MILLIS, {"factor": 1000}, "1767592800.125", JANUARY + 125),
        (MILLIS, {"factor": 1000}, "1767592800.001", JANUARY + 1),  # floats would make 0.9998 of the 1
        (MILLIS, {"factor": 1000, **FLOOR}, "1767592800.1239999", JANUARY + 123),
        (MILLIS, {"factor": 1000, **FLOOR}, "-0.0001", -1),
        (MILLIS, {"factor": 1000, **FLOOR, **NUMBER}, '"1767592800.123999999999999999999"', JANUARY + 123),
        (MICROS, {"factor": "1e6"}, "1.7675928e9", JANUARY * 1000),
        ("int", FLOOR, "-21.5", -22),
        ("int", FLOOR, "1e-9999", 0),
        ("long", {**FLOOR, "factor": "0.1"}, "-215", -22),
        (CENTS, FLOOR, "-1.001", Decimal("-1.01")),
        (CENTS, {**FLOOR, "factor": "0.001"}, "12345", Decimal("12.34")),
        (CENTS, {**FLOOR, **NUMBER}, '"1.999999999999999999999999"', Decimal("1.99")),
        ("string", {"parse": "string"}, "61", "61"),
        ("string", {"parse": "string"}, '"a1"', "a1"),
        ("string", {"parse": "string"}, "123456789012345678901234567890", "123456789012345678901234567890"),
        (["null", "string"], {"parse": "string", "nulls": [0]}, "0", None),
        (["null", "string"], {"parse": "string", "nulls": ["-"]}, "-5", "-5"),
        # null, true and false
        *((["null", "double"], {"nulls": [[], {}]}, raw, None) for raw in ("[]", "{}", "[ ]")),
        *((["null", "double"], {"nulls": [-9999, "nan", "", 0.1, True]}, raw, None)
          for raw in ("-9999", "-9999.0", "-9.999e3", '"nan"', '""', "0.1", "1E-1", "true", "null")),
        (["null", "double"], {"nulls": [-9999, 1]}, "-9999.5", -9999.5),
        (["null", "string"], {"nulls": ["unavailable"]}, '"Unavailable"', "Unavailable"),
        (["null", "long"], {"nulls": [0]}, "0", None),
        (["null", "boolean"], {"nulls": [0]}, "false", False),
        (["null", "double"], {"nulls": ["-1"], **NUMBER}, '"-1"', None),
        (["null", "double"], {"nulls": [-1], **NUMBER}, '"-1"', -1.0),
        *(("boolean", {"trues": ["ON", 1], "falses": ["OFF", 0]}, raw, expected)
          for raw, expected in (('"ON"', True), ("1", True), ("1.0", True), ("true", True),
                                ('"OFF"', False), ("0", False), ("-0.0", False), ("false", False))),
        ("boolean", {"trues": [False], "falses": [True]}, "true", False),
        ("boolean", {"parse": "boolean"}, '"true"', True),
        ("boolean", {"parse": "boolean"}, "false", False),
        # bytes
        ("bytes", {"parse": "base64"}, '"AP+g"', b"\x00\xff\xa0"),
        ("bytes", {"parse": "base64url"}, '"AP-gAQ"', b"\x00\xff\xa0\x01"),
        ("bytes", {"parse": "hex"}, '"00ffA0"', b"\x00\xff\xa0"),
        ("bytes", {"parse": "hex"}, '""', b""),
        (FIXED, {"parse": "hex"}, '"00ffA001"', b"\x00\xff\xa0\x01"),
    ],
)  # fmt: skip
def test_a_word_says_what_a_value_means(kind: Any, words: dict[str, Any], raw: str, expected: Any) -> None:
    assert read(kind, words, raw, is_fast=False) == expected


@pytest.mark.parametrize(
    ("kind", "words", "raw", "reason", "detail"),
    [
        (MILLIS, VIENNA, '"2026-03-29T02:30:00"', Reason.BAD_FORMAT,
         "2026-03-29 02:30:00 does not exist in Europe/Vienna, because the clocks are put forward there then"),
        (MILLIS, VIENNA, '"2026-01-05T07:00:00.1234"', Reason.NOT_EXACT, "more than 3 digits of a second's fraction"),
        (MILLIS, VIENNA, '"2026-02-30T07:00:00"', Reason.BAD_FORMAT,
         "'2026-02-30T07:00:00' is not a time of the calendar"),
        (MILLIS, {}, '"2026-01-05T07:00:00"', Reason.BAD_FORMAT,
         "'2026-01-05T07:00:00' is not a time with its zone (Z or +01:00)"),
        (LOCAL, FLOOR, '"2026-01-05T07:00:00Z"', Reason.BAD_FORMAT,
         "'2026-01-05T07:00:00Z' is not a time without zone"),
        (MILLIS, {"factor": 1000}, "1767592800.1239", Reason.NOT_EXACT,
         "1767592800.1239 times 1000 is not a whole number"),
        ("int", FLOOR, "1e400", Reason.OUT_OF_RANGE, None),
        ("int", FLOOR, '"21.5"', Reason.WRONG_TYPE, "expected an integer (int), got text"),
        ("boolean", {"trues": ["ON"], "falses": ["OFF"]}, '"on"', Reason.NOT_ALLOWED,
         "'on' is none of \"ON\", \"OFF\""),
        ("boolean", {"trues": ["ON"]}, "1", Reason.NOT_ALLOWED, '1 is none of "ON"'),
        ("boolean", {"trues": ["ON"]}, "null", Reason.WRONG_TYPE, "expected a boolean, got null"),
        ("boolean", {"trues": ["ON"]}, "[]", Reason.WRONG_TYPE, "expected a boolean, got an array"),
        ("boolean", {"parse": "boolean"}, '"True"', Reason.BAD_FORMAT, "'True' is neither true nor false"),
        (["null", "double"], {"nulls": ["nan"]}, '"NaN"', Reason.WRONG_TYPE, "expected a number (double), got text"),
        ("bytes", {"parse": "base64"}, '"AP+"', Reason.BAD_ENCODING, "'AP+' is not base64"),
        ("bytes", {"parse": "hex"}, '"0x00"', Reason.BAD_ENCODING, "'0x00' is not hex"),
        ("bytes", {"parse": "hex"}, "1", Reason.WRONG_TYPE,
         "expected text of the code points 0 to 255, got an integer"),
        (FIXED, {"parse": "hex"}, '"00"', Reason.BAD_FORMAT, "expected 4 bytes, got 1"),
        ("string", {"parse": "string"}, "1" * 401, Reason.WRONG_TYPE, "expected text, got a number"),
    ],
)  # fmt: skip
def test_a_value_that_a_word_does_not_cover_is_a_dead_letter(
    kind: Any, words: dict[str, Any], raw: str, reason: Reason, detail: str | None
) -> None:
    assert read(kind, words, raw) == (reason, detail) or (detail is None and read(kind, words, raw)[0] == reason)


def test_a_default_is_a_value_of_the_fields_own_type() -> None:
    """It is taken as it is, also where a device would mean something else by it."""
    assert read("double", {**NUMBER, "factor": "0.1"}, "", default=7.5, is_fast=False) == 7.5
    assert read(["null", "double"], {**NUMBER, "nulls": [0]}, "", default=None, is_fast=False) is None
    assert read(["double", "null"], {"nulls": [-1]}, "", default=-1, is_fast=False) == -1
    assert read("boolean", {"trues": [False], "falses": [True]}, "", default=True, is_fast=False) is True


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def test_key_time_and_sequence_are_of_the_value_that_was_read() -> None:
    """The key is null where the device says so, and then the next one counts."""
    fields: list[dict[str, Any]] = [
        {"name": "name", "type": ["null", "string"], "default": None, "x-source": {"nulls": ["", "?"]}},
        {"name": "number", "type": "int", "x-source": NUMBER},
        {"name": "at", "type": ["null", MILLIS], "x-source": {**VIENNA, "nulls": ["-"]}},
        {"name": "n", "type": "long", "x-source": {**NUMBER, "factor": 10}, "default": 0},
    ]
    made = codec_of(record(*fields), ("/name", "/number"), event_time="/at", sequence="/n")
    assert made.not_fast_because == ""
    for payload, expected in (
        (b'{"name":"a","number":"007","at":"2026-01-05T07:00:00","n":"42"}', (b"a", JANUARY, 42)),
        (b'{"name":"?","number":"007","at":"-","n":42}', (b"7", None, 42)),
        (b'{"number":7,"at":null}', (b"7", None, None)),
        (b'{"name":"","number":"7.0","at":"2026-01-05T06:00:00Z","n":"0"}', (b"7", JANUARY, 0)),
    ):
        for found in (made.encode_precisely(payload), made.fast(payload, made.prepare(()))):
            assert not isinstance(found, DeadLetter)
            assert (found[0], *found[2:4]) == expected


def test_fields_of_records_inside_have_words_too() -> None:
    """Also where a record holds itself, in a union, and in an array."""
    inner = record(
        {"name": "v", "type": ["null", "double"], "x-source": {**NUMBER, "nulls": ["nan"]}, "default": None},
        {"name": "on", "type": "boolean", "x-source": {"trues": ["ON"], "falses": ["OFF"]}},
        {"name": "next", "type": ["null", "Inner"], "default": None},
        name="Inner",
    )  # fmt: skip
    whole = record({"name": "id", "type": "string"}, {"name": "all", "type": {"type": "array", "items": inner}})
    made = codec_of(whole, ("/id",))
    assert made.not_fast_because == ""
    plain = codec_of(json.loads(json.dumps(whole).replace("x-source", "x-other")), ("/id",))
    sent = b'{"id":"a","all":[{"v":"007.5","on":"ON","next":{"v":"nan","on":"OFF"}},{"on":false,"v":3}]}'
    meant = b'{"id":"a","all":[{"v":7.5,"on":true,"next":{"v":null,"on":false}},{"on":false,"v":3}]}'
    assert made.fast(sent, made.prepare(())) == made.encode_precisely(sent) == plain.encode(meant)
    letter = made.encode(b'{"id":"a","all":[{"v":"007.5","on":"ON","next":{"v":"x","on":"OFF"}}]}')
    assert letter == DeadLetter(Reason.BAD_FORMAT, "/all/0/next/v", "'x' is not a number")


@pytest.mark.parametrize(
    ("kind", "words", "payload", "expected"),
    [
        ("double", NUMBER, b"005779.835\n", 5779.835),
        ("double", NUMBER, b"21.5", 21.5),
        ("boolean", {"trues": ["ON", 1], "falses": ["OFF"]}, b"ON", True),
        ("boolean", {"trues": ["ON", 1], "falses": ["OFF"]}, b" 1", True),
        ("boolean", {"trues": ["ON"], "falses": ["OFF"]}, b"false", False),
        (["null", "double"], {"nulls": ["unavailable"]}, b"unavailable", None),
        (["null", "double"], {"nulls": ["unavailable"], **NUMBER}, b"null", None),
        (["null", "string"], {"nulls": [5, "off"]}, b"5", "5"),
        (["null", "string"], {"nulls": [5, "off"]}, b"off", None),
        (MILLIS, VIENNA, b"2026-01-05T07:00:00", JANUARY),
    ],
)
def test_a_payload_of_plain_text_is_read_too(kind: Any, words: dict[str, Any], payload: bytes, expected: Any) -> None:
    value = {"name": "v", "type": kind, "x-source": {"location": "$message.payload#", **words}}
    whole = record({"name": "id", "type": "string"}, value)
    made = codec_of(whole, ("/id",), ["/id"], content="text")
    plain = json.loads(json.dumps(whole).replace("logicalType", "was"))
    for found in (made.fast(payload, made.prepare(("a",))), made.encode_precisely(payload, ("a",))):
        assert not isinstance(found, DeadLetter)
        datum: Any = fastavro.schemaless_reader(io.BytesIO(found[1]), fastavro.parse_schema(plain), None)
        assert datum["v"] == expected


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
