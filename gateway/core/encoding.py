"""Payloads in MessagePack, CBOR or gzip: they become JSON text before anything else reads them.

Only what JSON has passes (`cbor.py`, `messagepack.py`). A float of 32 bits gives its exact value, 0.1 as
0.10000000149011612.

gzip expands to at most as many bytes as a payload may have. The contract states it by the content type of all messages,
`application/json+gzip`, or it declares the user property `content-encoding`, which then says so message by message. The
content type of a message, if MQTT 5 carries one, must be of the same encoding.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.core.codec import cbor, messagepack
from gateway.core.codec.messagepack import encode
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.headers import parsed
from gateway.core.mqtt_properties import CONTENT_TYPE
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.core.reading import Reading

PROPERTY = "content-encoding"
_MEDIA_TYPE = re.compile(
    r"(?:application|text)/(?:[^/;\s]+\+)?(?:x-|vnd\.)?(?P<form>json|msgpack|cbor)(?P<gzip>\+gzip)?\s*(;.*)?\Z"
    r"|application/(x-)?(?P<bare>gzip)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_GZIP = 16 + zlib.MAX_WBITS


class Encoding(NamedTuple):
    """How payloads are encoded."""

    form: Literal["json", "msgpack", "cbor"] = "json"
    is_gzip: bool = False
    has_property: bool = False  # the user property decides whether it is gzip


JSON, MESSAGEPACK = Encoding(), Encoding("msgpack")


def encoding_of(media_type: str) -> Encoding | None:
    """Find the encoding that a content type names; None for a type that is none of JSON."""
    match = _MEDIA_TYPE.match(media_type)
    if match is None:
        return None
    form: Any = (match["form"] or "json").lower()
    return Encoding(form, bool(match["gzip"] or match["bare"]))


def as_json(encoding: Encoding, reading: Reading, limit: int) -> bytes:
    """Give the payload of a reading as JSON text, unless it is empty; raises ValidationError.

    `limit` is how many bytes gzip may expand to, and the text may have.
    """
    is_gzip = stated_gzip(encoding, reading.properties)
    payload = _expanded(reading.payload, limit) if is_gzip and reading.payload else reading.payload
    if not payload or encoding.form == "json":
        return payload
    text = messagepack.as_json(payload) if encoding.form == "msgpack" else encode(cbor.decode(payload))
    if len(text) > limit:
        raise ValidationError(Reason.TOO_LARGE, f"as JSON it has {len(text)} bytes; the limit is {limit}")
    return text


def stated_gzip(encoding: Encoding, properties: bytes) -> bool:
    """Whether a message is gzip; raises ValidationError when its properties do not agree with the contract."""
    is_gzip, stated = encoding.is_gzip, encoding._replace(has_property=False)
    for identifier, name, value in parsed(properties):
        text = value.decode(errors="replace")
        if identifier == CONTENT_TYPE and encoding_of(text) != stated != JSON:
            raise _refused(f"the message's content type is {shown(text)}, not that of the contract")
        if encoding.has_property and name.lower() == PROPERTY.encode():
            if text.lower() not in {"gzip", "x-gzip", "identity"}:
                raise _refused(f"the message's {PROPERTY} is {shown(text)}, not gzip")
            is_gzip = text.lower() != "identity"
    return is_gzip


def _expanded(payload: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj(_GZIP)
    try:
        data = inflate.decompress(payload, limit + 1)
    except zlib.error as error:
        raise _refused(f"gzip: {str(error).rpartition(': ')[2]}") from None
    if len(data) > limit:
        raise ValidationError(Reason.TOO_LARGE, f"gzip expands to more than {limit} bytes")
    if not inflate.eof or inflate.unused_data:
        raise _refused("gzip: it is cut" if not inflate.eof else "gzip: bytes follow its end")
    return data


def _refused(detail: str) -> ValidationError:
    return ValidationError(Reason.NOT_DECODED, detail)
