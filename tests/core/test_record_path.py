"""Records inside messages: cut out with what they read of the envelope, and the places of errors in the message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.avro_schema import build
from gateway.core.codec.json_text import parse
from gateway.core.codec.unread import IGNORED, unread
from gateway.core.codec.validation_error import ValidationError, pointer
from gateway.core.reading import Reason
from gateway.core.record_path import EACH_ITEM, MAX_BYTES, RecordPath, Step
from tests.contract_values import record

ITEMS, MEMBERS = Step("items"), Step("members")
VALUES = (Step("member", "values"), ITEMS)
DEVICES = (Step("members", "device"), ITEMS)
DEEP = (Step("member", "lines"), Step("members", "line"), Step("member", "points"), ITEMS)


def source(name: str, expression: str, kind: Any = "string") -> dict[str, Any]:
    return {"name": name, "type": kind, "x-source": f"$message.{expression}"}


TIME = source("time", "envelope#/timestamp", "long")
UNIT = source("unit", "envelope#/meta/unit")
DEVICE = source("device", "parameter#/device")
LINE, NAME = source("line", "parameter#/line"), source("name", "envelope#/lines/{line}/name")
VALUE = ("v", "int")
WHOLE = source("v", "payload#", "int")


def path(steps: tuple[Step, ...], *fields: Any, **more: Any) -> RecordPath:
    return RecordPath(steps, build(record(*fields)), **more)


def texts(cutter: RecordPath, message: Any) -> list[Any]:
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return [json.loads(text) for group in cutter.cut(payload) for text in group.texts]


IN_META = unread({"properties": {"meta": {"additionalProperties": True}}}, ignores=False)
T, U, D = "$message.envelope#/timestamp", "$message.envelope#/meta/unit", "$message.parameter#/device"


@pytest.mark.parametrize(
    ("cutter", "message", "expected"),
    [
        (path(EACH_ITEM, VALUE), [{"v": 1}, {"v": 2}], [{"v": 1}, {"v": 2}]),
        (path((MEMBERS,), VALUE), {"a": {"v": 1}, "b": {"v": 2}}, [{"v": 1}, {"v": 2}]),
        (path(VALUES, VALUE, TIME), {"timestamp": 5, "values": [{"v": 1}, {}, 3]}, [{"v": 1, T: 5}, {T: 5}, 3]),
        (path(VALUES, VALUE, TIME, UNIT), {"values": [{"v": 1}], "meta": {"unit": "C"}}, [{"v": 1, U: "C"}]),
        (path(VALUES, VALUE), {"values": [{"v": 1}]}, [{"v": 1}]),
        (path(VALUES, VALUE, unread=IGNORED), {"x": 1, "values": [{"v": 1}]}, [{"v": 1}]),
        (path(VALUES, VALUE, UNIT, unread=IN_META), {"values": [{"v": 1}], "meta": {"unit": "C", "x": 1}},
         [{"v": 1, U: "C"}]),
        (path((Step("member", "SML"),), VALUE, TIME), {"timestamp": 5, "SML": {"v": 1}}, [{"v": 1, T: 5}]),
        (path((Step("member", "SML"),), VALUE), {"SML": {"v": 1}}, [{"v": 1}]),
        (path(DEVICES, VALUE, DEVICE), {"A": [{"v": 1}, {"v": 2}], "B": [], "C": [{"v": 3}]},
         [{"v": 1, D: "A"}, {"v": 2, D: "A"}, {"v": 3, D: "C"}]),
        (path(DEEP, VALUE, LINE, NAME), {"lines": {"1": {"name": "one", "points": [{"v": 1}]}}},
         [{"v": 1, "$message.parameter#/line": "1", "$message.envelope#/lines/{line}/name": "one"}]),
        (path((Step("members", "device"),), WHOLE, DEVICE), {"A": 1, "B": 2},
         [{"$message.payload#": 1, D: "A"}, {"$message.payload#": 2, D: "B"}]),
        (path(VALUES, WHOLE, TIME), {"timestamp": 5, "values": [1]}, [{"$message.payload#": 1, T: 5}]),
        (path((MEMBERS,), WHOLE), {"A": 1}, [1]),
        (path(DEVICES, VALUE, DEVICE), b'{"\\u00e4\\"" : [ { } , {"v" : 1}]}', [{D: 'ä"'}, {"v": 1, D: 'ä"'}]),
        (path(VALUES, VALUE, TIME), {"timestamp": 5, "values": [{"$v": 1}]}, [{"$v": 1, T: 5}]),
    ],
)  # fmt: skip
def test_cut_writes_what_each_record_reads_into_its_text(cutter: RecordPath, message: Any, expected: list[Any]) -> None:
    assert texts(cutter, message) == expected


@pytest.mark.parametrize(
    ("cutter", "payload", "reason", "place"),
    [
        (path(VALUES, VALUE, TIME), b"[]", Reason.WRONG_TYPE, ""),
        (path(VALUES, VALUE, TIME), b'{"timestamp":1}', Reason.MISSING, "/values"),
        (path(VALUES, VALUE, TIME), b'{"values":{}}', Reason.WRONG_TYPE, "/values"),
        (path(VALUES, VALUE, TIME), b'{"values":[]}', Reason.EMPTY, ""),
        (path(VALUES, VALUE, TIME), b'{"values":[{}],"x":1}', Reason.EXTRA_FIELD, "/x"),
        (path(VALUES, VALUE, UNIT), b'{"values":[{}],"meta":{"x":1}}', Reason.EXTRA_FIELD, "/meta/x"),
        (path(VALUES, VALUE, UNIT), b'{"values":[{}],"meta":1}', Reason.WRONG_TYPE, "/meta"),
        (path(VALUES, VALUE, unread=IGNORED), b'{"x":"\xff","values":[{}]}', Reason.BAD_ENCODING, "/x"),
        (path(VALUES, VALUE, unread=IGNORED), b'{"x":"\\ud800","values":[{}]}', Reason.BAD_ENCODING, "/x"),
        (path(VALUES, VALUE, unread=IGNORED), b'{"x":%b,"values":[{}]}' % (b"[" * 40 + b"]" * 40),
         Reason.TOO_DEEP, "/x"),
        (path(VALUES, VALUE, TIME), b'{"timestamp":1,"values":[{},', Reason.NOT_JSON, ""),
        (path(VALUES, VALUE, TIME), b'{"timestamp":1,"values":[{"$message.envelope#/timestamp":2}]}',
         Reason.EXTRA_FIELD, "/values/0/$message.envelope#~1timestamp"),
        (path(VALUES, VALUE, TIME), b'{"values":[{},{"\\u0024message.envelope#/timestamp":2}]}',
         Reason.EXTRA_FIELD, "/values/1/$message.envelope#~1timestamp"),
        (path(DEVICES, VALUE, DEVICE), b'{"A":[],"B":[]}', Reason.EMPTY, ""),
        (path(DEVICES, VALUE, DEVICE), b'{"A":[{}],"B":1}', Reason.WRONG_TYPE, "/B"),
        (path(DEEP, VALUE, LINE, NAME), b'{"lines":{"1":{"points":[{}]},"2":{}}}', Reason.MISSING, "/lines/2/points"),
        (path(EACH_ITEM, VALUE), b"[%b]" % b",".join([b"1"] * 10_001), Reason.TOO_LARGE, ""),
        (path(VALUES, VALUE, TIME),
         b'{"timestamp":"%b","values":[%b]}' % (b"x" * 2**20, b",".join([b"1"] * (MAX_BYTES // 2**20))),
         Reason.TOO_LARGE, ""),
    ],
)  # fmt: skip
def test_cut_refuses_a_message(cutter: RecordPath, payload: bytes, reason: Reason, place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        cutter.cut(payload)
    assert (refused.value.reason, pointer(refused.value.tokens)) == (reason, place)


@pytest.mark.parametrize(
    ("cutter", "payload", "number", "inside", "place"),
    [
        (path(VALUES, VALUE, TIME), b'{"values":[{},{}]}', 1, ("v",), ("values", "1", "v")),
        (path(VALUES, VALUE, TIME), b'{"values":[{},{}]}', 1, (T,), ("timestamp",)),
        (path(VALUES, VALUE, UNIT), b'{"values":[{}]}', 0, (U, "x"), ("meta", "unit", "x")),
        (path(DEVICES, VALUE, DEVICE), b'{"A":[{}],"B":[{},{}]}', 2, (D,), ("B",)),
        (path(DEVICES, VALUE, DEVICE), b'{"A":[{}],"B":[{},{}]}', 2, (), ("B", "1")),
        (path(DEEP, VALUE, LINE, NAME), b'{"lines":{"7":{"points":[{}]}}}', 0,
         ("$message.envelope#/lines/{line}/name",), ("lines", "7", "name")),
        (path(VALUES, WHOLE, TIME), b'{"values":[1]}', 0, ("$message.payload#", "a"), ("values", "0", "a")),
    ],
)  # fmt: skip
def test_place_leads_into_the_message(
    cutter: RecordPath, payload: bytes, number: int, inside: tuple[str, ...], place: tuple[str, ...]
) -> None:
    assert cutter.place(cutter.cut(payload), number, inside) == place


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(values=st.lists(json_values, min_size=1, max_size=4), indent=st.sampled_from([None, 0, 2]), ascii_=st.booleans())
def test_records_are_what_json_says(values: list[Any], indent: int | None, ascii_: bool) -> None:  # noqa: FBT001 - drawn
    """Taken apart and parsed one by one, an array is what it is parsed at once."""
    payload = json.dumps(values, indent=indent, ensure_ascii=ascii_).encode(errors="surrogatepass")
    try:
        whole = parse(payload)
    except ValidationError:
        return
    assert [parse(text) for group in path(EACH_ITEM, VALUE).cut(payload) for text in group.texts] == whole
