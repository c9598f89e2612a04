"""Constraints of the payload's JSON Schema: both paths of the codec, and the jsonschema library as the oracle."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.validators import extend

from gateway.core.codec.validation_error import pointer
from gateway.core.reading import DeadLetter, Reason
from tests.contract_values import codec_of, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.codec.codec import Codec

relaxed = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

REASONS: dict[str | None, Reason] = {
    "type": Reason.WRONG_TYPE, "additionalProperties": Reason.EXTRA_FIELD,
    **dict.fromkeys(["required", "anyOf"], Reason.MISSING),
    **dict.fromkeys(["enum", "const", "multipleOf", "pattern", "uniqueItems"], Reason.NOT_ALLOWED),
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems",
                     "maxItems", "minProperties", "maxProperties"], Reason.OUT_OF_RANGE),
    None: Reason.NOT_ALLOWED,  # the schema `false`
}  # fmt: skip


def _multiple_of(_validator: Any, divisor: Any, instance: Any, _schema: Any) -> Iterator[Any]:
    """The library divides floats, and finds that 0.3 is no multiple of 0.1."""
    is_number = isinstance(instance, int | Decimal) and not isinstance(instance, bool)
    if is_number and Fraction(instance) % Fraction(str(divisor)):
        yield jsonschema.ValidationError("not a multiple")


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and value == int(value)


def _is_number(_checker: Any, value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


ORACLE = extend(
    jsonschema.Draft7Validator,
    {"multipleOf": _multiple_of},
    type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number}),
)


def expected(schema: Any, payload: str) -> set[tuple[Reason, str]]:
    """Give reason and pointer of every violation that the library finds; numbers are compared as they are written."""
    found = set()
    value = json.loads(payload, parse_float=Decimal)
    for error in ORACLE(json.loads(json.dumps(schema), parse_float=Decimal)).iter_errors(value):
        place = [str(token) for token in error.absolute_path]
        if error.validator == "required":
            (name,) = [one for one in error.validator_value if repr(one) in error.message]
            place.append(name)
        if error.validator == "additionalProperties":
            extra = [one for one in error.instance if one not in error.schema.get("properties", {})]
            found |= {(Reason.EXTRA_FIELD, pointer([*place, name])) for name in extra}
            continue
        found.add((REASONS[error.validator], pointer(place)))
    return found


def verdict(codec: Codec, payload: str) -> tuple[Reason, str] | None:
    """Give the verdict of both paths, which is one."""
    encoded = codec.encode(payload.encode())
    assert encoded == codec.encode_precisely(payload.encode())
    assert codec.not_fast_because == ""
    return (encoded.reason, encoded.pointer) if isinstance(encoded, DeadLetter) else None


# --- against the oracle ------------------------------------------------------------------------------------------

limits = st.sampled_from([0, -1, 5, 100, 0.1, 0.5, -2.5, 1e-7, 2**53, 2**53 + 1, 9007199254740993.0, 10**20, 1e300])
numbers = st.sampled_from([
    "0", "-0", "0.0", "-0.0", "1", "5", "100", "100.0", "1e2", "99.99999999999999999999", "100.00000000000000000001",
    "0.1", "0.10000000000000000001", "0.09999999999999999999", "0.3", "0.30000000000000004", "0.5", "-2.5", "2.5e0",
    "1e-7", "0.0000001", "-1e-400", "1e-400", "9007199254740992", "9007199254740993", "9007199254740992.0",
    "9007199254740993.0", "100000000000000000000",
    "1e20", "1e300", "-1", "-1.0", "7.5", "1e-320", "12345678901234567.5",
]) | st.floats(-200, 200).map(repr) | st.integers(-200, 200).map(str)  # fmt: skip
texts = st.sampled_from(["", "a", "ab", "abc", "m1", "m12", "on", "off", "😀", "😀😀", "é", "1", "A-1", "m1\n", "٣"])
PATTERNS = ["^m[0-9]+$", "o", "^$", "^.{2}$", "^(on|off)$", "[^a-z]", "^(a|b)+c?$"]


def constraints(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw keywords that are about numbers, texts or arrays, and some that are about any value."""
    sizes = st.integers(0, 3)
    own: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "number": {
            **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], limits),
            "multipleOf": st.sampled_from([1, 5, 0.1, 0.25, 1e-7, 2.5]),
            "enum": st.lists(st.sampled_from([0, 1, 5, 100, 0.1, 2.5, True]), min_size=1, max_size=4),
            "const": st.sampled_from([1, 1.0, 0, 0.1, 100, True]),
            "type": st.sampled_from(["integer", "number", ["integer", "null"], ["number", "string"], "string"]),
        },
        "text": {
            **dict.fromkeys(["minLength", "maxLength"], sizes),
            "pattern": st.sampled_from(PATTERNS),
            "enum": st.lists(texts, min_size=1, max_size=4),
            "const": texts,
        },
        "array": {**dict.fromkeys(["minItems", "maxItems"], sizes), "uniqueItems": st.booleans()},
        "object": {
            **dict.fromkeys(["minProperties", "maxProperties"], sizes),
            "const": st.sampled_from([{}, {"a": 1}, {"a": 1.0, "b": 100}]),
            "anyOf": st.lists(
                st.fixed_dictionaries({"required": st.lists(st.sampled_from("abnt"), min_size=1)}), min_size=1
            ),
        },
    }
    return st.fixed_dictionaries({}, optional=own[kind])


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Draw a record, the JSON Schema of its payload, and a payload that the record takes."""
    number, text = draw(constraints("number")), draw(constraints("text"))
    numbered = st.dictionaries(st.sampled_from("abcd"), numbers, max_size=3)
    items = draw(st.just({}) | constraints("number"))
    described: dict[str, Any] = {
        "n": number,
        "t": text if draw(st.booleans()) else {"allOf": [text, draw(constraints("text"))]},
        "l": {**draw(constraints("array")), "items": items},
        "m": {**draw(constraints("object")), "additionalProperties": draw(st.booleans() | constraints("number"))},
        "r": {
            "type": "object",
            "properties": {"n": draw(constraints("number"))},
            "required": draw(st.sampled_from([[], ["n"]])),
        },
        "x": draw(st.just({}) | constraints("number")),
    }
    member = {"a": draw(st.just({}) | constraints("number"))}
    described["m"]["properties"] = member
    names = draw(st.lists(st.sampled_from(sorted(described)), unique=True))
    schema = {
        "type": "object",
        "properties": described,
        "required": names,
        "additionalProperties": draw(st.sampled_from([True, False])),
        **draw(constraints("object").map(lambda drawn: {key: one for key, one in drawn.items() if key != "const"})),
    }
    null = draw(st.sampled_from(["null", None]))
    inner = record({"name": "n", "type": ["null", "double"], "default": None}, name="Inner")
    definition = record(
        ("k", "string"),
        {"name": "n", "type": ["null", "double"] if null else "double", **({"default": None} if null else {})},
        {"name": "t", "type": "string", "default": ""},
        {"name": "l", "type": {"type": "array", "items": "double"}, "default": []},
        {"name": "m", "type": {"type": "map", "values": "double"}, "default": {}},
        {"name": "r", "type": ["null", inner], "default": None},
    )
    members = {"k": '"k"'}
    if null is None or draw(st.booleans()):
        members["n"] = draw(numbers | st.just("null") if null else numbers)
    parts: dict[str, st.SearchStrategy[str]] = {
        "t": texts.map(json.dumps),
        "l": st.lists(numbers, max_size=4).map(lambda each: f"[{','.join(each)}]"),
        "m": numbered.map(lambda each: "{" + ",".join(f'"{name}":{one}' for name, one in each.items()) + "}"),
        "r": st.just("null") | (numbers | st.just("null")).map(lambda one: f'{{"n":{one}}}') | st.just("{}"),
        "x": numbers | texts.map(json.dumps) | st.sampled_from(["null", "true", "[1,1.0]"]),
    }
    members |= {name: draw(part) for name, part in parts.items() if draw(st.booleans())}
    return definition, schema, "{" + ",".join(f'"{name}":{one}' for name, one in members.items()) + "}"


@relaxed
@given(case=cases(), unknown=st.sampled_from(["reject", "ignore"]))
def test_both_paths_agree_with_the_oracle(case: tuple[dict[str, Any], dict[str, Any], str], unknown: Any) -> None:
    """What the record takes passes if the library finds nothing, else it has a reason and place of the library's."""
    definition, schema, payload = case
    described = {**schema, "properties": {**schema["properties"], "k": {"type": "string"}}}
    by_record = verdict(codec_of(definition, ("/k",), unknown=unknown), payload)
    found = verdict(codec_of(definition, ("/k",), unknown=unknown, schema=described), payload)
    if by_record:
        assert found == by_record
    else:
        violations = expected(described, payload)
        assert found in violations if violations else found is None


# --- case by case ------------------------------------------------------------------------------------------------


def of_one(schema: Any, kind: Any = "double", **more: Any) -> Codec:
    """A codec of one member with a schema."""
    definition = record(("k", "string"), {"name": "v", "type": kind, **more})
    return codec_of(definition, ("/k",), schema={"type": "object", "properties": {"v": schema}})


def sent(codec: Codec, value: str) -> tuple[Reason, str] | None:
    return verdict(codec, f'{{"k":"k","v":{value}}}')


@pytest.mark.parametrize(
    ("schema", "kind", "good", "bad", "reason"),
    [
        ({"minimum": 0}, "double", ["0", "0.0", "-0.0", "1e-400", "5"], ["-5", "-1e-400", "-0.1"], "out_of_range"),
        ({"maximum": 100}, "double", ["100", "1e2", "99.9"], ["100.00000000000000000001", "101"], "out_of_range"),
        ({"exclusiveMinimum": 0}, "double", ["0.1", "1e-300"], ["0", "0.0", "-0.0"], "out_of_range"),
        ({"exclusiveMaximum": 0.1}, "double", ["0", "0.09999999999999999999"], ["0.1", "1e-1"], "out_of_range"),
        ({"maximum": 9007199254740992}, "long", ["9007199254740992"], ["9007199254740993"], "out_of_range"),
        ({"maximum": 9007199254740992.0}, "long", ["9007199254740992"], ["9007199254740993"], "out_of_range"),
        ({"minimum": 9223372036854775807}, "long", ["9223372036854775807"], ["9223372036854775806"], "out_of_range"),
        ({"minimum": 10**30}, "double", ["1e30", "1e31"], ["1e29"], "out_of_range"),
        ({"multipleOf": 0.1}, "double", ["0.3", "0", "7", "1e20", "-21.5"], ["0.35", "1e-9999999"], "not_allowed"),
        ({"multipleOf": 0.01}, "double", ["19.99", "4.35"], ["19.999"], "not_allowed"),
        ({"multipleOf": 3}, "int", ["0", "-9"], ["10"], "not_allowed"),
        ({"type": "integer"}, "double", ["1", "1.0", "1e3"], ["1.5", "1.00000000000000000001"], "wrong_type"),
        ({"enum": [1, 2.5]}, "double", ["1", "1.0", "2.5"], ["2", "1.00000000000000000001"], "not_allowed"),
        ({"enum": [1, "a"]}, ["double", "string"], ["1", '"a"'], ['"1"', "2"], "not_allowed"),
        ({"enum": [1]}, ["null", "double"], ["1"], ["null"], "not_allowed"),
        ({"const": True}, ["double", "boolean"], ["true"], ["1", "false"], "not_allowed"),
        ({"const": {"a": 1, "b": [1]}}, {"type": "map", "values": ["double", {"type": "array", "items": "double"}]},
         ['{"b":[1.0],"a":1}'], ['{"a":1}', '{"a":1,"b":[]}'], "not_allowed"),
        ({"minLength": 2, "maxLength": 3}, "string", ['"ab"', '"😀😀"', r'"\ud83d\ude00\ud83d\ude00"'],
         ['"😀"', '"abcd"'], "out_of_range"),
        ({"pattern": "b"}, "string", ['"abc"'], ['"ac"'], "not_allowed"),
        ({"pattern": r"^\d+$"}, "string", ['"12"'], [r'"12\n"', '"١٢"', '""'], "not_allowed"),
        ({"pattern": "^(a+)+$"}, "string", [f'"{"a" * 5_000}"'], [f'"{"a" * 5_000}!"'], "not_allowed"),
        ({"uniqueItems": True}, {"type": "array", "items": "double"}, ["[]", "[1,2]", "[1,1.00000000000000000001]"],
         ["[1,1.0]", "[1,2,1e0]"], "not_allowed"),
        ({"minItems": 1, "maxItems": 2}, {"type": "array", "items": "int"}, ["[1]", "[1,2]"], ["[]", "[1,2,3]"],
         "out_of_range"),
        ({"maxProperties": 1}, {"type": "map", "values": "int"}, ["{}", '{"a":1}'], ['{"a":1,"b":1}'], "out_of_range"),
        ({"minimum": 99.99}, {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 20},
         ["99.99", "1e2"], ["99.98999999999999999999"], "out_of_range"),
        ({"contentEncoding": "base64"}, "string", ['""', '"QQ=="', '"+/+/"'], ['"QQ"', '"Q Q="', '"-_-_"', '"é"'],
         "bad_encoding"),
        (False, ["null", "double"], [], ["1", "null"], "not_allowed"),
    ],
)  # fmt: skip
def test_a_keyword_is_enforced(schema: Any, kind: Any, good: list[str], bad: list[str], reason: str) -> None:
    """On both paths alike, and exactly: every digit that was sent counts."""
    codec = of_one(schema, kind)
    assert [sent(codec, value) for value in good] == [None] * len(good)
    assert [sent(codec, value) for value in bad] == [(reason, "/v")] * len(bad)


@pytest.mark.parametrize(
    ("name", "kind", "text", "data"),
    [
        ("base64", "bytes", "AAH/", b"\6\0\1\xff"),
        ("base64", "bytes", "", b"\0"),
        ("base64", ["null", "bytes"], "QQ==", b"\2\2A"),
        ("base64", {"type": "fixed", "name": "F", "size": 3}, "AAH/", b"\0\1\xff"),
        ("base64url", "bytes", "_-8", b"\4\xff\xef"),
        ("base64url", "bytes", "_-8=", b"\4\xff\xef"),
        ("base16", "bytes", "00fF", b"\4\0\xff"),
        ("base64", "string", "QQ==", b"\x08QQ=="),
    ],
)
def test_encoded_text_is_decoded_where_avro_has_bytes(name: str, kind: Any, text: str, data: bytes) -> None:
    codec = of_one({"type": "string", "contentEncoding": name}, kind)
    payload = json.dumps({"k": "k", "v": text}).encode()
    assert codec.fast(payload, codec.prepare(()))[1] == b"\2k" + data
    assert codec.encode_precisely(payload) == codec.fast(payload, codec.prepare(()))


def test_encoded_text_stays_text_where_avro_takes_text_first() -> None:
    codec = of_one({"contentEncoding": "base64"}, ["string", "bytes"])
    assert codec.encode(b'{"k":"k","v":"QQ=="}') == (b"k", b"\2k\0\x08QQ==", None, None, None)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("base64", "hello!", Reason.BAD_ENCODING),
        ("base64", "QQ", Reason.BAD_ENCODING),
        ("base64", "QR==", Reason.BAD_ENCODING),
        ("base64", "QUJD\n", Reason.BAD_ENCODING),
        ("base64url", "+/+/", Reason.BAD_ENCODING),
        ("base16", "0", Reason.BAD_ENCODING),
        ("base64", "QUI=", Reason.BAD_FORMAT),  # two bytes
    ],
)
def test_text_that_is_not_in_its_encoding_is_a_dead_letter(name: str, text: str, reason: Reason) -> None:
    """A fixed must have its size after decoding."""
    codec = of_one({"contentEncoding": name}, {"type": "fixed", "name": "F", "size": 3})
    assert sent(codec, json.dumps(text)) == (reason, "/v")


def test_texts_are_decoded_in_arrays_maps_and_whole_payloads() -> None:
    described = {"type": "object", "properties": {"k": {}}, "additionalProperties":
                 {"type": "array", "items": {"contentEncoding": "base64"}}}  # fmt: skip
    lists = {"type": "map", "values": {"type": "array", "items": "bytes"}}
    collecting = record(("k", "string"), {"name": "all", "type": lists, "x-source": "$message.payload#"})
    codec = codec_of(collecting, ("/k",), schema=described)
    payload = b'{"k":"k","a":["QQ==",""]}'
    assert codec.fast(payload, codec.prepare(())) == codec.encode_precisely(payload)
    assert codec.fast(payload, codec.prepare(()))[1] == b"\2k\2\2a\4\2A\0\0\0"
    whole = record(("k", "string"), {"name": "all", "type": "bytes", "x-source": "$message.payload#"})
    for content, text in (("json", b'"QQ=="'), ("text", b"QQ==")):
        codec = codec_of(whole, ("/k",), ("/k",), schema={"contentEncoding": "base64"}, content=content)
        assert codec.fast(text, codec.prepare(("k",))) == codec.encode_precisely(text, ("k",))
        assert codec.fast(text, codec.prepare(("k",)))[1] == b"\2k\2A"
        assert codec.encode(text[:-2], ("k",)) != codec.encode(text, ("k",))


def test_a_schema_that_only_describes_the_record_adds_no_code() -> None:
    """What the Avro types demand anyway is not demanded twice."""
    schema = {
        "type": "object", "required": ["k", "v", "in"], "additionalProperties": False,
        "properties": {
            "k": {"type": "string"}, "v": {"type": ["number", "null"]}, "t": {"type": ["string", "integer"]},
            "in": {"type": "object", "required": ["n"], "additionalProperties": False,
                   "properties": {"n": {"type": "integer"}}},
        },
    }  # fmt: skip
    inner = record(("n", "int"), name="Inner")
    time = {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0}
    definition = record(("k", "string"), ("v", ["null", "double"]), time, ("in", inner))
    assert codec_of(definition, ("/k",), schema=schema)._rules is None  # noqa: SLF001 - what has no effect cannot be seen


def test_the_topic_supplies_no_member_that_the_schema_requires() -> None:
    """The schema describes the payload as it is sent."""
    definition, schema = record(("k", "string")), {"required": ["k"], "properties": {"k": {"maxLength": 3}}}
    codec = codec_of(definition, ("/k",), ("/k",), schema=schema)
    assert codec.encode(b"{}", ("key",)) == DeadLetter(Reason.MISSING, "/k", "the schema requires this member")
    assert codec.encode(b'{"k":"key"}', ("key",)) == codec.encode_precisely(b'{"k":"key"}', ("key",))
    del schema["required"]
    codec = codec_of(definition, ("/k",), ("/k",), schema=schema)
    assert not isinstance(codec.encode(b"{}", ("longer",)), DeadLetter)


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": "0", "maximum": True, "pattern": 5, "enum": 1, "type": "numbr", "multipleOf": 0, "minLength": -1},
        {"minimum": float("nan"), "maximum": float("inf"), "required": "v", "properties": [], "items": [{}]},
        {"required": [5, ["v"]], "allOf": {}, "contentEncoding": ["base64"], "uniqueItems": "yes", "maxItems": 1.5},
        {"pattern": "(", "contentEncoding": "7bit", "additionalProperties": None, "properties": {"x": 5}},
        5,
    ],
)
def test_what_is_no_schema_demands_nothing(schema: Any) -> None:
    """The contract's check reports it; the codec does not raise."""
    assert sent(of_one(schema), "1") is None
    assert sent(codec_of(record(("k", "string"), ("v", "double")), ("/k",), schema=schema), "1") is None
