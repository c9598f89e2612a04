"""MessagePack to JSON text, or to the values that the compiled codec takes of it.

It is as strict as JSON: no binary data, no extension types, no NaN, and keys are text. msgspec checks that while it
decodes, in the time that it takes to read JSON. What it refuses, or nests deeper than its type knows, is decoded again
to find the place.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from gateway.core.codec.json_text import MAX_DEPTH, too_deep
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

_LARGEST = 1.7976931348623157e308
_SHALLOW = 5  # levels that the strict decoder knows; each more takes twice the memory


def as_json(payload: bytes) -> bytes:
    """Write a payload as JSON text; raises ValidationError. An empty one stays empty."""
    return encode(_unpacked(payload)) if payload else payload


def _unpacked(payload: bytes) -> Any:
    """Decode MessagePack to what JSON has."""
    with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError):  # only another decoder finds the place
        return decode_strictly(payload)
    try:
        value = _decode_anything(payload)
    except RecursionError:
        raise too_deep() from None
    except UnicodeDecodeError:
        raise ValidationError(Reason.BAD_ENCODING, "a text is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise _refused(str(error)) from None
    _check(value, MAX_DEPTH)
    return value


def _check(value: Any, levels: int) -> None:
    """Refuse what JSON does not have, with its place."""
    if isinstance(value, list | dict):
        if not levels:
            raise too_deep()
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            if isinstance(value, dict) and not isinstance(key, str):
                raise _refused(f"a key is not text: {shown(key)}")
            try:
                _check(inner, levels - 1)
            except ValidationError as error:
                raise error.under(str(key)) from None
    elif isinstance(value, float) and not -_LARGEST <= value <= _LARGEST:
        raise _refused(f"{value}, which JSON does not have")
    elif value is not None and not isinstance(value, bool | int | float | str):
        raise _refused("binary data or an extension, which JSON does not have")


def _strict(levels: int) -> Any:
    scalar: Any = bool | int | Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)] | str | None
    return scalar | list[_strict(levels - 1)] | dict[str, _strict(levels - 1)] if levels else scalar  # type: ignore[misc]  # a type made at run time


def _refused(detail: str) -> ValidationError:
    return ValidationError(Reason.NOT_DECODED, f"MessagePack: {detail}")


decode_strictly = msgspec.msgpack.Decoder(_strict(_SHALLOW)).decode  # raises, anything, for what JSON does not have
_decode_anything = msgspec.msgpack.Decoder().decode
encode = msgspec.json.Encoder().encode
