"""JSON text to values, strictly: what RFC 8259 allows, and a reason for everything else.

This is the standard library's parser with hooks, not msgspec's: it reads payloads that are wrong (or whose schema the
compiled codec does not cover), so it must find out *how* they are wrong. Numbers keep the exact value of their text: a
number with fraction or exponent becomes a Decimal. When a member is repeated the last one counts, as in msgspec, and
the others may hold anything.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

ABSENT: Any = object()  # stands for a member that is not there
MAX_DEPTH = 32  # levels of a value
MAX_NESTING = 600  # levels of a text, repeated members included; the parsers' stacks end below 1,000
MAX_DIGITS = 400  # a double ends at 309; longer integers are out of range for every type but decimal
_UNDERFLOW = 500_000  # so many places after the point are too many for every type

_BOM = b"\xef\xbb\xbf"
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"?|[][{}]', re.DOTALL)
_LEVELS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class Unrepresentable:
    """A whole number too long for any type; the encoders raise OUT_OF_RANGE."""

    def __init__(self, *, is_negative: bool = False) -> None:
        self.is_negative = is_negative

    def __repr__(self) -> str:
        return "a number of many digits"


def parse(payload: bytes) -> Any:
    """Parse a payload to None, bool, int, Decimal, Unrepresentable, str, list or dict; raises ValidationError."""
    text = decode(payload)
    check_nesting(payload)
    try:
        value = _read(text)
    except json.JSONDecodeError as error:
        raise ValidationError(Reason.NOT_JSON, f"{error.msg.removesuffix(' at')} at character {error.pos}") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(value)
    if _SURROGATE_ESCAPE.search(text):
        _refuse_lone_surrogates(value)
    return value


def decode(payload: bytes) -> str:
    """Give a payload's text; raises ValidationError, EMPTY or BAD_ENCODING."""
    if not payload:
        raise ValidationError(Reason.EMPTY, "the payload is empty")
    if payload.startswith(_BOM):
        raise ValidationError(Reason.BAD_ENCODING, "the payload starts with a byte order mark (RFC 8259 section 8.1)")
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ValidationError(Reason.BAD_ENCODING, f"byte {error.start} is not valid UTF-8") from None


def check_nesting(payload: bytes) -> None:
    """Refuse a UTF-8 text that nests deeper than a parser's stack; raises ValidationError, TOO_DEEP."""
    if payload.count(b"[") + payload.count(b"{") <= MAX_NESTING:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(payload):
        depth += _LEVELS.get(match[0], 0)
        if depth > MAX_NESTING:  # stop here: the rest may be long, and crafted to cost time
            raise too_deep()


def check_depth(value: Any, levels: int = MAX_DEPTH) -> None:
    """Refuse a value of more levels; raises ValidationError, TOO_DEEP."""
    if not isinstance(value, list | dict):
        return
    if not levels:
        raise too_deep()
    for inner in value if isinstance(value, list) else value.values():
        check_depth(inner, levels - 1)


def too_deep() -> ValidationError:
    """Make the error of a value of too many levels."""
    return ValidationError(Reason.TOO_DEEP, f"nested deeper than {MAX_DEPTH} levels")


def number(text: str) -> int | Decimal | Unrepresentable:
    """Read a number of JSON's grammar."""
    return _integer(text) if text.removeprefix("-").isdecimal() else _fraction(text)


def _integer(text: str) -> int | Unrepresentable:
    return int(text) if len(text) <= MAX_DIGITS else Unrepresentable(is_negative=text.startswith("-"))


def _fraction(text: str) -> Decimal | Unrepresentable:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that even Decimal cannot hold
        return _beyond_decimal(*text.lower().split("e"))


def _beyond_decimal(digits: str, exponent: str) -> Decimal | Unrepresentable:
    number = Decimal(digits)
    if number and not exponent.startswith("-"):
        return Unrepresentable(is_negative=number < 0)
    return number.scaleb(-_UNDERFLOW)  # zero stays zero; all else is as near to it


def _refuse_constant(name: str) -> NoReturn:
    raise ValidationError(Reason.NOT_JSON, f"{name} is not JSON (RFC 8259 section 6)")


def _refuse_lone_surrogates(value: Any) -> None:
    if isinstance(value, str):
        _check_surrogates(value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_below(item, str(index))
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_surrogates(name)
            _refuse_below(item, name)


def _refuse_below(value: Any, token: str) -> None:
    try:
        _refuse_lone_surrogates(value)
    except ValidationError as error:
        raise error.under(token) from None


def _check_surrogates(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError(Reason.BAD_ENCODING, "a lone surrogate is not Unicode text")


_read = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=_refuse_constant).decode
