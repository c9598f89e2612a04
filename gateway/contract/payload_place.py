"""Which field of a record reads a place of the payload, and whether the JSON Schema of the message describes it.

Fields with `x-source` are elsewhere in the payload than in the record, so the schema is searched by the sources of its
fields, not by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.codec.keywords import listed, properties_of
from gateway.core.codec.pattern import Pattern, UnsupportedPatternError
from gateway.core.record_path import is_around

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType, Field, Path


class SchemaPlace(NamedTuple):
    """A place in a schema: the type there, and the innermost record field around it; None for none."""

    type: AvroType | None
    field: Field | None


def find(avro_type: AvroType, path: Path, field: Field | None = None) -> SchemaPlace | None:
    """The place of the payload below a type and the field around it; None when nothing reads it."""
    if not path:
        return SchemaPlace(avro_type, field)
    if avro_type.kind == "union":
        places = (find(branch, path, field) for branch in avro_type.branches)
        return next((place for place in places if place and place.field is not field), None)
    if avro_type.kind == "record":
        return _find_in_record(avro_type, path)
    return find(avro_type.inner[0], path[1:], field) if avro_type.inner else None


def _find_in_record(record: AvroType, path: Path) -> SchemaPlace | None:
    for field in record.fields:
        for read in filter(None, field.paths):
            if path[: len(read)] == read:
                return find(field.type, path[len(read) :], field) or SchemaPlace(None, field)
            if read[: len(path)] == path:
                return SchemaPlace(None, field)
    collector = next((field for field in record.fields if field.collects), None)
    return find(collector.type, path, collector) if collector else None


def read_below(record: AvroType, path: Path) -> list[str]:
    """The members below a place that the fields of one record read."""
    reads = [read for field in record.fields for read in field.paths if not is_around(read)]
    return list(dict.fromkeys(read[len(path)] for read in reads if len(read) > len(path) and read[: len(path)] == path))


def describes(described: Any, keys: tuple[str, ...]) -> bool:
    """Tell whether a JSON Schema, references written out, describes the place to which the keys lead."""
    if not isinstance(described, dict):
        return described is True
    if not keys:
        return True
    options = [option for key in ("allOf", "anyOf", "oneOf") for option in listed(described.get(key))]
    inner = [one for one in _of_member(described, keys[0]) if describes(one, keys[1:])]
    return bool(inner) or any(describes(option, keys) for option in options)


def _of_member(described: dict[str, Any], key: str) -> list[Any]:
    """The schemas of a member: its own, those of matching patterns, or the one for all other members."""
    properties, patterns = properties_of(described), described.get("patternProperties")
    if key in properties:
        return [properties[key]]
    known = patterns.items() if isinstance(patterns, dict) else ()
    return [one for pattern, one in known if _matches(pattern, key)] or [described.get("additionalProperties", False)]


def _matches(pattern: str, key: str) -> bool:
    try:
        return Pattern(pattern).matches(key)
    except UnsupportedPatternError as error:
        return not error.is_broken  # which is reported as a violation of the specification
