"""Payloads that are one value, for one field of the record, as plain text and as JSON."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of

if TYPE_CHECKING:
    from gateway.core.codec.codec import Codec
    from gateway.core.codec.conversion import Content

STATE = {"type": "enum", "name": "State", "symbols": ["ON", "OFF"]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
UUID = {"type": "string", "logicalType": "uuid"}
KINDS: list[Any] = [
    "boolean", "int", "long", "float", "double", "string", "bytes", STATE, MILLIS, PRICE, UUID,
    ["null", "double"], ["null", "string"], ["double", "string"], ["null", "long", STATE], ["boolean", "string"],
]  # fmt: skip


def plug(kind: Any) -> dict[str, Any]:
    """Give a record whose name comes from the topic, and whose value is the whole payload."""
    value = {"name": "value", "type": kind, "x-source": "$message.payload#"}
    return {"type": "record", "name": "Plug", "fields": [{"name": "plug", "type": "string"}, value]}


def codec(kind: Any, content: Content = "text", **more: Any) -> Codec:
    return codec_of(plug(kind), ("/plug",), ["/plug"], content=content, **more)


def value_of(kind: Any, payload: bytes, content: Content = "text") -> Any:
    """Give the value that a reader of the topic sees, or the dead letter; on both paths."""
    made = codec(kind, content)
    assert made.not_fast_because == ""
    found = made.encode(payload, ("mixer",))
    assert found == made.encode_precisely(payload, ("mixer",))
    if isinstance(found, DeadLetter):
        return found
    assert found[0] == b"mixer"
    record: Any = fastavro.schemaless_reader(io.BytesIO(found[1]), fastavro.parse_schema(plug(kind)), None)
    assert record["plug"] == "mixer"
    return record["value"]


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("double", b"21.5", 21.5),
        ("double", b" -3\r\n", -3.0),
        ("double", b"1e3", 1000.0),
        ("float", b"21.5", 21.5),
        ("long", b"9007199254740993", 9007199254740993),
        (["null", "double"], b"null", None),
        (["null", "double"], b"0", 0.0),
        ("boolean", b"true", True),
        ("boolean", b"false\n", False),
        (STATE, b"ON", "ON"),
        (STATE, b"\tOFF \n", "OFF"),
        ("string", b"open", "open"),
        ("string", b" half open\n", "half open"),
        ("string", b"21.5", "21.5"),
        ("string", b'"quoted"', '"quoted"'),
        ("string", "offen \N{GREEK SMALL LETTER PI}".encode(), "offen \N{GREEK SMALL LETTER PI}"),
        (["null", "string"], b"null", "null"),
        (["double", "string"], b"21.5", 21.5),
        (["double", "string"], b"21.5 W", "21.5 W"),
        (["null", "long", STATE], b"7\n", 7),
        (["null", "long", STATE], b"ON", "ON"),
        (["boolean", "string"], b"true", True),
        (["boolean", "string"], b"True", "True"),
        (["boolean", "string"], b"21.5", "21.5"),
        (["null", "boolean", "double", "string"], b"false\n", False),
        (["null", "boolean", "double", "string"], b"21.5", 21.5),
        (["null", "boolean", "double", "string"], b"null", "null"),
        (["boolean", STATE], b"ON", "ON"),
        (["boolean", STATE], b"true", True),
    ],
)
def test_encode_takes_plain_text_as_its_field_does(kind: Any, payload: bytes, expected: Any) -> None:
    """A number for a number, a word for text or an enum; spaces and line ends around it are no part of it."""
    assert value_of(kind, payload) == expected


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        *(("double", text, Reason.NOT_JSON) for text in (
            b"NaN", b"-Infinity", b"0x10", b"21,5", b"ON", b"+1", b"01", b".5", b"5.", b"1 2", b"21.5 W", b"TRUE",
            b'1,"plug":"x"', b"1}", "\N{NO-BREAK SPACE}1".encode(), "\N{ARABIC-INDIC DIGIT ONE}".encode(),
        )),
        *((kind, b"", Reason.EMPTY) for kind in ("double", "string", STATE, ["double", "string"])),
        *((kind, b" \r\n\t", Reason.EMPTY) for kind in ("double", "string", STATE, ["double", "string"])),
        *((kind, b"\xff", Reason.BAD_ENCODING) for kind in ("double", "string", STATE, ["double", "string"])),
        *((kind, b"\xef\xbb\xbf1", Reason.BAD_ENCODING) for kind in ("double", "string", STATE)),
        ("double", b"true", Reason.WRONG_TYPE),
        ("double", b"null", Reason.WRONG_TYPE),
        ("double", b'"21.5"', Reason.WRONG_TYPE),
        ("double", b"[21.5]", Reason.WRONG_TYPE),
        ("double", b'{"value":21.5}', Reason.WRONG_TYPE),
        ("double", b"1e400", Reason.OUT_OF_RANGE),
        ("double", b"9007199254740993", Reason.NOT_EXACT),
        ("int", b"2147483648", Reason.OUT_OF_RANGE),
        ("int", b"21.5", Reason.NOT_EXACT),
        ("int", b"1e3", Reason.NOT_EXACT),
        ("boolean", b"1", Reason.WRONG_TYPE),
        ("boolean", b"ON", Reason.NOT_JSON),
        (STATE, b"on", Reason.BAD_FORMAT),
        (STATE, b'"ON"', Reason.BAD_FORMAT),
        (["null", "long", STATE], b"7.5", Reason.NOT_EXACT),
    ],
)  # fmt: skip
def test_encode_refuses_plain_text_that_its_field_does_not_take(kind: Any, payload: bytes, reason: Reason) -> None:
    """What is not exactly that is a dead letter, whose place is the payload itself."""
    letter = value_of(kind, payload)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (reason, "")


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("double", b"21.5\n", 21.5),
        ("string", b'"open"', "open"),
        ("string", b'" half\\nopen "', " half\nopen "),
        (STATE, b' "ON"', "ON"),
        ({"type": "array", "items": "int"}, b"[1, 2]", [1, 2]),
        ({"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}]}, b'{"a": 1}', {"a": 1}),
    ],
)
def test_encode_takes_any_json_value_as_a_whole(kind: Any, payload: bytes, expected: Any) -> None:
    """Where the content is JSON the payload is any value of it, and text has its quotes."""
    assert value_of(kind, payload, "json") == expected


def test_encode_tells_the_place_inside_a_whole() -> None:
    """The pointer leads into the payload, however deep."""
    letter = value_of({"type": "array", "items": "int"}, b"[1, 2.5]", "json")
    assert (letter.reason, letter.pointer) == (Reason.NOT_EXACT, "/1")


def test_encode_takes_no_member_for_the_whole() -> None:
    """The name under which a whole is kept means nothing in the payload of a stream that has none."""
    fields = [{"name": "plug", "type": "string"}]
    made = codec_of({"type": "record", "name": "R", "fields": fields}, ("/plug",), ["/plug"])
    letter = made.encode(b'{"$message.payload#":1}', ("mixer",))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.pointer) == (Reason.EXTRA_FIELD, "/$message.payload#")


near_numbers = st.text('0123456789+-.eE, _xINaf\n\t"{}[]:', max_size=12)
payloads = st.binary(max_size=20) | near_numbers.map(str.encode) | st.text(max_size=12).map(str.encode)


@settings(max_examples=1_000, deadline=None)
@given(kind=st.sampled_from(KINDS), payload=payloads, content=st.sampled_from(["text", "json"]))
def test_encode_judges_any_whole_alike_on_both_paths(kind: Any, payload: bytes, content: Content) -> None:
    """The same bytes or the same dead letter."""
    made = codec(kind, content)
    assert made.encode(payload, ("mixer",)) == made.encode_precisely(payload, ("mixer",))


members = st.sampled_from(['"plug":"x"', '"value":1', '"$message.payload#":1'])


@settings(max_examples=500, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    before=st.sampled_from(["1", '"a"', "true", "ON", ""]),
    glue=st.sampled_from([",", "},{", "}", ",{", "\n,"]),
    member=members,
    after=st.sampled_from(["", "}", ",", '"']),
    content=st.sampled_from(["text", "json"]),
)  # fmt: skip
def test_encode_lets_no_payload_say_a_second_member(  # noqa: PLR0917 - the pieces of a payload
    kind: Any, before: str, glue: str, member: str, after: str, content: Content
) -> None:
    """A payload made to close its value and open another member is text, or a dead letter; the topic's word stays."""
    payload = f"{before}{glue}{member}{after}".encode()
    found = codec(kind, content).encode(payload, ("mixer",))
    if isinstance(found, DeadLetter):
        assert found.pointer == ""
        return
    assert found[0] == b"mixer"
    record = fastavro.schemaless_reader(io.BytesIO(found[1]), fastavro.parse_schema(plug(kind)), None)
    assert content == "text"
    assert record == {"plug": "mixer", "value": payload.decode().strip() if kind != "bytes" else payload.strip()}


@settings(max_examples=300, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53))
def test_encode_reads_numbers_as_json_does(value: float) -> None:
    """Plain text and JSON give one and the same number."""
    payload = json.dumps(value).encode()
    assert value_of("double", payload) == value_of("double", payload, "json") == value


def test_fast_path_takes_bare_values() -> None:
    """They are common, and must be quick."""
    for kind, payload in (("double", b"21.5"), ("long", b"7"), (STATE, b"ON\n"), (["double", "string"], b"1.5")):
        made = codec(kind)
        made.fast(payload, made.prepare(("mixer",)))
