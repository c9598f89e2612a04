"""Avro records as tables: every field at every depth, with named types resolved.

A field inside a record is `outer.inner`, inside the items of an array `outer[].inner`, inside the values of a map
`outer{}.inner`. A record that contains itself is expanded once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.operate.docs.expressions import read_from
from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Code, Phrase, Table, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMED = frozenset({"record", "enum", "fixed"})
KINDS = NAMED | {"array", "map", "null", "boolean", "int", "long", "float", "double", "bytes", "string"}
HEADS = ("Field", "Type", "Unit", "Default", "Meaning")
_INSIDE = {"record": ".", "array": "[]", "map": "{}", "union": ""}
_FIELD_SHOWN = frozenset({"name", "type", "doc", "default", "unit", "x-source"})
_TYPE_SHOWN = frozenset({
    "type", "name", "namespace", "doc", "fields", "symbols", "items", "values", "size", "logicalType", "precision",
    "scale",
})  # fmt: skip


def table(definition: dict[str, Any]) -> Table:
    """List the fields of a valid record, given as in its `.avsc` file."""
    types = _Types()
    record = types.resolve(definition, "")
    return Table(f"Fields of the Avro record {record.fullname}", HEADS, tuple(types.fields(record, "")))


@dataclass(frozen=True, slots=True)
class _Type:
    """A resolved type.

    Args:
        kind: one of `KINDS`, or `union`.
        attributes: as in the schema.
        namespace: of names inside it.
        fullname: of a record, enum or fixed.
        parts: branches of a union, items of an array, values of a map.
    """

    kind: str
    attributes: dict[str, Any]
    namespace: str
    fullname: str = ""
    parts: tuple[_Type, ...] = ()


@dataclass
class _Types:
    """The named types defined so far, and the records that enclose the present one."""

    named: dict[str, _Type] = field(default_factory=dict)
    enclosing: list[str] = field(default_factory=list)

    def resolve(self, data: Any, namespace: str) -> _Type:
        """Resolve a type; a name refers to a type that was defined before."""
        if isinstance(data, list):
            return _Type("union", {}, namespace, parts=self._parts(data, namespace))
        if isinstance(data, str):
            return _Type(data, {}, namespace) if data in KINDS else self._known(data, namespace)
        kind = data["type"]
        if not isinstance(kind, str) or kind not in KINDS:
            return self.resolve(kind, namespace)
        if kind in NAMED:
            return self._define(data, namespace)
        inner = [data[key] for key in ("items", "values") if key in data]
        return _Type(kind, data, namespace, parts=self._parts(inner, namespace))

    def _parts(self, data: list[Any], namespace: str) -> tuple[_Type, ...]:
        return tuple(self.resolve(one, namespace) for one in data)

    def _known(self, name: str, namespace: str) -> _Type:
        return self.named.get(_full(name, namespace)) or self.named[name]

    def _define(self, data: dict[str, Any], namespace: str) -> _Type:
        fullname = _full(data["name"], data.get("namespace", namespace))
        self.named[fullname] = _Type(data["type"], data, fullname.rpartition(".")[0], fullname)
        return self.named[fullname]

    def fields(self, record: _Type, prefix: str) -> Iterator[tuple[Phrase, ...]]:
        """One row per field, followed by the fields inside it."""
        self.enclosing.append(record.fullname)
        for one in record.attributes["fields"]:
            kind = self.resolve(one["type"], record.namespace)
            yield _row(prefix + one["name"], one, kind)
            yield from self._inside(kind, prefix + one["name"])
        self.enclosing.pop()

    def _inside(self, kind: _Type, path: str) -> Iterator[tuple[Phrase, ...]]:
        path += _INSIDE.get(kind.kind, "")
        if kind.kind == "record" and kind.fullname not in self.enclosing:
            yield from self.fields(kind, path)
        for part in kind.parts:
            yield from self._inside(part, path)


def _row(path: str, one: dict[str, Any], kind: _Type) -> tuple[Phrase, ...]:
    default = value(one["default"]) if "default" in one else ()
    unit = phrase(str(one.get("unit", "")))
    meaning = sentence(phrase(one.get("doc")), *_descriptions(kind), read_from(one), rest(one, _FIELD_SHOWN))
    return (Code(path),), _type_name(kind), unit, default, meaning


def _type_name(kind: _Type) -> Phrase:
    inner = [_type_name(one) for one in kind.parts]
    match kind.kind:
        case "union":
            return joined(inner, " or ")
        case "array" | "map":
            return (f"{kind.kind} of ", *inner[0])
        case "enum":
            return ("enum ", Code(kind.fullname), ": ", *joined([value(one) for one in kind.attributes["symbols"]]))
        case "fixed":
            size = f", {kind.attributes['size']} bytes"
            return (*_logical(kind.attributes), "fixed ", Code(kind.fullname), size)
        case "record":
            return ("record ", Code(kind.fullname))
    return (*_logical(kind.attributes), kind.kind)


def _logical(attributes: dict[str, Any]) -> Phrase:
    name = attributes.get("logicalType")
    size = f" ({attributes.get('precision')}, {attributes.get('scale', 0)})" if name == "decimal" else ""
    return (f"{name}{size}, as ",) if name else ()


def _descriptions(kind: _Type) -> Iterator[Phrase]:
    """Descriptions and other attributes of the types of a field."""
    for part in kind.parts:
        yield from _descriptions(part)
    yield phrase(kind.attributes.get("doc"))
    yield rest(kind.attributes, _TYPE_SHOWN)


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"
