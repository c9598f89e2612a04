"""Examples of messages must match their schemas: the simulator starts from them, and the documentation shows them.

This file checks an example against its own message. Examples of Kafka messages are records as Avro readers
return: fields under their Avro names, numbers for times, text of the code points 0 to 255 for bytes; fields with a
default may be absent. The gateway's own encoder checks them, so examples follow the same rules as readings.
`mapping.py` runs MQTT examples through the codec of their stream.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jsonschema
from jsonschema.validators import extend
from referencing import Registry

from gateway.contract.document import TooLargeError, explained, quoted
from gateway.contract.headers import described
from gateway.contract.schema import without_extensions
from gateway.contract.specification import FORMATS
from gateway.core.avro_schema import build
from gateway.core.codec.json_text import parse
from gateway.core.codec.keywords import TESTS
from gateway.core.codec.precise_encoder import compile_encoder
from gateway.core.codec.telegram import as_json
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.core.codec.conversion import Content

LONGEST = 200  # characters of an explanation that a message quotes
TIMES = ("int", "long")  # the types under dates and times; examples show the number
FIXES = {
    Reason.MISSING: "Add it, or give the field a default.",
    Reason.EXTRA_FIELD: "Remove it, or add a field to the schema.",
    Reason.TOPIC_MISMATCH: "Write the same value in topic and payload.",
    Reason.NO_KEY: "Give one of the fields of the key a value.",
}


def _multiple_of(_validator: Any, divisor: Any, value: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Compare as the codec does; the library divides floats, and finds that 0.3 is no multiple of 0.1."""
    test = TESTS["multipleOf"]("multipleOf", divisor)
    if test and test.error(value):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {divisor!r}")


def _pattern(_validator: Any, pattern: Any, value: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    """Match as the codec does; Python's `re` means other things, and may track back for hours."""
    test = TESTS["pattern"]("pattern", pattern)
    if test and test.error(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


CHECKER = extend(jsonschema.Draft7Validator, {"multipleOf": _multiple_of, "pattern": _pattern})


def payloads(message: Node, content: Content = "json") -> tuple[Any, ...]:
    """The payloads of a message's examples."""
    return tuple(one.value for one in payload_nodes(message, content))


def payload_nodes(message: Node, content: Content = "json") -> list[Node]:
    """The payloads of a message's examples, as nodes; a valid telegram as the object that it is read as."""
    payloads = [one.own("payload") for one in message.at("examples").entries()]
    return [_parsed(one) if content == "telegram" else one for one in payloads if not one.is_absent]


def _parsed(payload: Node) -> Node:
    with suppress(ValidationError):
        return replace(payload, value=json.loads(as_json(as_sent(payload.value, "telegram"))))
    return payload


def check_names(message: Node, findings: Findings) -> None:
    """Report repeated names: examples of MQTT and Kafka messages are compared by name."""
    seen: set[str] = set()
    for one in message.at("examples").entries():
        name = one.own("name")
        if name.text in seen:
            findings.error(name, f"The message has two examples with the name {quoted(name.value)}.", "Rename one.")
        seen.add(name.text or "")


def check_kafka(message: Node, payload: Payload, findings: Findings) -> None:
    """Check the examples of a Kafka message, headers included."""
    for one in payload_nodes(message):
        if payload.record is None:
            check_json(one, payload.json_schema, findings)
        else:
            _check_record(one, as_read(payload.record.schema.definition), findings)
    check_names(message, findings)
    check_headers(message, findings)


def check_json(node: Node, described: Any, findings: Findings) -> bool:
    """Check an example against a JSON Schema (references written out); returns True when it matches."""
    errors = _errors(node.value, described)
    for error in errors:
        message = f"The example does not match the message's schema: {cut(explained(error))}."
        findings.error(node.own(*map(str, error.absolute_path)), message, "Correct the example or the schema.")
    return not errors


def mismatches(value: Any, described: Any) -> list[str]:
    """Why a value does not match a JSON Schema, a clause for each error."""
    return [cut(explained(error)) for error in _errors(value, described)]


def _errors(value: Any, described: Any) -> list[Any]:
    if not _is_schema(json.dumps(described)):
        return []
    try:
        return list(CHECKER(described, registry=Registry()).iter_errors(value))
    except re.error:  # reported as a violation
        return []


@lru_cache(maxsize=64)  # examples share schemas, and checking a schema takes longer than checking an example
def _is_schema(text: str) -> bool:
    """False for what is reported as a violation, or as keywords that are not enforced."""
    try:
        CHECKER.check_schema(json.loads(text), format_checker=FORMATS)
    except (jsonschema.SchemaError, re.error):
        return False
    return True


def as_read(schema: Any) -> Any:
    """The Avro schema of a record's example: times are numbers, and `x-source` is ignored. It has the same encoding."""
    return without_extensions(schema, untyped=TIMES)


def encoded(value: Any, schema: Any) -> bytes:
    """Encode an example's payload in Avro, with a schema from `as_read`; raises ValidationError."""
    out = bytearray()
    compile_encoder(build(schema))(parse(as_sent(value)), out)
    return bytes(out)


def as_sent(value: Any, content: Content = "json") -> bytes:
    """An example's payload in the form that a device sends."""
    if content != "json" and isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False).encode()


def shown(value: Any) -> str:
    """A decoded value as a message quotes it; None is an absent value."""
    return "nothing" if value is None else cut(quoted(value))


def cut(text: str) -> str:
    """A text, cut to the length that a message quotes."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _check_record(node: Node, schema: Any, findings: Findings) -> None:
    try:
        encoded(node.value, schema)
    except ValidationError as error:
        message = f"The example does not match the Avro schema, {error.reason}: {error.detail}."
        findings.error(node.own(*error.tokens), message, FIXES.get(error.reason, "Correct the example."))


def check_headers(message: Node, findings: Findings) -> None:
    """Check the headers of a message's examples against the message's schema of its headers."""
    try:
        schema = described(message).written_out()
    except TooLargeError:
        return
    for one in message.at("examples").entries():
        headers = one.own("headers")
        if headers.is_mapping:
            check_json(headers, schema, findings)
