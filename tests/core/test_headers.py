"""Headers of a record: what the contract declares, out of what the gateway knows and what the device sent along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dead_letter import CUT_TO, dead_letter_record
from gateway.core.reading import DeadLetter, Headers, Reading, Reason, Record
from gateway.core.transform import Transform
from tests.contract_values import record, stream

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LIMIT = 1_000
GOOD = b'{"value":1}'


def user(name: bytes, value: bytes) -> bytes:
    """Write a user property as MQTT does."""
    return b"\x26" + len(name).to_bytes(2) + name + len(value).to_bytes(2) + value


def transform(*declared: str, required: tuple[str, ...] = (), properties: tuple[str, ...] = ()) -> Transform:
    """Give the transform of a stream with these headers and user properties."""
    made = stream("s", record(("m", "string"), ("value", "int")), address="f/{m}", keys=("/m",), locations={"m": "/m"})
    route = replace(made.route, headers=frozenset(declared), required_headers=frozenset(required))
    return Transform(replace(made, route=route, user_properties=frozenset(properties)), 7, LIMIT)


def reading(properties: bytes = b"", payload: bytes = GOOD, **more: Any) -> Reading:
    return Reading("s", b"f/a", payload, 1_582_114_965_123, properties=properties, **more)


def headers(found: Record | DeadLetter) -> Headers:
    assert isinstance(found, Record), found
    return found.headers


def test_qos_and_retain_are_text() -> None:
    made = transform("mqtt.qos", "mqtt.retain", "gateway.received_at", "mqtt.topic")
    assert dict(headers(made(reading(qos=1, retain=True)))) == {
        "mqtt.topic": b"f/a",
        "mqtt.qos": b"1",
        "mqtt.retain": b"true",
        "gateway.received_at": b"2020-02-19T12:22:45.123Z",
    }
    assert dict(headers(made(reading())))["mqtt.retain"] == b"false"


def test_a_user_property_is_carried_when_both_messages_declare_it() -> None:
    """What only one of them declares goes nowhere, however it is called."""
    made = transform("traceparent", "site", properties=("traceparent", "batch"))
    sent = user(b"traceparent", TRACE) + user(b"site", b"x") + user(b"batch", b"y") + user(b"other", b"z")
    assert headers(made(reading(sent))) == [("traceparent", TRACE)]


def test_a_user_property_that_stands_there_twice_becomes_two_headers() -> None:
    made = transform("a", "b", properties=("a", "b"))
    sent = user(b"a", b"1") + user(b"b", b"2") + user(b"a", "ä".encode())
    assert headers(made(reading(sent))) == [("a", b"1"), ("b", b"2"), ("a", "ä".encode())]


def test_content_type_and_correlation_data_are_those_of_the_message() -> None:
    """Correlation data are bytes of any kind."""
    made = transform("mqtt.content_type", "mqtt.correlation_data")
    sent = b"\x03\0\x04text" + b"\x01\1" + b"\x09\0\2\xff\0"
    assert headers(made(reading(sent))) == [("mqtt.content_type", b"text"), ("mqtt.correlation_data", b"\xff\0")]


@pytest.mark.parametrize("name", ["mqtt.topic", "mqtt.qos", "gateway.received_at", "mqtt.content_type"])
def test_a_device_cannot_speak_for_the_gateway(name: str) -> None:
    """A user property that has one of the gateway's names is never read, whoever declares it."""
    forged = headers(transform(name, properties=(name,))(reading(user(name.encode(), b"forged"))))
    assert forged == headers(transform(name)(reading()))


def test_a_header_that_is_required_makes_a_dead_letter_when_it_is_missing() -> None:
    made = transform("traceparent", "site", required=("traceparent",), properties=("traceparent", "site"))
    assert headers(made(reading(user(b"traceparent", TRACE)))) == [("traceparent", TRACE)]
    letter = made(reading(user(b"site", b"x")))
    assert letter == DeadLetter(Reason.MISSING, "", "the message has no MQTT 5 property for the header 'traceparent'")


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (b"\x26\0", Reason.BAD_ENCODING),
        (b"\x7f", Reason.BAD_ENCODING),
        (user(b"a", b"\xff"), Reason.BAD_ENCODING),
        (user(b"z", b"x" * LIMIT), Reason.TOO_LARGE),
    ],
)
def test_properties_that_cannot_be_read_make_a_dead_letter(properties: bytes, reason: Reason) -> None:
    """With its reason; where no header asks for any they are not looked at."""
    letter = transform("a", properties=("a",))(reading(properties))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, "")
    assert isinstance(transform()(reading(properties)), Record)


def test_a_payload_that_does_not_fit_is_a_dead_letter_whatever_its_properties() -> None:
    letter = transform("a", required=("a",), properties=("a",))(reading(payload=b'{"value":"1"}'))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.WRONG_TYPE


@given(properties=st.binary(max_size=60))
def test_transform_never_raises_on_properties(properties: bytes) -> None:
    found = CARRYING(reading(properties))
    assert isinstance(found, Record) or found.reason in {Reason.BAD_ENCODING, Reason.MISSING}


CARRYING = transform("a", "mqtt.content_type", required=("a",), properties=("a",))


def test_a_dead_letter_keeps_the_properties_and_stays_below_the_limit() -> None:
    """They stand in a header as they came; a payload that would be too long beside them is cut."""
    letter = DeadLetter(Reason.MISSING, "", "no header")
    made = dead_letter_record(reading(user(b"a", b"1")), letter, "dead", LIMIT)
    assert dict(made.headers)["mqtt.properties"] == user(b"a", b"1")
    both = dead_letter_record(reading(b"x" * CUT_TO, b"y" * CUT_TO * 2), letter, "dead", CUT_TO * 2)
    assert (len(both.value or b""), dict(both.headers)["payload.size"]) == (CUT_TO, b"%d" % (CUT_TO * 2))
    assert "mqtt.properties" not in dict(dead_letter_record(reading(), letter, "dead", LIMIT).headers)
