"""Telegrams are read exactly, or refused; what is refused says why."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.telegram import MAX_BYTES, as_json, checksum_of
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import DeadLetter, Reason
from tests.core.codec.telegrams import SHAPES, crc, damaged

TELEGRAMS = 500
DAMAGED = 1_000  # `make test` tries so many of the 50,000 that were tried
START = b"/KFM5KAIFA-METER\r\n\r\n"
SCHEMA = {
    "type": "record",
    "name": "Telegram",
    "fields": [
        {"name": "meter", "type": "string", "x-source": "$message.payload#/identification"},
        {"name": "clock", "type": {"type": "long", "logicalType": "timestamp-millis"},
         "x-source": {"location": "$message.payload#/0-0:1.0.0/value", "zone": "Europe/Amsterdam"}},
        {"name": "energy", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
         "x-source": "$message.payload#/1-0:1.8.1/value"},
        {"name": "gas", "type": ["null", "double"], "default": None, "x-source": "$message.payload#/0-1:24.2.1/value"},
    ],
}  # fmt: skip
CONVERSION = Conversion(
    build(SCHEMA), ("/meter",), content="telegram", unknown="ignore", event_time="/clock"
)  # fmt: skip


def read(payload: bytes) -> Any:
    return json.loads(as_json(payload), parse_float=Decimal)


def refusal(payload: bytes) -> str:
    with pytest.raises(ValidationError) as raised:
        as_json(payload)
    assert raised.value.reason is Reason.BAD_TELEGRAM
    return raised.value.detail


def checked(body: bytes) -> bytes:
    text = START + body + b"!"
    return text + b"%04X\r\n" % crc(text)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_telegrams_of_all_versions_are_read_exactly(shape: Any) -> None:
    random = Random(21)
    for _ in range(TELEGRAMS // len(SHAPES)):
        payload, tree = shape(random)
        assert read(payload) == tree


def test_a_damaged_telegram_is_refused_once() -> None:
    """Other line ends are no damage."""
    random = Random(21)
    for number in range(DAMAGED):
        payload, tree = SHAPES[number % len(SHAPES)](random)
        changed = damaged(payload, random)
        try:
            assert read(changed) == tree
            assert b"".join(changed.split()) == b"".join(payload.split())
        except ValidationError as error:
            assert error.reason is Reason.BAD_TELEGRAM  # noqa: PT017 - most raise, but not all


def test_the_checksum_is_that_of_the_specification() -> None:
    """The check value of CRC-16/ARC."""
    assert checksum_of(b"123456789") == 0xBB3D


@pytest.mark.parametrize("ends", [b"\n", b"\r"])
def test_a_bridge_may_change_line_ends(ends: bytes) -> None:
    payload = checked(b"1-0:1.8.1(000123.450*kWh)\r\n")
    assert read(payload.replace(b"\r\n", ends)) == read(payload)
    assert read(payload.strip()) == read(payload)


@pytest.mark.parametrize(
    ("values", "tree"),
    [
        ("(000123.450*kWh)", {"value": Decimal("123.450"), "unit": "kWh"}),
        ("(-000.5*kW)", {"value": Decimal("-0.5"), "unit": "kW"}),
        ("(+5*A)", {"value": 5, "unit": "A"}),
        ("(0000*A)", {"value": 0, "unit": "A"}),
        ("(12345678901234567890.123*kWh)", {"value": Decimal("12345678901234567890.123"), "unit": "kWh"}),
        ("(0,5*kW)", {"value": "0,5", "unit": "kW"}),
        ("(*kW)", {"value": "", "unit": "kW"}),
        ("(5*)", {"value": "5", "unit": ""}),
        ("()", {"value": ""}),
        ("(0002)", {"value": "0002"}),
        ("(101209113020W)", {"value": "2010-12-09T11:30:20W"}),
        ("(101209113020)", {"value": "101209113020"}),
        ("(101209110000W)(00012.100*m3)", {"time": "2010-12-09T11:00:00W", "value": Decimal("12.1"), "unit": "m3"}),
        ("(101209110000W)\r\n(00012)", {"time": "2010-12-09T11:00:00W", "value": "00012"}),
        ("(1)(2)", {"texts": ["1", "2"], "values": []}),
        ("(1.0*V)(2.0*V)", {"texts": [], "values": [{"value": 1, "unit": "V"}, {"value": 2, "unit": "V"}]}),
        ("(101209110000W)(101209110500W)", {"texts": [], "values": [{"time": "2010-12-09T11:00:00W"},
                                                                   {"time": "2010-12-09T11:05:00W"}]}),
    ],
)  # fmt: skip
def test_values_have_units_and_times(values: str, tree: Any) -> None:
    assert read(checked(f"1-0:9.9.9{values}\r\n".encode()))["1-0:9.9.9"] == tree


@pytest.mark.parametrize("code", ["0-0:C.1.0", "1.0:1.8.0.255", "0.0.1", "1-0:1.8.0*255", "UNKNOWN"])
def test_any_code_is_kept(code: str) -> None:
    assert read(checked(f"{code}(1)\r\n".encode()))[code] == {"value": "1"}


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"1-0:1.8.1(1*kWh)\r\n!", "it does not begin with /"),
        (START + b"1-0:1.8.1(1*kWh)\r\n", "it is cut: it has no ! at its end"),
        (b"/!", "its first line is '/'"),
        (START + b"1-0:1.8.1(1*kWh\r\n!", "line 3 is no code with values: '1-0:1.8.1(1*kWh'"),
        (START + b"1-0:1.8.1\r\n!", "line 3 is no code with values: '1-0:1.8.1'"),
        (START + b"1(1)\r\n1(1)\r\n!", "'1' is there twice"),
        (START + b"1-3:0.2.8(50)\r\n!", "it has no checksum, but its version has one (1-3:0.2.8)"),
        (START + b"1(\xe9)\r\n!", "byte 22 is not ASCII"),
        (START + b"1(1)\r\n!12", "its checksum is '12', but that of its bytes D8DE"),
        (checked(b"1(1)\r\n").replace(b"(1)", b"(2)"), "its checksum is 'D8DE', but that of its bytes D89A"),
        (
            checked(b"1(1)\r\n") * 2,
            r"its checksum is 'D8DE\r\n/KFM5KAIFA-METER\r\n\r\n1(1)\r\..., but that of its bytes D8DE",
        ),
        (b"/" + b"a" * MAX_BYTES, f"it has {MAX_BYTES + 1} bytes; a telegram has {MAX_BYTES} at most"),
    ],
)
def test_a_refusal_says_why(payload: bytes, detail: str) -> None:
    assert refusal(payload) == detail


@pytest.mark.parametrize("unit", [b"a", b"!", b"(", b")", b"/", b"1(", b"1()", b"\n", b"!\n", b"(1)", b"0", b" "])
def test_a_long_text_of_any_kind_takes_little_time(unit: bytes) -> None:
    """None of the expressions goes back over what it has read; a quadratic one would take minutes."""
    text = START + unit * ((MAX_BYTES - len(START)) // len(unit) - 1)
    for payload in (text, text + b"!"):
        try:
            as_json(payload)
        except ValidationError as error:
            assert len(error.detail) < 200  # noqa: PT017 - some of them are telegrams


@pytest.mark.parametrize(
    ("sent", "read_as"),
    [
        (b"101209113020W", 1291890620000),
        (b"200701120000S", 1593597600000),
        (b"201025023000S", 1603585800000),
        (b"201025023000W", 1603589400000),
        (b"200701120000W", 1593601200000),
    ],
)
def test_the_letter_of_a_time_chooses_its_offset(sent: bytes, read_as: int) -> None:
    """Also in the hour that repeats, and where meters have standard time in summer."""
    codec = Codec(CONVERSION)
    payload = checked(b"0-0:1.0.0(%b)\r\n1-0:1.8.1(000001.500*kWh)\r\n" % sent)
    made = codec.encode_precisely(payload)
    assert not isinstance(made, DeadLetter), made
    assert made[2] == read_as
    assert made == codec.encode(payload)


def test_both_paths_agree_on_telegrams() -> None:
    """A decimal has the digits that the meter wrote."""
    random = Random(22)
    codec = Codec(CONVERSION)
    assert codec.not_fast_because == ""
    for shape in SHAPES:
        payload, tree = shape(random)
        made = codec.encode_precisely(payload)
        assert made == codec.encode(payload)
        if "0-0:1.0.0" in tree and "1-0:1.8.1" in tree:
            assert made == codec.fast(payload, codec.prepare(()))
        else:
            assert isinstance(made, DeadLetter)
            assert made.reason is Reason.MISSING
    assert isinstance(made := codec.encode(b""), DeadLetter)
    assert made.reason is Reason.EMPTY
