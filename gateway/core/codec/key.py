"""The record's key on the precise path, read from the JSON that the record is made from, or from the topic.

It is UTF-8 text: that of a text field; the decimal digits of a whole number; `true` or `false`. Of several parts, the
first that is not empty is the key, or a separator joins all of them. Keys of different parts may then be equal, where a
part holds the separator: they share a partition, and nothing is lost by that.

Readings of one key stay in order. A reading without a key, or without a part of a joined one, becomes a dead letter,
because its partition would be random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.codec.field_value import FieldValue
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.avro_schema import AvroType


class Key:
    """Finds the key of a reading.

    Args:
        record: the outermost type.
        parts: JSON pointers into it, and places among the texts of the topic. A pointer that does not lead to a field
            raises KeyError.
        separator: joins all parts; None when the first one that is not empty is the key.
    """

    def __init__(self, record: AvroType, parts: tuple[str | int, ...], separator: str | None = None) -> None:
        self._parts = [part if isinstance(part, int) else _Field(record, part) for part in parts]
        self._separator = separator

    def of(self, value: dict[str, Any], texts: Sequence[str] = ()) -> bytes:
        """Find the key in JSON that the schema has accepted and the texts of the topic; raises ValidationError, NO_KEY.

        It is never empty.
        """
        found = []
        for part in self._parts:
            text = texts[part] if isinstance(part, int) else part.text(value)
            if text and self._separator is None:
                return text.encode()
            if not text and self._separator is not None:
                raise _no_key("a part of the key is empty or absent", part)
            found.append(text)
        if not found or self._separator is None:
            raise _no_key("the key is empty or absent", *self._parts[:1])
        return self._separator.join(found).encode()


class _Field:
    """A field that is a part of the key."""

    def __init__(self, record: AvroType, pointer: str) -> None:
        self._value = FieldValue(record, pointer)
        self.place = self._value.place

    def text(self, value: dict[str, Any]) -> str:
        """Give the text of the value; empty when there is none."""
        return text_of(self._value.of(value))


def text_of(found: Any) -> str:
    """Write the value of a field as a part of a key; empty when it cannot be one."""
    if type(found) is bool:
        return "true" if found else "false"
    return str(found) if type(found) in {str, int} else ""


def _no_key(detail: str, *parts: _Field | int) -> ValidationError:
    return ValidationError(
        Reason.NO_KEY, detail, *(token for part in parts if isinstance(part, _Field) for token in part.place)
    )
