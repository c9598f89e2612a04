"""Constraints in the JSON Schema of a payload: enforced, or a warning that says that they are not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.core.stream_transform import transform_of
from tests.contract.conftest import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "#/components/messages/widgetReadingJson/payload"
TEMPERATURE = "temp_celcius: {type: number}"
VALID = '{"reading_ts":1,"sensor_id":"a","widget_type":"w","widget_weight_g":1,"temp_celcius":'


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        (TEMPERATURE, "temp_celcius: {oneOf: [{type: number}]}", "/properties/temp_celcius/oneOf",
         "The gateway does not enforce 'oneOf': values that violate it pass. Use other keywords, or remove it."),
        (TEMPERATURE, "temp_celcius: {anyOf: [{type: number}]}", "/properties/temp_celcius/anyOf",
         "enforces 'anyOf' only where each of its schemas is a list of required members. Write it as in anyOf: [{"),
        (TEMPERATURE, "temp_celcius: {type: number, not: {const: 1}}", "/properties/temp_celcius/not", "enforce 'not'"),
        (TEMPERATURE, "temp_celcius: {type: number, minimun: 1}", "/properties/temp_celcius/minimun",
         "JSON Schema has no keyword 'minimun'. Did you mean 'minimum'?"),
        (TEMPERATURE, "temp_celcius: {type: number, format: int32}", "/properties/temp_celcius/format",
         "does not enforce the format 'int32' here."),
        ("sensor_id: {type: string}", "sensor_id: {type: string, format: uuid}", "/properties/sensor_id/format",
         "format 'uuid' here. Give the field an Avro type that checks it, or write a pattern."),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '(?i)aa'}", "/properties/sensor_id/pattern",
         "does not enforce this pattern; it does not support inline flags and other groups with ?. Write it without"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: 'a(?!b)'}", "/properties/sensor_id/pattern",
         "does not support looking ahead"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, contentEncoding: quoted-printable}",
         "/properties/sensor_id/contentEncoding",
         "The gateway does not know the encoding 'quoted-printable'. Use base64, base64url, base16."),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '^\\p{L}+$'}",
         "/properties/sensor_id/pattern", "does not support properties of Unicode"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, contentEncoding: hex}",
         "/properties/sensor_id/contentEncoding", "Did you mean 'base16'?"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, contentEncoding: base32}",
         "/properties/sensor_id/contentEncoding", "Use base64, base64url, base16."),
        ("sensor_id: {type: string}", "sensor_id: {type: string, format: byte}",
         "/properties/sensor_id/format", "Instead, write contentEncoding: base64."),
        (TEMPERATURE, "temp_celcius: {type: number, max: 5}", "/properties/temp_celcius/max",
         "JSON Schema has no keyword 'max'. Did you mean 'maximum'?"),
        (TEMPERATURE, "temp_celcius: {type: number, items: [{type: number}]}", "/properties/temp_celcius/items",
         "The gateway does not enforce a schema for each item."),
        ("        additionalProperties: false\n        required: [reading_ts",
         "        patternProperties: {'^x-': {type: string}}\n        required: [reading_ts", "/patternProperties",
         "enforce 'patternProperties'"),
        ("        additionalProperties: false\n        required: [reading_ts",
         "        additionalProperties: {type: string}\n        required: [reading_ts", "/additionalProperties",
         "additionalProperties has no effect here"),
        ("        additionalProperties: false\n        required: [reading_ts",
         "        if: {required: [a]}\n        then: {required: [b]}\n        required: [reading_ts",
         "/then", "'then'"),
    ],
)  # fmt: skip
def test_a_keyword_without_effect_is_a_warning(copy: Copy, old: str, new: str, place: str, message: str) -> None:
    copy.edit(old, new)
    found = {one.path: f"{one.message} {one.fix}" for one in copy.findings() if one.severity == "warning"}
    assert message in found.get(PAYLOAD + place, ""), found
    assert not [one for one in copy.findings() if one.severity == "error"]


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ("type: number, minimum: 10, maximum: 5", "minimum"),
        ("minLength: 2, maxLength: 1", "minLength"),
        ("type: string, enum: [1, 2]", "enum"),
        ("type: number, const: 5, maximum: 4", "const"),
        ("enum: [1, 2], multipleOf: 5", "enum"),
        ("minimum: 5, maximum: 5", ""),
        ("enum: [1, a], type: string", ""),
        ("enum: [], minimum: 5, maximum: '4'", ""),
    ],
)
def test_keywords_that_exclude_each_other_are_a_warning(copy: Copy, schema: str, keyword: str) -> None:
    """Every reading would be a dead letter."""
    copy.edit(TEMPERATURE, f"temp_celcius: {{{schema}}}")
    paths = [one.path for one in copy.findings() if "No value passes" in one.message]
    assert paths == [f"{PAYLOAD}/properties/temp_celcius/{keyword}"] * bool(keyword)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("reading_ts: {type: [string, integer]", "reading_ts: {type: [string, integer], format: date-time"),
        (TEMPERATURE, "temp_celcius: {type: number, format: double, minimum: -40.5, maximum: 1e3, multipleOf: 0.1}"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '^[a-z]+-\\d+$', title: x, $comment: y}"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '^[\\w-.]+$', contentEncoding: 8bit}"),
        ("sensor_id: {type: string}", "sensor_id: {allOf: [{minLength: 1}, {maxLength: 9}], x-other: 1, unit: none}"),
    ],
)
def test_an_enforced_keyword_is_no_finding(copy: Copy, old: str, new: str) -> None:
    """Nor is a format that the field's Avro type checks."""
    copy.edit(old, new)
    assert copy.findings() == []


def test_a_constraint_decides_about_readings_and_examples(copy: Copy) -> None:
    copy.edit(TEMPERATURE, "temp_celcius: {type: number, minimum: 0, multipleOf: 0.1}")
    transform = transform_of(copy.contract().streams["receiveWidgetLine"], [1], 1_000)
    cases = {"0": None, "0.3": None, "-5": Reason.OUT_OF_RANGE, "0.35": Reason.NOT_ALLOWED}
    for value, reason in cases.items():
        result = transform(Reading("receiveWidgetLine", b"widgets/w01", f"{VALID}{value}}}".encode(), 0))
        found = (result.reason, result.pointer) if isinstance(result, DeadLetter) else None
        assert found == (reason and (reason, "/temp_celcius"))
    copy.edit("temp_celcius: 23\n", "temp_celcius: 0.3\n")
    copy.edit("temp_celcius: 23.0\n", "temp_celcius: 0.3\n")
    assert copy.findings() == []
    copy.edit("temp_celcius: 0.3\n", "temp_celcius: -5.25\n")
    places = {one.path for one in copy.findings() if one.severity == "error"}
    assert "#/components/messages/widgetReadingJson/examples/0/payload/temp_celcius" in places


def test_an_array_has_constraints_of_its_own(copy: Copy) -> None:
    copy.edit("        type: object\n        additionalProperties: false\n        required: [reading_ts",
              "        type: array\n        maxItems: 2\n        uniqueItems: true\n        contains: {}\n"
              "        items:\n         type: object\n         additionalProperties: false\n"
              "         required: [reading_ts")  # fmt: skip
    text = copy.document.read_text()
    head, tail = text.split("         required: [reading_ts", 1)
    body, rest = tail.split("      examples:\n", 1)
    rest = rest.split("    widgetReadingAvro:", 1)[1]
    body = body.replace("\n        properties", "\n         properties")
    copy.document.write_text(f"{head}         required: [reading_ts{body}    widgetReadingAvro:{rest}")
    (finding,) = copy.findings()
    assert (finding.path, finding.message[:40]) == (f"{PAYLOAD}/contains", "The gateway does not enforce 'contains':")
    transform = transform_of(copy.contract().streams["receiveWidgetLine"], [1], 1_000)
    one, other = f"{VALID}1}}", f"{VALID}2}}"
    reasons = {f"[{one},{other}]": None, f"[{one},{one}]": Reason.NOT_ALLOWED,
               f"[{one},{other},{VALID}3}}]": Reason.OUT_OF_RANGE}  # fmt: skip
    for payload, reason in reasons.items():
        result = transform(Reading("receiveWidgetLine", b"widgets/w01", payload.encode(), 0))
        assert (result.reason if isinstance(result, DeadLetter) else None) == reason


def test_an_object_that_allows_other_members_ignores_them(tmp_path: Path) -> None:
    """`additionalProperties: true` of an object inside the payload is for that object alone."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "6", tmp_path, dirs_exist_ok=True)
    copy = Copy(tmp_path)
    copy.edit("probe: {type: object,", "probe: {type: object, additionalProperties: true,")
    copy.edit("probe: {C: 231}", "probe: {C: 231, F: 448}")
    assert copy.findings() == []
    copy.edit("at: '2026", "to: 1, at: '2026")
    assert [one.severity for one in copy.findings()] == ["error"]
