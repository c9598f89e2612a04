"""The canonical form: what makes two Avro schemas the same, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.registry.canonical_form import canonical_form, is_same

STATE = {"type": "enum", "name": "State", "namespace": "plant", "symbols": ["open", "closed"]}


def door(state: Any = STATE, *more: Any, **members: Any) -> dict[str, Any]:
    fields = [{"name": "state", "type": state}, *more]
    return {"type": "record", "name": "Door", "namespace": "plant", "fields": fields} | members


def millis(logical: str = "timestamp-millis") -> dict[str, Any]:
    return {"name": "at", "type": {"type": "long", "logicalType": logical}}


def level(default: Any = 1) -> dict[str, Any]:
    return {"name": "level", "type": "double", "default": default}


def limits(default: Any) -> dict[str, Any]:
    return {"name": "limits", "type": {"type": "map", "values": "double"}, "default": default}


SAME: dict[str, tuple[Any, Any]] = {
    "x-source": (door(), {**door(), "fields": [{"name": "state", "type": STATE, "x-source": "$message.payload#/s"}]}),
    "another attribute": (door(), door(**{"connect.version": 3})),
    "an attribute of a primitive": (
        door(STATE, {"name": "id", "type": "string"}),
        door(STATE, {"name": "id", "type": {"type": "string", "avro.java.string": "String"}}),
    ),
    "doc": (door(), door(STATE | {"doc": "What the door is."}, doc="A door.")),
    "order of sorting": (door(STATE, level()), door(STATE, level() | {"order": "descending"})),
    "order of members": (door(), dict(reversed(door().items()))),
    "full name": (door(), {"type": "record", "name": "plant.Door", "fields": door()["fields"]}),
    "namespace that is inherited": (door(), door({name: STATE[name] for name in STATE if name != "namespace"})),
    "namespace that a full name overrides": (door(), door(name="plant.Door", namespace="ignored")),
    "a type by its name": (
        door(STATE, {"name": "before", "type": "State"}), door(STATE, {"name": "before", "type": "plant.State"}),
    ),
    "a default's way to write a number": (door(STATE, level(1)), door(STATE, level(1.0))),
    "a default's order of members": (door(STATE, limits({"a": 1, "b": 2.0})), door(STATE, limits({"b": 2, "a": 1.0}))),
    "order of aliases": (door(aliases=["Gate", "plant.Hatch"]), door(aliases=["Hatch", "plant.Gate"])),
    "a type in a type": (door("string"), door({"type": "string"})),
}  # fmt: skip
OTHER: dict[str, tuple[Any, Any]] = {
    "name": (door(), door(name="Gate")),
    "namespace": (door(), door(namespace="house")),
    "namespace of an enum": (door(), door(STATE | {"namespace": "house"})),
    "type": (door("string"), door("bytes")),
    "order of fields": (door(STATE, millis(), level()), door(STATE, level(), millis())),
    "order of symbols": (door(), door(STATE | {"symbols": ["closed", "open"]})),
    "order of a union": (door(["null", "string"]), door(["string", "null"])),
    "default": (door(STATE, level(1)), door(STATE, level(2))),
    "no default": (door(STATE, level()), door(STATE, {"name": "level", "type": "double"})),
    "null as default": (
        door(STATE, {"name": "n", "type": ["null", "int"]}),
        door(STATE, {"name": "n", "type": ["null", "int"], "default": None}),
    ),
    "true and 1 as default": (door(STATE, limits({"a": 1})), door(STATE, limits({"a": True}))),
    "default symbol": (door(), door(STATE | {"default": "open"})),
    "alias of a record": (door(), door(aliases=["Gate"])),
    "alias of a field": (door(STATE, level()), door(STATE, level() | {"aliases": ["height"]})),
    "logical type": (door(STATE, millis()), door(STATE, millis("timestamp-micros"))),
    "scale": (
        door({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        door({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}),
    ),
    "size": (door({"type": "fixed", "name": "F", "size": 4}), door({"type": "fixed", "name": "F", "size": 8})),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_what_no_reader_uses_makes_no_other_schema(one: Any, other: Any) -> None:
    assert is_same(json.dumps(one), json.dumps(other, indent=3))
    assert is_same(json.dumps(other), json.dumps(one))


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_what_a_reader_uses_makes_another_schema(one: Any, other: Any) -> None:
    assert canonical_form(json.dumps(one)), "valid"
    assert not is_same(json.dumps(one), json.dumps(other))


def test_a_recursive_schema_has_a_form() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    assert is_same(json.dumps(node), json.dumps(node | {"doc": "A list."}))


def test_types_of_other_subjects_are_taken_as_if_they_were_written_at_their_first_use() -> None:
    kind = {"type": "enum", "name": "Kind", "namespace": "plant", "symbols": ["a"]}
    part = {"type": "record", "name": "Part", "namespace": "plant", "fields": [{"name": "kind", "type": "Kind"}]}
    whole = door(part | {"fields": [{"name": "kind", "type": kind}]}, {"name": "kind", "type": "Kind"})
    refers = door("plant.Part", {"name": "kind", "type": "Kind"})
    assert is_same(json.dumps(whole), json.dumps(refers), (json.dumps(kind), json.dumps(part)))
    assert not is_same(json.dumps(whole), json.dumps(refers))
    assert not is_same(json.dumps(whole), json.dumps(refers), (json.dumps(kind | {"symbols": ["b"]}), json.dumps(part)))


@pytest.mark.parametrize("text", ["", "{", "null", "{}", '{"type": "flot"}', "[" * 100_000, 'syntax = "proto3";'])
def test_what_is_no_avro_is_the_same_as_nothing(text: str) -> None:
    assert canonical_form(text) is None
    assert not is_same(text, text)
