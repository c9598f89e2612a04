"""JSON Schemas as tables: payloads of MQTT messages, and headers.

A member inside a member is `outer.inner`, inside the items of an array `outer[].inner`. Members that a pattern or
`additionalProperties` allows are `(matching …)` and `(any other)`. Keywords without a column are shown by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.operate.docs.prose import phrase, rest, sentence, value
from gateway.page.blocks import Code, Phrase, Table, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADS = ("Member", "Type", "Required", "Meaning")
_SHOWN = frozenset({
    "type", "title", "description", "properties", "patternProperties", "required", "enum", "const", "format", "items",
    "additionalProperties", "allOf", "anyOf", "oneOf", "$ref",
})  # fmt: skip
_ALTERNATIVES = {"allOf": "all of", "anyOf": "any of", "oneOf": "one of"}


def table(caption: str, schema: Any) -> Table | None:
    """List the members of a schema with resolved references; None if it describes no members."""
    rows = tuple(_members(schema, ""))
    return Table(caption, HEADS, rows) if rows else None


def words(schema: Any) -> Phrase:
    """Describe a schema in a sentence, without its members."""
    return sentence(_kind(schema), _meaning(schema))


def _members(schema: Any, prefix: str) -> Iterator[tuple[Phrase, ...]]:
    if not isinstance(schema, dict):
        return
    required = schema.get("required", [])
    for name, member in schema.get("properties", {}).items():
        yield from _row(f"{prefix}{name}", member, is_required=name in required)
    for pattern, member in schema.get("patternProperties", {}).items():
        yield from _row(f"{prefix}(matching {pattern})", member)
    if schema.get("additionalProperties"):
        yield from _row(f"{prefix}(any other)", schema["additionalProperties"])
    if isinstance(schema.get("items"), dict):
        yield from _members(schema["items"], f"{prefix.removesuffix('.')}[].")
    for key in _ALTERNATIVES:
        for one in schema.get(key, []):
            yield from _members(one, prefix)


def _row(path: str, member: Any, *, is_required: bool = False) -> Iterator[tuple[Phrase, ...]]:
    yield (Code(path),), _kind(member), ("yes",) if is_required else (), _meaning(member)
    yield from _members(member, f"{path}.")


def _meaning(schema: Any) -> Phrase:
    if not isinstance(schema, dict):
        return ()
    closed = ("No other members.",) if schema.get("additionalProperties") is False else ()
    return sentence(phrase(schema.get("title")), phrase(schema.get("description")), closed, rest(schema, _SHOWN))


def _kind(schema: Any) -> Phrase:
    if not isinstance(schema, dict):
        return ("anything",) if schema is not False else ("nothing",)
    if schema.keys() == {"required"}:
        return ("with ", *joined([value(name) for name in schema["required"]], " and "))
    stated = schema.get("type", "anything")
    name = " or ".join(stated) if isinstance(stated, list) else str(stated)
    items = schema.get("items")
    inner = (" of ", *_kind(items)) if isinstance(items, dict) else ()
    detail = (f" ({schema['format']})",) if "format" in schema else ()
    return (name, *inner, *detail, *_choices(schema), *_alternatives(schema))


def _choices(schema: dict[str, Any]) -> Phrase:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return (": ", *joined([value(one) for one in choices])) if choices else ()


def _alternatives(schema: dict[str, Any]) -> Phrase:
    groups: list[Phrase] = [
        (f"{word} ", *joined([("(", *_kind(one), ")") for one in schema[key]]))
        for key, word in _ALTERNATIVES.items()
        if schema.get(key)
    ]
    return (", ", *joined(groups)) if groups else ()
