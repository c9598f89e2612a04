"""The words of `x-source`: what is wrong with them, where, and a fix that works."""

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
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
MD5 = {"type": "fixed", "name": "Md5", "size": 16}


def findings(path: Path) -> list[Finding]:
    found = Findings()
    schema.load(Document(path).root, found)
    return list(found)


def written(folder: Path, kind: Any, source: Any, **more: Any) -> Path:
    """Write a record with a field `v`."""
    path = folder / "r.avsc"
    fields = [{"name": "id", "type": "string"}, {"name": "v", "type": kind, "x-source": source, **more}]
    path.write_text(json.dumps({"type": "record", "name": "R", "fields": fields}))
    return path


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("double", {"parse": "number"}),
        ("int", {"parse": "number", "factor": 10, "round": "floor"}),
        (["null", "double"], {"location": "$message.payload#/a", "parse": "number", "nulls": ["nan", 0.5, False]}),
        (["null", "double", "string"], {"nulls": ["unavailable", [], {}]}),
        ("boolean", {"parse": "boolean"}),
        ("boolean", {"trues": ["ON", 1, True], "falses": ["OFF", 0, False]}),
        (["boolean", "null"], {"trues": [False], "falses": [True], "nulls": [""]}),
        ("bytes", {"parse": "base64"}),
        (["null", "string"], {"parse": "string"}),
        (["null", MD5], {"parse": "hex"}),
        (MILLIS, {"zone": "Europe/Vienna", "repeated": "second", "round": "floor"}),
        (["null", MILLIS], {"zone": "Etc/GMT-1", "factor": 1000}),
        (LOCAL, {"round": "floor"}),
        (CENTS, {"parse": "number", "round": "floor"}),
        ({"type": "int", "logicalType": "time-millis"}, {"round": "floor"}),
    ],
)  # fmt: skip
def test_load_takes_the_words_where_they_have_an_effect(tmp_path: Path, kind: Any, source: Any) -> None:
    assert findings(written(tmp_path, kind, source)) == []


@pytest.mark.parametrize(
    ("kind", "source", "place", "message", "fix"),
    [
        ("double", {"pares": "number"}, "/pares", "x-source has no member 'pares'", "Did you mean 'parse'?"),
        ("double", {"parse": "number", "unit": 1}, "/unit", "has no member 'unit'", "Remove it, or use location, "),
        ("double", {"location": "$message.payload#/a"}, "", "does not say how", "Write the location as plain text"),
        ("double", {"parse": "nubmer"}, "/parse", "A text cannot be read as 'nubmer'", "Did you mean 'number'?"),
        ("double", {"parse": ["number"]}, "/parse", 'A text cannot be read as ["number"]', "Use number, boolean, "),
        ("double", {"parse": "boolean"}, "/parse", "not read as boolean for a field of type", '"parse": "number"'),
        ("bytes", {"parse": "number"}, "/parse", "not read as number for a field of type bytes", '"parse": "base64"'),
        ("string", {"parse": "number"}, "/parse", "is not read as number for a field of type string",
         'Write "parse": "string".'),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, {"parse": "string"}, "/parse",
         "Only a field with a number, a boolean, bytes or text", "Remove it."),
        (["double", "string"], {"parse": "number"}, "/parse", "can have 'parse'", "Remove it."),
        ("boolean", {"parse": "boolean", "trues": ["ON"]}, "/parse", "already read by trues", "Remove it."),
        (MILLIS, {"parse": "number", "zone": "UTC"}, "/parse", "already read by zone", "Remove it."),
        ("boolean", {"trues": [[]]}, "/trues/0", "Expected text, a number, true or false", "Remove it."),
        (["null", "double"], {"nulls": [[1]]}, "/nulls/0", "Expected text, a number, true or false", "Remove it."),
        ("boolean", {"trues": []}, "/trues", "Expected a list of values in trues", 'as in "trues": ["ON"]'),
        ("boolean", {"trues": "ON"}, "/trues", "Expected a list of values in trues", 'as in "trues": ["ON"]'),
        ("double", {"trues": ["ON"]}, "/trues", "Only a field with a boolean can have 'trues'", "Remove it."),
        ("boolean", {"trues": ["ON"], "falses": ["off", "ON"]}, "/falses/1", "'ON' is also in trues", "Remove it."),
        ("boolean", {"trues": [1, 1.0]}, "/trues/1", "1.0 is also in trues", "Remove it."),
        ("boolean", {"trues": ["ON", {}]}, "/trues/1", "Expected text, a number, true or false, not {}", "Remove it."),
        (["null", "boolean"], {"nulls": ["", "-"], "falses": ["-"]}, "/falses/0", "'-' is also in nulls", "Remove it."),
        (["null", "double"], {"nulls": [None, ""]}, "/nulls/0", "Expected text, a number, true or false", "Remove it."),
        (["null", "double"], {"nulls": -9999}, "/nulls", "Expected a list of values", '"nulls": ["unavailable"]'),
        ("double", {"nulls": ["nan"]}, None, "The field cannot be null", 'Write "type": ["null", "double"].'),
        ({"type": "enum", "name": "State", "symbols": [f"state_{one}" for one in range(9)]}, {"nulls": ["?"]}, None,
         "The field cannot be null", 'Make its type a union with "null".'),
        (["int", "string"], {"nulls": [-1]}, None, "The field cannot be null", '["null", "int", "string"]'),
        (MILLIS, {"zone": "Europe/Viena"}, "/zone", "'Europe/Viena' is not a time", "Did you mean 'Europe/Vienna'?"),
        (MILLIS, {"zone": "localtime"}, "/zone", "'localtime' is not a time zone of the IANA database", ""),
        (MILLIS, {"zone": 1}, "/zone", "1 is not a time zone of the IANA database", '"zone": "Europe/Vienna"'),
        ("long", {"zone": "UTC"}, "/zone", "Only a field with a timestamp with zone can have 'zone'", "Remove it."),
        (LOCAL, {"zone": "UTC"}, "/zone", "Only a field with a timestamp with zone can have 'zone'", "Remove it."),
        (MILLIS, {"repeated": "first"}, "/repeated", "Without a zone no hour repeats", '"zone": "Europe/Vienna"'),
        (MILLIS, {"zone": "UTC", "repeated": 2}, "/repeated", "has no reading 2", "Use first, second."),
        (MILLIS, {"round": "ceil"}, "/round", "The gateway does not round by 'ceil'", "Use floor."),
        ("double", {"round": "floor"}, "/round", "Only a field with an integer, a time or a decimal", "Remove it."),
    ],
)  # fmt: skip
def test_load_finds_what_is_wrong_with_a_word(  # noqa: PLR0917 - the columns of the table
    tmp_path: Path, kind: Any, source: Any, place: str | None, message: str, fix: str
) -> None:
    """Each finding has its place, and its fix, once applied, leaves no finding of the kind."""
    path = written(tmp_path, kind, source)
    found = [one for one in findings(path) if message in one.message]
    assert [one.path for one in found] == ["#/fields/1" + ("" if place is None else f"/x-source{place}")]
    assert fix in found[0].fix
    assert found[0].fix
    assert fixes.apply(found[0]) or found[0].fix in PROSE
    assert found[0].fix in PROSE or not [one for one in findings(path) if message in one.message]


def test_load_takes_a_default_that_is_no_null(tmp_path: Path) -> None:
    """The fix keeps the default in the first branch of the union."""
    path = written(tmp_path, "double", {"nulls": ["nan"]}, default=0)
    (found,) = findings(path)
    assert found.fix == 'Write "type": ["double", "null"].'
    assert fixes.apply(found)
    assert findings(path) == []


def nested(folder: Path, source: Any) -> Path:
    inner = {"name": "at", "type": ["null", MILLIS], "x-source": source}
    record = {"type": "record", "name": "Inner", "fields": [inner, {"name": "deep", "type": ["null", "Inner"]}]}
    return written(folder, {"type": "array", "items": record}, "$message.payload#/all")


def test_load_takes_words_inside_records_but_no_location(tmp_path: Path) -> None:
    place = "#/fields/1/type/items/fields/0/x-source"
    assert findings(nested(tmp_path, {"zone": "Europe/Vienna", "nulls": [""]})) == []
    (found,) = findings(nested(tmp_path, {"zone": "Europe/Vienna", "location": "$message.payload#/x"}))
    assert (found.path, found.message.partition(": ")[2]) == (
        f"{place}/location", "A location is allowed on fields of the outermost record only.",
    )  # fmt: skip
    (found,) = findings(nested(tmp_path, {"zone": "Europe/Wien"}))
    assert (found.path, found.fix) == (f"{place}/zone", "Did you mean 'Europe/Vienna'?")
