"""The words that a field lacks: proposed where the field then takes the value, and nowhere else."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.source_advice import proposal
from gateway.core.avro_schema import build
from gateway.core.codec.json_text import parse
from gateway.core.codec.precise_encoder import takes
from tests import fixes
from tests.contract.conftest import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.avro_schema import Field

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
MD5 = {"type": "fixed", "name": "Md5", "size": 3}
NUMBER = '{"parse": "number"}'
ZONE = ", with the zone of the device's clock"


def field_of(kind: Any, **more: Any) -> Field:
    return build({"type": "record", "name": "R", "fields": [{"name": "v", "type": kind, **more}]}).fields[0]


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        ("double", '"317.3988"', NUMBER),
        ("int", '"0042"', NUMBER),
        (["null", "double"], '"+1"', NUMBER),
        (CENTS, '"1.50"', NUMBER),
        (CENTS, '"1.505"', '{"parse": "number", "round": "floor"}'),
        (CENTS, "1.505", '{"round": "floor"}'),
        (MILLIS, '"2026-01-05T06:00:00"', '{"zone": "UTC"}' + ZONE),
        (MILLIS, '"2026-01-05T06:00:00.1234567"', '{"zone": "UTC", "round": "floor"}' + ZONE),
        (MILLIS, '"2026-01-05T06:00:00.123456789Z"', '{"round": "floor"}'),
        (LOCAL, '"2026-01-05T06:00:00.1234567"', '{"round": "floor"}'),
        (MILLIS, "1697622940.5", '{"factor": 1000}'),
        (MICROS, "1697622940.5", '{"factor": 1000000}'),
        (MILLIS, "1697622940.12345", '{"factor": 1000, "round": "floor"}'),
        (MILLIS, '"1697622940"', '{"parse": "number", "factor": 1000}'),
        (MILLIS, '"1697622940123"', NUMBER),
        ("boolean", '"true"', '{"parse": "boolean"}'),
        ("boolean", '"OFF"', '{"trues": ["ON"], "falses": ["OFF"]}'),
        ("boolean", '"Open"', '{"trues": ["Open"], "falses": ["Closed"]}'),
        ("boolean", "0", '{"trues": [1], "falses": [0]}'),
        ("string", "3", '{"parse": "string"}'),
        (MD5, '"00ffA0"', '{"parse": "hex"}'),
        (MD5, '"AP+g"', '{"parse": "base64"}'),
        (["null", "double"], '"nan"', '{"nulls": ["nan"]}'),
        (["null", MILLIS], '""', '{"nulls": [""]}'),
        ("double", '"Unavailable"', '{"nulls": ["Unavailable"]}'),
    ],
)
def test_proposal_is_what_makes_the_field_take_the_value(kind: Any, sent: str, expected: str) -> None:
    """The words stand beside the location that the field has."""
    value = parse(sent.encode())
    for source in (None, "$message.payload#/a", ["$message.payload#/a", "$message.payload#/b"]):
        field = field_of(kind, **({"x-source": source} if source else {}))
        found = proposal(field, value)
        located = f'{{"location": {json.dumps(source)}, ' if source else "{"
        assert found.endswith(f'"x-source": {located}{expected.removeprefix("{")}')
        members = json.loads(f"{{{found.removesuffix(ZONE)}}}")
        assert takes(field_of(members.pop("type", kind), **members), value)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("double", '"twenty-one"'), ("double", '"21,5"'), ("double", "true"), ("double", "[]"), ("double", "null"),
        ("double", "21.5"), ("int", "21.5"), ("int", '"21.5"'), ("boolean", '"heating"'), ("boolean", "2"),
        ("string", "3.5"), ("string", "true"),
        (MILLIS, '"yesterday"'), (MILLIS, '"2026-02-30T00:00:00"'), (["double", "boolean"], '"21.5"'), (MD5, '"AQ=="'),
        (MILLIS, "1e999999"), ({"type": "map", "values": "double"}, '"1"'),
    ],
)  # fmt: skip
def test_proposal_is_nothing_where_it_would_be_a_guess(kind: Any, sent: str) -> None:
    assert not proposal(field_of(kind), parse(sent.encode()))


def test_proposal_keeps_the_words_that_are_there() -> None:
    field = field_of(["null", "double"], **{"x-source": {"factor": "0.1", "nulls": ["nan"]}})
    assert proposal(field, "215") == '"x-source": {"factor": "0.1", "nulls": ["nan"], "parse": "number"}'
    assert proposal(field, "n/a") == '"x-source": {"factor": "0.1", "nulls": ["nan", "n/a"]}'
    assert not proposal(field_of("boolean", **{"x-source": {"trues": ["on"]}}), "OFF")


def test_check_quotes_the_word_that_is_missing(tmp_path: Path) -> None:
    """The finding is at the field, names the example, and its fix works."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "13", tmp_path / "steps")
    steps = Copy(tmp_path / "steps")
    steps.edit("dC: {type: integer, minimum: -200, maximum: 5000, ", "dC: {type: [string, integer], ")
    steps.edit("probe: {dC: 2315}", "probe: {dC: '2315'}")
    (found,) = steps.findings()
    assert found.path == "#/fields/1"
    assert "The example would be a dead letter, wrong_type: expected a number (double), got text (" in found.message
    assert "asyncapi.yaml:" in found.message
    source = '{"location": "$message.payload#/probe/dC", "factor": "0.1", "parse": "number"}'
    assert found.fix == f'Write "x-source": {source}.'
    assert fixes.apply(found)
    assert steps.findings() == []


def test_check_finds_a_text_that_would_be_decoded_twice(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "docs" / "steps" / "18", tmp_path / "steps")
    steps = Copy(tmp_path / "steps")
    steps.edit("frame: {type: string}", "frame: {type: string, contentEncoding: base64}")
    found, *_ = steps.findings()  # the others are the examples'
    assert found.path == "#/components/messages/heatJson/payload/properties/frame/contentEncoding"
    assert "already decoded by x-source of field 'telegram'" in found.message
    assert fixes.apply(found)
    assert steps.findings() == []


def test_check_quotes_the_encoding_that_the_record_shows(tmp_path: Path) -> None:
    """Any text is a value of bytes; that it should have been decoded shows in the Kafka example of the same name."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "13", tmp_path / "steps")
    steps = Copy(tmp_path / "steps")
    steps.edit('"type": "double"', '"type": "bytes"', "plug.avsc")
    steps.edit("payload: {type: number, description: Watts.}", "payload: {type: string}")
    steps.edit("{name: mixing, payload: 43.5}", "{name: mixing, payload: 'AQI/'}")
    steps.edit("power: 43.5", r'power: "\x01\x02\x3f"')
    (found,) = steps.findings()
    assert found.fix == 'Write "x-source": {"location": "$message.payload#", "parse": "base64"}.'
    assert fixes.apply(found)
    assert steps.findings() == []
