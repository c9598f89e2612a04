"""Payloads with the same shape and other values, for a recording that leaves the house.

Letters become letters and digits digits, so a text keeps its length, and a JSON payload its members. The same value
becomes the same in one run, by a random key that is thrown away. These stay, or no reading would fit its contract any
more: names of members, true, false and null, words of the contract, texts that the topic has as well, times, and
numbers up to their first digit. MQTT 5 properties are left out; a payload that is no text becomes zeros.

A counter may fall then, and a telegram of a meter loses its checksum: their rules need a recording as it is.
"""

from __future__ import annotations

import json
import re
import string
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gateway.core.model import Contract
    from gateway.core.reading import Reading

DAY = 86_400  # seconds
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|(?=-?\d)(-?[0.]*[1-9]?)([\d.]*)(?:[eE][-+]?\d+)?', re.DOTALL)
_ESCAPE = re.compile(r"(\\u[0-9a-fA-F]{4}|\\.)", re.DOTALL)
_HEXADECIMAL = re.compile(r"[0-9a-fA-F:-]{8,}\Z")


class Redaction:
    """Replaces values; `words` stay."""

    def __init__(self, words: Collection[str]) -> None:
        self._words = words
        self._key = token_bytes(32)

    def __call__(self, reading: Reading) -> Reading:
        """Give a message with other values."""
        kept = {*self._words, *reading.topic.decode(errors="replace").split("/")}
        try:
            text = reading.payload.decode()
            json.loads(text)
            payload = _TOKEN.sub(lambda token: self._token(token, kept, reading.received_at), text).encode()
        except UnicodeDecodeError:
            payload = bytes(len(reading.payload))
        except (ValueError, RecursionError):
            payload = self._text(text, kept).encode()
        return structs.replace(reading, payload=payload, sha256=b"", properties=b"")

    def _token(self, token: re.Match[str], kept: Collection[str], received_at: int) -> str:
        inside, colon, begin, rest = token.groups()
        if colon:
            return token[0]
        if inside is not None:
            return f'"{self._text(inside, kept)}"'
        is_time = any(abs(float(token[0]) * factor - received_at / 1_000) < DAY for factor in (1, 1e-3, 1e-6))
        return token[0] if is_time else f"{begin}{self._replaced(rest, token[0])}{token[0][len(begin) + len(rest) :]}"

    def _text(self, text: str, kept: Collection[str]) -> str:
        if text in kept or _is_time(text):
            return text
        parts = _ESCAPE.split(text)  # each second one is an escape
        return "".join(part if place % 2 else self._replaced(part, text) for place, part in enumerate(parts))

    def _replaced(self, part: str, whole: str) -> str:
        """Replace letters and digits by others that the whole value decides."""
        numbers = blake2b(f"{whole}\n{part}".encode(errors="surrogatepass"), key=self._key).digest()
        lower = "abcdef" if _HEXADECIMAL.match(whole) else string.ascii_lowercase
        return "".join(_other(one, numbers[place % len(numbers)], lower) for place, one in enumerate(part))


def _other(one: str, number: int, lower: str) -> str:
    if one in string.digits:
        return string.digits[number % 10]
    replacement = lower[number % len(lower)]
    return one if not one.isalpha() else replacement.upper() if one.isupper() else replacement


def _is_time(text: str) -> bool:
    with suppress(ValueError):
        return len(text) > len("2026-01-01") and bool(datetime.fromisoformat(text))
    return False


def words_of(contract: Contract) -> frozenset[str]:
    """Collect the texts of a contract that a payload may have: symbols, constants, words for null, and others."""
    each = [one for stream in contract.streams.values() for one in stream.by_message]
    return frozenset(_texts([(one.payload_schema, one.array_schema, one.route.avro.definition) for one in each]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for one in inner:
            yield from _texts(one)
