"""Facts of a schema: depth, decimals and classes."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from gateway.core.avro_schema import build
from gateway.core.codec.schema_facts import SchemaFacts
from tests.contract_values import record

INNER = record(("v", "int"), name="I")
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4}


@pytest.mark.parametrize(
    ("fields", "levels"),
    [
        ([("a", "int")], 1),
        ([("a", INNER)], 2),
        ([("a", {"type": "array", "items": {"type": "map", "values": "int"}})], 3),
        ([{"name": "a", "type": "int", "x-source": "$message.payload#/b/c"}], 2),
        ([("a", INNER), ("b", "I")], inf),
        ([("a", ["null", "MadeByHand"])], inf),
        ([{"name": "a", "type": INNER, "x-source": ["$message.payload#/b", "$message.payload#/c"]}], inf),
    ],
)
def test_levels_bounds_the_depth(fields: list[Any], levels: float) -> None:
    """A record that is used again may hold itself, and a value that is passed over is not looked at."""
    assert SchemaFacts(build(record(*fields))).levels == levels


@pytest.mark.parametrize(
    ("kind", "factor", "classes"),
    [
        ("double", None, ("int", "float")),
        (["null", "double"], "0.1", ("int", "Decimal")),
        (DECIMAL, None, ("int", "Decimal")),
        ({"type": "long", "logicalType": "timestamp-millis"}, None, ("int", "str")),
        (["null", "string", "boolean"], None, ("bool", "str")),
        ({"type": "array", "items": DECIMAL}, None, ("list",)),
    ],
)
def test_classes_names_the_classes_of_values(kind: Any, factor: str | None, classes: tuple[str, ...]) -> None:
    """Fractions are Decimal where a decimal or a factor needs their exact value."""
    field = {"name": "f", "type": kind, **({"x-source": {"factor": factor}} if factor else {})}
    root = build(record(field))
    facts = SchemaFacts(root)
    assert facts.classes(root.fields[0].type) == classes
    assert facts.has_decimals == (factor is not None or "Decimal" in classes or "list" in classes)
