"""The fast path's code for values as devices write them: a line for each step of a field's reader (`value_reader.py`).

A number of type float or double is not read through Decimal where it does not have to be. This is the code for a double
that is written as text, in Wh where the record has kWh:

    n2 = number1(v1) if v1.__class__ is str else v1
    n4 = n2 * 1 / 1000 if n2.__class__ is int else finite(multiply(n2, factor3)) if n2.__class__ is Decimal else n2

All other steps are calls of those that the precise path takes. They see what it sees: where a step compares or computes
numbers, the payload's fractions are parsed as Decimals (`schema_facts.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.codec.scale import Factor
from gateway.core.codec.value_reader import exact_number, json_number

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType
    from gateway.core.codec.source_text import SourceWriter
    from gateway.core.codec.value_reader import Step, ValueReader

_FLOATS = {"float", "double"}
_decode = msgspec.json.Decoder(int | float).decode


class ReaderCode:
    """Writes the code of readers into a program; with `has_decimals` the payload's fractions are Decimals."""

    def __init__(self, program: SourceWriter, *, has_decimals: bool) -> None:
        self._program = program
        self._has_decimals = has_decimals
        self.before_factor: dict[str, str] = {}  # variable of a value -> of what it is before a factor

    def write(self, reader: ValueReader, avro_type: AvroType, value: str) -> str:
        """Write the steps of a value, which a variable holds; give the variable of what they make of it."""
        is_float = any(branch.label in _FLOATS for branch in avro_type.branches)
        read = value
        for name, step in reader.steps.items():
            if name == "factor":
                self.before_factor[value] = read
            read = self._program.let("n", self._step(name, step, read, is_float=is_float))
        self.before_factor.setdefault(value, read)
        return read

    def _step(self, name: str, step: Step, value: str, *, is_float: bool) -> str:
        if name == "number":
            read = exact_number if self._has_decimals or not is_float else nearest_number
            return f"{self._program.bind('number', read)}({value}) if {value}.__class__ is str else {value}"
        if isinstance(step, Factor) and is_float and not step.is_integral:
            # Python divides integers to the nearest float, which is what the product rounds to
            whole = f"{value} * {step.numerator} / {step.denominator} if {value}.__class__ is int"
            fraction = f"finite(multiply({value}, {self._program.bind('factor', step.factor)}))"
            return f"{whole} else {fraction} if {value}.__class__ is Decimal else {value}"
        return f"{self._program.bind('step', step)}({value})"


def nearest_number(text: str) -> int | float:
    """Read a number in text as the nearest float, or as an integer; raises anything for what is no number."""
    try:
        found: int | float = _decode(text)
    except msgspec.MsgspecError:  # JSON has no leading zeros, and no sign +
        found = _decode(json_number(text))
    return found
