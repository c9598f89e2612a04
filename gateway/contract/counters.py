"""`x-counter` of a field that counts up: valid members, and the fields that may have them.

`core/counter_rules.py` says what they mean. A rule that could have no effect is an error, as everywhere: a counter in
an array, a rule beside a type instead of a field, a time without a rise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.document import quoted
from gateway.contract.expression import ExpressionError, parse
from gateway.contract.source_rules import NUMBERS
from gateway.core.avro_schema import COUNTER, PAYLOAD, path_of, types
from gateway.core.codec.validation_error import pointer
from gateway.core.counter_rules import counters, field_reading
from gateway.core.record_path import is_around
from gateway.documents.spelling import nearest, suggestion
from gateway.text import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node
    from gateway.contract.findings import Fault
    from gateway.core.avro_schema import AvroType

EXAMPLES = {
    "most": '"most": 36000', "per": '"per": "1h"', "tolerance": '"tolerance": 0', "confirm": '"confirm": 5',
    "of": f'"of": "{PAYLOAD}/meter"',
}  # fmt: skip
MOST_CONFIRM = 1_000
LARGEST = 1e300  # of a rise or a fall, so that the time that it takes is a number
MOST_DIGITS = 300  # of a decimal: a longer one is beyond the floats that differences are compared with
_WANTED = {
    "most": "a rise, a number above 0",
    "per": "a time with a unit",
    "tolerance": "a fall that is tolerated, a number from 0",
    "confirm": f"a number of readings, from 2 to {MOST_CONFIRM}",
}
NUMBER_KINDS = {"string", "enum", "int", "long"}  # of a meter's number
INSIDE = (
    "A counter has one value in a record; this field is in an array, a map, a union of several types or a record that "
    "holds itself."
)


def faults(record: Node, model: AvroType) -> Iterator[Fault]:
    """The faults of all counters in a valid Avro schema; `model` is its model."""
    reachable = [field for *_, field in counters(model)]
    fields = [field for each in types(model) for field in each.fields if COUNTER in field.attributes]
    known = {record.own(*field.place).place for field in fields}
    for one in record.inside():
        if one.is_mapping and COUNTER in one.value and one.place not in known:
            yield one.own(COUNTER), f"{COUNTER} belongs to a field, beside its type.", "Remove it."
    for field in fields:
        stated = record.own(*field.place).own(COUNTER)
        if stated.is_absent:
            continue  # of another file, which has these findings
        if not stated.is_mapping:
            yield stated, f"Expected an object, not {quoted(stated.value)}.", 'Write {"tolerance": 0}.'
        elif len(field.type.non_null) != 1 or not _is_countable(field.type.non_null[0]):
            yield stated, f"Only a number can be a counter, not {field.type}.", "Remove it."
        elif field not in reachable:
            yield stated, INSIDE, "Remove it."
        else:
            yield from _members(stated, model)


def _is_countable(avro_type: AvroType) -> bool:
    if avro_type.logical_name == "decimal":
        return (avro_type.precision or 0) <= MOST_DIGITS
    return avro_type.kind in NUMBERS and avro_type.logical is None


def _members(stated: Node, model: AvroType) -> Iterator[Fault]:
    for key in stated.value:
        node = stated.own(key)
        if key not in EXAMPLES:
            fix = suggestion(key, EXAMPLES) or "Remove it."
            yield node, f"{COUNTER} has no member {key!r}.", fix
        elif key == "of":
            yield from _of(node, model)
        elif not _is_valid(key, node.value):
            yield node, f"{quoted(node.value)} is not {_WANTED[key]}.", f"Write {EXAMPLES[key]}."
    if "per" in stated.value and "most" not in stated.value:
        yield stated.own("per"), "A time has no effect without the rise in it (most).", "Remove it."


def _is_valid(key: str, value: Any) -> bool:
    if key == "per":
        return bool(duration(value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value <= LARGEST
    if key == "confirm":
        return isinstance(value, int) and is_number and 2 <= value <= MOST_CONFIRM
    return is_number and (value > 0 if key == "most" else value >= 0)


def _of(node: Node, model: AvroType) -> Iterator[Fault]:
    try:
        expression = parse(quoted(node.value) if node.text is None else node.text)
    except ExpressionError as error:
        yield node, f"{error}.", f"Write {EXAMPLES['of']}."
        return
    found = field_reading(model, path_of(node.text or ""))
    if found is None:
        places = (f"{PAYLOAD}{pointer(path)}" for path in _places(model))
        near = nearest(node.text or "", places)
        fix = f"Did you mean {near!r}?" if near else "Point at a member that a field of the record reads."
        yield node, f"No field of the record reads {expression.pointer or 'the whole payload'}.", fix
    elif COUNTER in found[1].attributes or not all(map(_is_number_of_meter, found[1].type.non_null)):
        what = "a counter" if COUNTER in found[1].attributes else found[1].type
        text = f"The field that reads {expression.pointer} is {what}, which is no meter's number."
        yield node, text, "Point at a member that a field reads as text or as a whole number."


def _is_number_of_meter(avro_type: AvroType) -> bool:
    """Tell whether a value can be the same in all readings of a meter, as no time can."""
    return avro_type.kind in NUMBER_KINDS and (avro_type.kind == "string" or avro_type.logical is None)


def _places(model: AvroType) -> Iterator[tuple[str, ...]]:
    return (path for field in model.fields for path in field.paths if path and not is_around(path))
