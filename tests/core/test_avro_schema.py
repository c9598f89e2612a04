"""The Avro schema model: names resolved, places kept, sources read."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from gateway.core.avro_schema import PAYLOAD, AvroType, build, types
from tests.core.avro_schemas import records


def record(*fields: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **attributes}


def only_field(type_: Any, **attributes: Any) -> Any:
    return build(record({"name": "f", "type": type_, **attributes})).fields[0]


def test_build_gives_a_named_type_that_is_used_again_as_the_same_object() -> None:
    """A second use of a name is the type itself, also inside its own definition."""
    mode = {"type": "enum", "name": "Mode", "symbols": ["on", "off"]}
    root = build(
        record(
            {"name": "first", "type": mode},
            {"name": "second", "type": ["null", "a.Mode"]},
            {"name": "next", "type": ["null", "R"]},
            namespace="a",
        )
    )
    first, second, following = (each.type for each in root.fields)
    assert second.non_null == (first,)
    assert following.non_null == (root,)
    assert [each.label for each in types(root)] == ["a.R", "a.Mode", "union", "null", "union", "null"]


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        ({"name": "R"}, "R"),
        ({"name": "R", "namespace": "a.b"}, "a.b.R"),
        ({"name": "c.R", "namespace": "a.b"}, "c.R"),
    ],
)
def test_build_gives_full_names(definition: dict[str, str], name: str) -> None:
    """The full name is the name with its namespace, unless it has a dot already."""
    root = build({"type": "record", "fields": [], "aliases": ["Old", "x.Old"], **definition})
    assert (root.name, root.short_name) == (name, "R")
    assert root.aliases == {f"{root.namespace}.Old".lstrip("."), "x.Old"}


def test_build_resolves_names_by_the_namespace_around_them() -> None:
    """A name without a dot belongs to the namespace of the definition around it; an empty namespace ends that."""
    inner: dict[str, Any] = {
        "type": "record",
        "name": "I",
        "namespace": "",
        "fields": [{"name": "i", "type": ["null", "I"]}],
    }
    fixed: dict[str, Any] = {"type": "fixed", "name": "F", "size": 4}
    fields = {"a": fixed, "b": inner, "c": "I"}
    root = build(record(*({"name": name, "type": kind} for name, kind in fields.items()), namespace="n"))
    assert [each.type.name for each in root.fields] == ["n.F", "I", "I"]
    assert root.fields[0].type.size == 4


def test_build_keeps_the_place_of_each_type() -> None:
    """The place is that of the definition, or of the use of a primitive."""
    root = build(record({"name": "f", "type": ["null", {"type": "array", "items": "long"}]}))
    field = root.fields[0]
    (array,) = field.type.non_null
    assert field.place == ("fields", "0")
    assert array.inner[0].place == ("fields", "0", "type", "1", "items")


@pytest.mark.parametrize("definition", [{"type": "unheard_of"}, "Unknown", {"type": "array"}])
def test_build_refuses_names_that_are_not_defined(definition: Any) -> None:
    """A name without a definition is a KeyError."""
    with pytest.raises(KeyError):
        build(definition)


@pytest.mark.parametrize(
    ("type_", "source", "paths"),
    [
        ("int", None, (("f",),)),
        ("int", f"{PAYLOAD}/a~1b/c", (("a/b", "c"),)),
        ("int", [f"{PAYLOAD}/a", f"{PAYLOAD}/b"], (("a",), ("b",))),
        ("int", {"location": f"{PAYLOAD}/a", "factor": 10}, (("a",),)),
        ("int", {"factor": 10}, (("f",),)),
        ("int", PAYLOAD, ((PAYLOAD,),)),
        ({"type": "map", "values": "int"}, PAYLOAD, ((),)),
    ],
)
def test_a_field_says_where_its_value_stands(type_: Any, source: Any, paths: Any) -> None:
    """`x-source` is a pointer, a list of them, or the payload: as a whole, or what other fields leave of it."""
    field = only_field(type_, **({} if source is None else {"x-source": source}))
    assert field.paths == paths
    assert field.collects == (paths == ((),))
    assert field.takes_whole == (paths == ((PAYLOAD,),))


@pytest.mark.parametrize(("factor", "expected"), [(0.1, "0.1"), ("1e-3", "0.001"), (1000, "1000")])
def test_a_field_says_its_factor(factor: Any, expected: str) -> None:
    """A factor is decimal, whether it is written as a number or as text."""
    assert only_field("double", **{"x-source": {"factor": factor}}).factor == Decimal(expected)
    assert only_field("double").factor is None


def test_a_field_says_its_default() -> None:
    """A default of null is a default."""
    assert only_field("null", default=None).has_default
    assert not only_field("null").has_default
    assert only_field("int", default=3).default == 3


def test_a_type_that_is_not_a_union_is_its_only_branch() -> None:
    """Branches can be asked of any type."""
    plain, union = (
        only_field({"type": "long", "logicalType": "timestamp-millis"}).type,
        only_field(["null", "int"]).type,
    )
    assert plain.branches == (plain,)
    assert (plain.label, plain.is_nullable) == ("timestamp-millis", False)
    assert [branch.kind for branch in union.branches] == ["null", "int"]
    assert union.is_nullable


def shape(root: AvroType) -> list[Any]:
    return [(each.kind, each.name, each.place, [one.name for one in each.fields]) for each in types(root)]


@settings(max_examples=50, deadline=None)
@given(drawn=records())
def test_the_model_survives_pickling(drawn: tuple[Any, Any]) -> None:
    """Loops and shared types included: the contract is read in a process of its own."""
    root = build(drawn[0])
    assert shape(pickle.loads(pickle.dumps(root))) == shape(root)
