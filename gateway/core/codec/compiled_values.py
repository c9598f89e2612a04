"""The fast path's code for values as devices write them: lines for each step of a field's reader (`value_reader.py`).

This is the code for a double that is written as text, with a text for null:

    n1 = None if v1.__class__ is str and v1 in nulls2 else v1
    n3 = (decode4(n1) if n1 >= '1' else number5(n1)) if n1.__class__ is str else n1

Most texts of numbers are those of JSON, which msgspec reads; one that begins with a digit from 1 on, at once. A float
is not compared with what is listed where it could have been another number with more digits: the precise path decides.
Where a step computes, the payload's fractions are Decimals (`schema_facts.py`), and so are those of texts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.codec.scale import Factor
from gateway.core.codec.value_reader import Nulls, OfText, Truths, exact_number, json_number

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType
    from gateway.core.codec.source_text import SourceWriter
    from gateway.core.codec.value_reader import Step, ValueReader

_FLOATS = {"float", "double"}
_LONGEST = 18  # digits of a whole number that msgspec reads as one, and not as a float
_decode_float = msgspec.json.Decoder(int | float).decode
_decode_exactly = msgspec.json.Decoder(float_hook=Decimal).decode


class ReaderCode:
    """Writes the code of readers into a program; with `has_decimals` the payload's fractions are Decimals."""

    def __init__(self, program: SourceWriter, *, has_decimals: bool) -> None:
        self._program = program
        self._has_decimals = has_decimals
        self.before_factor: dict[str, str] = {}  # variable of a value -> of what it is without its factor

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
        """Write the lines of a step; give the expression of its result."""
        match step:
            case Nulls():
                return self._nulls(step, value)
            case Truths():
                return self._truths(step, value)
            case OfText() if name == "number":
                read = self._number(value, is_exact=self._has_decimals or not is_float)
                return f"{read} if {value}.__class__ is str else {value}"
            case OfText():
                return f"{self._program.bind('read', step.read)}({value}) if {value}.__class__ is str else {value}"
            case Factor():
                return self._product(step, value, is_float=is_float)
        applies_to = "int" if name == "string" else "Decimal"
        return f"{self._program.bind('step', step)}({value}) if {value}.__class__ is {applies_to} else {value}"

    def _nulls(self, step: Nulls, value: str) -> str:
        tests = [f"{value} is {each[1]}" for each in step.known if isinstance(each, tuple)]
        if texts := frozenset(each for each in step.known if isinstance(each, str)):
            tests.append(f"{value}.__class__ is str and {value} in {self._program.bind('nulls', texts)}")
        if step.empty:
            classes = ", ".join(type(each).__name__ for each in step.empty)
            tests.append(f"not {value} and {value}.__class__ in ({classes},)")
        if numbers := frozenset(each for each in step.known if isinstance(each, int | Decimal)):
            near = self._program.bind("near", frozenset(map(float, numbers)))
            self._program.line(f"if {value}.__class__ is float and {value} in {near}: raise FallBack")
            is_number = f"({value}.__class__ is int or {value}.__class__ is Decimal)"
            tests.append(f"{is_number} and {value} in {self._program.bind('nulls', numbers)}")
        return f"None if {' or '.join(tests)} else {value}"

    def _truths(self, step: Truths, value: str) -> str:
        self._program.line(f"if {value}.__class__ is float: raise FallBack")
        known, read = self._program.bind("truths", step.known), self._program.bind("truth", step)
        return f"{known}[{value}] if {value}.__class__ is str else {read}({value})"

    def _number(self, value: str, *, is_exact: bool) -> str:
        if is_exact:
            return f"{self._program.bind('number', quick_exact_number)}({value})"
        decode, read = self._program.bind("decode", _decode_float), self._program.bind("number", nearest_number)
        return f"({decode}({value}) if {value} >= '1' else {read}({value}))"

    def _product(self, factor: Factor, value: str, *, is_float: bool) -> str:
        if not is_float or factor.is_integral:
            return f"{self._program.bind('factor', factor)}({value})"
        # Python divides integers to the nearest float, which is what the product rounds to
        whole = f"{value} * {factor.numerator} / {factor.denominator} if {value}.__class__ is int"
        fraction = f"finite(multiply({value}, {self._program.bind('factor', factor.factor)}))"
        return f"{whole} else {fraction} if {value}.__class__ is Decimal else {value}"


def nearest_number(text: str) -> float:
    """Read a number in text as the nearest float, or as an integer; it may raise any exception for other texts."""
    if text[0] == "0":  # JSON has no leading zeros
        digits = text.lstrip("0")
        text = digits if "1" <= digits < ":" else f"0{digits}"
    try:
        found: float = _decode_float(text)
    except msgspec.MsgspecError:  # nor a sign +
        found = _decode_float(json_number(text))
    return found


def quick_exact_number(text: str) -> Any:
    """Do what `exact_number` does, in a third of the time for most texts."""
    digits = text.lstrip("0")
    try:
        found = _decode_exactly(digits if "1" <= digits < ":" else text) if len(text) <= _LONGEST else None
    except msgspec.MsgspecError:
        found = None
    return found if type(found) is int or type(found) is Decimal else exact_number(text)
