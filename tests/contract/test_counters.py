"""`x-counter`: what is wrong with it, where, and a fix that works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract import schema
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from tests import fixes
from tests.contract.prose import PROSE

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.errors import Finding

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
NUMBER = "$message.payload#/number"


def findings(path: Path) -> list[Finding]:
    found = Findings()
    schema.load(Document(path).root, found)
    return list(found)


def written(folder: Path, kind: Any, counter: Any, **more: Any) -> Path:
    """Write a record with a field `v` that counts."""
    path = folder / "r.avsc"
    fields = [
        {"name": "meter", "type": ["null", "string"], "default": None, "x-source": NUMBER},
        {"name": "v", "type": kind, "x-counter": counter, **more},
        {"name": "power", "type": "double"},
        {"name": "at", "type": MILLIS},
    ]
    path.write_text(json.dumps({"type": "record", "name": "R", "fields": fields}))
    return path


@pytest.mark.parametrize(
    ("kind", "counter"),
    [
        ("long", {}),
        ("int", {"most": 36000}),
        ("float", {"most": 0.5, "per": "10s", "tolerance": 0.1}),
        (["null", "double"], {"most": 36000, "per": "1h", "tolerance": 1, "of": NUMBER, "confirm": 2}),
        (DECIMAL, {"tolerance": 0}),
    ],
)
def test_load_takes_a_counter(tmp_path: Path, kind: Any, counter: Any) -> None:
    assert findings(written(tmp_path, kind, counter)) == []


@pytest.mark.parametrize(
    ("kind", "counter", "place", "message", "fix"),
    [
        ("string", {"most": 1}, "", "Only a number can be a counter, not string", "Remove it."),
        (MILLIS, {}, "", "Only a number can be a counter, not long (timestamp-millis)", "Remove it."),
        ({**DECIMAL, "precision": 301}, {}, "", "Only a number can be a counter, not bytes (decimal", "Remove it."),
        ({"type": "bytes", "logicalType": "big-decimal"}, {}, "", "Only a number can be a counter", "Remove it."),
        (["long", "double"], {}, "", "Only a number can be a counter, not long or double", "Remove it."),
        ("long", True, "", "Expected an object, not true", 'Write {"tolerance": 0}.'),
        ("long", {"mots": 1}, "/mots", "x-counter has no member 'mots'", "Did you mean 'most'?"),
        ("long", {"unit": "Wh"}, "/unit", "x-counter has no member 'unit'", "Remove it."),
        ("long", {"most": 0}, "/most", "0 is not a rise, a number above 0", 'Write "most": 36000.'),
        ("long", {"most": "36 kW"}, "/most", "'36 kW' is not a rise", 'Write "most": 36000.'),
        ("long", {"most": True}, "/most", "true is not a rise", 'Write "most": 36000.'),
        ("long", {"most": 1, "per": 3600}, "/per", "3600 is not a time with a unit", 'Write "per": "1h".'),
        ("long", {"most": 1, "per": "0s"}, "/per", "'0s' is not a time with a unit", 'Write "per": "1h".'),
        ("long", {"per": "1h"}, "/per", "A time has no effect without the rise", "Remove it."),
        ("long", {"tolerance": -1}, "/tolerance", "-1 is not a fall that is tolerated", 'Write "tolerance": 0.'),
        ("long", {"confirm": 1}, "/confirm", "1 is not a number of readings, from 2", 'Write "confirm": 5.'),
        ("long", {"confirm": 2.5}, "/confirm", "2.5 is not a number of readings", 'Write "confirm": 5.'),
        ("long", {"of": "number"}, "/of", "'number' is not an expression", 'Write "of": "$message.payload#/meter".'),
        ("long", {"of": 1}, "/of", "'1' is not an expression", 'Write "of": "$message.payload#/meter".'),
        ("long", {"of": "$message.payload#/numbr"}, "/of", "No field of the record reads /numbr",
         "Did you mean '$message.payload#/number'?"),
        ("long", {"of": "$message.payload#"}, "/of", "No field of the record reads the whole payload", ""),
        ("long", {"of": "$message.parameter#/q"}, "/of", "No field of the record reads /q", ""),
        ("long", {"of": "$message.payload#/power"}, "/of", "is double, which is no meter's number", "Point at"),
        ("long", {"of": "$message.payload#/v"}, "/of", "is a counter, which is no meter's number", "Point at"),
        ("long", {"of": "$message.payload#/at"}, "/of", "is long (timestamp-millis), which is no meter's", "Point at"),
        ("long", {"most": 10**400}, "/most", "is not a rise, a number above 0", 'Write "most": 36000.'),
        ("long", {"tolerance": 10**400}, "/tolerance", "is not a fall that is tolerated", 'Write "tolerance": 0.'),
        ("long", {"confirm": 10**400}, "/confirm", "is not a number of readings, from 2", 'Write "confirm": 5.'),
    ],
)  # fmt: skip
def test_load_finds_what_is_wrong_with_a_counter(  # noqa: PLR0917 - the columns of the table
    tmp_path: Path, kind: Any, counter: Any, place: str, message: str, fix: str
) -> None:
    """Each finding has its place, and its fix, once applied, leaves no finding of the kind."""
    path = written(tmp_path, kind, counter)
    found = [one for one in findings(path) if message in one.message]
    assert [one.path for one in found] == [f"#/fields/1/x-counter{place}"]
    assert fix in found[0].fix
    assert found[0].fix
    assert fixes.apply(found[0]) or found[0].fix in PROSE
    assert found[0].fix in PROSE or not [one for one in findings(path) if message in one.message]


def inner(name: str = "Inner", **more: Any) -> dict[str, Any]:
    fields = [{"name": "total", "type": "long", "x-counter": {"of": "$message.payload#/v/id"}}]
    return {"type": "record", "name": name, "fields": [{"name": "id", "type": "string"}, *fields], **more}


def test_load_takes_a_counter_inside_a_record_that_may_be_null(tmp_path: Path) -> None:
    path = written(tmp_path, ["null", inner()], {})
    text = json.loads(path.read_text())
    del text["fields"][1]["x-counter"]
    path.write_text(json.dumps(text))
    assert findings(path) == []


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ({"type": "array", "items": inner()}, "/items/fields/1"),
        ({"type": "map", "values": inner()}, "/values/fields/1"),
        (["null", inner(), inner("Other")], "/1/fields/1"),
    ],
)
def test_load_refuses_a_counter_that_a_record_may_have_twice(tmp_path: Path, kind: Any, place: str) -> None:
    path = written(tmp_path, kind, {})
    found = [one for one in findings(path) if "A counter has one value in a record" in one.message]
    assert found[0].path == f"#/fields/1/type{place}/x-counter"
    assert found[0].fix == "Remove it."


def test_load_refuses_a_counter_beside_no_field(tmp_path: Path) -> None:
    path = written(tmp_path, {"type": "long", "x-counter": {}}, {})
    (found,) = findings(path)
    assert (found.path, found.fix) == ("#/fields/1/type/x-counter", "Remove it.")
    assert "belongs to a field, beside its type" in found.message
