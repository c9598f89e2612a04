"""Schemas over several files: a type that another file defines is written in where it is used first.

So a schema is complete in itself, as a registry and every reader take it. Nothing else of it changes: a name that is
used again stays a name, and attributes such as `x-source` stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.avro_schema import NAMED, PRIMITIVES, full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.avro_schema import Place

Definition = dict[str, Any]


def fullname_of(definition: Definition, outer: str = "") -> str:
    """The full name that a definition gives its type; `outer` is the namespace around it."""
    name, stated = definition.get("name"), definition.get("namespace")
    return full_name(name if isinstance(name, str) else "", stated if isinstance(stated, str) else outer)


class Unknown(NamedTuple):
    """The use of a name that its schema does not define."""

    place: Place
    text: str
    fullname: str


def named_types(schema: Any) -> dict[str, Definition]:
    """The definitions in a schema by their full names, which they have as their names."""
    writer = _Writer({}, {})
    writer.type(schema, "", ())
    return writer.found


def unknown(schema: Any) -> list[Unknown]:
    """The uses of names that a schema does not define."""
    writer = _Writer({}, named_types(schema))
    writer.type(schema, "", ())
    return writer.unknown


def with_definitions(schema: Any, types: Mapping[str, Definition]) -> Any:
    """The schema with the definitions of the names that it uses and does not define; unknown names stay."""
    return _Writer(types, named_types(schema)).type(schema, "", ())


def definitions_in(schemas: Iterable[Any]) -> dict[str, Definition]:
    """The definitions in several schemas by their full names; of two with the same name the first counts."""
    return {name: one for schema in reversed(list(schemas)) for name, one in named_types(schema).items()}


class _Writer:
    """Writes a schema anew; it takes anything, because the schema may not be checked yet."""

    def __init__(self, types: Mapping[str, Definition], own: Mapping[str, Definition]) -> None:
        self.found: dict[str, Definition] = {}
        self.unknown: list[Unknown] = []
        self._types = types
        self._own = own

    def type(self, schema: Any, namespace: str, place: Place) -> Any:
        if isinstance(schema, list):
            return [self.type(branch, namespace, (*place, str(index))) for index, branch in enumerate(schema)]
        if isinstance(schema, str):
            return self._name(schema, namespace, place)
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if isinstance(kind, str) and (kind in NAMED or kind == "error"):
            return self._definition(schema, namespace, place)
        below = {"array": "items", "map": "values"}.get(kind, "type") if isinstance(kind, str) else "type"
        return self._member(schema, below, namespace, place)

    def _member(self, schema: Any, key: str, namespace: str, place: Place) -> Any:
        has_type = isinstance(schema, dict) and key in schema
        return schema | {key: self.type(schema[key], namespace, (*place, key))} if has_type else schema

    def _definition(self, schema: Definition, namespace: str, place: Place) -> Any:
        name = fullname_of(schema, namespace)
        if name in self.found:
            return name  # it was written in before, because it is used before
        self.found[name] = schema | {"name": name}
        fields = schema.get("fields")
        if not isinstance(fields, list):
            return schema
        places = (((*place, "fields", str(index)), one) for index, one in enumerate(fields))
        return schema | {"fields": [self._member(one, "type", name.rpartition(".")[0], at) for at, one in places]}

    def _name(self, name: str, namespace: str, place: Place) -> Any:
        fullname = full_name(name, namespace)
        if name in PRIMITIVES or any(one in self.found or one in self._own for one in (fullname, name)):
            return name
        definition = self._types.get(fullname)
        if definition is None:
            self.unknown.append(Unknown(place, name, fullname))
            return name
        return self._definition(_in_namespace(definition, namespace), namespace, place)


def _in_namespace(definition: Definition, namespace: str) -> Definition:
    """A definition under its full name as it is written in a namespace."""
    stated, _, name = definition["name"].rpartition(".")
    own = {key: value for key, value in definition.items() if key != "namespace"} | {"name": name}
    return own if stated == namespace else own | {"namespace": stated}
