"""What the fast path has to know of a whole schema before any code is written."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from gateway.core.avro_schema import types
from gateway.core.codec.value_reader import reader_of

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType

_CONTAINERS = {"record", "array", "map"}
_CLASSES = {"boolean": ("bool",), "integer": ("int",), "text": ("str",), "array": ("list",), "object": ("dict",)}


class SchemaFacts:
    """Facts of the schema below its outermost type.

    Attributes:
        has_decimals: the payload's fractions must be read as Decimal, not as float: for a decimal, a factor and so on.
        levels: upper bound of the levels of JSON that pass the generated code; infinite where a record is used again,
            because it may hold itself, or where a value that nests may be passed over for another one.
    """

    def __init__(self, root: AvroType) -> None:
        every = list(types(root))
        fields = [field for avro_type in every for field in avro_type.fields]
        computes = any((reader := reader_of(field)) and reader.computes for field in fields)
        self.has_decimals = computes or any(avro_type.is_exact for avro_type in every)
        uses = [root, *(below for avro_type in every for below in avro_type.below)]
        is_endless = sum(use.kind == "record" for use in uses) > sum(each.kind == "record" for each in every)
        if is_endless or any(len(field.paths) > 1 and self.nests(field.type) for field in fields):
            self.levels = inf
        else:
            self.levels = sum(_levels(avro_type) for avro_type in every if avro_type.kind in _CONTAINERS)

    def nests(self, avro_type: AvroType) -> bool:
        """Tell whether a value of the type may be a list or a dict."""
        return not {"list", "dict"}.isdisjoint(self.classes(avro_type))

    def classes(self, avro_type: AvroType) -> tuple[str, ...]:
        """Name the Python classes of the values that a type may take, except None."""
        fraction = "Decimal" if self.has_decimals else "float"
        classes = {**_CLASSES, "number": ("int", fraction)}
        return tuple(dict.fromkeys(name for kind in sorted(avro_type.json_kinds) for name in classes[kind]))


def _levels(avro_type: AvroType) -> int:
    return max((len(path) for field in avro_type.fields for path in field.paths), default=1)
