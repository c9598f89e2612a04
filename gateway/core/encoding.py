"""Payloads in MessagePack, CBOR or gzip: they are converted to JSON text, which the rest of the transform reads.

Values without a JSON equivalent are dead letters (`cbor.py`, `messagepack.py`). A 32-bit float is converted exactly:
0.1 becomes 0.10000000149011612.

A gzip payload may expand to at most the payload limit. The contract declares gzip for all messages by the content type
`application/json+gzip`, or it declares the user property `content-encoding`, with which each message states whether it
is gzip. An MQTT 5 content type of a message must name the contract's encoding. In a JSON stream it is refused only if
it names one of the other encodings: JSON under `text/plain` or `application/octet-stream` is common.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gateway.core.codec import cbor, messagepack
from gateway.core.codec.messagepack import encode
from gateway.core.codec.validation_error import ValidationError, shown
from gateway.core.headers import parsed
from gateway.core.mqtt_properties import CONTENT_TYPE, MalformedPropertiesError, parse
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.core.reading import Reading

PROPERTY = "content-encoding"
_MEDIA_TYPE = re.compile(
    r"(?:application|text)/(?:(?:(?!gzip\+)[^/;\s])+\+)?(?:x-|vnd\.)?(?P<form>json|msgpack|cbor)(?P<gzip>\+gzip)?\s*(;.*)?\Z"
    r"|application/(x-)?(?P<bare>gzip)\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_OTHER = re.compile(b"msgpack|cbor|gzip", re.IGNORECASE)
_GZIP, _GZIP_START = 16 + zlib.MAX_WBITS, b"\x1f\x8b"
UNSTATED = "it begins like gzip, which neither the contract nor the message states"


class Encoding(NamedTuple):
    """How payloads are encoded."""

    form: Literal["json", "msgpack", "cbor"] = "json"
    is_gzip: bool = False
    has_property: bool = False  # the user property decides whether it is gzip


JSON, MESSAGEPACK = Encoding(), Encoding("msgpack")


def encoding_of(media_type: str) -> Encoding | None:
    """Find the encoding that a content type names; None if it names none of these."""
    match = _MEDIA_TYPE.match(media_type)
    if match is None:
        return None
    form: Any = (match["form"] or "json").lower()
    return Encoding(form, bool(match["gzip"] or match["bare"]))


def names_other(properties: bytes) -> bool:
    """Whether the content type of a message names an encoding that is not JSON."""
    if not _OTHER.search(properties):  # nearly all; parsing costs more
        return False
    try:
        types = [value for identifier, _, value in parse(properties) if identifier == CONTENT_TYPE]
    except MalformedPropertiesError:
        return False
    return any(encoding_of(each.decode(errors="replace")) not in {None, JSON} for each in types)


def as_json(encoding: Encoding, reading: Reading, limit: int) -> bytes:
    """Convert the payload of a reading to JSON text; an empty one stays empty; raises ValidationError.

    `limit` is the maximum size in bytes, of the expanded gzip and of the text.
    """
    is_gzip = stated_gzip(encoding, reading.properties)
    payload = _expanded(reading.payload, limit) if is_gzip and reading.payload else reading.payload
    if begins_like_gzip(payload):
        raise _refused(UNSTATED)
    if not payload or encoding.form == "json":
        return payload
    text = messagepack.as_json(payload) if encoding.form == "msgpack" else encode(cbor.decode(payload))
    if len(text) > limit:
        raise ValidationError(Reason.TOO_LARGE, f"as JSON it has {len(text)} bytes; the limit is {limit}")
    return text


def stated_gzip(encoding: Encoding, properties: bytes) -> bool:
    """Whether a message is gzip; raises ValidationError when its properties do not agree with the contract."""
    if encoding == JSON and not names_other(properties):
        return False
    is_gzip = encoding.is_gzip
    for identifier, name, value in parsed(properties):
        text = value.decode(errors="replace")
        if identifier == CONTENT_TYPE and not _agrees(encoding_of(text) or JSON, encoding):
            raise _refused(f"the message's content type is {shown(text)}, not that of the contract")
        if encoding.has_property and name.lower() == PROPERTY.encode():
            if text.lower() not in {"gzip", "x-gzip", "identity"}:
                raise _refused(f"the message's {PROPERTY} is {shown(text)}, not gzip")
            is_gzip = text.lower() != "identity"
    return is_gzip


def begins_like_gzip(payload: bytes) -> bool:
    """Whether a payload begins with the magic bytes of gzip, as no JSON, MessagePack or CBOR of a reading does."""
    return payload.startswith(_GZIP_START)


def _agrees(named: Encoding, stated: Encoding) -> bool:
    return named.form == stated.form and (stated.has_property or named.is_gzip == stated.is_gzip)


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
