"""What each member of a conversion decides about a reading, on both paths of the codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.codec.framing import frame
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of, record

if TYPE_CHECKING:
    from gateway.core.codec.codec import Codec
    from gateway.core.codec.conversion import Encoded

TIME = {"type": "long", "logicalType": "timestamp-millis"}
DOOR = record(("door", "string"), ("count", "int"), ("at", TIME))
PAYLOAD = b'{"door":"d1","count":7,"at":1600000000123}'
EXTRA = b'{"door":"d1","count":7,"at":1600000000123,"extra":1}'
WITHOUT_DOOR = b'{"count":7,"at":1600000000123}'


@pytest.fixture(params=[True, False], ids=["compiled", "precise"])
def is_fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def encoded(codec: Codec, payload: bytes, *values: str) -> Encoded:
    result = codec.encode(payload, values)
    assert not isinstance(result, DeadLetter), result
    return result


def test_without_options_a_record_has_neither_prefix_nor_time_nor_numbers(*, is_fast: bool) -> None:
    key, body, moment, number, counts = encoded(codec_of(DOOR, ("/door",), is_fast=is_fast), PAYLOAD)
    assert (key, body[:4], moment, number, counts) == (b"d1", b"\x04d1\x0e", None, None, None)


def test_prefix_precedes_the_body(*, is_fast: bool) -> None:
    plain, framed = (codec_of(DOOR, ("/door",), is_fast=is_fast, prefix=prefix) for prefix in (b"", frame(5)))
    assert encoded(framed, PAYLOAD)[1] == frame(5) + encoded(plain, PAYLOAD)[1]


def test_event_time_and_sequence_come_with_the_record(*, is_fast: bool) -> None:
    codec = codec_of(DOOR, ("/door",), is_fast=is_fast, event_time="/at", sequence="/count")
    assert encoded(codec, PAYLOAD)[2:4] == (1_600_000_000_123, 7)


@pytest.mark.parametrize(("count", "number"), [(b'"count":5,', 5), (b'"count":0,', 0), (b"", None)])
def test_a_default_is_not_a_sequence_number(count: bytes, number: int | None, *, is_fast: bool) -> None:
    """A reading without the member has no number, though its record has the field's default."""
    counted = record(("door", "string"), {"name": "count", "type": "int", "default": 0})
    codec = codec_of(counted, ("/door",), is_fast=is_fast, sequence="/count")
    assert encoded(codec, b"{" + count + b'"door":"d1"}')[3] == number


@pytest.mark.parametrize("nested", [b"null", b'"x"', b"{}"])
def test_a_sequence_number_refuses_no_reading(nested: bytes, *, is_fast: bool) -> None:
    """Its path may lead through what is not an object, where another source of the field is used."""
    field = {"name": "n", "type": "int", "x-source": ["$message.payload#/seq", "$message.payload#/m/n"]}
    codec = codec_of(record(("door", "string"), field), ("/door",), is_fast=is_fast, unknown="ignore", sequence="/m/n")
    assert encoded(codec, b'{"door":"d1","seq":4,"m":' + nested + b"}")[3] is None


INNER = record({"name": "at", "type": ["null", TIME], "default": None}, name="Inner")


@pytest.mark.parametrize(
    ("attributes", "payload", "moment"),
    [
        ({"default": {"at": None}}, b"{}", None),
        ({}, b'{"m":{"at":1600000000555}}', 1_600_000_000_555),
        ({}, b'{"m":{}}', None),
        ({"x-source": ["$message.payload#/A", "$message.payload#/B"]}, b'{"A":{},"B":{"at":1600000000555}}', None),
        (
            {"x-source": ["$message.payload#/A", "$message.payload#/B"]},
            b'{"B":{"at":1600000000555}}',
            1_600_000_000_555,
        ),
    ],
)
def test_the_event_time_of_a_nested_record_is_that_of_the_record(
    attributes: dict[str, object], payload: bytes, moment: int | None, *, is_fast: bool
) -> None:
    """The first source that is there, or the default as a whole: the time is the one that the record holds."""
    definition = record({"name": "door", "type": "string", "default": "d1"}, {"name": "m", "type": INNER} | attributes)
    codec = codec_of(definition, ("/door",), is_fast=is_fast, unknown="ignore", event_time="/m/at")
    payload = payload.replace(b"{", b'{"door":"d1",', 1).replace(b",}", b"}")
    assert encoded(codec, payload)[2] == moment


def test_the_event_time_of_an_absent_record_is_in_its_default(*, is_fast: bool) -> None:
    inner = record(("at", TIME), name="Inner")
    definition = record(("door", "string"), {"name": "m", "type": inner, "default": {"at": 1_600_000_000_555}})
    codec = codec_of(definition, ("/door",), is_fast=is_fast, event_time="/m/at")
    assert encoded(codec, b'{"door":"d1"}')[2] == 1_600_000_000_555


def test_a_member_that_no_field_reads_is_rejected_by_default(*, is_fast: bool) -> None:
    refused = codec_of(DOOR, ("/door",), is_fast=is_fast).encode(EXTRA)
    assert isinstance(refused, DeadLetter)
    assert (refused.reason, refused.pointer) == (Reason.EXTRA_FIELD, "/extra")


def test_a_member_that_no_field_reads_can_be_ignored(*, is_fast: bool) -> None:
    codec = codec_of(DOOR, ("/door",), is_fast=is_fast, unknown="ignore")
    assert encoded(codec, EXTRA) == encoded(codec, PAYLOAD)


def test_a_parameter_supplies_an_absent_member_and_must_equal_a_present_one(*, is_fast: bool) -> None:
    codec = codec_of(DOOR, ("/door",), ("/door",), is_fast=is_fast)
    assert encoded(codec, WITHOUT_DOOR, "d1") == encoded(codec, PAYLOAD, "d1")
    refused = codec.encode(PAYLOAD, ("d2",))
    assert isinstance(refused, DeadLetter)
    assert (refused.reason, refused.pointer) == (Reason.TOPIC_MISMATCH, "/door")


def test_keys_are_tried_in_order(*, is_fast: bool) -> None:
    definition = record(("first", "string"), ("second", "string"))
    codec = codec_of(definition, ("/first", "/second"), is_fast=is_fast)
    assert encoded(codec, b'{"first":"a","second":"b"}')[0] == b"a"
    assert encoded(codec, b'{"first":"","second":"b"}')[0] == b"b"


def test_content_says_how_one_value_is_written(*, is_fast: bool) -> None:
    field = {"name": "state", "type": "string", "x-source": "$message.payload#"}
    text, json = (codec_of(record(field), ("/state",), is_fast=is_fast, content=form) for form in ("text", "json"))
    assert encoded(text, b"open") == encoded(json, b'"open"')
    assert isinstance(json.encode(b"open"), DeadLetter)
