"""The canonical form of an Avro schema: two schemas with the same form are the same schema, for every command.

Avro's parsing canonical form is equal for schemas that write the same bytes. It drops what else a reader uses, so this
form keeps defaults, aliases and logical types as well. It drops what no reader uses: `doc`, `order`, other attributes
such as `x-source`, the order of members, and the way in which a name is written. The order of fields and symbols stays,
because it decides on the bytes.

A registry's schema may refer to types of other subjects. These come first in `references`, each after those that it
refers to itself, and take part as if they were written at their first use.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastavro.schema import parse_schema

from gateway.core.avro_schema import build

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.avro_schema import AvroType, Field


def canonical_form(text: str, references: Sequence[str] = ()) -> str | None:
    """Write the canonical form of a schema's JSON; None when it is not valid Avro."""
    try:
        return form_of(parse(text, references))
    except Exception:  # noqa: BLE001 - text from a registry makes the parser raise exceptions of many types
        return None


def is_same(text: str, other: str, references: Sequence[str] = ()) -> bool:
    """Whether the schema of a contract is the same as another one."""
    form = canonical_form(text)
    return form is not None and form == canonical_form(other, references)


def parse(text: str, references: Sequence[str] = ()) -> AvroType:
    """Parse a schema's JSON; invalid ones raise exceptions of many types."""
    definitions = [json.loads(one) for one in (*references, text)]
    parse_schema(definitions if references else definitions[0], {})
    return build(definitions).inner[-1]


def form_of(avro_type: AvroType) -> str:
    """Write the canonical form of a type."""
    return json.dumps(_form(avro_type, set()), sort_keys=True, separators=(",", ":"))


def _form(avro_type: AvroType, named: set[str]) -> Any:
    if avro_type.kind == "union":
        return [_form(branch, named) for branch in avro_type.inner]
    if avro_type.name in named:
        return avro_type.name
    if avro_type.name:
        named.add(avro_type.name)
    form = {
        "type": avro_type.kind,
        "name": avro_type.name,
        "aliases": sorted(avro_type.aliases),
        "fields": [_field(field, named) for field in avro_type.fields],
        "symbols": avro_type.symbols,
        "default": avro_type.attributes.get("default") if avro_type.kind == "enum" else None,
        "size": avro_type.size,
        "inner": [_form(inner, named) for inner in avro_type.inner],
        "logical": _logical(avro_type),
    }
    return {name: value for name, value in form.items() if value}


def _field(field: Field, named: set[str]) -> dict[str, Any]:
    form = {"name": field.name, "type": _form(field.type, named), "aliases": sorted(field.aliases)}
    return form | ({"default": _numbers_alike(field.default)} if field.has_default else {})


def _logical(avro_type: AvroType) -> list[Any]:
    name = avro_type.logical_name
    return [name, avro_type.precision, avro_type.scale] if name == "decimal" else [name] if name else []


def _numbers_alike(default: Any) -> Any:
    """Write 1.0 as 1, which means the same."""
    if isinstance(default, dict):
        return {name: _numbers_alike(value) for name, value in default.items()}
    if isinstance(default, list):
        return [_numbers_alike(value) for value in default]
    return int(default) if isinstance(default, float) and default.is_integer() else default
