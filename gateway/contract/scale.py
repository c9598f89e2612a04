"""The factor of an `x-source`: its valid values, and the fields that may have one.

A factor is decimal and exact. JSON parsers read a number through a float, which keeps 15 digits, so a longer factor is
written as text. A factor of more than `LIMIT` digits or powers of ten is taken for a mistake.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.contract.document import quoted
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node

MEMBERS = ("location", "factor")
NUMBERS = {"int", "long", "float", "double"}
DECIMALS = {"decimal", "big-decimal"}
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,9})?\Z", re.ASCII)
LIMIT = 30
EXACT = 15  # digits that a float keeps
EXAMPLE = 'Write one unit of the payload in the unit of the field, as in "factor": "0.001".'

Fault = tuple["Node", str, str]  # the place, what is wrong, and the fix


def faults(stated: Node, avro_type: Any) -> Iterator[Fault]:
    """The faults of an `x-source` that is an object, on a field of a type whose named types are looked up."""
    for key in stated.value:
        if key not in MEMBERS:
            fix = suggestion(key, MEMBERS) or "Use location and factor."
            yield stated.own(key), f"x-source has no member {key!r}.", fix
    factor = stated.own("factor")
    if factor.is_absent:
        yield stated, "The object in x-source has no factor.", "Add it, or write the location without an object."
        return
    if fault := _fault(factor.value):
        yield factor, fault, EXAMPLE
    if not _is_number(avro_type):
        yield factor, "Only a field with a number can have a factor.", "Remove the factor, or make the field a number."


def _fault(value: Any) -> str:
    """Why a value is not a factor; "" when it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else str(value) if is_number else ""
    if not NUMBER.match(text):
        return f"{quoted(value)} is not a factor."
    factor = Decimal(text)
    if not factor:
        return "A factor of zero would make every value zero."
    digits = len(factor.as_tuple().digits)
    if isinstance(value, float) and digits > EXACT:
        return f"A factor of {digits} digits must be text, because JSON parsers round such numbers."
    if abs(factor.adjusted()) > LIMIT or digits > LIMIT:
        return f"The factor {text[:LIMIT]} is out of range."
    return ""


def _is_number(avro_type: Any) -> bool:
    """Whether a type is a number, or a union of null and a number."""
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    (kind, *others) = [branch for branch in branches if branch != "null"] or ["null"]
    if isinstance(kind, dict):
        return not others and (kind.get("logicalType") in DECIMALS or kind["type"] in NUMBERS)
    return not others and kind in NUMBERS
