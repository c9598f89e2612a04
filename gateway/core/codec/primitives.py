"""Avro's primitive types: check a JSON value and append its bytes, or raise ValidationError.

No type is coerced, except an integer where a float is asked for, and only when the float holds it exactly. Fractions
round to the nearest float, as every JSON reader does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Decimal
from math import isinf
from typing import Any

from gateway.core.codec.json_text import Unrepresentable
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

Encoder = Callable[[Any, bytearray], None]

INT = (-(2**31), 2**31 - 1)
LONG = (-(2**63), 2**63 - 1)
_JSON_KINDS = {type(None): "null", bool: "a boolean", int: "an integer", Decimal: "a number with a fraction",
               Unrepresentable: "a number", str: "text", list: "an array", dict: "an object"}  # fmt: skip
_HIGH = range(0x80, 0x100)  # bytes of a varint that another byte follows
_LAST = [bytes((only,)) for only in range(0x80)]  # ends of varints; those of two bytes are made when one is needed
_PAIRS: list[bytes] = []  # likewise
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def long(value: int) -> bytes:
    """Write an Avro int or long: zigzag, then seven bits a byte (Avro 1.12, "Binary Encoding"), here two by two."""
    number = (value << 1) ^ (value >> 63)
    try:
        if number < 0x4000:
            return _LAST[number]
        out = _PAIRS[number & 0x3FFF]
        number >>= 14
        while number >= 0x4000:
            out += _PAIRS[number & 0x3FFF]
            number >>= 14
        return out + _LAST[number]
    except IndexError:
        if number < 0:  # beyond 64 bits
            raise
        _make_tables()
        return long(value)


def _make_tables() -> None:
    """Make what the first number of several bytes needs: 1.4 MB, which the module in C does without."""
    _LAST.extend([(second << 8 | first).to_bytes(2, "little") for second in range(1, 0x80) for first in _HIGH])
    _PAIRS.extend([(second << 8 | first).to_bytes(2, "little") for second in _HIGH for first in _HIGH])


def wrong_type(expected: str, value: Any) -> ValidationError:
    """Make the error for a value of another JSON type than expected."""
    return ValidationError(Reason.WRONG_TYPE, f"expected {expected}, got {_JSON_KINDS[type(value)]}")


def _null(value: Any, out: bytearray) -> None:  # noqa: ARG001 - null has no bytes
    if value is not None:
        raise wrong_type("null", value)


def _boolean(value: Any, out: bytearray) -> None:
    if type(value) is not bool:
        raise wrong_type("a boolean", value)
    out.append(value)


def integer(name: str, limits: tuple[int, int]) -> Encoder:
    """Make the encoder of integers within limits, both included; the name is for messages."""
    low, high = limits

    def encode_integer(value: Any, out: bytearray) -> None:
        if type(value) is not int:
            raise _not_an_integer(name, value)
        if not low <= value <= high:
            raise ValidationError(Reason.OUT_OF_RANGE, f"{shown(value)} is outside {name}: {low} to {high}")
        out += long(value)

    return encode_integer


def _not_an_integer(name: str, value: Any) -> ValidationError:
    if type(value) is Decimal:
        return ValidationError(Reason.NOT_EXACT, f"expected {name}, got a number with a fraction or an exponent")
    if type(value) is Unrepresentable:
        return ValidationError(Reason.OUT_OF_RANGE, f"a number of more digits than {name} has")
    return wrong_type(f"an integer ({name})", value)


def _floating(name: str, layout: struct.Struct) -> Encoder:
    def encode_floating(value: Any, out: bytearray) -> None:
        if type(value) is Unrepresentable:
            raise ValidationError(Reason.OUT_OF_RANGE, f"a number of more digits than {name} has")
        if type(value) is not int and type(value) is not Decimal:
            raise wrong_type(f"a number ({name})", value)
        try:
            data = layout.pack(float(value))
        except OverflowError:
            raise ValidationError(Reason.OUT_OF_RANGE, f"{shown(value)} is beyond {name}") from None
        (kept,) = layout.unpack(data)
        if isinf(kept):
            raise ValidationError(Reason.OUT_OF_RANGE, f"the number is beyond {name}")
        if type(value) is int and kept != value:
            raise ValidationError(Reason.NOT_EXACT, f"{name} would turn the integer {shown(value)} into {kept!r}")
        out += data

    return encode_floating


def string(value: Any, out: bytearray) -> None:
    """Encode text."""
    if type(value) is not str:
        raise wrong_type("text", value)
    data = value.encode()
    out += long(len(data))
    out += data


def _bytes(value: Any, out: bytearray) -> None:
    data = code_points(value)
    out += long(len(data))
    out += data


def code_points(value: Any) -> bytes:
    """Read bytes from text of the code points 0 to 255, one a byte."""
    if type(value) is not str:
        raise wrong_type("text of the code points 0 to 255", value)
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        detail = f"character {error.start} is not a byte: its code point is above 255"
        raise ValidationError(Reason.BAD_FORMAT, detail) from None


ENCODERS: dict[str, Encoder] = {
    "null": _null,
    "boolean": _boolean,
    "int": integer("int", INT),
    "long": integer("long", LONG),
    "float": _floating("float", _FLOAT),
    "double": _floating("double", _DOUBLE),
    "string": string,
    "bytes": _bytes,
}
