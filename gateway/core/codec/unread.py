"""Payload members that no Avro field reads: whether they are ignored, or make the reading a dead letter, by object.

They are ignored if the JSON Schema of the object has `additionalProperties: true`, or is `true` itself. This holds for
all objects inside it too. Otherwise they are refused. This is stricter than JSON Schema, whose default is to allow
them: a misspelt member would be ignored silently.

An object may have several schemas: those of the members of a map, or of the sources of one field. All must allow them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from gateway.core.codec.keywords import properties_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from gateway.core.avro_schema import Path


class Unread:
    """The rule for one object; the rule for a member is made once, so it can be compared by identity.

    Args:
        schemas: JSON Schemas of the object, references written out.
        is_strict: refuse them whatever the schemas say of this object itself, because a map collects some of them.
    """

    def __init__(self, schemas: tuple[Any, ...], *, is_strict: bool = False) -> None:
        self._schemas = schemas
        self._is_strict = is_strict
        self._members: dict[str, Unread] = {}
        self.refuses = is_strict or not all(map(is_open, schemas))

    @cached_property
    def strict(self) -> Unread:
        """The same for an object of which a map collects members."""
        return _made(self._schemas, is_strict=True)

    def at(self, path: Path) -> Unread:
        """Give the rule for the object at a path of member names."""
        return self.member(path[0]).at(path[1:]) if path else self

    def member(self, name: str) -> Unread:
        """Give the rule for the object in a member."""
        if name not in self._members:
            self._members[name] = self._below(lambda schema: [properties_of(schema).get(name, _others(schema))])
        return self._members[name]

    @cached_property
    def item(self) -> Unread:
        """What happens in each item of an array."""
        return self._below(lambda schema: [schema.get("items")])

    @cached_property
    def members(self) -> Unread:
        """What happens in members of any name."""
        return self._below(lambda schema: [*properties_of(schema).values(), _others(schema)])

    def without(self, names: Collection[str]) -> Unread:
        """Give the same for an object that has no members of these names."""
        left = [
            schema | {"properties": {name: one for name, one in properties_of(schema).items() if name not in names}}
            if isinstance(schema, dict)
            else schema
            for schema in self._schemas
        ]
        return _made(tuple(left), is_strict=self._is_strict)

    def _below(self, inner: Callable[[dict[str, Any]], list[Any]]) -> Unread:
        found: list[Any] = []
        for schema in self._schemas:
            if is_open(schema) and not self._is_strict:
                found.append(True)
            else:
                found += inner(schema) if isinstance(schema, dict) else [{}]
        return _made(tuple(found))


def is_open(schema: Any) -> bool:
    """Tell whether a JSON Schema allows members that no field reads."""
    return schema is True or (isinstance(schema, dict) and schema.get("additionalProperties") is True)


def unread(schema: Any, *, ignores: bool) -> Unread:
    """Give what happens in a payload; `ignores` says it of its outermost object."""
    if ignores:
        return _made((schema if is_open(schema) else True,))
    return _made((schema,), is_strict=is_open(schema))


def common(several: Iterable[Unread]) -> Unread:
    """Give what happens in an object that may be at one of several places."""
    first, *others = several
    if all(one is first for one in others):
        return first
    return _made(tuple(schema for one in (first, *others) for schema in one._schemas))  # noqa: SLF001 - of this class


def _made(schemas: tuple[Any, ...], *, is_strict: bool = False) -> Unread:
    """Give a constant where nothing more can be said, so that a record that holds itself has an end."""
    if not is_strict and schemas and all(schema is True for schema in schemas):
        return IGNORED
    if not any(_opens(schema) or (is_open(schema) and not is_strict) for schema in schemas):
        return REFUSED
    return Unread(schemas, is_strict=is_strict)


def _opens(schema: Any) -> bool:
    """Tell whether a schema allows such members somewhere inside."""
    if not schema or not isinstance(schema, dict):
        return False
    return any(
        is_open(one) or _opens(one) for one in (*properties_of(schema).values(), _others(schema), schema.get("items"))
    )


def _others(schema: dict[str, Any]) -> Any:
    """The schema of the members that are not named; `patternProperties` is not enforced, and allows nothing here."""
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, dict) and "patternProperties" not in schema else {}


REFUSED = Unread(({},))
IGNORED = Unread((True,))
