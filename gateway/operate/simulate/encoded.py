"""Payloads as a device encodes them: the inverse of `core/encoding.py`, which reads them."""

from __future__ import annotations

import gzip
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.encoding import PROPERTY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.encoding import Encoding

SIMPLE = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}
NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


def encoded(payload: bytes, encoding: Encoding, properties: Mapping[str, str] = NO_PROPERTIES) -> bytes:
    """Encode a JSON payload as the stream and the user properties state.

    A payload that is broken on purpose, and so cannot be converted to MessagePack or CBOR, stays as it is, before gzip.
    """
    if encoding.form != "json":
        try:
            value = msgspec.json.decode(payload)
            payload = msgspec.msgpack.encode(value) if encoding.form == "msgpack" else _cbor(value)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            pass
    stated = [text.lower() for name, text in properties.items() if encoding.has_property and name.lower() == PROPERTY]
    is_gzip = stated[-1] != "identity" if stated else encoding.is_gzip
    return gzip.compress(payload, mtime=0) if is_gzip else payload


def _cbor(value: Any) -> bytes:
    if value is None or isinstance(value, bool):
        return SIMPLE[value]
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(_cbor, value))
    return _head(5, len(value)) + b"".join(_cbor(each) for member in value.items() for each in member)


def _head(major: int, number: int) -> bytes:
    """Write an initial byte and its argument; OverflowError above 64 bits."""
    if number < 24:
        return bytes([major << 5 | number])
    size = next((size for size in range(3) if number < 1 << (8 << size)), 3)
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size)
