"""What a field of the record is made from, on the precise path: for the key, and for the time of the event.

It descends level by level, as the encoder does: the first source that is there counts, or the default of the field that
is absent, as a whole. A flat list of all sources would find what the record does not hold: a member of the second
source of a record whose first source is there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.core.codec.json_text import ABSENT
from gateway.core.codec.precise_encoder import first_member
from gateway.core.codec.validation_error import tokens
from gateway.core.codec.value_reader import reader_of

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.value_reader import ValueReader


class FieldValue:
    """Finds the value of the field that a JSON pointer into the record leads to; KeyError when there is none."""

    def __init__(self, record: AvroType, pointer: str) -> None:
        self._fields: list[Field] = []  # from the record down
        self._readers: list[ValueReader | None] = []
        for name in tokens(pointer):
            field = next((each for branch in record.branches if (each := branch.field_named(name))), None)
            if field is None:
                raise KeyError(name)
            self._fields.append(field)
            self._readers.append(reader_of(field))
            record = field.type

    @property
    def field(self) -> Field:
        """The field itself."""
        return self._fields[-1]

    @property
    def place(self) -> Path:
        """Where its first source is in the payload."""
        return tuple(token for field in self._fields for token in field.paths[0])

    def of(self, value: Any) -> Any:
        """Give the value in JSON that the schema has accepted, read as `x-source` says, or the default.

        A default names its members as the schema does, and is a value of the field's own type. None is null, at any
        level.
        """
        for depth, (field, read) in enumerate(zip(self._fields, self._readers, strict=True), start=1):
            value = first_member(value, field.paths)
            if value is ABSENT:
                return _in_default(field.default, self._fields[depth:])
            value = read(value) if read else value
            if value is None:
                break
        return value


def _in_default(default: Any, fields: list[Field]) -> Any:
    for field in fields:
        default = None if default is None else default.get(field.name, field.default)
    return default
