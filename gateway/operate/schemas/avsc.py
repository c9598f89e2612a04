"""An Avro schema as a tree of types: names looked up, aliases in full, every type with its place in the file.

Two ways in. `read` is for files that somebody writes: a fault is told with its line, by the checks of the contract
where the outermost type is a record. `parse` is for versions that a registry or git already holds: they need only be
Avro, because nobody can mend them any more.

A named type that is used again is the same `Type` object again, so a recursive schema is a graph with loops: walk it
with a memory of what was visited.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro

from gateway.contract import schema as records
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from gateway.core import avro_schema
from gateway.errors import ConfigurationError, Finding
from gateway.text import printable

if TYPE_CHECKING:
    from pathlib import Path

Place = tuple[str, ...]  # keys from the outermost value: ("fields", "0", "type")
NO_DEFAULT = object()


@dataclass(slots=True, eq=False)
class Type:
    """One type of a schema.

    Args:
        kind: `union`, a complex type's name, or a primitive's.
        place: where it stands in the file.
        name: full name of a record, enum or fixed; else empty.
        aliases: full names.
        logical: what the bytes mean, as `timestamp-millis` or `decimal(9, 2)`; empty when they mean themselves.
        fields: of a record, by name.
        branches: of a union; the one inner type of an array or map.
        symbols: of an enum.
        symbol_default: of an enum; empty for none.
        size: of a fixed, in bytes.
    """

    kind: str
    place: Place
    name: str = ""
    aliases: frozenset[str] = frozenset()
    logical: str = ""
    fields: dict[str, Field] = field(default_factory=dict)
    branches: tuple[Type, ...] = ()
    symbols: tuple[str, ...] = ()
    symbol_default: str = ""
    size: int = 0

    @property
    def short_name(self) -> str:
        """The name without its namespace, which is what Avro compares."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        """As people say it: `null or double`, `enum DoorState`, `array of long (timestamp-millis)`."""
        if self.kind == "union":
            return " or ".join(map(str, self.branches)) or "an empty union"
        told = f"{self.kind} of {self.branches[0]}" if self.branches else f"{self.kind} {self.short_name}".rstrip()
        return f"{told} ({self.logical})" if self.logical else told


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field of a record.

    Args:
        name: of the field.
        type: what it holds.
        place: where it stands in the file.
        aliases: other names that a writer may have used.
        default: plain data, or `NO_DEFAULT`.
        doc: its sentence for people.
    """

    name: str
    type: Type
    place: Place
    aliases: tuple[str, ...]
    default: Any
    doc: str

    @property
    def has_default(self) -> bool:
        """Whether a reader can do without the writer's value."""
        return self.default is not NO_DEFAULT


class Schema(NamedTuple):
    """A version of a schema.

    Args:
        label: what people call it, as `schemas/door.avsc` or `HEAD:schemas/door.avsc`.
        type: its outermost type.
        lines: 1-based line by place; empty when they are not known.
    """

    label: str
    type: Type
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """Tell the line of a type or field, or of what is around it; 0 when lines are not known."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


def read(path: Path) -> Schema:
    """Read a schema file.

    Args:
        path: of the `.avsc` file; lines are known when its name ends so, or in `.json`.

    Raises:
        ConfigurationError: with all that keeps it from being a schema.
    """
    if path.suffix not in {".avsc", ".json"}:  # a pipe, say: the contract's reader would take it for YAML
        return parse(_text(path), str(path))
    document, findings = Document(path), Findings()
    node = document.root
    if node.is_mapping and node.at("type").text == "record":
        for finding in document.findings:
            findings.add(finding)
        record = records.load(node, findings)
        if record is None or findings.has_errors:
            raise ConfigurationError([one for one in findings.ordered(str(path)) if one.severity == "error"])
    return _built(node.value, str(path), node.source.lines)


def parse(text: str, label: str) -> Schema:
    """Parse a schema that is kept elsewhere.

    Args:
        text: its JSON.
        label: what people call it.

    Raises:
        ConfigurationError: when it is no Avro schema.
    """
    try:
        definition = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_schema(label, error) from None
    return _built(definition, label, {})


def _built(definition: Any, label: str, lines: dict[Place, int]) -> Schema:
    try:
        fastavro.parse_schema(definition)
        return Schema(label, _Builder().type(definition, (), ""), lines)
    except Exception as error:  # noqa: BLE001 - fastavro raises whatever a malformed schema trips over
        raise _no_schema(label, error) from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([Finding(str(path), 0, "", printable(f"It cannot be read: {error}."))]) from None


def _no_schema(label: str, error: Exception) -> ConfigurationError:
    told = printable(f"This is no Avro schema: {error or type(error).__name__}.")
    return ConfigurationError([Finding(label, getattr(error, "lineno", 0), "", told)])


class _Builder:
    """Builds the tree of a schema that fastavro accepts, and remembers named types on the way."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def type(self, definition: Any, place: Place, namespace: str) -> Type:
        """Build one type; `namespace` is that of the named type around it."""
        if isinstance(definition, list):
            branches = (self.type(one, (*place, str(index)), namespace) for index, one in enumerate(definition))
            return Type("union", place, branches=tuple(branches))
        if isinstance(definition, str):
            return self._by_name(definition, place, namespace)
        kind = definition["type"]
        if isinstance(kind, (dict, list)):
            return self.type(kind, (*place, "type"), namespace)
        if kind in avro_schema.NAMED or kind == "error":
            return self._define(definition, place, namespace)
        if kind in {"array", "map"}:
            key = "items" if kind == "array" else "values"
            return Type(kind, place, branches=(self.type(definition[key], (*place, key), namespace),))
        found = self._by_name(kind, place, namespace)
        found.logical = found.logical or _logical(definition)
        return found

    def _by_name(self, name: str, place: Place, namespace: str) -> Type:
        if name in avro_schema.PRIMITIVES:
            return Type(name, place)
        return self._named.get(avro_schema.full_name(name, namespace)) or self._named[name]

    def _define(self, definition: dict[str, Any], place: Place, outer: str) -> Type:
        name = avro_schema.full_name(definition["name"], definition.get("namespace", outer))
        namespace = name.rpartition(".")[0]
        kind = "record" if definition["type"] == "error" else definition["type"]
        made = self._named[name] = Type(kind, place, name, logical=_logical(definition))
        made.aliases = frozenset(avro_schema.full_name(alias, namespace) for alias in definition.get("aliases", ()))
        made.symbols = tuple(definition.get("symbols", ()))
        made.symbol_default = definition.get("default", "") if kind == "enum" else ""
        made.size = definition.get("size", 0)
        for index, one in enumerate(definition.get("fields", ())):
            made.fields[one["name"]] = self._field(one, (*place, "fields", str(index)), namespace)
        return made

    def _field(self, definition: dict[str, Any], place: Place, namespace: str) -> Field:
        return Field(
            definition["name"],
            self.type(definition["type"], (*place, "type"), namespace),
            place,
            tuple(definition.get("aliases", ())),
            definition.get("default", NO_DEFAULT),
            definition.get("doc", ""),
        )


def _logical(definition: dict[str, Any]) -> str:
    name = definition.get("logicalType", "")
    if name == "decimal":
        return f"decimal({definition.get('precision')}, {definition.get('scale', 0)})"
    return name if name in records.LOGICAL else ""
