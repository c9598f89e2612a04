"""The record's key on the precise path: UTF-8 of a text field, read from the JSON that the record is made from.

Readings of one key stay in order. A reading without a key becomes a dead letter, because its partition would be random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.codec.field_value import FieldValue
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType


class Key:
    """Finds the key of a reading: the first text that is not empty at JSON pointers into the record, tried in order.

    A pointer that does not lead to a field raises KeyError.
    """

    def __init__(self, record: AvroType, pointers: tuple[str, ...]) -> None:
        self._values = [FieldValue(record, pointer) for pointer in pointers]

    def of(self, value: dict[str, Any]) -> bytes:
        """Find the key, which is never empty, in JSON that the schema has accepted; raises ValidationError, NO_KEY."""
        for each in self._values:
            text, _ = each.of(value)
            if text and type(text) is str:
                return text.encode()
        place = self._values[0].place if self._values else ()
        raise ValidationError(Reason.NO_KEY, "the key is empty or absent", *place)
