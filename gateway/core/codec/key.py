"""The record's key: UTF-8 of a text field, found in the JSON that the record is made from.

Readings of one key stay in order, so a reading without a key is a dead letter rather than a record on any partition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.core.codec.precise_encoder import ABSENT, member, source
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.reading import Reason


class _Place(NamedTuple):
    """Where one candidate for the key stands in the JSON; `default` is the schema's when it is absent."""

    paths: tuple[tuple[str, ...], ...]
    default: Any


class Key:
    """Finds the key of a reading.

    Args:
        schema: the record's Avro schema in normal form.
        pointers: JSON pointers into the record, tried in order; the first text that is not empty is the key.

    Raises:
        KeyError: when a pointer names no field of the record.
    """

    def __init__(self, schema: dict[str, Any], pointers: tuple[str, ...]) -> None:
        self._places = [_place(schema, tokens(pointer)) for pointer in pointers]

    def of(self, value: dict[str, Any]) -> bytes:
        """Find the key.

        Args:
            value: the reading's JSON, which the schema has accepted.

        Returns:
            UTF-8 of the key, never empty.

        Raises:
            ValidationError: NO_KEY.
        """
        for place in self._places:
            found = next((found for path in place.paths if (found := member(value, path)) is not ABSENT), place.default)
            if found and type(found) is str:
                return found.encode()
        raise ValidationError(
            Reason.NO_KEY, "the key is empty or absent", *(self._places[0].paths[0] if self._places else ())
        )


def _place(schema: dict[str, Any], path: tuple[str, ...]) -> _Place:
    name, *below = path
    field = next((field for field in schema["fields"] if field["name"] == name), None)
    if field is None:
        raise KeyError(name)
    paths = source(field).paths
    if not below:
        return _Place(paths, field.get("default"))
    inner = _place(field["type"], tuple(below))
    return _Place(tuple(outer + rest for outer in paths for rest in inner.paths), inner.default)
