"""The differences between two versions of a schema, field by field.

    + humidity: null or double, default null
    - units: string
    ~ value: float -> double
    ~ state: doc "Open or closed." -> "What the door is now."

The fields of an inner record are listed where it is first used; `samples[].at` is a field of an array's records.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.registry.canonical_form import form_of
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.avro_schema import AvroType, Field
    from gateway.operate.schemas.avsc import Schema

OUTERMOST = "(record)"
Facts = dict[str, str]


def difference(old: Schema, new: Schema) -> list[str]:
    """List the differences from an earlier version: one line per change, removed fields last."""
    before, after = dict(_fields(old.type, "", set())), dict(_fields(new.type, "", set()))
    changed = (line for path, facts in after.items() for line in _compared(path, before.get(path), facts))
    removed = (f"- {path}: {facts['']}" for path, facts in before.items() if path not in after)
    return [printable(line) for line in (*changed, *removed)] or _in_full(old.type, new.type)


def _in_full(old: AvroType, new: AvroType) -> list[str]:
    """Write differences that no line above shows: the namespace of an enum, the size of a fixed."""
    before, after = (
        {field.name: form_of(field.type) for field in each.fields} or {OUTERMOST: form_of(each)} for each in (old, new)
    )
    return [printable(f"~ {name}: {before[name]} -> {form}") for name, form in after.items() if before[name] != form]


def _compared(path: str, old: Facts | None, new: Facts) -> Iterator[str]:
    if old is None:
        yield f"+ {path}: {', '.join(f'{fact} {value}'.strip() for fact, value in new.items() if fact != 'doc')}"
        return
    for fact in sorted(old.keys() | new.keys()):
        if old.get(fact) != new.get(fact):
            yield f"~ {path}: {f'{fact} ' * bool(fact)}{old.get(fact, 'none')} -> {new.get(fact, 'none')}"


def _fields(outermost: AvroType, path: str, listed: set[str]) -> Iterator[tuple[str, Facts]]:
    """List a type's fields, and those of the records inside them, by path."""
    if outermost.kind != "record":
        yield path or OUTERMOST, {"": str(outermost)}
        yield from _inner(outermost, path, listed)
    elif outermost.name not in listed:
        listed.add(outermost.name)
        yield path or OUTERMOST, {"": str(outermost), "name": outermost.name} | _more(outermost)
        for field in outermost.fields:
            below = f"{path}.{field.name}".lstrip(".")
            yield below, _facts(field)
            yield from _inner(field.type, below, listed)


def _inner(avro_type: AvroType, path: str, listed: set[str]) -> Iterator[tuple[str, Facts]]:
    if avro_type.kind == "record":
        yield from ((inner, facts) for inner, facts in _fields(avro_type, path, listed) if inner != path)
    mark = {"array": "[]", "map": "{}"}.get(avro_type.kind, "")
    for inner in avro_type.inner:
        yield from _inner(inner, path + mark, listed)


def _facts(field: Field) -> Facts:
    facts = {"": str(field.type)}
    if field.has_default:
        facts["default"] = json.dumps(field.default, ensure_ascii=False)
    if field.aliases:
        facts["aliases"] = ", ".join(field.aliases)
    if field.doc:
        facts["doc"] = _doc(field.doc)
    if enums := [one for one in (field.type, *field.type.inner) if one.kind == "enum"]:
        facts["symbols"] = "; ".join(", ".join(one.symbols) for one in enums)
    return facts


def _more(record: AvroType) -> Facts:
    facts = {"aliases": ", ".join(sorted(record.aliases)), "doc": _doc(record.attributes.get("doc"))}
    return {name: fact for name, fact in facts.items() if fact}


def _doc(text: object) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""
