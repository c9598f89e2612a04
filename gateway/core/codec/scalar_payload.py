"""A payload that is one value: a plug that publishes `21.5`, a door that publishes `open`.

One field of the record takes it as a whole. The rest of the codec need not know: the value is put into an object, as
its only member, and is then treated as any reading; the other fields come from the topic or are defaults. It is put
there after parsing: wrapped as text, a payload `1,"machine":"other"` would have made a second member.

The content type says how the value is written. JSON is parsed as such. Plain text is read as its field demands:

    a field that takes text      the text, without spaces and line ends around it, as in JSON around a value
    a field that does not        a JSON number, true, false or null; no other notation of numbers (NaN, 0x10 or 21,5)
    a field that takes both      a number, true or false where it takes these and the text is one, else the text

A field whose `x-source` reads other texts takes these as text: `ON` for a boolean with `trues`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec import messagepack, telegram
from gateway.core.codec.json_text import decode, parse
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.core.avro_schema import AvroType, Field
    from gateway.core.codec.conversion import Content

Parse = Callable[[bytes], Any]

_AROUND = " \t\r\n"  # RFC 8259 section 2
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_LITERAL = re.compile(rf"{_NUMBER.pattern}|true|false|null", re.ASCII)
_FORMS = {"integer": _NUMBER.pattern, "number": _NUMBER.pattern, "boolean": "true|false"}  # beside text


def reader(field: Field | None, content: Content) -> Parse:
    """Make the reader of a stream's payloads: payload to the value that the record is read from, or ValidationError.

    `field` takes the payload as a whole, if one does.
    """
    text_of = {"telegram": telegram.as_json, "msgpack": messagepack.as_json}.get(content)
    json = (lambda payload: parse(text_of(payload))) if text_of else parse
    if not field:
        return json
    read = text_reader(field, parse) if content == "text" else json
    return lambda payload: {PAYLOAD: read(payload)}


def text_reader(field: Field, parse_json: Parse) -> Parse:
    """Make the reader of a value in plain text; it raises ValidationError, and what `parse_json` raises."""
    own = field.type.json_kinds
    forms = [form for kind, form in _FORMS.items() if kind in own]
    literal = re.compile("|".join(forms), re.ASCII) if "text" in own else _LITERAL

    def read_literal(payload: bytes) -> Any:
        _text(payload)
        return parse_json(payload)

    def read_literal_or_text(payload: bytes) -> Any:
        text = _text(payload)
        return parse_json(payload) if literal.fullmatch(text) else text

    if "text" not in field.json_kinds:
        return read_literal
    return _text if "text" in own and not forms else read_literal_or_text


def _text(payload: bytes) -> str:
    text = decode(payload).strip(_AROUND)
    if not text:
        raise ValidationError(Reason.EMPTY, "the payload holds only spaces and line ends")
    return text


def wrapped(record: AvroType, value: Any) -> Any:
    """Give the object that a record is read from; `value` is that of the whole payload."""
    return {PAYLOAD: value} if record.whole_field else value


def unwrapped(error: ValidationError) -> ValidationError:
    """Make the place of an error begin at the payload, when one field takes that as a whole."""
    if error.tokens[:1] == [PAYLOAD]:
        del error.tokens[0]
    return error
