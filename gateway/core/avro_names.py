"""Schemas over several files: a type that another file defines is written in where it is used first.

So a schema is complete in itself, as a registry and every reader take it. Nothing else of it changes: a name that is
used again stays a name, and attributes such as `x-source` stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.avro_schema import NAMED, PRIMITIVES, full_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Definition = dict[str, Any]


def fullname_of(definition: Definition, outer: str = "") -> str:
    """The full name that a definition gives its type; `outer` is the namespace around it."""
    name, stated = definition.get("name"), definition.get("namespace")
    return full_name(name if isinstance(name, str) else "", stated if isinstance(stated, str) else outer)


def named_types(schema: Any) -> dict[str, Definition]:
    """The definitions in a schema by their full names, which they have as their names."""
    found: dict[str, Definition] = {}
    _Writer(lambda _: None, found).type(schema, "")
    return found


def completed(schema: Any, types: Mapping[str, Definition]) -> Any:
    """Write the definitions of names into a schema that does not define them; unknown names stay."""
    return _Writer(types.get, {}, named_types(schema)).type(schema, "")


def is_complete(schema: Any) -> bool:
    """Tell whether a schema defines all types that it uses."""
    missing: list[str] = []
    _Writer(lambda name: missing.append(name), {}, named_types(schema)).type(schema, "")  # noqa: PLW0108 - append gives None
    return not missing


def collected(schemas: Iterable[Any]) -> dict[str, Definition]:
    """The definitions in several schemas, of which the first counts."""
    return {name: one for schema in reversed(list(schemas)) for name, one in named_types(schema).items()}


class _Writer:
    """Writes a schema anew; it takes anything, because the schema may not be checked yet."""

    def __init__(
        self,
        find: Callable[[str], Definition | None],
        found: dict[str, Definition],
        own: Mapping[str, Definition] | None = None,
    ) -> None:
        self._find = find
        self._found = found
        self._own = own or {}

    def type(self, schema: Any, namespace: str) -> Any:
        if isinstance(schema, list):
            return [self.type(branch, namespace) for branch in schema]
        if isinstance(schema, str):
            return self._name(schema, namespace)
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if kind in ("array", "map"):
            below = "items" if kind == "array" else "values"
            return schema | {below: self.type(schema[below], namespace)} if below in schema else schema
        if isinstance(kind, str) and (kind in NAMED or kind == "error"):
            return self._definition(schema, namespace)
        return schema | {"type": self.type(kind, namespace)} if "type" in schema else schema

    def _definition(self, schema: Definition, namespace: str) -> Any:
        name = fullname_of(schema, namespace)
        if name in self._found:
            return name  # it was written in before, because it is used before
        self._found[name] = schema | {"name": name}
        fields = schema.get("fields")
        if not isinstance(fields, list):
            return schema
        inner = name.rpartition(".")[0]
        return schema | {"fields": [self._field(one, inner) for one in fields]}

    def _field(self, field: Any, namespace: str) -> Any:
        has_type = isinstance(field, dict) and "type" in field
        return field | {"type": self.type(field["type"], namespace)} if has_type else field

    def _name(self, name: str, namespace: str) -> Any:
        known = (full_name(name, namespace), name)
        if name in PRIMITIVES or any(one in self._found or one in self._own for one in known):
            return name
        definition = next((one for each in known if (one := self._find(each))), None)
        return name if definition is None else self._definition(_in_namespace(definition, namespace), namespace)


def _in_namespace(definition: Definition, namespace: str) -> Definition:
    """A definition under its full name as it is written in a namespace."""
    stated, _, name = definition["name"].rpartition(".")
    own = {key: value for key, value in definition.items() if key != "namespace"} | {"name": name}
    return own if stated == namespace else own | {"namespace": stated}
