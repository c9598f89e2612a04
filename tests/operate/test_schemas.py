"""Schemas under change: verdicts against Apache Avro's checker, git, folders, and a real registry."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import fastavro
import httpx
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse as parse_by_avro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.avro_schema import AvroType
from gateway.errors import ConfigurationError
from gateway.operate.schemas import advice
from gateway.operate.schemas.avsc import Schema, parse
from gateway.operate.schemas.difference import difference
from gateway.operate.schemas.mode import Mode
from gateway.operate.schemas.resolution import faults, problems
from gateway.operate.schemas.subjects import Subjects
from gateway.registry.api import Endpoint
from gateway.registry.lock_file import LOCK_FILE
from gateway.registry.registry import SchemaRegistry, Unresolved
from tests.contract_values import avro
from tests.core.avro_schemas import records as any_records
from tests.fixes import PYTHON
from tests.stack.gateway import ROOT, Gateway
from tests.stack.publisher import Publisher
from tests.stack.scripted_http import Scripted
from tests.test_cli import command
from tests.test_end_to_end import Topics, servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

COMPATIBLE, INCOMPATIBLE, NO_SCHEMA = 0, 1, 78


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    """A record; a field is an object or a pair of name and type."""
    made = [one if isinstance(one, dict) else {"name": one[0], "type": one[1]} for one in fields]
    return {"type": "record", "name": name, "fields": made} | more


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols)} | more


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size} | more


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def map_(values: Any) -> dict[str, Any]:
    return {"type": "map", "values": values}


def optional(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}


def defaulted(name: str, kind: Any, default: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default}


def chain(value: str, *more: Any) -> dict[str, Any]:
    """A record that holds itself."""
    return record(("value", value), *more, ("next", ["null", "R"]))


def inner(*fields: Any, name: str = "Inner") -> dict[str, Any]:
    return record(("inner", record(*fields, name=name)))


INT, LONG, FLOAT, DOUBLE = (record(("v", kind)) for kind in ("int", "long", "float", "double"))
STRING, BYTES, BOOLEAN, NULL = (record(("v", kind)) for kind in ("string", "bytes", "boolean", "null"))
MAYBE_INT, MAYBE_LONG = record(("v", ["null", "int"])), record(("v", ["null", "long"]))
AB, ABC, BC = enum("a", "b"), enum("a", "b", "c"), enum("b", "c")
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}

# What changed: old, new, whether new readers read old records, whether old readers read new records.
CHANGES: dict[str, tuple[Any, Any, bool, bool]] = {
    "nothing": (INT, INT, True, True),
    "int to long": (INT, LONG, True, False),
    "int to float": (INT, FLOAT, True, False),
    "int to double": (INT, DOUBLE, True, False),
    "long to float": (LONG, FLOAT, True, False),
    "long to double": (LONG, DOUBLE, True, False),
    "float to double": (FLOAT, DOUBLE, True, False),
    "string to bytes": (STRING, BYTES, True, True),
    "int to string": (INT, STRING, False, False),
    "boolean to int": (BOOLEAN, INT, False, False),
    "null to int": (NULL, INT, False, False),
    "a field without default added": (INT, record(("v", "int"), ("w", "int")), False, True),
    "a field with default added": (INT, record(("v", "int"), defaulted("w", "int", 0)), True, True),
    "an optional field added": (INT, record(("v", "int"), optional("w", "int")), True, True),
    "an optional field added without default": (INT, record(("v", "int"), ("w", ["null", "int"])), False, True),
    "a field with default dropped": (record(("v", "int"), defaulted("w", "int", 0)), INT, True, True),
    "all fields dropped": (INT, record(), True, False),
    "fields in another order": (record(("a", "int"), ("b", "int")), record(("b", "int"), ("a", "int")), True, True),
    "a default taken away": (record(defaulted("v", "int", 0)), INT, True, True),
    "a field renamed": (INT, record(("value", "int")), False, False),
    "a field renamed with alias": (
        INT, record({"name": "value", "type": "int", "aliases": ["v"]}), True, False),
    "a field renamed with alias and promoted": (
        INT, record({"name": "value", "type": "long", "aliases": ["v"]}), True, False),
    "a field made optional": (INT, MAYBE_INT, True, False),
    "a field made optional and promoted": (INT, MAYBE_LONG, True, False),
    "an optional field promoted": (MAYBE_INT, MAYBE_LONG, True, False),
    "a union's branches in another order": (MAYBE_INT, record(("v", ["int", "null"])), True, True),
    "a union's branch added": (MAYBE_INT, record(("v", ["null", "int", "string"])), True, False),
    "a union's branch replaced": (MAYBE_INT, record(("v", ["null", "string"])), False, False),
    "a union of numbers to the widest": (record(("v", ["int", "long"])), LONG, True, True),
    "a union of numbers to a narrow one": (record(("v", ["int", "long"])), INT, False, True),
    "a union of one branch": (INT, record(("v", ["int"])), True, True),
    "a union of text kinds to string": (record(("v", ["string", "bytes"])), STRING, True, True),
    "an array's items promoted": (record(("v", array("int"))), record(("v", array("long"))), True, False),
    "an array's items replaced": (record(("v", array("int"))), record(("v", array("string"))), False, False),
    "an array to a map": (record(("v", array("int"))), record(("v", map_("int"))), False, False),
    "a map's values promoted": (record(("v", map_("float"))), record(("v", map_("double"))), True, False),
    "a map's values made optional": (record(("v", map_("int"))), record(("v", map_(["null", "int"]))), True, False),
    "symbols added": (record(("v", AB)), record(("v", ABC)), True, False),
    "symbols added to an enum with default": (
        record(("v", enum("a", "b", default="a"))), record(("v", enum("a", "b", "c", default="a"))), True, True),
    "symbols removed": (record(("v", ABC)), record(("v", BC)), False, True),
    "symbols removed from an enum with default": (
        record(("v", ABC)), record(("v", enum("a", "b", default="a"))), True, True),
    "symbols replaced": (record(("v", AB)), record(("v", BC)), False, False),
    "symbols in another order": (record(("v", AB)), record(("v", enum("b", "a"))), True, True),
    "a field's default is no default of its enum": (
        record(defaulted("v", ABC, "a")), record(defaulted("v", AB, "a")), False, True),
    "an enum renamed": (record(("v", AB)), record(("v", enum("a", "b", name="E2"))), False, False),
    "an enum renamed with alias": (
        record(("v", AB)), record(("v", enum("a", "b", name="E2", aliases=["E"]))), True, False),
    "an enum to string": (record(("v", AB)), STRING, False, False),
    "a fixed grown": (record(("v", fixed(4))), record(("v", fixed(8))), False, False),
    "a fixed renamed": (record(("v", fixed(4))), record(("v", fixed(4, "F2"))), False, False),
    "a fixed to bytes": (record(("v", fixed(4))), BYTES, False, False),
    "the record renamed": (INT, record(("v", "int"), name="R2"), False, False),
    "the record renamed with alias": (INT, record(("v", "int"), name="R2", aliases=["R"]), True, False),
    "another namespace": (
        record(("v", "int"), namespace="one"), record(("v", "int"), namespace="two"), True, True),
    "an inner field without default added": (inner(("x", "int")), inner(("x", "int"), ("y", "int")), False, True),
    "an inner field with default added": (
        inner(("x", "int")), inner(("x", "int"), defaulted("y", "int", 0)), True, True),
    "an inner record renamed": (inner(("x", "int")), inner(("x", "int"), name="Other"), False, False),
    "an inner record made optional": (
        inner(("x", "int")), record(("inner", ["null", record(("x", "int"), name="Inner")])), True, False),
    "a field in an optional record added": (
        record(optional("p", record(("x", "int"), name="P"))),
        record(optional("p", record(("x", "int"), ("y", "int"), name="P"))), False, True),
    "a recursive record unchanged": (chain("int"), chain("int"), True, True),
    "a recursive record promoted": (chain("int"), chain("long"), True, False),
    "a recursive record grown without default": (chain("int"), chain("int", ("x", "int")), False, True),
    "milliseconds to microseconds": (record(("v", MILLIS)), record(("v", MICROS)), True, True),
    "no record: int to long": ("int", "long", True, False),
    "no record: an enum grown": (AB, ABC, True, False),
    "no record: unions": (["null", "int"], ["long", "null"], True, False),
}  # fmt: skip


def can_read(reader: Any, writer: Any) -> bool:
    """Our verdict."""
    all_faults = faults(parse(json.dumps(reader), "reader").type, parse(json.dumps(writer), "writer").type)
    return all(one.is_caution for one in all_faults)


def broken(reader: Any, writer: Any) -> set[str]:
    """The rules that a pair breaks."""
    return {one.rule.name for one in faults(parse(json.dumps(reader), "r").type, parse(json.dumps(writer), "w").type)}


def can_read_by_avro(reader: Any, writer: Any) -> bool:
    """Apache Avro's verdict."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro's code, half typed
    verdict = checker.get_compatibility(parse_by_avro(json.dumps(reader)), parse_by_avro(json.dumps(writer)))
    return bool(verdict.compatibility is SchemaCompatibilityType.compatible)


def advised(old: Any, new: Any, mode: Mode = Mode.FULL) -> list[dict[str, Any]]:
    versions = [parse(json.dumps(one), label) for one, label in ((old, "old"), (new, "new"))]
    return [advice.as_json(problem) for problem in problems(versions[1], versions[:1], mode)]


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "backward", "forward"), CHANGES.values(), ids=CHANGES)
def test_problems_agree_with_apache_avro(old: Any, new: Any, backward: bool, forward: bool) -> None:  # noqa: FBT001 - columns
    """Every change of the table has the verdict that it says, and Apache Avro's checker gives the same, both ways."""
    assert (can_read(new, old), can_read(old, new)) == (backward, forward)
    assert (can_read_by_avro(new, old), can_read_by_avro(old, new)) == (backward, forward)
    verdicts = {mode: all(one["is_caution"] for one in advised(old, new, mode)) for mode in Mode}
    assert verdicts == {
        Mode.BACKWARD: backward,
        Mode.BACKWARD_TRANSITIVE: backward,
        Mode.FORWARD: forward,
        Mode.FORWARD_TRANSITIVE: forward,
        Mode.FULL: backward and forward,
        Mode.FULL_TRANSITIVE: backward and forward,
        Mode.NONE: True,
    }


def record1(*fields: Any) -> dict[str, Any]:
    return record(*fields, name="Record1")


def union_of(name: str) -> list[str]:
    """The types whose initials a name lists, `il` for int and long."""
    words = {"i": "int", "l": "long", "f": "float", "d": "double", "s": "string", "b": "bytes"}
    return [words[initial] for initial in name]


def int_list(value: str) -> dict[str, Any]:
    return record(("head", array(value)), ("tail", array("List")), name="List")


def spaced(namespace: str) -> dict[str, Any]:
    """A record that holds an optional list of records of another namespace."""
    return record1(("f1", ["null", array(record(("a", "int"), name="InnerRecord1", namespace=namespace))]))


A_INT, A_LONG, A_DINT = record1(("a", "int")), record1(("a", "long")), record1(defaulted("a", "int", 0))
A_INT_B_INT, A_INT_B_DINT = record1(("a", "int"), ("b", "int")), record1(("a", "int"), defaulted("b", "int", 0))
A_DINT_B_DINT, EMPTY1 = record1(defaulted("a", "int", 0), defaulted("b", "int", 0)), record1()
E1_AB, E1_ABC, E1_BC = (enum(*symbols, name="Enum1") for symbols in ("AB", "ABC", "BC"))
WITH_DEFAULT_A = [record1(("f", enum(*symbols, name="Enum1", default="A"))) for symbols in ("AB", "ABC")]
FIELD_AND_ENUM_DEFAULT = [
    record1(defaulted("f", enum("A", "B", name="Enum1", default="B"), "A")),
    record1(defaulted("f", enum("A", "B", "C", name="Enum1", default="A"), "B")),
]

# The pairs that Apache Avro's own tests use: reader, writer. Its Java and Python checkers share them.
PUBLISHED_COMPATIBLE: list[tuple[Any, Any]] = [
    *[(one, one) for one in ("null", "boolean", "int", "long", "string", "bytes", array("int"), map_("int"), E1_AB)],
    ("long", "int"), ("float", "int"), ("float", "long"), ("double", "long"), ("double", "int"), ("double", "float"),
    (array("long"), array("int")), (map_("long"), map_("int")), (E1_ABC, E1_AB),
    (enum("A", "B", name="Enum1", default="A"), E1_ABC), (E1_AB, E1_AB | {"namespace": "one"}),
    (E1_AB | {"namespace": "one"}, E1_AB | {"namespace": "two"}), ("string", "bytes"), ("bytes", "string"), ([], []),
    *[(union_of(one), []) for one in "filsbd"],
    *[(union_of(reader), union_of(writer)) for reader, writer in (
        ("f", "i"), ("f", "l"), ("f", "il"), ("i", "i"), ("is", "si"), ("l", "i"), ("d", "i"), ("d", "l"), ("d", "f"),
        ("s", "b"), ("b", "s"), ("d", "if"))],
    ("float", ["int", "float"]), ("long", ["int", "long"]), ("double", ["int", "float"]),
    ("double", ["int", "long", "float", "double"]), ("float", ["float"]), (["int"], "int"), ("int", ["int"]),
    (fixed(4), fixed(4)), (EMPTY1, EMPTY1), (EMPTY1, A_INT), (A_INT, A_INT), (A_DINT, A_INT), (A_DINT, A_DINT),
    (A_INT, A_DINT), (A_LONG, A_INT), (A_INT, A_INT_B_INT), (A_DINT, A_INT_B_INT), (A_INT_B_DINT, A_INT),
    (A_DINT_B_DINT, EMPTY1), (A_DINT_B_DINT, A_INT), (A_INT_B_INT, A_DINT_B_DINT),
    (int_list("int"), int_list("int")), (int_list("long"), int_list("int")),
    (WITH_DEFAULT_A[0], WITH_DEFAULT_A[1]), (FIELD_AND_ENUM_DEFAULT[0], FIELD_AND_ENUM_DEFAULT[1]),
    (spaced("ns1"), spaced("ns2")),
]  # fmt: skip
PUBLISHED_INCOMPATIBLE: list[tuple[Any, Any]] = [
    ("null", "int"), ("null", "long"), ("boolean", "int"), ("int", "null"), ("int", "boolean"), ("int", "long"),
    ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"), ("float", "double"),
    ("double", "string"), (fixed(4), "string"), ("string", "boolean"), ("string", "int"), ("bytes", "null"),
    ("bytes", "int"), (A_INT, "int"), (array("int"), array("long")), (map_("int"), array("int")),
    (array("int"), map_("int")), (map_("int"), map_("long")), (E1_AB, "int"), ("int", E1_AB),
    (int_list("int"), int_list("long")), ("float", ["int", "long", "float", "double"]), ("long", ["int", "float"]),
    ("int", ["int", "float"]), (E1_AB, E1_ABC), (E1_BC, E1_ABC), (E1_AB, enum("A", "B", name="Enum2")),
    (record(name="Record2"), EMPTY1), (fixed(4), fixed(8)), (fixed(8), fixed(4)), (fixed(4), fixed(4, "Other")),
    (A_INT, EMPTY1), (A_INT_B_DINT, EMPTY1), (WITH_DEFAULT_A[0], EMPTY1),
    (record1(("f", E1_AB)), record1(("f", E1_ABC))),
    *[(union_of(reader), union_of(writer)) for reader, writer in (
        ("i", "is"), ("s", "is"), ("i", "l"), ("i", "f"), ("i", "d"), ("i", "s"), ("i", "b"), ("l", "f"), ("l", "d"),
        ("l", "s"), ("l", "b"), ("f", "d"), ("f", "s"), ("f", "b"), ("d", "s"), ("d", "b"), ("s", "i"), ("b", "i"),
        ("f", "ilfd"), ("l", "if"), ("i", "if"))],
]  # fmt: skip


@pytest.mark.parametrize("is_compatible", [True, False])
def test_faults_agrees_with_avros_published_pairs(is_compatible: bool) -> None:  # noqa: FBT001 - a column
    """The pairs of Apache Avro's own tests get the verdicts that its tests demand."""
    pairs = PUBLISHED_COMPATIBLE if is_compatible else PUBLISHED_INCOMPATIBLE
    assert [pair for pair in pairs if can_read(*pair) != is_compatible] == []
    assert [pair for pair in pairs if can_read_by_avro(*pair) != is_compatible] == []


def test_faults_finds_an_alias_without_namespace() -> None:
    """An alias without a namespace is one in the namespace of its type, which the Python oracle overlooks."""
    old, new = record(namespace="plant"), record(name="R2", namespace="plant", aliases=["R"])
    assert can_read(new, old)
    assert not can_read_by_avro(new, old)


@pytest.mark.parametrize(
    ("others", "written", "is_twice"),
    [([], ["p", "q"], True), ([], ["q", "r"], True), ([], ["q", "x"], False), (["q"], ["p", "x"], False)],
)
def test_faults_finds_a_field_that_the_writer_has_twice(
    others: list[str], written: list[str], *, is_twice: bool
) -> None:
    """Under its name and an alias, or under two aliases: Apache Avro for Java throws then."""
    reader = record({"name": "p", "type": "int", "aliases": ["q", "r"]}, *(defaulted(one, "int", 0) for one in others))
    writer = record(*((name, "int") for name in written))
    assert broken(reader, writer) == ({"TWICE"} if is_twice else set())
    messages = [one["message"] for one in advised(writer, reader, Mode.BACKWARD)]
    expected = f"old records hold {written[0]} and {written[1]}, and in new readers all of them are this field. "
    assert messages == [f"{expected}(backward, against old)"] * is_twice


@st.composite
def schemas(draw: st.DrawFn) -> Any:  # noqa: C901 - its closures share the names that are taken
    """Small schemas from few names and types, so that two of them often nearly match; some refer to themselves."""
    named: list[str] = []

    def kind(depth: int, *, in_union: bool = False) -> Any:
        leaves = ["null", "boolean", "int", "long", "float", "double", "string", "bytes", "enum", "fixed", "name"]
        more = ["array", "map", "record", *([] if in_union else ["union"])] if depth else []
        return made(draw(st.sampled_from(leaves + more)), depth)

    def made(chosen: str, depth: int) -> Any:
        name = f"T{len(named)}"
        match chosen:
            case "name":
                return draw(st.sampled_from(named)) if named else "int"
            case "enum" | "fixed" | "record":
                named.append(name)
                return definition(chosen, name, depth)
            case "array" | "map":
                return {"array": array, "map": map_}[chosen](kind(depth - 1))
            case "union":
                one, other = (kind(depth - 1, in_union=True) for _ in range(2))
                return [one] if branch_name(one) == branch_name(other) else [one, other]
        return chosen

    def definition(chosen: str, name: str, depth: int) -> Any:
        if chosen == "enum":
            symbols = draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
            return enum(*symbols, name=name) | draw(st.sampled_from([{}, {"default": symbols[0]}]))
        if chosen == "fixed":
            return fixed(draw(st.integers(1, 2)), name)
        return record(*(field(one, depth) for one in draw(st.sets(st.sampled_from("xyz")))), name=name)

    def field(name: str, depth: int) -> dict[str, Any]:
        aliases = draw(st.sampled_from([{}, {}, {"aliases": ["x"]}, {"aliases": ["z", "y"]}]))
        made = draw(st.sampled_from([{"type": "int", "default": 0}, {"type": ["null", "int"], "default": None}, None]))
        return {"name": name, **(made or {"type": kind(depth - 1)}), **aliases}

    return kind(3)


def branch_name(branch: Any) -> str:
    return str(branch.get("name", branch["type"])) if isinstance(branch, dict) else str(branch)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(reader=schemas(), writer=schemas())
def test_faults_agrees_with_apache_avro_on_any_pair(reader: Any, writer: Any) -> None:
    """Two random schemas get the verdict that Apache Avro's checker gives; only Java's refuses a field found twice."""
    if "TWICE" not in broken(reader, writer):
        assert can_read(reader, writer) == can_read_by_avro(reader, writer)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_faults_finds_none_where_fastavro_reads(data: st.DataObject) -> None:
    """A reader that drops fields, promotes numbers and adds optional fields reads every record, as we say."""
    writer, samples = data.draw(any_records())
    kept = [one for one in writer["fields"] if data.draw(st.booleans())]
    promoted = [one | {"type": "double"} if one["type"] in ("int", "float") else one for one in kept]
    reader = writer | {"fields": [*promoted, optional("added_later", "string")]}
    try:
        fastavro.parse_schema(reader)
    except fastavro.schema.UnknownType:  # a dropped field had defined it
        return
    assert can_read(reader, writer)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), data.draw(samples).datum)
    out.seek(0)
    read = fastavro.schemaless_reader(out, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    assert isinstance(read, dict)
    assert read["added_later"] is None


def test_faults_ends_on_recursive_schemas_that_do_not_match() -> None:
    """A record in itself, under another field name: the guess at a renamed field does not go in circles."""
    reader = record({"name": "next", "type": ["null", "R"]})
    writer = record({"name": "previous", "type": ["null", "R"]})
    assert not can_read(reader, writer)
    assert not can_read_by_avro(reader, writer)


def test_problems_look_at_all_versions_only_when_transitive() -> None:
    """A field that comes back with another type is seen by the transitive modes only."""
    versions = [parse(json.dumps(one), "v") for one in (STRING, record(), record(defaulted("v", "int", 0)))]
    assert not problems(versions[2], versions[:2], Mode.BACKWARD)
    assert problems(versions[2], versions[:2], Mode.BACKWARD_TRANSITIVE)


# --- words -----------------------------------------------------------------------------------------------------------


def test_advise_names_record_field_rule_and_change() -> None:
    """A field of an inner record without default is named by its path, with the rule and the optional form."""
    (answer,) = advised(
        record(("samples", array(record(("at", "long"), name="Sample", namespace="plant")))),
        record(("samples", array(record(("at", "long"), ("level", "double"), name="Sample", namespace="plant")))),
        Mode.BACKWARD,
    )
    assert (answer["record"], answer["path"]) == ("plant.Sample", "samples[].level")
    assert "must have a default" in answer["rule"]
    assert '"type": ["null", "double"], "default": null' in answer["way"]


def test_advise_proposes_an_alias_for_what_may_be_renamed() -> None:
    answer = advised(INT, record(("value", "long")), Mode.BACKWARD)[0]
    assert '"aliases": ["v"]' in answer["way"]


def test_advise_tells_old_readers_from_new_ones() -> None:
    """What old readers cannot read is not mended in the new schema: the change has to wait."""
    (answer,) = advised(record(("v", AB)), record(("v", ABC)), Mode.FORWARD)
    assert "new records may hold c, which old readers do not know" in answer["message"]
    assert "wait until all readers have that" in answer["way"]


def test_advise_warns_of_values_that_change_their_meaning() -> None:
    """Another unit of time resolves without an error, and is a caution."""
    (answer,) = advised(record(("v", MILLIS)), record(("v", MICROS)), Mode.BACKWARD)
    assert answer["is_caution"]
    assert "long (timestamp-millis)" in answer["message"]


def test_advise_tells_every_problem_in_one_go() -> None:
    old = record(("a", "int"), ("b", AB), ("c", fixed(4)), ("d", ["null", "int"]), ("e", "string"))
    new = record(("a", "string"), ("b", BC), ("c", fixed(8)), ("d", "int"), ("f", "string"))
    assert [one["path"] for one in advised(old, new, Mode.BACKWARD)] == ["a", "b", "c", "d", "f"]


NO_SCHEMAS = ["", "{", "[" * 100_000, '"flot"', '{"type": "record"}', "null", "5", "[5, null]", '{"a": NaN}']


@pytest.mark.parametrize("text", NO_SCHEMAS)
def test_parse_refuses_what_is_no_schema(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an Avro schema") as raised:
        parse(text, "somewhere")
    assert not PYTHON.search(str(raised.value))


def test_difference_tells_each_field() -> None:
    """Added, dropped and changed fields are told, inner ones by their path."""
    old = record(("a", "int"), ("gone", "string"), ("in", record(("x", AB), name="In")))
    new = record(("a", "long"), optional("more", "int"), ("in", record(("x", ABC), name="In")))
    assert difference(parse(json.dumps(old), "old"), parse(json.dumps(new), "new")) == [
        "~ a: int -> long",
        "+ more: null or int, default null",
        "~ in.x: symbols a, b -> a, b, c",
        "- gone: string",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (enum("a", namespace="one"), enum("a", namespace="two")),
        (enum("a"), enum("a", default="a")),
        (enum("a"), enum("a", aliases=["Old"])),
        (fixed(4), fixed(8)),
        ({"type": "long", "logicalType": "nobodys"}, "long"),
    ],
)
def test_difference_of_two_schemas_that_are_not_the_same_is_never_empty(old: Any, new: Any) -> None:
    """What has no words of its own is shown in full."""
    versions = [parse(json.dumps(record(("v", one))), "a version") for one in (old, new)]
    (line,) = difference(*versions)
    assert line.startswith("~ v: ")
    assert not difference(versions[0], versions[0])


# --- the command, without servers ------------------------------------------------------------------------------------


def written(folder: Path, **definitions: Any) -> list[Path]:
    paths = [folder / f"{name}.avsc" for name in definitions]
    for path, definition in zip(paths, definitions.values(), strict=True):
        path.write_text(definition if isinstance(definition, str) else json.dumps(definition, indent=1))
    return paths


def test_check_of_two_files_answers_with_exit_codes(tmp_path: Path) -> None:
    """0 compatible, 1 not, 78 no schema; the place is file, line, record and field."""
    old, new, wrong = written(tmp_path, old=INT, new=record(("v", "int"), ("w", "int")), wrong=record(("v", "flot")))
    good = command("schemas", "check", "--old", old, "--new", new, "--mode", "FORWARD")
    assert (good.returncode, good.stdout.count("\n")) == (COMPATIBLE, 1)
    bad = command("schemas", "check", "--old", old, "--new", new, "--mode", "BACKWARD")
    assert bad.returncode == INCOMPATIBLE
    assert f"{new}:9 R field w: new readers need this field" in bad.stdout
    none = command("schemas", "check", "--old", wrong, "--new", wrong.with_name("absent.avsc"))
    assert none.returncode == NO_SCHEMA
    assert f"{wrong}:7" in none.stderr
    assert 'Unknown Avro type "flot"' in none.stderr
    assert "absent.avsc" in none.stderr


def test_check_of_two_files_as_json(tmp_path: Path) -> None:
    old, new = written(tmp_path, old=INT, new=STRING)
    done = command("schemas", "check", "--old", old, "--new", new, "--format", "json")
    assert done.returncode == INCOMPATIBLE
    answer = json.loads(done.stdout)
    assert not answer["compatible"]
    (review,) = answer["reviews"]
    assert review["mode"] == "BACKWARD"
    assert [(one["record"], one["path"], one["line"]) for one in review["advice"]] == [("R", "v", 5)]


def test_check_of_two_files_reads_any_name(tmp_path: Path) -> None:
    """A schema need not be called .avsc, nor be a record; what is none is told."""
    old, new, wrong = tmp_path / "old", tmp_path / "new.txt", tmp_path / "wrong"
    for path, text in ((old, '"int"'), (new, '["null", "long"]'), (wrong, "root:x:0:0")):
        path.write_text(text)
    assert command("schemas", "check", "--old", old, "--new", new).returncode == COMPATIBLE
    done = command("schemas", "check", "--old", wrong, "--new", tmp_path)
    assert done.returncode == NO_SCHEMA
    assert f"{wrong}:1: The JSON is invalid" in done.stderr
    assert f"{tmp_path}: It cannot be read" in done.stderr


def test_problems_give_up_on_what_is_too_deep() -> None:
    """No file nests so deep, but named types that use each other may: one sentence, no traceback."""
    deep = AvroType("int")
    for _ in range(5000):
        deep = AvroType("array", inner=(deep,))
    with pytest.raises(ConfigurationError, match="too deep"):
        problems(Schema("new", deep, {}), [Schema("old", deep, {})], Mode.BACKWARD)


def test_check_takes_several_earlier_versions(tmp_path: Path) -> None:
    """The transitive modes compare with all of them; the others with the newest, and the outcome names the rest."""
    first, second, new = written(tmp_path, first=STRING, second=record(), new=record(defaulted("v", "int", 0)))
    question = ("schemas", "check", "--old", first, "--old", second, "--new", new, "--mode")
    newest = command(*question, "BACKWARD")
    assert newest.returncode == COMPATIBLE
    assert newest.stdout == f"{new}: compatible with {second} (BACKWARD); BACKWARD does not compare with {first}\n"
    done = command(*question, "BACKWARD_TRANSITIVE", "--format", "json")
    assert done.returncode == INCOMPATIBLE
    (review,) = json.loads(done.stdout)["reviews"]
    assert (review["against"], review["skipped"]) == ([str(first), str(second)], [])


@pytest.mark.parametrize(
    "more", [[], ["--registry"], ["--new", "x", "--against", "HEAD"], ["--new", "x", "--new", "y"]]
)
def test_check_refuses_ambiguous_options(tmp_path: Path, more: list[str]) -> None:
    """--old without --new, a pair of files and another version to compare with, or --new twice."""
    (old,) = written(tmp_path, old=INT)
    assert command("schemas", "check", "--old", old, *more).returncode == 2


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a git repository with the shipped contract in a folder of it."""
    folder = tmp_path / "plant"
    (folder / "schemas").mkdir(parents=True)
    for path in [ROOT / "asyncapi.yaml", *(ROOT / "schemas").glob("*.avsc")]:
        (folder / path.relative_to(ROOT)).write_text(path.read_text())
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "a version")


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def rename_a_symbol(folder: Path) -> None:
    """Let a door be shut instead of closed, in schema and example: fit to run, and incompatible both ways."""
    change(folder / "schemas" / "door_sensor.avsc", '"closed"', '"shut"')
    change(folder / "asyncapi.yaml", "state: closed", "state: shut")


def test_check_against_git_checks_every_stream(repository: Path) -> None:
    """Uncommitted changes are compared with the last commit; the stream that broke is named, the others are fine."""
    assert command("schemas", "check", folder=repository).returncode == COMPATIBLE
    rename_a_symbol(repository)
    done = command("schemas", "check", folder=repository)
    assert done.returncode == INCOMPATIBLE
    assert "door-sensors-value: incompatible with HEAD:door_sensor.avsc (BACKWARD)" in done.stdout
    assert "old records may hold closed" in done.stdout
    assert done.stdout.count(": compatible with HEAD:") == 3
    assert command("schemas", "check", "--mode", "NONE", folder=repository).returncode == COMPATIBLE


def test_check_against_git_looks_at_all_commits_when_transitive(repository: Path) -> None:
    """Three versions: each fits the one before, and the last does not fit the first."""
    field = ',{"name": "note", "type": ["null", "string"], "default": null}]}'
    text = (repository / "schemas" / "door_sensor.avsc").read_text()
    end = text.rstrip().removesuffix("]\n}")
    path = repository / "schemas" / "door_sensor.avsc"
    path.write_text(end + field)
    commit(repository)
    path.write_text(text)
    commit(repository)
    path.write_text(end + field.replace("string", "int"))
    assert command("schemas", "check", folder=repository).returncode == COMPATIBLE
    done = command("schemas", "check", "--mode", "BACKWARD_TRANSITIVE", folder=repository)
    assert done.returncode == INCOMPATIBLE
    assert "field note: old records may hold string" in done.stdout


def test_check_against_former_versions_of_files_that_are_used(tmp_path: Path) -> None:
    """A change of a file is one of each schema that uses it, in git and in saved folders."""
    folder, saved = tmp_path / "vans", tmp_path / "saved"
    shutil.copytree(ROOT / "docs" / "steps" / "21", folder)
    shutil.copytree(folder, saved)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    change(folder / "source.avsc", '"gps", "cell"', '"gps"')
    commit(tmp_path)
    change(folder / "source.avsc", '"gps"', '"gps", "map"')
    for options in (("--against", "HEAD^"), ("--against-dir", saved), ("--mode", "BACKWARD_TRANSITIVE")):
        done = command("schemas", "check", *options, folder=folder)
        assert done.returncode == INCOMPATIBLE, done.stdout
        assert "old records may hold cell" in done.stdout
    assert command("schemas", "check", folder=folder).returncode == COMPATIBLE


def test_check_against_git_tells_what_it_cannot_ask(repository: Path, tmp_path: Path) -> None:
    """An unknown commit, or what looks like an option, is a sentence; so is a folder that is not there."""
    for ref in ("nowhere", "--output=oops"):
        done = command("schemas", "check", f"--against={ref}", folder=repository)
        assert done.returncode == NO_SCHEMA
        assert f"There is no commit {ref}" in done.stderr
    done = command("schemas", "check", "--against-dir", tmp_path / "nowhere", folder=repository)
    assert done.returncode == NO_SCHEMA
    assert "This folder does not exist" in done.stderr


def test_check_against_a_folder_takes_a_new_schema_as_new(repository: Path, tmp_path: Path) -> None:
    """A saved folder may hold schema files only; what it lacks is new."""
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "door_sensor.avsc").write_text((repository / "schemas" / "door_sensor.avsc").read_text())
    change(repository / "schemas" / "door_sensor.avsc", '"open", "closed"', '"open", "closed", "ajar"')
    done = command("schemas", "check", "--against-dir", saved, folder=repository)
    assert done.returncode == COMPATIBLE
    assert "door-sensors-value: compatible with" in done.stdout
    assert "smart-meter-value: new (BACKWARD)" in done.stdout
    done = command("schemas", "check", "--against-dir", saved, "--mode", "FORWARD", folder=repository)
    assert done.returncode == INCOMPATIBLE


# --- with a registry -------------------------------------------------------------------------------------------------


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the shared Kafka under names of this test's own, and a contract that says so."""
    return Topics(kafka, tmp_path)


@pytest.fixture
def gateway(kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto) -> Iterator[Gateway]:
    """Prepare a gateway of the test's own contract; it is not started."""
    with Gateway(servers(mosquitto(), kafka, registry), topics.contract) as one:
        yield one


def schemas_command(gateway: Gateway, *arguments: str, exit_code: int = 0) -> str:
    """Run `gateway schemas ...` in an installation."""
    done = gateway.command("schemas", *arguments, "-c", str(gateway.settings_file))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_a_schema_goes_from_file_to_registry_to_lock_file(gateway: Gateway, topics: Topics) -> None:
    """New, registered, locked, changed, refused: each step is shown, and the registry's own reason with it."""
    subject = f"{topics('door-sensors')}-value"
    folder = topics.contract.parent

    rows = {
        one["subject"]: one for one in json.loads(schemas_command(gateway, "list", "--format", "json", exit_code=1))
    }
    assert (rows[subject]["registry"], rows[subject]["lock"]) == ("the subject is new", "no entry")
    assert f"{subject}: not registered" in schemas_command(gateway, "lock", exit_code=1)

    assert f"{subject}: id" in schemas_command(gateway, "register")
    assert "already registered as version 1" in schemas_command(gateway, "register")
    lock = gateway.settings_file.parent / LOCK_FILE
    pins = json.loads(schemas_command(gateway, "lock") and lock.read_text())
    other = {"elsewhere-value": pins[subject]}
    lock.write_text(json.dumps(pins | other | {subject: pins[subject] | {"id": 999}}))
    assert "id 999, of another registry?" in schemas_command(gateway, "list", exit_code=1)
    assert f"{subject}: id {pins[subject]['id']}, locked" in schemas_command(gateway, "lock")
    assert json.loads(lock.read_text()) == pins | other, "entries of other subjects stay"
    rows = {one["subject"]: one for one in json.loads(schemas_command(gateway, "list", "--format", "json"))}
    assert (rows[subject]["version"], rows[subject]["mode"], rows[subject]["agrees"]) == (1, "BACKWARD", True)
    assert "no difference" in schemas_command(gateway, "diff")

    rename_a_symbol(folder)
    assert "~ state: symbols open, closed -> open, shut" in schemas_command(gateway, "diff")
    checked = schemas_command(gateway, "check", "--registry", exit_code=1)
    assert f"{subject}: incompatible with version 1 (BACKWARD)" in checked
    assert "old records may hold closed, which new readers do not know" in checked
    refused = schemas_command(gateway, "register", exit_code=1)
    assert "Incompatible artifact" in refused, "the registry's own reason"
    assert "code 409" in refused
    assert "the file is not registered" in schemas_command(gateway, "list", exit_code=1)


def asked(body: Any, folder: Path) -> tuple[Subjects, Scripted]:
    """A registry that answers everything with the same JSON."""
    server = Scripted(200, json.dumps(body))
    return Subjects(SchemaRegistry(Endpoint(server.url), folder / LOCK_FILE)), server


def test_rejections_are_the_registrys_own_reasons(tmp_path: Path) -> None:
    """A registry that gives reasons has them shown; line breaks and colours in them are escaped."""
    subjects, server = asked({"is_compatible": False, "messages": ["{oldSchemaVersion: 3}", "a\n\x1b[31mb"]}, tmp_path)
    with server:
        rejections = subjects.rejections("doors/odd name", avro(INT), "BACKWARD")
    assert rejections == ("{oldSchemaVersion: 3}", "a\\n\\u001b[31mb")
    assert server.requests[0][1] == "/compatibility/subjects/doors%2Fodd%20name/versions/latest?verbose=true"


@pytest.mark.parametrize("body", [None, [], 7, {}, {"is_compatible": "no", "version": "x", "id": True}])
def test_a_strange_answer_is_a_refusal(tmp_path: Path, body: Any) -> None:
    """JSON that no registry would send is a sentence, whatever was asked."""
    subjects, server = asked(body, tmp_path)
    with server:
        answers: list[object] = [subjects.register("s", avro(INT)), subjects.mode("s")]
        answers += (
            [subjects.latest("s"), *[subjects.rejections("s", avro(INT), mode) for mode in ("FULL", "FULL_TRANSITIVE")]]
            if body is not None
            else []
        )
    assert all(isinstance(answer, Unresolved) for answer in answers), answers


def test_a_silent_registry_is_asked_once(tmp_path: Path) -> None:
    """What waits for one timeout does not wait for one a subject."""
    with Scripted(503, "{}") as server:
        subjects = Subjects(SchemaRegistry(Endpoint(server.url), tmp_path / LOCK_FILE))
        first, second = subjects.latest("one"), subjects.latest("two")
        assert isinstance(first, Unresolved)
        assert second == first._replace(subject="two")
        assert len(server.requests) == 1


def test_register_and_list_tell_when_nobody_answers(gateway: Gateway) -> None:
    """Without an answer the reason is a sentence, and the exit code says that nothing was registered."""
    settings_text = gateway.settings_file.read_text()
    answer = json.loads(settings_text)
    answer["servers"]["kafka"]["registry"]["url"] = "http://127.0.0.1:9"
    gateway.settings_file.write_text(json.dumps(answer))
    for verb in ("register", "list"):
        assert "no answer" in schemas_command(gateway, verb, exit_code=1)
    assert "no answer" in schemas_command(gateway, "check", "--registry", exit_code=1)


VERSIONS: tuple[list[dict[str, Any]], ...] = (  # of the field list that follows the shipped door sensor's own
    [],
    [optional("battery", "double")],
    [optional("battery", "double"), defaulted("opened_by", "string", "nobody")],
    [defaulted("opened_by", "string", "nobody"), {"name": "at", "type": ["null", "long"], "default": None}],
)
MESSAGES = (
    b'{"state": "open"}',
    b'{"state": "open", "battery": 3.5}',
    b'{"state": "closed", "battery": 3.25, "opened_by": "ann"}',
    b'{"state": "closed", "opened_by": "bob", "at": 7}',
)


def test_old_readers_go_on_reading_while_a_schema_evolves(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """A schema changes three times; a consumer of each version reads every record, older and newer ones."""
    broker, subject = mosquitto(), f"{topics('door-sensors')}-value"
    path = topics.contract.parent / "schemas" / "door_sensor.avsc"
    first = json.loads(path.read_text())
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        for number, (fields, message) in enumerate(zip(VERSIONS, MESSAGES, strict=True), 1):
            path.write_text(json.dumps(first | {"fields": [*first["fields"], *fields]}))
            schemas_command(gateway, "register")
            config = httpx.put(f"{registry.url}/config/{subject}", json={"compatibility": "FULL_TRANSITIVE"})
            config.raise_for_status()
            gateway.start()
            with Publisher(broker.port) as publisher:
                publisher.publish([("doors/dock-1", message)])
            gateway.wait_settled(1)
            gateway.stop_and_read_ledger()
            assert topics.count("door-sensors") == number
        assert "FULL_TRANSITIVE" in schemas_command(gateway, "list")

    values = [one.value or b"" for one in topics.records("door-sensors", len(MESSAGES))]
    readers = [first | {"fields": [*first["fields"], *fields]} for fields in VERSIONS]
    seen = [[read_as(reader, value, registry) for value in values] for reader in readers]
    assert [one["state"] for one in seen[0]] == ["open", "open", "closed", "closed"]
    assert [one["battery"] for one in seen[1]] == [None, 3.5, 3.25, None]
    assert [one["opened_by"] for one in seen[2]] == ["nobody", "nobody", "ann", "bob"]
    assert [one["at"] for one in seen[3]] == [None, None, None, 7]


def read_as(reader: dict[str, Any], value: bytes, registry: Registry) -> dict[str, Any]:
    """Decode a record as a consumer does that knows its own schema, and asks the registry for the writer's."""
    answer = httpx.get(f"{registry.url}/schemas/ids/{int.from_bytes(value[1:5])}").raise_for_status()
    writer = json.loads(answer.json()["schema"])
    body = io.BytesIO(value[5:])
    decoded = fastavro.schemaless_reader(body, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    assert isinstance(decoded, dict)
    return decoded
