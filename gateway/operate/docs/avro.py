"""Avro records as tables: every field at every depth, with named types resolved.

A field inside a record is `outer.inner`, inside the items of an array `outer[].inner`, inside the values of a map
`outer{}.inner`. A record that contains itself is expanded once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core import avro_schema
from gateway.core.avro_schema import COUNTER
from gateway.operate.docs.expressions import counted, read_from
from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Code, Phrase, Table, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.avro_schema import AvroType, Field

HEADS = ("Field", "Type", "Unit", "Default", "Meaning")
_INSIDE = {"record": ".", "array": "[]", "map": "{}"}
_FIELD_SHOWN = frozenset({"name", "type", "doc", "default", "unit", "x-source", COUNTER})
_TYPE_SHOWN = frozenset({
    "type", "name", "namespace", "doc", "fields", "symbols", "items", "values", "size", "logicalType", "precision",
    "scale",
})  # fmt: skip


def table(definition: dict[str, Any]) -> Table:
    """List the fields of a valid record, given as in its `.avsc` file."""
    record = avro_schema.build(definition)
    return Table(f"Fields of the Avro record {record.name}", HEADS, tuple(_fields(record, "", ())))


def _fields(record: AvroType, prefix: str, enclosing: tuple[AvroType, ...]) -> Iterator[tuple[Phrase, ...]]:
    for one in record.fields:
        yield _row(prefix + one.name, one)
        yield from _inside(one.type, prefix + one.name, (*enclosing, record))


def _inside(kind: AvroType, path: str, enclosing: tuple[AvroType, ...]) -> Iterator[tuple[Phrase, ...]]:
    path += _INSIDE.get(kind.kind, "")
    if kind not in enclosing:
        yield from _fields(kind, path, enclosing)
    for part in kind.inner:
        yield from _inside(part, path, enclosing)


def _row(path: str, one: Field) -> tuple[Phrase, ...]:
    default = value(one.default) if one.has_default else ()
    unit = phrase(str(one.attributes.get("unit", "")))
    rule = counted(one.attributes[COUNTER]) if COUNTER in one.attributes else ()
    about = (*_descriptions(one.type), read_from(one), rule, rest(one.attributes, _FIELD_SHOWN))
    meaning = sentence(phrase(one.doc), *about)
    return (Code(path),), _type_name(one.type), unit, default, meaning


def _type_name(kind: AvroType) -> Phrase:
    inner = [_type_name(one) for one in kind.inner]
    match kind.kind:
        case "union":
            return joined(inner, " or ")
        case "array" | "map":
            return (f"{kind.kind} of ", *inner[0])
        case "enum":
            return ("enum ", Code(kind.name), ": ", *joined([value(one) for one in kind.symbols]))
        case "fixed":
            return (*_logical(kind), "fixed ", Code(kind.name), f", {kind.size} bytes")
        case "record":
            return ("record ", Code(kind.name))
    return (*_logical(kind), kind.kind)


def _logical(kind: AvroType) -> Phrase:
    digits = f" ({kind.precision}, {kind.scale})" if kind.logical_name == "decimal" else ""
    return (f"{kind.logical_name}{digits}, as ",) if kind.logical_name else ()


def _descriptions(kind: AvroType) -> Iterator[Phrase]:
    for part in kind.inner:
        yield from _descriptions(part)
    yield phrase(kind.attributes.get("doc"))
    yield rest(kind.attributes, _TYPE_SHOWN)
