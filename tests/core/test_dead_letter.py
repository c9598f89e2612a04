"""A dead letter's record: original bytes, and headers that say where from and why."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.codec.event_time import RecordTime
from gateway.core.dead_letter import CUT_TO, dead_letter_record
from gateway.core.reading import DeadLetter, Reading, Reason
from tests.contract_values import codec_of, record

LETTER = DeadLetter(Reason.WRONG_TYPE, "/value", "expected a number, got text")
LIMIT = 900_000


def reading(payload: bytes = b'{"value":"1"}', **more: Any) -> Reading:
    return Reading("factory", b"factory/a/b", payload, 1_582_114_965_007, **more)


def test_a_dead_letter_that_kafka_would_not_keep_has_the_time_of_sending() -> None:
    """It would be deleted at once with the time of its arrival, which its header keeps."""
    limits = RecordTime()
    made = reading()
    limits.limit({"retention.ms": "1000"}, made.received_at + 1_000)
    record = dead_letter_record(made, LETTER, "dead", LIMIT, limits)
    assert record.timestamp == 0
    assert (
        dict(record.headers)["gateway.received_at"]
        == dict(dead_letter_record(made, LETTER, "dead", LIMIT).headers)["gateway.received_at"]
    )


def test_record_tells_where_from_and_why() -> None:
    """Bytes as they came, keyed by topic, at the time of arrival, with a header for each fact."""
    made = dead_letter_record(reading(qos=1, retain=True), LETTER, "dead", LIMIT)
    assert (made.topic, made.key, made.value) == ("dead", b"factory/a/b", b'{"value":"1"}')
    assert made.timestamp == 1_582_114_965_007
    assert made.headers == [
        ("mqtt.topic", b"factory/a/b"),
        ("mqtt.qos", b"1"),
        ("mqtt.retain", b"true"),
        ("gateway.received_at", b"2020-02-19T12:22:45.007Z"),
        ("error.reason", b"wrong_type"),
        ("error.pointer", b"/value"),
        ("error.detail", b"expected a number, got text"),
        ("error.operation", b"factory"),
    ]


@pytest.mark.parametrize("payload", [b"", b"\0\xff\xfe", b"x" * LIMIT])
def test_record_keeps_a_payload_up_to_the_limit(payload: bytes) -> None:
    """Up to the limit the bytes are whole, whatever they are, and need no size."""
    made = dead_letter_record(reading(payload), LETTER, "dead", LIMIT)
    assert made.value == payload
    assert "payload.size" not in dict(made.headers)


def test_record_of_a_payload_above_the_limit_is_cut() -> None:
    """One byte too many: the first 64 KiB, and size and digest of the whole."""
    payload = bytes(range(256)) * (LIMIT // 256) + b"x" * 256
    made = dead_letter_record(reading(payload), LETTER, "dead", LIMIT)
    assert made.value == payload[:CUT_TO]
    headers = dict(made.headers)
    assert headers["payload.size"] == str(len(payload)).encode()
    assert headers["payload.sha256"] == sha256(payload).hexdigest().encode()


def test_record_of_a_payload_that_the_source_cut_tells_of_the_whole() -> None:
    """Size and digest are those that the source counted, not those of what it kept."""
    whole = b"y" * 5_000_000
    cut = reading(whole[:CUT_TO], size=len(whole), sha256=sha256(whole).digest())
    made = dead_letter_record(cut, LETTER, "dead", LIMIT)
    assert made.value == whole[:CUT_TO]
    headers = dict(made.headers)
    assert headers["payload.size"] == b"5000000"
    assert headers["payload.sha256"] == sha256(whole).hexdigest().encode()


@pytest.mark.parametrize("name", [b"~" * 700_000, "ä".encode() * 300_000, b"\\ud83d\\ude00" * 70_000])
def test_record_stays_below_the_limit_when_the_pointer_is_huge(name: bytes) -> None:
    """The pointer holds names from the payload; it is cut, or a long name would make a letter that Kafka refuses."""
    payload = b'{"key":"k","' + name + b'":1}'
    letter = codec_of(record(("key", "string")), ("/key",)).encode(payload)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == Reason.EXTRA_FIELD
    made = dead_letter_record(reading(payload), letter, "dead", LIMIT)
    told = dict(made.headers)["error.pointer"]
    assert isinstance(told, bytes)
    assert letter.pointer.startswith(told.decode().removesuffix("..."))
    assert sum(len(value or b"") for _, value in made.headers) < 4_096 * 2


def test_record_takes_a_pointer_that_is_no_unicode() -> None:
    """Half a surrogate pair in a name is written as an escape."""
    letter = DeadLetter(Reason.BAD_ENCODING, "/\ud800", "a lone surrogate: \udfff")
    headers = dict(dead_letter_record(reading(), letter, "dead", LIMIT).headers)
    assert headers["error.pointer"] == b"/\\ud800"
    assert headers["error.detail"] == b"a lone surrogate: \\udfff"


@given(
    topic=st.binary(max_size=30),
    payload=st.binary(max_size=30),
    pointer=st.text(max_size=20),
    milliseconds=st.integers(0, 4_102_444_800_000),
)
def test_record_is_made_of_anything(topic: bytes, payload: bytes, pointer: str, milliseconds: int) -> None:
    """No topic, payload or pointer keeps a reading out of the dead letters."""
    letter = DeadLetter(Reason.NOT_JSON, pointer, pointer)
    made = dead_letter_record(Reading("s", topic, payload, milliseconds), letter, "dead", LIMIT)
    assert (made.key, made.value) == (topic, payload)
