"""Values as devices write them: what `x-source` says of a field, as the steps from the payload's value to the field's.

A step is there only if its word is, and they have this order:

    nulls            these values mean null
    trues, falses    these mean true and false; besides them only true and false themselves are valid
    parse            a text is read as a number, as true or false, or as bytes; a whole number is read as text
    factor           a number is multiplied, exactly (`scale.py`)
    round            digits that the type cannot hold are cut off, towards smaller numbers

A time's text is read by its type, with the zone and rounding of `zone` and `round`. Then the type checks the value as
any other. Null passes all steps, and so does what a step is not about: a number where `parse` expects text.

A number in text has the grammar of JSON, and may have leading zeros, a sign + and the spaces that JSON allows around a
value: meters write 005779.835. All its digits count: for a decimal or an integer it is never read as a float.
Words such as nan and Infinity are not numbers. For a device that writes them as missing values there is `nulls`.

Rejected: float() and int() of Python, which read 1_000, nan and the digits of every script.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from gateway.core.codec.json_text import MAX_DIGITS, Unrepresentable, number
from gateway.core.codec.keywords import ENCODINGS, canonical
from gateway.core.codec.local_time import LocalTime
from gateway.core.codec.scale import EXACT, Factor, whole
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.avro_schema import AvroType, Field, Path
    from gateway.core.codec.keywords import Decode

Step = Callable[[Any], Any]  # raises ValidationError

_INTEGRAL = {"int", "long"}
_COMPARED = (str, int, float, bool, Decimal, Unrepresentable)  # classes of the values that may be listed
_AROUND = " \t\r\n"  # RFC 8259 section 2
_NUMBER = re.compile(r"([+-]?)(\d+)((?:\.\d+)?(?:[eE][+-]?\d+)?)", re.ASCII)
_TRUTH = {"true": True, "false": False}
_DECODERS = {"base64": ENCODINGS["base64"], "base64url": ENCODINGS["base64url"], "hex": ENCODINGS["base16"]}
_COMPUTING = frozenset({"factor", "round"})  # steps
DECODED = tuple(_DECODERS)
PARSED = ("number", "boolean", *DECODED, "string")  # what `parse` reads


def reader_of(field: Field) -> ValueReader | None:
    """Make the reader of a field; None for a field that takes values as JSON has them."""
    return ValueReader(field) if field.words else None


def reader_of_level(fields: Iterable[Field], path: Path) -> ValueReader | None:
    """Make the reader of the field that reads a level of the topic at a path; None where its text stays a text."""
    field = next((each for each in fields if path in each.paths), None)
    is_read = field and ("text" not in field.type.json_kinds or field.words.get("parse") == "string")
    return reader_of(field) if field and is_read else None


class ValueReader:
    """Reads the values of one field; `steps` has what it does, in order, by name: a word, or what `parse` reads."""

    def __init__(self, field: Field) -> None:
        words = field.words
        parse, steps = words.get("parse"), dict[str, Step]()
        if "nulls" in words:
            steps["nulls"] = Nulls(words["nulls"])
        if not words.keys().isdisjoint({"trues", "falses"}):
            steps["trues"] = Truths(words.get("trues", ()), words.get("falses", ()))
        if parse == "string":
            steps[parse] = _digits
        elif parse:
            steps[parse] = OfText(text_reader(parse))
        types = field.type.non_null
        self.steps: dict[str, Step] = steps | (_of_type(field, types[0]) if len(types) == 1 else {})

    @property
    def computes(self) -> bool:
        """True when JSON's fractions must come with all their digits, because it computes with them."""
        return not _COMPUTING.isdisjoint(self.steps)

    def __call__(self, value: Any) -> Any:
        """Read a value from `json_text.parse`; raises ValidationError."""
        for step in self.steps.values():
            value = step(value)
        return value

    def before_factor(self, value: Any) -> Any:
        """Read a value without its factor: a number in the device's own unit."""
        for name, step in self.steps.items():
            if name == "factor":
                break
            value = step(value)
        return value


def _of_type(field: Field, avro_type: AvroType) -> dict[str, Step]:
    """Make the steps that depend on the type."""
    words, steps, is_integral = field.words, dict[str, Step](), avro_type.kind in _INTEGRAL
    is_floor = words.get("round") == "floor"
    if field.factor is not None:
        steps["factor"] = Factor(field.factor, is_integral=is_integral, is_floor=is_floor)
    elif is_integral and (is_floor or words.get("parse") == "number"):
        steps["round" if is_floor else "whole"] = partial(_whole, is_floor=is_floor)
    if is_floor and avro_type.logical_name == "decimal":
        steps["round"] = partial(_cut, avro_type.scale)
    form = avro_type.time
    if form and form.reader and (is_floor or "zone" in words):
        zone = words.get("zone")
        offset = {"offset": LocalTime(zone, is_second=words.get("repeated") == "second").offset} if zone else {}
        steps["time"] = OfText(form.reader(is_floor=is_floor, **offset))
    return steps


# --- steps -------------------------------------------------------------------------------------------------------


class Nulls:
    """Makes null of the values that are listed."""

    def __init__(self, values: Iterable[Any]) -> None:
        values = list(values)
        self.empty = [each for each in values if isinstance(each, list | dict)]  # [] and {}
        self.known = frozenset(canonical(each) for each in values if not isinstance(each, list | dict))

    def __call__(self, value: Any) -> Any:
        """Read a value."""
        if isinstance(value, list | dict):
            return None if value in self.empty else value
        return None if isinstance(value, _COMPARED) and canonical(value) in self.known else value


class Truths:
    """Makes true and false of the values that are listed; raises NOT_ALLOWED for text and numbers that are not."""

    def __init__(self, trues: Iterable[Any], falses: Iterable[Any]) -> None:
        self.known = {canonical(each): False for each in falses} | {canonical(each): True for each in trues}
        self._listed = ", ".join(json.dumps(each, ensure_ascii=False) for each in (*trues, *falses))

    def __call__(self, value: Any) -> Any:
        """Read a value."""
        if not isinstance(value, _COMPARED):
            return value
        found = self.known.get(canonical(value), value)
        if type(found) is not bool:
            raise ValidationError(Reason.NOT_ALLOWED, f"{shown(value)} is none of {self._listed}")
        return found


class OfText:
    """Reads texts; every other value passes."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read

    def __call__(self, value: Any) -> Any:
        """Read a value."""
        return self.read(value) if type(value) is str else value


# --- text --------------------------------------------------------------------------------------------------------


def text_reader(parse: str) -> Callable[[str], Any]:
    """Make the reader of the texts that `parse` names; it raises ValidationError."""
    if parse == "number":
        return exact_number
    return _truth if parse == "boolean" else partial(_bytes, parse, _DECODERS[parse])


def exact_number(text: str) -> int | Decimal | Unrepresentable:
    """Read a number in text with all its digits; raises ValidationError, BAD_FORMAT."""
    return number(json_number(text))


def json_number(text: str) -> str:
    """Write a number in text as JSON does; raises ValidationError, BAD_FORMAT."""
    if not (match := _NUMBER.fullmatch(text.strip(_AROUND))):
        hint = "; a number has a point, not a comma" if "," in text else ""
        raise ValidationError(Reason.BAD_FORMAT, f"{shown(text)} is not a number{hint}")
    sign, digits, rest = match.groups()
    return f"{sign.removeprefix('+')}{digits.lstrip('0') or '0'}{rest}"


def _truth(text: str) -> bool:
    if text not in _TRUTH:
        raise ValidationError(Reason.BAD_FORMAT, f"{shown(text)} is neither true nor false")
    return _TRUTH[text]


def _bytes(name: str, decode: Decode, text: str) -> str:
    """Decode to a text of the code points 0 to 255, as Avro's bytes are written."""
    try:
        return decode(text).decode("latin-1")
    except ValueError:
        raise ValidationError(Reason.BAD_ENCODING, f"{shown(text)} is not {name}") from None


def _digits(value: Any) -> Any:
    """Write a whole number as text; a longer one than `json_text.py` reads stays a number, which text refuses."""
    if type(value) is not int:
        return value
    text = str(value)
    return text if len(text) <= MAX_DIGITS else value


# --- numbers -----------------------------------------------------------------------------------------------------


def _whole(value: Any, *, is_floor: bool) -> Any:
    if type(value) is not Decimal:
        return value
    integer = whole(value, is_floor=is_floor)
    if integer is None:
        raise ValidationError(Reason.NOT_EXACT, f"{shown(value)} is not a whole number")
    return integer


def _cut(scale: int, value: Any) -> Any:
    """Cut the digits off that a decimal does not hold."""
    if type(value) is not Decimal:
        return value
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int), "JSON has no infinities"
    if exponent >= -scale:
        return value
    return value.quantize(Decimal(1).scaleb(-scale), ROUND_FLOOR, EXACT)
