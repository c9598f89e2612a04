"""What the fast path has to know of a whole schema before any code is written."""

from __future__ import annotations

from math import inf
from typing import Any

from gateway.core.codec.precise_encoder import Schema, factor, kind_of, logical_encoder, source

RECORDS = {"record", "error"}
_CONTAINERS = RECORDS | {"array", "map"}
_CLASSES = {"boolean": ("bool",), "int": ("int",), "long": ("int",), "array": ("list",)}


class SchemaFacts:
    """Looks at every type of a schema.

    Args:
        schema: in normal form.

    Attributes:
        definitions: the named types.
        has_decimals: the payload's fractions must come as Decimal, not as float, for a decimal or to be scaled.
        levels: at most so many levels of JSON pass the generated code; infinitely many, as far as is seen, where a
            record is named that may hold itself, or where a value that nests is passed over for another.
    """

    def __init__(self, schema: Schema) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self.has_decimals = False
        self.levels: float = 0
        self._look_at(schema)

    def _look_at(self, schema: Schema) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self._look_at(branch)
        elif isinstance(schema, dict):
            self._look_into(schema)
        elif self.is_record(schema):
            self.levels = inf

    def _look_into(self, schema: dict[str, Any]) -> None:
        if "name" in schema:
            self.definitions[schema["name"]] = schema
        self.has_decimals |= schema.get("logicalType") == "decimal"
        self.has_decimals |= any(factor(field) for field in schema.get("fields", ()))
        fields = [(field["type"], source(field).paths) for field in schema.get("fields", ())]
        if schema["type"] in _CONTAINERS:
            self.levels += max((len(path) for _, paths in fields for path in paths), default=1)
        if any(len(paths) > 1 and self.nests(kind) for kind, paths in fields):
            self.levels = inf
        for inner in [schema["type"], schema.get("items"), schema.get("values"), *(kind for kind, _ in fields)]:
            self._look_at(inner)

    def is_record(self, name: str) -> bool:
        """Tell whether a name is that of a record."""
        return name in self.definitions and self.definitions[name]["type"] in RECORDS

    def nests(self, schema: Schema) -> bool:
        """Tell whether a value of the schema may be a list or a dict."""
        return not {"list", "dict"}.isdisjoint(self.all_classes(schema))

    def all_classes(self, schema: Schema) -> set[str]:
        """Name the Python classes of the values that a type may take, null left out."""
        branches = schema if isinstance(schema, list) else [schema]
        return {name for branch in branches if kind_of(branch) != "null" for name in self.classes(branch)}

    def is_floating(self, schema: Schema) -> bool:
        """Tell whether numbers of the schema are written as float or double."""
        branches = schema if isinstance(schema, list) else [schema]
        return any(kind_of(branch) in {"float", "double"} for branch in branches)

    def classes(self, schema: Schema) -> tuple[str, ...]:
        """Name the Python classes of the values that a type, no union, may take."""
        if isinstance(schema, str):
            schema = self.definitions.get(schema, schema)
        fraction = "Decimal" if self.has_decimals else "float"
        if isinstance(schema, dict):
            if logical_encoder(schema):
                others = {"decimal": ("int", fraction), "uuid": ("str",)}
                return others.get(schema["logicalType"], ("int", "str"))
            return self.classes(schema["type"])
        if schema in {"float", "double"}:
            return "int", fraction
        return ("dict",) if schema in _CONTAINERS - {"array"} else _CLASSES.get(schema, ("str",))
