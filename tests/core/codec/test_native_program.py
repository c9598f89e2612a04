"""Which schemas have an encoder in C, and that it says what Python says; `tests/fuzz/encoder.py` tries many more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.contract import load
from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.native_program import compile_native
from gateway.core.counter_rules import counter_rules
from gateway.core.native import MODULE
from gateway.core.reading import DeadLetter
from gateway.core.transform import conversion
from tests.contract_values import codec_of, record
from tests.core.codec.test_codec import BAD, SENSOR
from tests.test_layout import REPOSITORY

if TYPE_CHECKING:
    from gateway.core.codec.conversion import Encoded

IS_BUILT = MODULE is not None
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
PLAIN: list[tuple[Any, str]] = [
    ("null", "null"), ("boolean", "true"), ("int", "-7"), ("long", "2147483648"), ("float", "0.1"), ("double", "1e-7"),
    ("double", "0.30000000000000004"), ("double", "12345678901234567.8"), ("string", '"caf\\u00e9 \\n €"'),
    (MILLIS, "-1"),
    ({"type": "enum", "name": "E", "symbols": ["on", "off"]}, '"off"'), ({"type": "array", "items": "int"}, "[1, 2]"),
    ({"type": "map", "values": ["null", "double"]}, '{"a": null, "b": 2.5}'), (["null", "int", "long"], "2147483648"),
    (record(("a", "int"), name="R"), '{"a": 1}'),
]  # fmt: skip
IN_PYTHON: list[tuple[Any, dict[str, Any]]] = [
    ("bytes", {}),
    ({"type": "fixed", "name": "F", "size": 2}, {}),
    ({"type": "string", "logicalType": "uuid"}, {}),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4}, {}),
    ("double", {"schema": {"properties": {"v": {"multipleOf": 0.5}}}}),
    ("string", {"schema": {"properties": {"v": {"pattern": "^a"}}}}),
    ("string", {"content": "telegram"}),
]


def both(codec: Codec, payload: bytes, *values: str) -> Encoded:
    """The result of both encoders, which is the same."""
    native, precise = codec.encode(payload, values), codec.encode_precisely(payload, values)
    assert repr(native) == repr(precise)
    assert isinstance(native, tuple), native
    return native


@pytest.mark.parametrize(("kind", "value"), PLAIN)
def test_a_value_of_each_type_has_the_same_bytes(kind: Any, value: str) -> None:
    codec = codec_of(record(("k", "string"), ("v", kind)), ("/k",))
    assert codec.is_native == IS_BUILT
    both(codec, f'{{"k": "x", "v": {value}}}'.encode())


@pytest.mark.parametrize(("kind", "more"), IN_PYTHON)
def test_a_shape_without_code_in_c_keeps_its_encoder_in_python(kind: Any, more: dict[str, Any]) -> None:
    assert not codec_of(record(("k", "string"), ("v", kind)), ("/k",), **more).is_native


def test_each_stream_of_the_shipped_contract_has_an_encoder_in_c() -> None:
    streams = load(REPOSITORY / "asyncapi.yaml").streams.values()
    codecs = {stream.name: Codec(conversion(stream, stream.route)) for stream in streams}
    assert {name: codec.is_native for name, codec in codecs.items()} == dict.fromkeys(codecs, IS_BUILT)


def test_key_time_number_and_counters_are_those_of_python() -> None:
    counts = {"most": 1, "of": "$message.payload#/meter"}
    counter = {"name": "energy", "type": ["null", "double"], "default": None, "x-counter": counts}
    made = record(("meter", ["null", "string"]), ("line", "int"), {"name": "at", "type": MILLIS, "default": 5}, counter)
    more: dict[str, Any] = {"event_time": "/at", "sequence": "/line", "counters": counter_rules(build(made))}
    codec = codec_of(made, ("/meter", 0), [None], **more)
    assert codec.is_native == IS_BUILT
    found = both(codec, b'{"meter": "m", "line": 7, "at": -1, "energy": 2.5}', "topic")
    assert (found[0], *found[2:]) == (b"m", -1, 7, (2.5, "m"))
    found = both(codec, b'{"meter": null, "line": -7}', "topic")
    assert (found[0], *found[2:]) == (b"topic", 5, None, (None, None))


@pytest.mark.parametrize("keys", [(0,), (0, "/k"), ("/k",)])
def test_an_empty_text_of_the_topic_is_no_key(keys: tuple[str | int, ...]) -> None:
    codec = codec_of(record(("k", "string")), keys, ["/k" if keys == ("/k",) else None])
    for payload in (b'{"k": "z"}', b'{"k": ""}'):
        assert repr(codec.encode(payload, ("",))) == repr(codec.encode_precisely(payload, ("",)))


def test_a_joined_key_has_numbers_and_truth_values_as_text() -> None:
    codec = codec_of(record(("a", "long"), ("b", "boolean")), ("/a", "/b", 0), [None], separator="-")
    assert both(codec, b'{"a": -12, "b": true}', "t")[0] == b"-12-true-t"


@pytest.mark.parametrize("payload", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_payload_is_left_to_python(payload: bytes) -> None:
    assert SENSOR.encode(payload, ("a", "b")) == SENSOR.encode_precisely(payload, ("a", "b"))


@pytest.mark.parametrize("size", [8_000, 200_000])
def test_a_payload_that_is_too_large_for_c_is_left_to_python(size: int) -> None:
    """The tape has room for so many values; what is written, for so many bytes."""
    codec = codec_of(record(("k", "string"), ("v", {"type": "array", "items": "double"})), ("/k",))
    both(codec, json.dumps({"k": "x", "v": [1] * size}).encode())


def test_names_that_differ_only_in_the_middle_are_told_apart() -> None:
    """Their hashes are equal."""
    names = ["temperature_1_in_celsius", "temperature_2_in_celsius"]
    codec = codec_of(record(("k", "string"), *((name, "int") for name in names)), ("/k",))
    assert both(codec, json.dumps({"k": "x", names[1]: 2, names[0]: 1}).encode())[1] == b"\2x\2\4"


# --- MessagePack -----------------------------------------------------------------------------------------------------

pack = msgspec.msgpack.encode
VALUES = {"type": "map", "values": ["null", "boolean", "long", "double", "string", {"type": "array", "items": "int"}]}
READING = {"k": "x", "v": {"n": None, "b": True, "i": -70_000, "d": -0.1, "s": "\u6c34", "a": [1, 2**31 - 1]}}
FORMS = [  # of values, also those that Python does not write
    ("7f", 127), ("e0", -32), ("cc01", 1), ("cd0001", 1), ("ce00000001", 1), ("cf0000000000000001", 1), ("d0ff", -1),
    ("d1ffff", -1), ("d2ffffffff", -1), ("d3ffffffffffffffff", -1), ("d37fffffffffffffff", 2**63 - 1),
    ("d38000000000000000", -(2**63)), ("cf7fffffffffffffff", 2**63 - 1), ("ca3fc00000", 1.5),
    ("ca3dcccccd", 0.10000000149011612), ("cb8000000000000000", -0.0), ("cb0000000000000001", 5e-324), ("a0", ""),
    ("d900", ""), ("da000161", "a"), ("db00000003e6b0b4", "\u6c34"), ("c2", False), ("dc000107", [7]), ("90", []),
    ("dd0000000107", [7]),
]  # fmt: skip
NO_VALUES = [
    "", "c1", "c0c0", "c40161", "c6ffffffff", "c7010561", "d40161", "d6ffffffffff", "cb7ff8000000000000", "ca7f800000",
    "cbfff0000000000000", "cfffffffffffffffff", "cf8000000000000000", "a1ff", "a3eda080", "a261c3", "a3f09080",
    "a4f09080", "dbffffffff", "ddffffffff", "dfffffffff", "dfffffffff" + "a16101" * 9, "810102", "81a16201",
    "82a16101a16102", "8191a161a162", "81a161", "91" * 100_000, "81a161" * 100_000, "dd7fffffff" + "c0" * 9_000,
]  # fmt: skip


def is_taken_by_c(codec: dict[str, Any], payload: bytes, **more: Any) -> bool:
    """Whether C encodes a payload, and does not ask Python; True where there is no C."""

    def fail(*_: object) -> Any:
        raise LookupError

    native = compile_native(Conversion(build(codec), ("/k",), content="msgpack", **more), None, tuple, fail)
    try:
        return native is None or bool(native.encode(payload, native.prepare(())))
    except LookupError:
        return False


@pytest.mark.parametrize(("kind", "value"), PLAIN)
def test_messagepack_becomes_the_record_of_json(kind: Any, value: str) -> None:
    made, text = record(("k", "string"), ("v", kind)), f'{{"k": "x", "v": {value}}}'.encode()
    packed = pack(msgspec.json.decode(text))
    assert both(codec_of(made, ("/k",), content="msgpack"), packed) == both(codec_of(made, ("/k",)), text)
    assert is_taken_by_c(made, packed)


@pytest.mark.parametrize(("form", "value"), FORMS)
def test_each_form_of_messagepack_is_read(form: str, value: Any) -> None:
    made = record(("k", "string"), ("v", VALUES))
    packed, text = bytes.fromhex(f"82a16ba178a17681a161{form}"), json.dumps({"k": "x", "v": {"a": value}}).encode()
    assert both(codec_of(made, ("/k",), content="msgpack"), packed) == both(codec_of(made, ("/k",)), text)
    assert is_taken_by_c(made, packed)


@pytest.mark.parametrize("form", NO_VALUES)
def test_messagepack_that_json_does_not_have_is_left_to_python(form: str) -> None:
    made = record(("k", "string"), ("v", VALUES))
    for payload in (bytes.fromhex(form), bytes.fromhex(f"82a16ba178a17681a161{form}")):
        assert not is_taken_by_c(made, payload) or MODULE is None
        codec = codec_of(made, ("/k",), content="msgpack")
        assert repr(codec.encode(payload)) == repr(codec.encode_precisely(payload))


def test_messagepack_that_is_cut_anywhere_is_left_to_python() -> None:
    made, payload = record(("k", "string"), ("v", VALUES)), pack(READING)
    codec = codec_of(made, ("/k",), content="msgpack")
    assert is_taken_by_c(made, payload)
    for size in range(len(payload)):
        assert not is_taken_by_c(made, payload[:size]) or MODULE is None
        dead_letter = codec.encode(payload[:size])
        assert isinstance(dead_letter, DeadLetter)
        assert dead_letter == codec.encode_precisely(payload[:size])


@pytest.mark.parametrize("levels", [31, 32, 33])
def test_messagepack_nests_as_deep_as_json(levels: int) -> None:
    value: Any = 1
    for _ in range(levels - 1):
        value = [value]
    codec = codec_of(record(("k", "string")), ("/k",), content="msgpack", unknown="ignore")
    payload = pack({"k": "x", "other": value})
    assert is_taken_by_c(record(("k", "string")), payload, unknown="ignore") == (levels <= 32 or MODULE is None)
    assert repr(codec.encode(payload)) == repr(codec.encode_precisely(payload))


@pytest.mark.parametrize("value", [1, 2.5, None, "x", [1], {}, 2**63, float("nan")])
def test_messagepack_may_be_one_value(value: Any) -> None:
    whole = {"name": "value", "type": "double", "x-source": "$message.payload#"}
    codec = codec_of(record(whole), (0,), [None], content="msgpack")
    assert codec.is_native == IS_BUILT
    assert repr(codec.encode(pack(value), ("t",))) == repr(codec.encode_precisely(pack(value), ("t",)))
