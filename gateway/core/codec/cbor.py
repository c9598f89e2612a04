"""CBOR (RFC 8949) to values that JSON has: null, truth values, numbers, text, arrays and objects.

What JSON does not have is refused, with its place: byte strings, NaN and infinities, simple values, keys that are not
text. `undefined` is null. Tags of times give the tagged text or number; bignums and decimal fractions give their exact
number; all other tags give what they tag (section 6.1). Members that are repeated: the last one counts, as in JSON.

The length that an item states is compared with the bytes that are there before anything is made of it.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, NoReturn

import msgspec

from gateway.core.codec.json_text import MAX_DEPTH, too_deep
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

INDEFINITE = -1
MAX_BIGNUM_BYTES = 160  # of 385 digits; a double ends at 309
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_BREAK = 0xFF


def decode(data: bytes) -> Any:
    """Decode one item, which is all of the data; raises ValidationError. A `msgspec.Raw` is a number of JSON."""
    value, at = _item(data, 0, MAX_DEPTH)
    if at != len(data):
        raise refused(f"{len(data) - at} bytes follow the first item")
    return value


def refused(detail: str) -> ValidationError:
    """Make the error of data that is not CBOR, or that JSON does not have."""
    return ValidationError(Reason.NOT_DECODED, f"CBOR: {detail}")


def _item(data: bytes, at: int, levels: int) -> tuple[Any, int]:
    value, at = _any(data, at, levels)
    if value.__class__ is bytes:
        raise refused("a byte string, which JSON does not have")
    return value, at


def _any(data: bytes, at: int, levels: int) -> tuple[Any, int]:
    major, info, number, at = _head(data, at)
    if major < 2:
        return (_number(-1 - number) if major else number), at
    if major < 4:
        chunk, at = _string(data, at, major, number)
        return (_text(chunk) if major == 3 else chunk), at
    if major == 7:
        return _simple(info, number), at
    if not levels:
        raise too_deep()
    return _COMPOSED[major](data, at, number, levels - 1)


def _head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Read an initial byte and its argument: major type, additional information, argument, and the next place."""
    if at >= len(data):
        raise _truncated()
    major, info = data[at] >> 5, data[at] & 0x1F
    at += 1
    if info < 24:
        return major, info, info, at
    if info < 28:
        end = at + (1 << (info - 24))
        if end > len(data):
            raise _truncated()
        return major, info, int.from_bytes(data[at:end]), end
    if info == 31 and 2 <= major <= 5:
        return major, info, INDEFINITE, at
    raise refused(f"byte {at - 1} begins no item")


def _string(data: bytes, at: int, major: int, length: int) -> tuple[bytes, int]:
    if length != INDEFINITE:
        if length > len(data) - at:
            raise _truncated()
        return data[at : at + length], at + length
    chunks = []
    while not _is_break(data, at):
        its, _, length, at = _head(data, at)
        if its != major or length == INDEFINITE:
            raise refused(f"a chunk of a string is another item, before byte {at}")
        chunk, at = _string(data, at, major, length)
        if major == 3:
            _text(chunk)  # section 3.2.3: a character is not divided
        chunks.append(chunk)
    return b"".join(chunks), at + 1


def _text(chunk: bytes) -> str:
    try:
        return chunk.decode()
    except UnicodeDecodeError as error:
        raise ValidationError(Reason.BAD_ENCODING, f"byte {error.start} of a text is not valid UTF-8") from None


def _array(data: bytes, at: int, length: int, levels: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while (not _is_break(data, at)) if length == INDEFINITE else len(items) < length:
        try:
            item, at = _item(data, at, levels)
        except ValidationError as error:
            raise error.under(str(len(items))) from None
        items.append(item)
    return items, at + (length == INDEFINITE)


def _map(data: bytes, at: int, length: int, levels: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    count = 0
    while (not _is_break(data, at)) if length == INDEFINITE else count < length:
        name, at = _any(data, at, levels)
        if name.__class__ is not str:
            raise refused(f"a key is not text: {'a number' if isinstance(name, msgspec.Raw) else shown(name)}")
        try:
            members[name], at = _item(data, at, levels)
        except ValidationError as error:
            raise error.under(name) from None
        count += 1
    return members, at + (length == INDEFINITE)


def _is_break(data: bytes, at: int) -> bool:
    if at >= len(data):
        raise _truncated()
    return data[at] == _BREAK


def _tagged(data: bytes, at: int, tag: int, levels: int) -> tuple[Any, int]:
    value, at = _any(data, at, levels)
    return _NUMBERS[tag](value) if tag in _NUMBERS else value, at


def _bignum(value: Any, sign: int = 1) -> Any:
    if not isinstance(value, bytes) or len(value) > MAX_BIGNUM_BYTES:
        raise refused(f"a bignum is not a byte string of at most {MAX_BIGNUM_BYTES} bytes")
    number = int.from_bytes(value)
    return _number(number if sign > 0 else -1 - number)


def _negative_bignum(value: Any) -> Any:
    return _bignum(value, -1)


def _decimal(value: Any) -> msgspec.Raw:
    match value:
        case [exponent, digits] if type(exponent) is int and type(digits) in {int, msgspec.Raw}:
            written = str(digits).encode() if type(digits) is int else bytes(digits)
            if b"E" in written:
                raise refused("a decimal fraction of a decimal fraction")
            return msgspec.Raw(written + f"E{exponent}".encode())
    raise refused("a decimal fraction is not an exponent and a number")


def _bigfloat(_: Any) -> NoReturn:
    raise refused("a bigfloat, which is not read")


def _number(value: int) -> Any:
    return value if -(2**63) <= value < 2**64 else msgspec.Raw(str(value).encode())


def _simple(info: int, number: int) -> Any:
    if info in _FLOATS:
        packing = _FLOATS[info]
        value = packing.unpack(number.to_bytes(packing.size))[0]
        if not math.isfinite(value):
            raise refused(f"{value}, which JSON does not have")
        return value
    if info not in _SIMPLE:
        raise refused(f"the simple value {number}, which JSON does not have")
    return _SIMPLE[info]


def _truncated() -> ValidationError:
    return refused("it is cut")


_COMPOSED: Final = {4: _array, 5: _map, 6: _tagged}  # by major type
_NUMBERS: Final = {2: _bignum, 3: _negative_bignum, 4: _decimal, 5: _bigfloat}  # by tag
