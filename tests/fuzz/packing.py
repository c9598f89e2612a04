"""JSON as MessagePack, in any of the forms that a value may have, and rarely as what JSON does not have."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

# First byte, the number from which on the form does not serve, and how many bytes of the number follow.
Form = tuple[int, int, int]
TEXT: tuple[Form, ...] = ((0xA0, 32, 0), (0xD9, 1 << 8, 1), (0xDA, 1 << 16, 2), (0xDB, 1 << 32, 4))
ARRAY: tuple[Form, ...] = ((0x90, 16, 0), (0xDC, 1 << 16, 2), (0xDD, 1 << 32, 4))
OBJECT: tuple[Form, ...] = ((0x80, 16, 0), (0xDE, 1 << 16, 2), (0xDF, 1 << 32, 4))
SIGNED: tuple[Form, ...] = tuple((0xD0 + place, 1 << (8 << place) - 1, 1 << place) for place in range(4))
UNSIGNED: tuple[Form, ...] = ((0, 128, 0), *((0xCC + place, 1 << (8 << place), 1 << place) for place in range(4)))

# Pieces that change the meaning of what is around them, or that JSON does not have.
PIECES = [b"\xc0", b"\xc1", b"\xc3", b"\xc4\1a", b"\xc6\xff\xff\xff\xff", b"\xc7\1\5a", b"\xd4\1a", b"\xd6\xff\0\0\0\0",
          b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xca\x7f\x80\0\0", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7,
          b"\xdb\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\1\2", b"\xa1\xff",
          b"\xa2\xed\xa0", b"\xa1a\1" * 2, b"\x91" * 40, b"\x81\xa1a" * 33, b"\xa0", b"\x90", b"\x80"]  # fmt: skip


class Members(list[tuple[str, Any]]):
    """The members of an object, also those of one name."""


class Packer:
    """Writes MessagePack; `chance` decides how."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def pack(self, text: str) -> bytes:
        """Write what a text of JSON has."""
        return self._value(json.loads(text, object_pairs_hook=Members))

    def _value(self, value: Any) -> bytes:  # noqa: PLR0911 - one return a kind of value
        if self._chance.random() < 0.005:
            return self._chance.choice(PIECES)
        match value:
            case None | False | True:
                return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
            case int():
                return self._integer(value)
            case float():
                is_narrow = self._chance.random() < 0.1 and abs(value) < 1e38
                return struct.pack(">Bf", 0xCA, value) if is_narrow else struct.pack(">Bd", 0xCB, value)
            case str():
                data = value.encode()
                return self._head(len(data), TEXT) + data
            case Members():
                pairs = (self._value(name) + self._value(member) for name, member in value)
                return self._head(len(value), OBJECT) + b"".join(pairs)
        return self._head(len(value), ARRAY) + b"".join(map(self._value, value))

    def _integer(self, value: int) -> bytes:
        if value >= 0:
            return self._head(value, UNSIGNED if self._chance.random() < 0.8 else (*UNSIGNED, *SIGNED))
        if value >= -32 and self._chance.random() < 0.8:
            return bytes([256 + value])
        first, _, size = self._form(-1 - value, SIGNED)
        return bytes([first]) + value.to_bytes(size, signed=True)

    def _head(self, number: int, forms: tuple[Form, ...]) -> bytes:
        first, _, size = self._form(number, forms)
        return bytes([first]) + number.to_bytes(size) if size else bytes([first + number])

    def _form(self, number: int, forms: tuple[Form, ...]) -> Form:
        fitting = [form for form in forms if number < form[1]]
        return fitting[0] if self._chance.random() < 0.8 else self._chance.choice(fitting)
