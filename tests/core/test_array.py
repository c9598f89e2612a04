"""Messages that hold an array of readings: a record of each, or one dead letter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.array import ArrayTransform
from gateway.core.codec.primitives import long
from gateway.core.model import Topic
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.core.record_path import MAX_BYTES, MAX_RECORDS, Step
from gateway.core.stream_transform import transform_of
from gateway.core.transform import Transform
from tests.contract_values import record, route, stream

if TYPE_CHECKING:
    from gateway.core.model import Stream

LIMIT = 100_000
TRACE = b"\x26\0\x0btraceparent\0\x0400-1"  # a user property
SCALE = record(("scale", "string"), ("weight", "int"))
MADE = replace(
    stream("scales", SCALE, address="scales/{scale}", keys=("/scale",), locations={"scale": "/scale"}), is_array=True
)


def reading(payload: bytes, topic: bytes = b"scales/a", **more: Any) -> Reading:
    return Reading("scales", topic, payload, 1_582_114_965_123, **more)


def transformed(payload: bytes, **more: Any) -> Any:
    return transform_of(MADE, [7], LIMIT)(reading(payload, **more))


def test_transform_makes_a_record_of_each_element_in_order() -> None:
    """Each is what it would be alone."""
    found = transformed(b' [{"weight":1}, {"weight":2,"scale":"a"} ,{"weight":3}]\n')
    alone = Transform(MADE, 7, LIMIT)
    assert found == [alone(reading(b'{"weight":%d}' % weight)) for weight in (1, 2, 3)]


@pytest.mark.parametrize(
    ("payload", "reason", "pointer"),
    [
        (b"", Reason.EMPTY, ""),
        (b"[]", Reason.EMPTY, ""),
        (b" [ ] ", Reason.EMPTY, ""),
        (b'{"weight":1}', Reason.WRONG_TYPE, ""),
        (b"null", Reason.WRONG_TYPE, ""),
        (b'[{"weight":1}', Reason.NOT_JSON, ""),
        (b'[{"weight":1},]', Reason.NOT_JSON, ""),
        (b'[{"weight":1}] x', Reason.NOT_JSON, ""),
        (b'[{"weight":1},{"weight":NaN}]', Reason.NOT_JSON, ""),
        (b'\xef\xbb\xbf[{"weight":1}]', Reason.BAD_ENCODING, ""),
        (b"[" * 700 + b"]" * 700, Reason.TOO_DEEP, ""),
        (b'[{"weight":1},{"weight":"heavy"}]', Reason.WRONG_TYPE, "/1/weight"),
        (b'[{"weight":1},{"weight":2.5},{"weight":"heavy"}]', Reason.NOT_EXACT, "/1/weight"),
        (b'[{"weight":1},{}]', Reason.MISSING, "/1/weight"),
        (b'[{"weight":1,"height":2}]', Reason.EXTRA_FIELD, "/0/height"),
        (b'[{"weight":1,"scale":"b"}]', Reason.TOPIC_MISMATCH, "/0/scale"),
        (b'[{"weight":1},[{"weight":1}]]', Reason.WRONG_TYPE, "/1"),
        (b'[{"weight":1},null]', Reason.WRONG_TYPE, "/1"),
        (b'[{"weight":1},{"\xff":1}]', Reason.BAD_ENCODING, "/1"),
        (b'[{"weight":1},' + b"[" * 40 + b"]" * 40 + b"]", Reason.TOO_DEEP, "/1"),
        (b" " * LIMIT + b'[{"weight":1}]', Reason.TOO_LARGE, ""),
    ],
)  # fmt: skip
def test_transform_refuses_the_whole_message_when_one_element_does_not_fit(
    payload: bytes, reason: Reason, pointer: str
) -> None:
    """One dead letter; its pointer leads into the message that arrived."""
    letter = transformed(payload)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, pointer)


def test_transform_limits_the_elements() -> None:
    """As many as librdkafka's queue surely holds, and not one more."""
    assert len(transformed(b"[" + b",".join([b'{"weight":1}'] * 1_000) + b"]")) == 1_000
    letter = transformed(b"[" + b",".join([b"1"] * (MAX_RECORDS + 1)) + b"]")
    assert (letter.reason, letter.detail) == (Reason.TOO_LARGE, "10001 readings or more; the limit is 10000")


def test_transform_refuses_a_bad_topic_of_an_array() -> None:
    """What is wrong with the topic is in no element."""
    letter = transformed(b'[{"weight":1}]', topic=b"scales/")
    assert (letter.reason, letter.pointer) == (Reason.BAD_TOPIC, "")


def test_transform_sends_each_element_to_every_topic() -> None:
    """First the first to all, then the second: the order of each key stays, in each topic."""
    made = replace(MADE, also=(route("latest", SCALE, ("/scale",)),))
    found = transform_of(made, [7, 8], LIMIT)(reading(b'[{"weight":1},{"weight":2}]'))
    assert isinstance(found, list)
    assert [(one.topic, (one.value or b"")[-1:]) for one in found] == [
        ("scales", b"\2"), ("latest", b"\2"), ("scales", b"\4"), ("latest", b"\4"),
    ]  # fmt: skip


def test_transform_ends_the_key_of_a_compacted_topic_by_an_empty_payload() -> None:
    """That is how a retained message is cleared, whatever else the stream says."""
    compacted = replace(MADE.route, topic=Topic("scales", configuration={"cleanup.policy": "compact"}))
    found = transform_of(replace(MADE, route=compacted), [7], LIMIT)(reading(b""))
    assert isinstance(found, list)
    assert [(one.key, one.value) for one in found] == [(b"a", None)]


def carrying(*required: str) -> Stream:
    """Give a stream of arrays whose records have a user property, and a time of their own."""
    at = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    headers = frozenset({"traceparent"})
    made = stream("scales", record(("scale", "string"), at), address="scales/{scale}", keys=("/scale",),
                  locations={"scale": "/scale"})  # fmt: skip
    to = replace(made.route, headers=headers, required_headers=frozenset(required), timestamp="/at")
    return replace(made, route=to, is_array=True, user_properties=headers)


def test_each_record_of_an_array_has_the_properties_of_the_message_and_its_own_time() -> None:
    found = transform_of(carrying(), [7], LIMIT)(reading(b'[{"at":1000},{"at":2000}]', properties=TRACE))
    assert isinstance(found, list)
    assert [(one.headers, one.timestamp) for one in found] == [
        ([("traceparent", b"00-1")], 1_000), ([("traceparent", b"00-1")], 2_000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (b"", Reason.MISSING),
        (TRACE[:-1], Reason.BAD_ENCODING),
        (TRACE[:-1] + b"\xff", Reason.BAD_ENCODING),
        (TRACE + b"\x26\0\0\x20\0" + b"x" * 0x2000 + TRACE * 8_000, Reason.TOO_LARGE),
    ],
)
def test_what_is_wrong_with_the_properties_of_an_array_is_in_no_element(properties: bytes, reason: Reason) -> None:
    letter = transform_of(carrying("traceparent"), [7], LIMIT)(reading(b'[{"at":1000}]', properties=properties))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, "")


def test_transform_limits_the_bytes_of_the_records() -> None:
    """Short elements beside long properties: no message becomes more than librdkafka's queue holds."""
    long = b"\x26\0\x0btraceparent\xf0\0" + b"x" * 0xF000
    transform = transform_of(carrying(), [7], LIMIT)
    fitting = MAX_BYTES // (0xF000 + 9)
    assert isinstance(transform(reading(b"[" + b",".join([b'{"at":1}'] * fitting) + b"]", properties=long)), list)
    letter = transform(reading(b"[" + b",".join([b'{"at":1}'] * (fitting + 1)) + b"]", properties=long))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (Reason.TOO_LARGE, "")


def test_transform_takes_an_array_of_bare_values() -> None:
    value = {"name": "watts", "type": "double", "x-source": "$message.payload#"}
    plug = stream("plug", record(("plug", "string"), value), address="p/{plug}", keys=("/plug",),
                  locations={"plug": "/plug"})  # fmt: skip
    transform = transform_of(replace(plug, is_array=True), [7], LIMIT)
    found = transform(Reading("plug", b"p/a", b"[21.5, 3]", 0))
    assert isinstance(found, list)
    assert len(found) == 2
    letter = transform(Reading("plug", b"p/a", b"[21.5, []]", 0))
    assert isinstance(letter, DeadLetter)
    assert letter.pointer == "/1"


@settings(max_examples=1_000, deadline=None)
@given(payload=st.binary(max_size=30) | st.text('[]{}",: 1ea\\n-.ut', max_size=30).map(str.encode))
def test_transform_takes_any_bytes(payload: bytes) -> None:
    """Random bytes give a dead letter, never an exception."""
    letter = ArrayTransform(Transform(MADE, 7, LIMIT), LIMIT, MADE)(reading(payload))
    assert isinstance(letter, DeadLetter)
    assert letter.reason is not Reason.FAULT


TIME = {"name": "time", "type": "long", "x-source": {"location": "$message.envelope#/t", "factor": 1000}}
RPM = {"name": "rpm", "type": ["null", "int"], "x-source": "$message.payload#/r"}
NAMED = {"name": "device", "type": "string", "x-source": "$message.parameter#/device"}
DESCRIBED: dict[str, Any] = {
    "type": "object", "required": ["t", "devices"],
    "properties": {"t": {"type": "integer", "minimum": 1},
                   "devices": {"type": "object", "maxProperties": 2, "additionalProperties": {
                       "type": "object", "required": ["r"], "properties": {"r": {"maximum": 9}}}}},
}  # fmt: skip
INSIDE = replace(
    stream("devices", record(NAMED, TIME, RPM), address="d", keys=("/device",)),
    is_array=True,
    steps=(Step("member", "devices"), Step("members", "device")),
    payload_schema=DESCRIBED["properties"]["devices"]["additionalProperties"],
    array_schema=DESCRIBED,
)


def test_transform_makes_a_record_of_each_member_with_its_name_and_what_is_around() -> None:
    found = transform_of(INSIDE, [7], LIMIT)(reading(b'{"devices":{"b":{"r":1},"a":{"r":null}},"t":2}', topic=b"d"))
    assert isinstance(found, list)
    assert [(one.key, (one.value or b"")[5:]) for one in found] == [
        (b"b", b"\2b" + long(2000) + b"\2\2"), (b"a", b"\2a" + long(2000) + b"\0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "reason", "pointer"),
    [
        (b'{"devices":{"b":{"r":1}}}', Reason.MISSING, "/t"),
        (b'{"devices":{"b":{"r":1}},"t":0}', Reason.OUT_OF_RANGE, "/t"),
        (b'{"devices":{"b":{"r":1}},"t":"x"}', Reason.WRONG_TYPE, "/t"),
        (b'{"devices":{"b":{"r":1},"/":{"r":10}},"t":1}', Reason.OUT_OF_RANGE, "/devices/~1/r"),
        (b'{"devices":{"b":{"r":1},"c":{"s":1}},"t":1}', Reason.EXTRA_FIELD, "/devices/c/s"),
        (b'{"devices":{"":{"r":1}},"t":1}', Reason.NO_KEY, "/devices/"),
        (b'{"devices":{"a":{"r":1},"b":{"r":1},"c":{"r":1}},"t":1}', Reason.OUT_OF_RANGE, "/devices"),
        (b'{"devices":{"a":{"r":1}},"t":1,"u":1}', Reason.EXTRA_FIELD, "/u"),
        (b'{"devices":[{"r":1}],"t":1}', Reason.WRONG_TYPE, "/devices"),
        (b'{"devices":{},"t":1}', Reason.EMPTY, ""),
        (b'{"t":1}', Reason.MISSING, "/devices"),
    ],
)
def test_transform_refuses_a_message_whose_records_do_not_fit(payload: bytes, reason: Reason, pointer: str) -> None:
    letter = transform_of(INSIDE, [7], LIMIT)(reading(payload, topic=b"d"))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, pointer)
