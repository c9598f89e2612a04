"""A payload that is one value: a plug that publishes `21.5`, a door that publishes `open`.

One field of the record takes it as a whole. The rest of the codec need not know: the value is put into an object, as
its only member, and goes the way of any reading; what else the record has comes from the topic or is a default. It is
put there after it was read. Wrapped as text, a payload `1,"machine":"other"` would have made a second member.

The content type says how the value is written. As JSON it is what it is. As plain text it is what its field takes:

    a field that takes text      the text, spaces and line ends around it left out, as in JSON around a value
    a field that does not        a JSON number, true, false or null; nothing else is a number (no NaN, 0x10 or 21,5)
    a field that takes both      a number where the text is one, else the text
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

from gateway.core.codec.json_text import decode, parse
from gateway.core.codec.precise_encoder import PAYLOAD, takes_whole
from gateway.core.codec.schema_facts import SchemaFacts
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

Content = Literal["json", "text"]
Parse = Callable[[bytes], Any]

_AROUND = " \t\r\n"  # RFC 8259 section 2
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def whole_field(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Find the field that takes the payload as a whole.

    Args:
        schema: of the outermost record.
    """
    return next((field for field in schema["fields"] if takes_whole(field)), None)


def reader(schema: dict[str, Any], content: Content) -> Parse:
    """Make the reader of a stream's payloads.

    Args:
        schema: of the outermost record, in normal form.
        content: what the payload is written in.

    Returns:
        Payload to the value that the record is read from; it raises ValidationError.
    """
    if not (field := whole_field(schema)):
        return parse
    read = text_reader(field["type"], schema, parse) if content == "text" else parse
    return lambda payload: {PAYLOAD: read(payload)}


def text_reader(kind: Any, schema: dict[str, Any], parse_json: Parse) -> Parse:
    """Make the reader of a value that is written as plain text.

    Args:
        kind: the type that takes it.
        schema: of the outermost record, in normal form.
        parse_json: reads what is JSON.

    Returns:
        Payload to value; it raises ValidationError, and what `parse_json` raises.
    """
    classes = SchemaFacts(schema).all_classes(kind)

    def read_literal(payload: bytes) -> Any:
        _text(payload)
        return parse_json(payload)

    def read_number_or_text(payload: bytes) -> Any:
        text = _text(payload)
        return parse_json(payload) if _NUMBER.fullmatch(text) else text

    if "str" not in classes:
        return read_literal
    return _text if classes == {"str"} else read_number_or_text


def _text(payload: bytes) -> str:
    text = decode(payload).strip(_AROUND)
    if not text:
        raise ValidationError(Reason.EMPTY, "there is nothing but spaces and line ends in the payload")
    return text


def wrapped(schema: dict[str, Any], value: Any) -> Any:
    """Give the object that a record is read from.

    Args:
        schema: of the outermost record.
        value: of the whole payload.
    """
    return {PAYLOAD: value} if whole_field(schema) else value


def unwrapped(error: ValidationError) -> ValidationError:
    """Let the place of a error begin at the payload, which one field takes as a whole."""
    if error.tokens[:1] == [PAYLOAD]:
        del error.tokens[0]
    return error
