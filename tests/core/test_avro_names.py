"""Types of other files, written into a schema at their first use."""

from __future__ import annotations

from typing import Any

import fastavro
import pytest

from gateway.core.avro_names import definitions_in, fullname_of, named_types, unknown, with_definitions
from gateway.core.avro_schema import build
from gateway.registry.canonical_form import form_of


def record(name: str, *types: Any, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": one} for number, one in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields, **more}


UNIT = {"type": "enum", "name": "a.Unit", "symbols": ["C", "F"], "x-note": "kept"}
POINT = record("Point", "double", "Unit", namespace="a")
LONE = {"type": "fixed", "name": "Lone", "size": 2}


@pytest.mark.parametrize(
    ("schema", "others", "expected"),
    [
        (record("R", "a.Unit", "a.Unit"), [UNIT], record("R", {**UNIT, "name": "Unit", "namespace": "a"}, "a.Unit")),
        (record("a.R", "Unit", ["null", "Unit"]), [UNIT], record("a.R", {**UNIT, "name": "Unit"}, ["null", "Unit"])),
        (record("a.R", "Lone"), [LONE], record("a.R", "Lone")),  # which is a.Lone
        (record("a.R", record("", "Lone", namespace="")), [LONE], record("a.R", record("", LONE, namespace=""))),
        (record("a.R", {"type": "array", "items": "Unit"}), [UNIT],
         record("a.R", {"type": "array", "items": {**UNIT, "name": "Unit"}})),
        (record("a.R", {"type": "map", "values": {"type": "Unit"}}), [UNIT],
         record("a.R", {"type": "map", "values": {"type": {**UNIT, "name": "Unit"}}})),
        (record("a.R", "Unit"), [{**UNIT, "symbols": ["C"]}, UNIT],
         record("a.R", {**UNIT, "name": "Unit", "symbols": ["C"]})),
        (record("R", "a.Nowhere", "int"), [UNIT], record("R", "a.Nowhere", "int")),
        (record("R", {**LONE}, "Lone"), [{**LONE, "size": 9}], record("R", {**LONE}, "Lone")),
        ("string", [UNIT], "string"),
    ],
)  # fmt: skip
def test_completed_writes_a_definition_where_its_name_is_used_first(
    schema: Any, others: list[Any], expected: Any
) -> None:
    assert with_definitions(schema, definitions_in(others)) == expected


def test_completed_follows_types_through_files() -> None:
    """A type that is used in a file and in one that it uses is defined once, and is the same as if written by hand."""
    made = with_definitions(record("a.R", "Unit", "Point"), definitions_in([POINT, UNIT]))
    by_hand = record("a.R", UNIT, record("Point", "double", "Unit"))
    assert form_of(build(made)) == form_of(build(by_hand))
    made = with_definitions(record("b.R", "a.Point", "a.Unit"), definitions_in([POINT, UNIT]))
    fastavro.parse_schema(made)
    assert form_of(build(made)) == form_of(build(record("b.R", record("a.Point", "double", UNIT), "a.Unit")))


def test_completed_takes_a_definition_inside_another_once() -> None:
    """The file's own record has it, too: it becomes a name there."""
    outer = record("a.Outer", record("Inner", "int"))
    made = with_definitions(record("a.R", "Inner", "Outer"), definitions_in([outer]))
    fastavro.parse_schema(made)
    assert [one.type.name for one in build(made).fields] == ["a.Inner", "a.Outer"]


@pytest.mark.parametrize("broken", [None, 7, {}, {"type": 5}, {"type": "record"}, {"type": "array"}, [[]], {"type": []},
                                    {"type": "record", "name": 3, "fields": [1, {}, {"type": None}]}])  # fmt: skip
def test_a_schema_that_is_not_valid_stays_as_it_is(broken: Any) -> None:
    """The rules of Avro report it."""
    assert with_definitions(broken, definitions_in([broken, UNIT])) == broken


def test_unknown_gives_names_that_the_schema_does_not_define_and_their_places() -> None:
    assert not unknown(record("R", UNIT, "a.Unit"))
    assert not unknown(record("R", "a.Unit", UNIT))
    used = record("b.R", {"type": "array", "items": ["null", "Unit"]})
    assert unknown(used) == [(("fields", "0", "type", "items", "1"), "Unit", "b.Unit")]


def test_named_types_have_full_names() -> None:
    assert list(named_types(record("a.R", record("Inner", UNIT)))) == ["a.R", "a.Inner", "a.Unit"]
    assert fullname_of({"name": "R", "namespace": "a"}, "b") == "a.R"
