"""Why a dead letter does not fit, in words: the schema at the place, what would fit there, and an example.

The place is a JSON pointer into the payload.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

from gateway.contract import source_advice
from gateway.contract.message import ADDITIONAL
from gateway.contract.payload_place import SchemaPlace, find, read_below
from gateway.core.avro_schema import PAYLOAD
from gateway.core.codec.json_text import ABSENT, parse
from gateway.core.codec.keywords import ENCODINGS, TESTS, schemas_at
from gateway.core.codec.scalar_payload import reader
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.core.counters import QUARANTINED
from gateway.core.encoding import PROPERTY, as_json
from gateway.core.message_choice import MessageChoice
from gateway.core.reading import DeadLetter, Reason
from gateway.core.record_path import RecordPath, is_around
from gateway.operate.dlq.dead_letters import iso
from gateway.operate.dlq.verdict import Fits, Undecidable
from gateway.operate.docs import expressions
from gateway.operate.simulate.plausible import value_at
from gateway.page.blocks import plain
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.avro_schema import AvroType, Path
    from gateway.core.encoding import Encoding
    from gateway.core.model import Contract, Message, Stream
    from gateway.core.reading import Reading
    from gateway.operate.dlq.dead_letters import StoredDeadLetter
    from gateway.operate.dlq.verdict import Verdict

LARGEST_BYTES = 2**20  # that gzip may expand to here
MAX_DEPTH = 3  # levels of a type that are written out; a type may contain itself

_PRIMITIVES = {
    "null": "null",
    "boolean": "true or false",
    "int": "an integer from -2147483648 to 2147483647",
    "long": "an integer of 64 bits",
    "float": "a number within the range of 32 bits",
    "double": "a number",
    "string": "text",
    "bytes": "text, one character from U+0000 to U+00FF for each byte",
}


_OF_A_FIXED = re.compile(r"text of (\d+) characters")


def explain(contract: Contract, dead_letter: StoredDeadLetter, verdict: Verdict) -> str:
    """Write what was wrong, the verdict under the current contract, and what would fit; everything is escaped."""
    lines = [
        f"{dead_letter.place.topic} {dead_letter.place}",
        f"MQTT topic {cut(dead_letter.reading.topic)}, received {iso(dead_letter.reading.received_at)}",
        f"then: {_problem(dead_letter)} ({dead_letter.reading.stream})",
        *_now(contract, verdict, dead_letter.reading),
        *_release(dead_letter, verdict),
    ]
    return "\n".join(map(printable, lines))


def _now(contract: Contract, verdict: Verdict, reading: Reading) -> list[str]:
    if isinstance(verdict, Fits):
        first, *others = verdict.records
        more = f", and {len(others)} more" if others else ""
        return [f"now: fits ({verdict.stream}); its record goes to {first.topic} with key {cut(first.key)}{more}"]
    if isinstance(verdict, Undecidable):
        return [f"now: unknown. {verdict.reason}"]
    now = f"now: still {_problem(verdict.dead_letter)} ({verdict.stream})"
    if stream := contract.streams.get(verdict.stream):
        payload = _text_of(reading, stream)
        message = nearest_message(stream, payload)
        name = [f"message: {message.name}"] if message else []
        return [now, *name, *advice((message and message.stream) or stream, verdict.dead_letter, payload)]
    addresses = ", ".join(stream.address.text for stream in contract.streams.values())
    return [now, f"what would fit: a topic of {addresses}"]


def _text_of(reading: Reading, stream: Stream) -> bytes:
    """Give a payload as what is read of it; as it came where it cannot be decoded."""
    try:
        return as_json(stream.encoding, reading, LARGEST_BYTES)
    except ValidationError:
        return reading.payload


def _release(dead_letter: StoredDeadLetter, verdict: Verdict) -> list[str]:
    """Say how a reading is sent that is quarantined because of a counter, which only a running gateway compares."""
    if dead_letter.reason not in QUARANTINED or not isinstance(verdict, Fits):
        return []
    return [f"if it is right: gateway dlq replay -c FILE --reason {dead_letter.reason}; its counters are not compared"]


def nearest_message(stream: Stream, payload: bytes) -> Message | None:
    """Find the one of several messages that a payload is nearest to; None when there is one only, or no JSON."""
    wanted = [number for number, one in enumerate(stream.messages) if one.stream]
    try:
        value = parse(payload)
    except ValidationError:
        return None
    if not wanted:
        return None
    choice = MessageChoice([one.demands for one in stream.messages])
    left = [number for number in choice.remaining(value) if number in wanted]
    return stream.messages[left[0] if left else choice.nearest(value, wanted)[0]]


def _problem(dead_letter: StoredDeadLetter | DeadLetter) -> str:
    place = f" at {cut(dead_letter.pointer)}" if dead_letter.pointer else ""
    return f"{dead_letter.reason}{place}: {cut(dead_letter.detail)}"


def advice(stream: Stream, dead_letter: DeadLetter, payload: bytes = b"") -> list[str]:
    """Write the schema's field at the place of an error, what would fit, and an example: up to five lines."""
    if dead_letter.reason in {Reason.BAD_TOPIC, Reason.UNMAPPED_TOPIC}:
        return [f"what would fit: a topic of {stream.address.text}, each level valid UTF-8 and not empty"]
    if dead_letter.reason == Reason.NOT_ALLOWED and not dead_letter.pointer and stream.allowed:
        values = " and ".join(f"{name} {' or '.join(allowed)}" for name, allowed in stream.allowed.items())
        return [f"what would fit: a topic of {stream.address.text} with {values}"]
    if dead_letter.reason == Reason.BAD_TELEGRAM:
        return ["what would fit: a telegram as the meter sends it, from / to ! with the checksum after it"]
    if dead_letter.reason in {Reason.TOO_LARGE, Reason.REFUSED}:
        return []
    if dead_letter.reason == Reason.NOT_DECODED and not dead_letter.pointer:
        return [
            f"what would fit: {_encoded(stream.encoding)}",
            "if the device is right: write its encoding as contentType in the MQTT message",
        ]
    path: Path | None = tokens(dead_letter.pointer)
    if stream.is_array:
        path = RecordPath(stream.steps, stream.route.avro.record).read_at(tokens(dead_letter.pointer))
    return (
        _advice_around(stream, dead_letter) if path is None else _advice_in_record(stream, dead_letter, path, payload)
    )


def _encoded(encoding: Encoding) -> str:
    form = {"json": "JSON", "msgpack": "MessagePack", "cbor": "CBOR"}[encoding.form]
    by_property = f", or in gzip with the user property {PROPERTY}: gzip" if encoding.has_property else ""
    return f"{form}{' in gzip' if encoding.is_gzip else by_property}, and no content type of another encoding"


def _advice_in_record(stream: Stream, dead_letter: DeadLetter, path: Path, payload: bytes) -> list[str]:
    """What would fit at a place that a record has or reads."""
    schema = stream.route.avro
    whole = (PAYLOAD,) if schema.record.whole_field and not is_around(path) else ()
    if dead_letter.reason == Reason.EXTRA_FIELD:
        return [
            f"what would fit: {_nearest(schema.record, path, whole)}",
            f"to ignore it: {_switch(stream, dead_letter)}",
        ]
    avro_type, field = find(schema.record, whole + path, None) or SchemaPlace(None, None)
    lines = []
    if field:
        doc = f": {field.doc}" if field.doc else ""
        times = f" (the payload's number times {field.factor:f})" if field.factor else ""
        forms = "".join(f". {plain(each).rstrip('.')}" for each in expressions.forms(field.words))
        lines.append(f"schema: field {field.name} of {schema.path.name}{doc}{times}{forms}")
    if avro_type:
        lines.append(f"what would fit: {_decoded(_words(avro_type), _schemas(stream, dead_letter))}")
    if field and avro_type is field.type and (sent := _sent(stream, dead_letter, payload)) is not ABSENT:
        lines += [f"to read it: write {words}" for words in [source_advice.proposal(field, sent)] if words]
    if limits := _limits(stream, dead_letter):
        lines.append(f"limits: {limits}")
    examples = (value_at(example, path) for example in stream.example_readings)
    if (example := next((value for value in examples if value not in (None, ABSENT)), None)) is not None:
        lines.append(f"for example: {cut(json.dumps(example, ensure_ascii=False))}")
    return lines


def _sent(stream: Stream, dead_letter: DeadLetter, payload: bytes) -> Any:
    """Give what the payload has at the place of an error; ABSENT when that cannot be read."""
    path = tokens(dead_letter.pointer)
    whole = None if stream.is_array else stream.route.avro.record.whole_field
    try:
        return value_at(reader(whole, stream.content)(payload), ((PAYLOAD,) if whole else ()) + path)
    except ValidationError:
        return ABSENT


def _advice_around(stream: Stream, dead_letter: DeadLetter) -> list[str]:
    """What would fit at a place of a message that is in no record, and that no record reads."""
    if dead_letter.reason == Reason.EXTRA_FIELD:
        return [f"to ignore it: {_switch(stream, dead_letter)}"]
    places = f"readings at {pointer_of(list(map(str, stream.steps)))}"
    lines = [] if dead_letter.reason in {Reason.OUT_OF_RANGE, Reason.NOT_ALLOWED} else [f"what would fit: {places}"]
    return [*lines, *([f"limits: {limits}"] if (limits := _limits(stream, dead_letter)) else [])]


def _decoded(words: str, schemas: Iterable[dict[str, Any]]) -> str:
    """Say of text that becomes bytes in which encoding it is."""
    for encoding in (one["contentEncoding"] for one in schemas if one.get("contentEncoding") in ENCODINGS):
        words = words.replace(_PRIMITIVES["bytes"], f"text in {encoding}")
        words = _OF_A_FIXED.sub(rf"text in {encoding} for \1 bytes", words)
    return words


def _switch(stream: Stream, dead_letter: DeadLetter) -> str:
    """Say how the contract lets members pass that no field reads."""
    if stream.payload_schema is None:
        return f"write {ADDITIONAL}: true in the MQTT message"
    above = tokens(dead_letter.pointer)[:-1]
    inside = f", of {pointer_of(above)} or of all that is around it" if above else ""
    return f"write additionalProperties: true in the JSON Schema of the MQTT message{inside}"


def _limits(stream: Stream, dead_letter: DeadLetter) -> str:
    """List the constraints of a place in the JSON Schema."""
    schemas = _schemas(stream, dead_letter)
    limits = ((key, value) for schema in schemas for key, value in schema.items() if key in TESTS and key != "type")
    return ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in limits)


def _schemas(stream: Stream, dead_letter: DeadLetter) -> Iterable[dict[str, Any]]:
    described = stream.array_schema if stream.is_array else stream.payload_schema
    return schemas_at(described, tokens(dead_letter.pointer))


def _nearest(record: AvroType, path: Path, whole: Path) -> str:
    names = _members(record, whole + path[:-1])
    near = difflib.get_close_matches(path[-1], names, n=1)
    where = f" of {pointer_of(path[:-1])}" if len(path) > 1 else ""
    text = f"the members{where} that the schema reads are {', '.join(names) or 'none'}"
    return f"{text}. Did you mean {near[0]}?" if near else text


def _members(record: AvroType, path: Path) -> list[str]:
    place = find(record, path, None)
    branches = place.type.branches if place and place.type else ()
    names = [name for branch in branches for name in read_below(branch, ())]
    return list(dict.fromkeys([*names, *read_below(record, path)]))


def _words(avro_type: AvroType, depth: int = 0) -> str:
    if avro_type.kind == "union":
        return " or ".join(_words(branch, depth) for branch in avro_type.branches)
    if known := avro_type.logical:
        return known.description.format(precision=avro_type.precision, scale=avro_type.scale)
    if avro_type.kind in _PRIMITIVES:
        return _PRIMITIVES[avro_type.kind]
    if depth > MAX_DEPTH:
        return "a value"
    match avro_type.kind:
        case "enum":
            text = "one of " + ", ".join(map(json.dumps, avro_type.symbols))
        case "array":
            text = f"an array; each item {_words(avro_type.inner[0], depth + 1)}"
        case "map":
            text = f"an object; each member {_words(avro_type.inner[0], depth + 1)}"
        case "record":
            text = f"an object with {', '.join(read_below(avro_type, ()))}"
        case _:
            text = f"text of {avro_type.size} characters"  # a fixed
    return text
