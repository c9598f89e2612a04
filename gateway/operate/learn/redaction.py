"""Examples without values, for `--no-values`: the members and forms of what was received, with other values.

What the contract says anyway stays: words of an enum, of true, false and null, and levels of topics. A time stays a
time in the same form, a number in text stays one, and names of members that are values themselves become `key1`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.core.avro_schema import LISTS
from gateway.core.codec.validation_error import tokens
from gateway.operate.learn.evidence import EPOCH, NUMERIC, TIME
from gateway.operate.learn.record import PAYLOAD

if TYPE_CHECKING:
    from gateway.operate.learn.evidence import Pointer
    from gateway.operate.learn.proposal import Message, Stream

TEXT = "redacted"


def redacted(value: Any, stream: Stream, message: Message) -> Any:
    """Replace the values of a payload."""
    fields = {_pointer(one): one for one in message.definition["fields"]}
    tied = {one.pointer for one in stream.parameters if one.pointer}
    if message.is_array:
        return [_redacted(one, fields, tied, ()) for one in value[:1]]
    return _redacted(value, fields, tied, ())


def _pointer(field: dict[str, Any]) -> Pointer | None:
    source = field.get("x-source", "")
    location = source.get("location", "") if isinstance(source, dict) else source
    if not location:
        return (field["name"],)
    return tokens(location.removeprefix(PAYLOAD)) if location.startswith(PAYLOAD) else None


def _redacted(value: Any, fields: dict[Pointer | None, dict[str, Any]], tied: set[Pointer], at: Pointer) -> Any:
    field = fields.get(at, {})
    if isinstance(value, dict):
        is_map = any(isinstance(one, dict) and one.get("type") == "map" for one in _branches(field))
        names = (f"key{number}" if is_map else name for number, name in enumerate(value, start=1))
        return {
            name: _redacted(inner, fields, tied, (*at, was))
            for name, (was, inner) in zip(names, value.items(), strict=True)
        }
    if isinstance(value, list):
        return [_redacted(one, fields, tied, (*at, "")) for one in value[:1]]
    if at in tied or _is_said(value, field) or value is None:
        return value
    return _other(value)


def _branches(field: dict[str, Any]) -> list[Any]:
    kind = field.get("type")
    return kind if isinstance(kind, list) else [kind]


def _is_said(value: Any, field: dict[str, Any]) -> bool:
    """Tell whether the schema has the value."""
    source = field.get("x-source")
    said = source if isinstance(source, dict) else {}
    words = [each for name in LISTS for each in said.get(name, ())]
    symbols = [each for one in _branches(field) if isinstance(one, dict) for each in one.get("symbols", ())]
    return value in words or value in symbols


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        digits = str(abs(int(value)))
        return type(value)(10 ** (len(digits) - 1) if EPOCH.match(digits) else 1)
    if NUMERIC.match(value):
        return re.sub(r"\d", "1", value)
    if match := TIME.match(value):
        fraction = f".{'0' * len(match[3])}" if match[3] else ""
        return f"2026-01-01{value[10]}00:00:00{fraction}{match[4] or ''}"
    return TEXT if value else ""
