"""The factor of an `x-source`: which are taken, and on which fields.

It is decimal, and exact. A number in JSON is read through a float, which keeps 15 digits whatever they are; a factor of
more is written as text. What lies beyond `LIMIT` powers of ten is a slip, not a unit.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.contract.findings import proposal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node

MEMBERS = ("location", "factor")
NUMBERS = {"int", "long", "float", "double"}
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,9})?\Z", re.ASCII)
LIMIT = 30
SURE = 15  # digits that a float keeps
EXAMPLE = 'Write "factor": "0.001", or what one unit of the payload is in the unit of the field.'

Fault = tuple["Node", str, str]  # where, what, and what to do


def faults(stated: Node, avro_type: Any) -> Iterator[Fault]:
    """Find what is wrong with an `x-source` that is an object.

    Args:
        stated: the object.
        avro_type: of the field, named types looked up.
    """
    for key in stated.value:
        if key not in MEMBERS:
            fix = proposal(key, MEMBERS) or "It has location and factor."
            yield stated.own(key), f"x-source has no member {key!r}.", fix
    factor = stated.own("factor")
    if factor.is_absent:
        yield stated, "An object in x-source has a factor, and there is none.", "Add it, or write the location alone."
        return
    if told := _fault(factor.value):
        yield factor, told, EXAMPLE
    if not _is_number(avro_type):
        yield factor, "Only a number has a factor, and the field is none.", "Remove it, or make the field a number."


def _fault(value: Any) -> str:
    """Why this cannot be a factor, or nothing."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else str(value) if is_number else ""
    if not NUMBER.match(text):
        return f"{value!r} is no factor."
    factor = Decimal(text)
    if not factor:
        return "With a factor of zero nothing would be left of the number."
    digits = len(factor.as_tuple().digits)
    if isinstance(value, float) and digits > SURE:
        return f"A number of {digits} digits may not be read as it stands here; text is."
    if abs(factor.adjusted()) > LIMIT or digits > LIMIT:
        return f"The factor {text[:LIMIT]} is beyond all units."
    return ""


def _is_number(avro_type: Any) -> bool:
    """Whether a type is one of numbers, or of such and null."""
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    (kind, *others) = [branch for branch in branches if branch != "null"] or ["null"]
    if isinstance(kind, dict):
        return not others and (kind.get("logicalType") == "decimal" or kind["type"] in NUMBERS)
    return not others and kind in NUMBERS
