"""The codec against fastavro, and its two paths against each other."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.counter_rules import counter_rules
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of
from tests.core.avro_schemas import Sample, quoted, records

relaxed = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

SOURCE = "$message.payload#"

KEYS: list[tuple[dict[str, Any], str, Any, str]] = [  # the field, its member, its datum, the pointer of the key
    ({"name": "Key", "type": "string"}, '"Key":"k"', "k", "/Key"),
    (
        {"name": "Of", "type": {"type": "record", "name": "Of", "fields": [{"name": "Key", "type": "string"}]}},
        '"Of":{"Key":"k"}',
        {"Key": "k"},
        "/Of/Key",
    ),
    (
        {"name": "Key", "type": "string", "x-source": "$message.payload#/Of/Some/Key"},
        '"Of":{"Some":{"Key":"k"}}',
        "k",
        "/Key",
    ),
]


@st.composite
def keyed(draw: st.DrawFn) -> tuple[Any, str, Sample]:
    """Draw a record with a key, the key's pointer, and a sample."""
    schema, samples = draw(records())
    field, member, datum, pointer = draw(st.sampled_from(KEYS))
    sample = draw(samples)
    text = f"{{{member}" + (f",{sample.json[1:]}" if sample.json != "{}" else "}")
    return (
        {**schema, "fields": [field, *schema["fields"]]},
        pointer,
        Sample(text, {field["name"]: datum, **sample.datum}),
    )


def written_by_fastavro(schema: Any, datum: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


@relaxed
@given(keyed=keyed())
def test_encode_gives_the_bytes_that_fastavro_writes(keyed: tuple[Any, str, Sample]) -> None:
    """What fits its schema becomes the bytes that fastavro writes for the same value, on both paths."""
    schema, pointer, sample = keyed
    codec = codec_of(schema, (pointer,))
    expected = (b"k", written_by_fastavro(schema, sample.datum), None, None, None)
    assert codec.fast(sample.json.encode(), codec.prepare(())) == expected
    assert codec.encode_precisely(sample.json.encode()) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@relaxed
@given(data=st.data(), keyed=keyed(), unknown=st.sampled_from(["reject", "ignore"]))
def test_encode_gives_the_same_on_both_paths(data: st.DataObject, keyed: tuple[Any, str, Sample], unknown: Any) -> None:
    """A payload with one value replaced at random gets the same bytes or the same dead letter on both paths."""
    schema, pointer, sample = keyed
    whole = value = json.loads(sample.json)
    while isinstance(value, dict):
        at, name = value, data.draw(st.sampled_from([*value, "stranger"]))
        value = value.get(name) if data.draw(st.booleans()) else None
    at[name] = data.draw(json_values)
    payload = json.dumps(whole, ensure_ascii=data.draw(st.booleans())).encode(errors="surrogatepass")
    codec = codec_of(schema, (pointer,), unknown=unknown)
    assert codec.encode(payload) == codec.encode_precisely(payload)


@relaxed
@given(data=st.data(), keyed=keyed(), unknown=st.sampled_from(["reject", "ignore"]))
def test_encode_takes_the_last_of_members_that_stand_twice(
    data: st.DataObject, keyed: tuple[Any, str, Sample], unknown: Any
) -> None:
    """Of a member that stands twice the last one counts, on both paths, and the first may be anything that is JSON."""
    schema, pointer, sample = keyed
    codec = codec_of(schema, (pointer,), unknown=unknown)
    name = data.draw(st.sampled_from(list(json.loads(sample.json))))
    first = data.draw(json_values.map(json.dumps) | st.sampled_from(["[" * 40 + "]" * 40, "1" * 500, "-0.0", "0e9"]))
    payload = f"{{{quoted(name)}:{first},{sample.json[1:]}".encode()
    assert codec.encode(payload) == codec.encode_precisely(payload) == codec.encode(sample.json.encode())


@relaxed
@given(payload=st.binary(max_size=60))
def test_encode_takes_any_bytes(payload: bytes) -> None:
    """Random bytes become a dead letter and never raise."""
    assert isinstance(SENSOR.encode(payload, ("a", "b")), DeadLetter)


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


SENSOR = codec_of(
    record(
        {"name": "machine", "type": "string"},
        {"name": "sensor", "type": "string"},
        {"name": "value", "type": "float"},
        {"name": "units", "type": "string"},
    ),
    ("/machine",),
    ("/machine", "/sensor"),
)


ONE = '"machine":"a","sensor":"b","units":"C","value":'
BAD: list[tuple[str, bytes, Reason, str]] = [
    ("empty", b"", Reason.EMPTY, ""),
    ("blank", b"  \n", Reason.NOT_JSON, ""),
    ("a word", b"ON", Reason.NOT_JSON, ""),
    ("HTML", b"<html><body>502</body></html>", Reason.NOT_JSON, ""),
    ("two values", b"{} {}", Reason.NOT_JSON, ""),
    ("cut short", b'{"value": 1', Reason.NOT_JSON, ""),
    ("trailing comma", b'{"value": 1,}', Reason.NOT_JSON, ""),
    ("single quotes", b"{'value': 1}", Reason.NOT_JSON, ""),
    ("comment", b'{"value": 1} // one', Reason.NOT_JSON, ""),
    ("control character", b'{"units": "\x01"}', Reason.NOT_JSON, ""),
    ("NaN", b'{"value": NaN}', Reason.NOT_JSON, ""),
    ("Infinity", b'{"value": -Infinity}', Reason.NOT_JSON, ""),
    ("leading zero", b'{"value": 012}', Reason.NOT_JSON, ""),
    ("hexadecimal", b'{"value": 0x10}', Reason.NOT_JSON, ""),
    ("plus sign", b'{"value": +1}', Reason.NOT_JSON, ""),
    ("binary", bytes(range(128, 200)), Reason.BAD_ENCODING, ""),
    ("UTF-16", '{"value": 1}'.encode("utf-16"), Reason.BAD_ENCODING, ""),
    ("byte order mark", b"\xef\xbb\xbf{}", Reason.BAD_ENCODING, ""),
    ("Latin-1", '{"units": "°C"}'.encode("latin-1"), Reason.BAD_ENCODING, ""),
    ("overlong UTF-8", b'{"units": "\xc0\xaf"}', Reason.BAD_ENCODING, ""),
    ("lone surrogate", f'{{{ONE}1,"units":"\\ud800"}}'.encode(), Reason.BAD_ENCODING, "/units"),
    ("surrogate in a name", b'{"\\udfff": 1}', Reason.BAD_ENCODING, ""),
    ("brackets", b"[" * 100_000, Reason.TOO_DEEP, ""),
    ("braces", b'{"a":' * 100_000, Reason.TOO_DEEP, ""),
    ("a number", b"23.5", Reason.WRONG_TYPE, ""),
    ("null", b"null", Reason.WRONG_TYPE, ""),
    ("text", b'"hello"', Reason.WRONG_TYPE, ""),
    ("array", b"[]", Reason.WRONG_TYPE, ""),
    ("value is text", f'{{{ONE}"21.5"}}'.encode(), Reason.WRONG_TYPE, "/value"),
    ("value is true", f"{{{ONE}true}}".encode(), Reason.WRONG_TYPE, "/value"),
    ("value is null", f"{{{ONE}null}}".encode(), Reason.WRONG_TYPE, "/value"),
    ("value is an array", f"{{{ONE}[1]}}".encode(), Reason.WRONG_TYPE, "/value"),
    ("value is an object", f'{{{ONE}{{"v":1}}}}'.encode(), Reason.WRONG_TYPE, "/value"),
    ("units is a number", b'{"machine":"a","sensor":"b","units":5,"value":1}', Reason.WRONG_TYPE, "/units"),
    ("machine is a number", b'{"machine":5,"sensor":"b","units":"C","value":1}', Reason.WRONG_TYPE, "/machine"),
    ("machine is null", b'{"machine":null,"sensor":"b","units":"C","value":1}', Reason.WRONG_TYPE, "/machine"),
    ("value is missing", b'{"machine":"a","sensor":"b","units":"C"}', Reason.MISSING, "/value"),
    ("units are missing", b'{"machine":"a","sensor":"b","value":1}', Reason.MISSING, "/units"),
    ("nothing there", b"{}", Reason.MISSING, "/value"),
    ("one too many", f'{{{ONE}1,"extra":1}}'.encode(), Reason.EXTRA_FIELD, "/extra"),
    ("name with slash and tilde", f'{{{ONE}1,"a/b~c":1}}'.encode(), Reason.EXTRA_FIELD, "/a~1b~0c"),
    ("other case", f'{{{ONE}1,"Value":1}}'.encode(), Reason.EXTRA_FIELD, "/Value"),
    ("float overflow", f"{{{ONE}1e39}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("double overflow", f"{{{ONE}1e400}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("negative overflow", f"{{{ONE}-1e400}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("huge exponent", f"{{{ONE}1e99999999999999999999}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("5,000 digits", f"{{{ONE}{'1' * 5_000}}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("300 digits", f"{{{ONE}{'9' * 300}}}".encode(), Reason.OUT_OF_RANGE, "/value"),
    ("2**24 + 1", f"{{{ONE}16777217}}".encode(), Reason.NOT_EXACT, "/value"),
    ("another machine", b'{"machine":"z","sensor":"b","units":"C","value":1}', Reason.TOPIC_MISMATCH, "/machine"),
    ("another sensor", b'{"machine":"a","sensor":"z","units":"C","value":1}', Reason.TOPIC_MISMATCH, "/sensor"),
    ("empty machine", b'{"machine":"","sensor":"b","units":"C","value":1}', Reason.TOPIC_MISMATCH, "/machine"),
]  # fmt: skip


@pytest.mark.parametrize(("payload", "reason", "pointer"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_encode_names_reason_and_place(payload: bytes, reason: Reason, pointer: str) -> None:
    """Each kind of bad payload is a dead letter with its reason and JSON pointer, and alike on both paths."""
    dead_letter = SENSOR.encode(payload, ("a", "b"))
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.reason, dead_letter.pointer) == (reason, pointer)
    assert dead_letter == SENSOR.encode_precisely(payload, ("a", "b"))


METER = record(
    {"name": "name", "type": "string"},
    {"name": "number", "type": ["null", "string"], "default": None, "x-source": "$message.payload#/0-0:96.1.0/value"},
    {"name": "at", "type": ["null", "long"], "default": None,
     "x-source": ["$message.payload#/1-0:1.8.0/time", "$message.payload#/1-0:2.8.0/time"]},
    {"name": "wh", "type": ["null", "double"], "default": None, "x-source": "$message.payload#/1-0:1.8.0/value"},
    {"name": "out", "type": ["null", "double"], "default": None, "x-source": "$message.payload#/1-0:2.8.0/value"},
    {"name": "rest", "x-source": "$message.payload#",
     "type": {"type": "map", "values": {"type": "record", "name": "Register", "fields": [
         {"name": "value", "type": ["long", "double", "string"]},
         {"name": "time", "type": ["null", "long"], "default": None}]}}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {"name": "m", "1-0:1.8.0": {"value": 5, "time": 9}, "0-1:24.2.1": {"value": 1.5, "time": 3}},
            {"name": "m", "number": None, "at": 9, "wh": 5.0, "out": None,
             "rest": {"0-1:24.2.1": {"value": 1.5, "time": 3}}},
        ),
        (
            {"name": "m", "1-0:2.8.0": {"value": 5, "time": 9}, "1-0:1.8.0": {"value": 6}},
            {"name": "m", "number": None, "at": 9, "wh": 6.0, "out": 5.0, "rest": {}},
        ),
        (
            {"name": "", "0-0:96.1.0": {"value": "90"}, "X": {"value": "free text"}, "Y": {"value": 2**40}},
            {"name": "", "number": "90", "at": None, "wh": None, "out": None,
             "rest": {"X": {"value": "free text", "time": None}, "Y": {"value": 2**40, "time": None}}},
        ),
    ],
)  # fmt: skip
def test_encode_finds_fields_by_their_source(payload: dict[str, Any], expected: dict[str, Any]) -> None:
    """`x-source` renames, a list of them gives the first that is present, the bare payload collects the rest."""
    codec = codec_of(METER, ("/name", "/number"))
    assert codec.not_fast_because == ""
    found = codec.encode(json.dumps(payload).encode())
    assert not isinstance(found, DeadLetter)
    assert found == codec.encode_precisely(json.dumps(payload).encode())
    assert fastavro.schemaless_reader(io.BytesIO(found[1]), fastavro.parse_schema(METER)) == expected
    assert found[0] == (expected["name"] or expected["number"]).encode()


@pytest.mark.parametrize(
    ("payload", "reason", "pointer"),
    [
        ({"name": ""}, Reason.NO_KEY, "/name"),
        ({"name": "m", "1-0:1.8.0": {"value": "5"}}, Reason.WRONG_TYPE, "/1-0:1.8.0/value"),
        ({"name": "m", "1-0:1.8.0": 5}, Reason.WRONG_TYPE, "/1-0:1.8.0"),
        ({"name": "m", "1-0:1.8.0": {"value": 5, "unit": "Wh"}}, Reason.EXTRA_FIELD, "/1-0:1.8.0/unit"),
        ({"name": "m", "X": {"value": None}}, Reason.WRONG_TYPE, "/X/value"),
        ({"name": "m", "X": 5}, Reason.WRONG_TYPE, "/X"),
    ],
)
def test_encode_tells_the_place_in_the_payload(payload: dict[str, Any], reason: Reason, pointer: str) -> None:
    """The pointer of a dead letter leads into the payload, not into the record."""
    codec = codec_of(METER, ("/name", "/number"))
    dead_letter = codec.encode(json.dumps(payload).encode())
    assert isinstance(dead_letter, DeadLetter)
    assert (dead_letter.reason, dead_letter.pointer) == (reason, pointer)
    assert dead_letter == codec.encode_precisely(json.dumps(payload).encode())


def test_encode_keeps_what_the_topic_says_apart_from_what_the_payload_says() -> None:
    """Six parameters, times and a map: each comes out where it belongs, and the key is the parameter's text."""
    names = [f"p{place}" for place in range(6)]
    schema = record(
        *({"name": name, "type": "string"} for name in names),
        *({"name": f"at{place}", "type": {"type": "long", "logicalType": "timestamp-millis"}} for place in range(6)),
        {"name": "rest", "type": {"type": "map", "values": "string"}, "x-source": SOURCE},
    )
    codec = codec_of(schema, ("/p1",), [f"/{name}" for name in names])
    rest, times = {"a": "b", "c": "d"}, {f"at{place}": place for place in range(6)}
    values = tuple(name.upper() for name in names)
    payload = json.dumps({**times, **rest}).encode()
    expected = written_by_fastavro(schema, dict(zip(names, values, strict=True)) | times | {"rest": rest})
    assert (
        codec.fast(payload, codec.prepare(values))
        == codec.encode_precisely(payload, values)
        == (b"P1", expected, None, None, None)
    )


def test_encode_takes_a_key_from_its_default() -> None:
    """An absent key is its default."""
    codec = codec_of(record({"name": "key", "type": "string", "default": "none"}), ("/key",))
    assert (
        codec.fast(b"{}", codec.prepare(()))
        == codec.encode_precisely(b"{}")
        == (b"none", b"\x08none", None, None, None)
    )


def test_encode_may_ignore_unknown_members() -> None:
    """With the policy `ignore` a member that no field reads changes nothing."""
    codec = codec_of(record({"name": "key", "type": "string"}), ("/key",), unknown="ignore")
    assert (
        codec.encode(b'{"key":"k","more":{"a":[1]}}')
        == codec.encode(b'{"key":"k"}')
        == (b"k", b"\2k", None, None, None)
    )


def test_encode_puts_the_prefix_first() -> None:
    """The wire format's bytes stand before the Avro body, on both paths."""
    codec = codec_of(record({"name": "key", "type": "string"}), ("/key",), prefix=b"\0\0\0\0\7")
    assert (
        codec.encode(b'{"key":"k"}')
        == codec.encode_precisely(b'{"key":"k"}')
        == (b"k", b"\0\0\0\0\7\2k", None, None, None)
    )


NUMBER = ["null", "long", "double", "string"]


@pytest.mark.parametrize(
    ("kind", "factor", "member", "expected"),
    [
        (NUMBER, 1, "3", 3),
        (NUMBER, 1, "0", 0),
        (NUMBER, 1, "-1", None),
        (NUMBER, 1, "null", None),
        (NUMBER, 1, '"3"', None),
        (NUMBER, 1, "3.5", None),
        (NUMBER, 1, "9223372036854775807", 2**63 - 1),
        (["null", "double"], 10, "3", 3),
        ("long", "0.5", "4", 4),
    ],
)
def test_encode_gives_the_sequence_number(kind: Any, factor: Any, member: str, expected: int | None) -> None:
    """It is a member of the payload that a field reads, before its factor; only an integer from 0 counts."""
    source = {"location": f"{SOURCE}/head/seq~1no", **({} if factor == 1 else {"factor": factor})}
    field = {"name": "n", "type": kind, "x-source": source}
    made = codec_of(record({"name": "key", "type": "string"}, field), ("/key",), sequence="/head/seq~1no")
    assert made.not_fast_because == ""
    payload = f'{{"key":"k","head":{{"seq/no":{member}}}}}'.encode()
    encoded = made.fast(payload, made.prepare(()))
    assert encoded[3] == expected
    assert made.encode_precisely(payload) == encoded


def test_encode_reads_a_sequence_number_that_no_field_reads_on_the_precise_path() -> None:
    """The contract refuses such a pointer; the codec takes it all the same."""
    made = codec_of(record({"name": "key", "type": "string"}), ("/key",), unknown="ignore", sequence="/n")
    assert made.not_fast_because == "a sequence number that no field reads"
    assert made.encode(b'{"key":"k","n":4}') == (b"k", b"\2k", None, 4, None)


INSIDE = record({"name": "n", "type": "long", "x-counter": {"of": f"{SOURCE}/meter"}}) | {"name": "Inside"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}


@pytest.mark.parametrize(
    ("fields", "payload", "expected"),
    [
        (({"name": "n", "type": "long"},), '"n":7', (7, None)),
        (({"name": "n", "type": ["null", "long"], "default": None},), '"m":7', (None, None)),
        (({"name": "n", "type": "double", "default": 2.5},), '"m":7', (2.5, None)),
        (({"name": "n", "type": "double", "x-source": {"factor": "0.001"}},), '"n":1500', (1.5, None)),
        (({"name": "n", "type": "double", "x-source": {"parse": "number"}},), '"n":"007.5"', (7.5, None)),
        (({"name": "n", "type": DECIMAL},), '"n":7.5', (7.5, None)),
        (({"name": "n", "type": DECIMAL, "default": "\u0001"},), '"m":1', (None, None)),
        (({"name": "n", "type": "double"}, {"name": "d", "type": DECIMAL}), '"n":0.1,"d":7', (0.1, None)),
        (({"name": "n", "type": "long", "x-counter": {"of": f"{SOURCE}/meter"}}, {"name": "meter", "type": "string"}),
         '"n":7,"meter":"A1"', (7, "A1")),
        (({"name": "n", "type": "long", "x-counter": {"of": f"{SOURCE}/meter"}},
          {"name": "meter", "type": ["null", "long"], "default": None}, {"name": "d", "type": DECIMAL}),
         '"n":7,"d":1', (7, None)),
        (({"name": "in", "type": INSIDE, "x-source": f"{SOURCE}/a"}, {"name": "meter", "type": "string"}),
         '"a":{"n":9},"meter":"A1"', (9, "A1")),
    ],
)  # fmt: skip
def test_encode_gives_the_counters(fields: Any, payload: str, expected: Any) -> None:
    """They are as in the record, in its unit, on both paths; fractions are floats."""
    counting = ({"x-counter": {}, **field} if field["name"] == "n" else field for field in fields)
    definition = record({"name": "key", "type": "string"}, *counting)
    rules = counter_rules(build(definition))
    made = codec_of(definition, ("/key",), unknown="ignore", counters=rules)
    assert made.not_fast_because == ""
    sent = f'{{"key":"k",{payload}}}'.encode()
    encoded = made.fast(sent, made.prepare(()))
    assert encoded[4] == expected
    assert made.encode_precisely(sent) == encoded


def test_encode_gives_no_counter_of_a_record_that_is_null() -> None:
    field = {"name": "in", "type": ["null", INSIDE], "default": None}
    definition = record({"name": "key", "type": "string"}, {"name": "meter", "type": "string"}, field)
    made = codec_of(definition, ("/key",), counters=counter_rules(build(definition)))
    encoded = made.encode(b'{"key":"k","meter":"A1"}')
    assert not isinstance(encoded, DeadLetter)
    assert encoded[4] == (None, "A1")


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@relaxed
def test_encode_keys_by_the_utf_8_of_the_field(text: str) -> None:
    """The key is the field's text in UTF-8, whatever it holds."""
    codec = codec_of(record({"name": "key", "type": "string"}), ("/key",))
    found = codec.encode(f'{{"key":{quoted(text)}}}'.encode())
    assert not isinstance(found, DeadLetter)
    assert found[0] == text.encode()


@pytest.mark.parametrize(
    ("kind", "words", "level", "member", "expected"),
    [
        ("string", {"parse": "string"}, "61", 61, b"\x0461"),
        ("string", {"parse": "string"}, "61", 62, Reason.TOPIC_MISMATCH),
        ("string", {"parse": "string"}, "61", 61.5, Reason.TOPIC_MISMATCH),
        ("int", {"parse": "number"}, "1", None, b"\x02"),
        ("int", {"parse": "number"}, "1", 1, b"\x02"),
        ("int", {"parse": "number"}, "01", "1", b"\x02"),
        ("int", {"parse": "number"}, "1", 2, Reason.TOPIC_MISMATCH),
        ("int", {"parse": "number"}, "1", "2", Reason.TOPIC_MISMATCH),
        ("int", {"parse": "number"}, "1", [], Reason.WRONG_TYPE),
        ("int", {"parse": "number"}, "x", None, Reason.BAD_FORMAT),
        ("int", {"parse": "number"}, "x", 1, Reason.BAD_FORMAT),
        ("double", {"parse": "number"}, "0.5", 0.5, struct.pack("<d", 0.5)),
        ("boolean", {"parse": "boolean"}, "true", True, b"\x01"),
        ("boolean", {"trues": ["on", 1], "falses": ["off", 0]}, "on", 1, b"\x01"),
        ("boolean", {"trues": ["on", 1], "falses": ["off", 0]}, "on", 0, Reason.TOPIC_MISMATCH),
        ("boolean", {"trues": ["on"], "falses": ["off"]}, "dim", None, Reason.NOT_ALLOWED),
    ],
)  # fmt: skip
def test_a_level_of_the_topic_is_compared_by_value_where_a_field_reads_it(
    kind: str, words: Any, level: str, member: Any, expected: Any
) -> None:
    fields = {"name": "id", "type": "string"}, {"name": "n", "type": kind, "x-source": words}
    codec = Codec(Conversion(build(record(*fields)), ("/id",), ("/n",)))
    assert codec.not_fast_because == ""
    payload = json.dumps({"id": "a"} | ({} if member is None else {"n": member})).encode()
    found = codec.encode_precisely(payload, (level,))
    assert codec.encode(payload, (level,)) == found
    assert (found.reason if isinstance(found, DeadLetter) else found[1].removeprefix(b"\x02a")) == expected
