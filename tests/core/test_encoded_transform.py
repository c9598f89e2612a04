"""Payloads in MessagePack, CBOR and gzip give what JSON gives, or a dead letter with a reason."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.encoding import JSON, Encoding
from gateway.core.reading import DeadLetter, Reading, Reason, Record
from gateway.core.stream_transform import transform_of
from gateway.operate.simulate.encoded import encoded
from tests.contract_values import record, several, stream

LIMIT = 1_000_000
MSGPACK, CBOR, GZIP = Encoding("msgpack"), Encoding("cbor"), Encoding(is_gzip=True)
BY_PROPERTY = Encoding(has_property=True)
ALL = [JSON, MSGPACK, CBOR, GZIP, Encoding("msgpack", is_gzip=True), Encoding("cbor", is_gzip=True)]
READING = record(
    {"name": "machine", "type": "string"},
    {"name": "value", "type": "double"},
    {"name": "count", "type": "long"},
    {"name": "state", "type": ["null", "string"], "default": None},
    {
        "name": "price",
        "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}],
        "default": None,
    },
    {"name": "samples", "type": {"type": "array", "items": "int"}, "default": []},
)
SENSORS = stream("sensors", READING, address="factory/{machine}", keys=("/machine",), locations={"machine": "/machine"})


def reading(payload: bytes, properties: bytes = b"", **more: Any) -> Reading:
    return Reading("sensors", b"factory/a", payload, 1_700_000_000_000, properties=properties, **more)


def transform(encoding: Encoding, made: Any = SENSORS) -> Any:
    return transform_of(replace(made, encoding=encoding), [7] * len(made.routes), LIMIT)


def prop(identifier: int, *texts: str) -> bytes:
    return bytes([identifier]) + b"".join(len(text).to_bytes(2) + text.encode() for text in texts)


USER = prop(0x26, "trace", "1")


def samples() -> list[dict[str, Any]]:
    """A hundred readings; some do not fit."""
    random = Random(5)
    values: list[dict[str, Any]] = [
        {"value": random.choice([random.uniform(-1e6, 1e6), 3, -0.0, 1e300]), "count": random.getrandbits(63)}
        for _ in range(100)
    ]
    for number in range(0, 100, 7):
        values[number] |= {"state": random.choice([None, "\u6c34", "x" * 300]), "samples": [1, -70_000, 2**31 - 1]}
    for number in range(0, 100, 9):
        values[number] |= {"price": random.choice([1.25, 7, -0.1])}
    values[11] |= {"samples": [1, "two"]}
    values[22] |= {"other": {"a": [1]}}
    values[33] |= {"count": 1.5}
    values[44] |= {"machine": "b"}
    del values[55]["value"]
    return values


@pytest.mark.parametrize("topics", [1, 2])
@pytest.mark.parametrize("encoding", ALL[1:])
def test_every_encoding_gives_the_records_and_dead_letters_of_json(encoding: Encoding, topics: int) -> None:
    made = replace(SENSORS, also=(SENSORS.route,) * (topics - 1))
    plain, other = transform(JSON, made), transform(encoding, made)
    payloads = [json.dumps(each).encode() for each in samples()]
    expected = [plain(reading(each)) for each in payloads]
    assert sum(isinstance(each, DeadLetter) for each in expected) == 5
    sent = [reading(encoded(each, encoding)) for each in payloads]
    assert [other(each) for each in sent] == expected
    left, results = sent, []
    while left:  # all at once, as far as each call goes
        some = other.transform_all(left)
        records = iter(some.records)
        results += [some.dead_letters.get(place) or next(records) for place in range(some.readings)]
        left = left[some.readings :]
    assert results == expected


def test_every_encoding_serves_streams_of_several_messages() -> None:
    other = record({"name": "machine", "type": "string"}, {"name": "open", "type": "boolean"}, name="Door")
    doors = stream("doors", other, address="factory/{machine}", keys=("/machine",), locations={"machine": "/machine"})
    for encoding in ALL:
        made = transform(encoding, several(readings=SENSORS, doors=doors))
        results = [made(reading(encoded(each, encoding))) for each in (b'{"open":true}', b"{}")]
        assert isinstance(results[0], Record)
        assert results[0].topic == "doors"
        assert results[1].reason == Reason.NO_MESSAGE


@given(st.binary(max_size=60), st.sampled_from(ALL), st.binary(max_size=8))
def test_a_transform_never_raises(payload: bytes, encoding: Encoding, properties: bytes) -> None:
    dead_letter = transform(encoding)(reading(payload, properties))
    assert dead_letter.reason != Reason.FAULT


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


NAN, pack = float("nan"), msgspec.msgpack.encode
HOSTILE: list[tuple[Encoding, bytes, Reason, str, str]] = [
    (MSGPACK, b"", Reason.EMPTY, "", "the payload is empty"),
    (MSGPACK, b"\xc1", Reason.NOT_DECODED, "", "MessagePack: "),
    (MSGPACK, b"{}", Reason.NOT_DECODED, "", "MessagePack: "),
    (MSGPACK, b"\xdb\xff\xff\xff\xff", Reason.NOT_DECODED, "", "truncated"),
    (MSGPACK, b"\xdd\xff\xff\xff\xff", Reason.NOT_DECODED, "", "truncated"),
    (MSGPACK, b"\xdf\xff\xff\xff\xff", Reason.NOT_DECODED, "", "truncated"),
    (MSGPACK, b"\x91" * 100_000, Reason.TOO_DEEP, "", "32 levels"),
    (MSGPACK, pack({"value": nested(40)}), Reason.TOO_DEEP, "/value" + "/0" * 31, "32 levels"),
    (MSGPACK, pack({"value": NAN}), Reason.NOT_DECODED, "/value", "nan, which JSON does not have"),
    (MSGPACK, pack({"value": 1, "count": 2, "open": {1: 2}}), Reason.NOT_DECODED, "/open", "a key is not text"),
    (MSGPACK, b"\xa1\xff", Reason.BAD_ENCODING, "", "a text is not valid UTF-8"),
    (MSGPACK, b"\x81\x91\x01\x02", Reason.NOT_DECODED, "", "a key is not text: (1,)"),
    (MSGPACK, b"\x81\x81\x01\x02\x03", Reason.NOT_DECODED, "", "MessagePack: "),
    (MSGPACK, b"\x81\xa1a\xd6\xff\xff\xff\xff\xff", Reason.NOT_DECODED, "/a", "an extension"),
    (MSGPACK, b"\xc7\x0c\xff" + b"\xff" * 12, Reason.NOT_DECODED, "", "MessagePack: "),
    (MSGPACK, pack({"a": [{1: 2}]}), Reason.NOT_DECODED, "/a/0", "a key is not text: 1"),
    (MSGPACK, pack({"a": b"x"}), Reason.NOT_DECODED, "/a", "binary data"),
    (MSGPACK, pack({"a": msgspec.msgpack.Ext(5, b"x")}), Reason.NOT_DECODED, "/a", "an extension"),
    (MSGPACK, pack({"a/b": {"~": nested(6)}}), Reason.EXTRA_FIELD, "/a~1b", ""),
    (CBOR, b"", Reason.EMPTY, "", "the payload is empty"),
    (CBOR, b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", Reason.NOT_DECODED, "/0", "it is cut"),
    (CBOR, b"\x5a\xff\xff\xff\xff", Reason.NOT_DECODED, "", "it is cut"),
    (CBOR, b"\x81" * 100_000, Reason.TOO_DEEP, "/0" * 32, "32 levels"),
    (CBOR, b"\xa1" * 100_000, Reason.TOO_DEEP, "", "32 levels"),
    (CBOR, b"\x9a\x00\x01\x00\x00" + b"\xf9\x00\x01" * 65_536, Reason.TOO_LARGE, "", "as JSON it has 1376257 bytes"),
    (GZIP, b"", Reason.EMPTY, "", "the payload is empty"),
    (GZIP, b"{}", Reason.NOT_DECODED, "", "gzip: incorrect header check"),
    (GZIP, gzip.compress(b"{}", mtime=0)[:-1], Reason.NOT_DECODED, "", "gzip: it is cut"),
    (GZIP, gzip.compress(b"{}", mtime=0) + b"x", Reason.NOT_DECODED, "", "gzip: bytes follow its end"),
    (GZIP, gzip.compress(b" " * 10_000_000, mtime=0), Reason.TOO_LARGE, "", "expands to more than 1000000 bytes"),
    (GZIP, gzip.compress(b"{]", mtime=0), Reason.NOT_JSON, "", "at character 1"),
    (GZIP, gzip.compress(b"", mtime=0), Reason.EMPTY, "", "the payload is empty"),
]  # fmt: skip


@pytest.mark.parametrize(("encoding", "payload", "reason", "pointer", "detail"), HOSTILE)
def test_what_cannot_be_decoded_is_a_dead_letter(
    encoding: Encoding, payload: bytes, reason: Reason, pointer: str, detail: str
) -> None:
    made = transform(encoding, replace(SENSORS, unknown="ignore" if pointer == "/open" else "reject"))
    tracemalloc.start()
    dead_letter = made.transform_all([reading(payload)]).dead_letters[0]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (dead_letter.reason, dead_letter.pointer) == (reason, pointer)
    assert made(reading(payload)) == dead_letter
    assert detail in dead_letter.detail
    assert most < 8_000_000, "memory stays bounded"


@pytest.mark.parametrize("encoding", [JSON, MSGPACK, CBOR, GZIP, BY_PROPERTY])
def test_a_payload_that_begins_like_gzip_is_said_to_be_gzip(encoding: Encoding) -> None:
    once = gzip.compress(b'{"value":1,"count":2}', mtime=0)
    one = reading(gzip.compress(once, mtime=0) if encoding == GZIP else once)
    dead_letter = transform(encoding)(one)
    assert dead_letter.detail.endswith("it begins like gzip, which neither the contract nor the message states")
    assert transform(encoding).transform_all([one, one]).dead_letters == {0: dead_letter, 1: dead_letter}


@pytest.mark.parametrize("encoding", [JSON, CBOR])
def test_messages_that_are_refused_lie_between_others(encoding: Encoding) -> None:
    """All in one call, also where the transform takes some of the messages only."""
    other = prop(0x03, "application/msgpack")
    payloads = [encoded(json.dumps(each).encode(), encoding) for each in samples()]
    sent = [reading(each, other if place % 3 == 0 else b"") for place, each in enumerate(payloads)]
    one, many = transform(encoding), replace(SENSORS, also=(SENSORS.route,) * 200)
    results = one.transform_all(sent)
    records = iter(results.records)
    assert [results.dead_letters.get(place) or next(records) for place in range(100)] == [one(each) for each in sent]
    assert list(results.dead_letters) == sorted(results.dead_letters)
    some = transform(encoding, many).transform_all(sent)
    assert some.readings == 74, "of 201 records each, with a third between them"
    assert some.dead_letters == {place: each for place, each in results.dead_letters.items() if place < 74}


def test_messagepack_is_measured_as_it_is_sent() -> None:
    """Not as the longer JSON, also where messages that the contract refuses come with it."""
    made = transform(MSGPACK, replace(SENSORS, unknown="ignore"))
    long = reading(pack({"value": 1, "count": 2, "spectrum": [0.1] * 110_000}))
    refused = reading(b"", prop(0x03, "text/plain"))
    assert isinstance(made(long), Record)
    assert made.transform_all([long, refused]).records == [made(long)]


def test_a_payload_that_was_cut_or_is_too_long_is_not_decoded() -> None:
    for made in (reading(b"\x80", size=5_000_000), reading(b"x" * (LIMIT + 1))):
        assert transform(CBOR)(made).reason == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("encoding", "properties", "reason"),
    [
        (MSGPACK, b"", None),
        (MSGPACK, prop(0x03, "application/x-msgpack"), None),
        (MSGPACK, prop(0x03, "application/json"), Reason.NOT_DECODED),
        (MSGPACK, prop(0x03, "text/plain"), Reason.NOT_DECODED),
        (MSGPACK, b"\x03\xff", Reason.BAD_ENCODING),
        (GZIP, prop(0x03, "application/gzip"), None),
        (JSON, b"", None),
        (JSON, prop(0x03, "application/json; charset=utf-8"), None),
        (JSON, prop(0x03, "text/plain"), None),
        (JSON, prop(0x03, "application/octet-stream"), None),
        (JSON, prop(0x26, "format", "cbor"), None),
        (JSON, prop(0x03, "application/CBOR"), Reason.NOT_DECODED),
        (JSON, USER + prop(0x03, "application/vnd.msgpack"), Reason.NOT_DECODED),
        (JSON, prop(0x03, "application/gzip"), Reason.NOT_DECODED),
        (JSON, prop(0x03, "application/cbor")[:-1], None),
        (BY_PROPERTY, prop(0x03, "application/cbor"), Reason.NOT_DECODED),
        (BY_PROPERTY, prop(0x03, "application/json+gzip") + prop(0x26, "content-encoding", "GZIP"), None),
        (BY_PROPERTY, b"", None),
        (BY_PROPERTY, prop(0x03, "text/plain"), None),
        (BY_PROPERTY, prop(0x26, "Content-Encoding", "GZIP"), None),
        (BY_PROPERTY, prop(0x26, "content-encoding", "identity"), None),
        (BY_PROPERTY, prop(0x26, "content-encoding", "br"), Reason.NOT_DECODED),
    ],
)
def test_the_properties_of_a_message_agree_with_the_contract(
    encoding: Encoding, properties: bytes, reason: Reason | None
) -> None:
    is_gzip = encoding.is_gzip or b"GZIP" in properties
    payload = encoded(b'{"value":1,"count":2}', encoding._replace(is_gzip=is_gzip))
    result = transform(encoding)(reading(payload, properties))
    assert (result.reason if isinstance(result, DeadLetter) else None) == reason
    made = transform(encoding)
    for _ in range(2):  # the second time the properties are known
        results = made.transform_all([reading(payload, properties)])
        assert [*results.records, *results.dead_letters.values()] == [result]
