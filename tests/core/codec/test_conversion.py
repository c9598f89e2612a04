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


def test_without_options_a_record_has_neither_prefix_nor_time_nor_number(*, is_fast: bool) -> None:
    key, body, moment, number = encoded(codec_of(DOOR, ("/door",), is_fast=is_fast), PAYLOAD)
    assert (key, body[:4], moment, number) == (b"d1", b"\x04d1\x0e", None, None)


def test_prefix_precedes_the_body(*, is_fast: bool) -> None:
    plain, framed = (codec_of(DOOR, ("/door",), is_fast=is_fast, prefix=prefix) for prefix in (b"", frame(5)))
    assert encoded(framed, PAYLOAD)[1] == frame(5) + encoded(plain, PAYLOAD)[1]


def test_event_time_and_sequence_come_with_the_record(*, is_fast: bool) -> None:
    codec = codec_of(DOOR, ("/door",), is_fast=is_fast, event_time="/at", sequence="/count")
    assert encoded(codec, PAYLOAD)[2:] == (1_600_000_000_123, 7)


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
