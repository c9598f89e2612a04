"""Examples of messages fit their schemas: they are what the simulator starts from and what readers of the docs try.

This file judges an example by its own message. Examples of Kafka messages are records as Avro readers see them: the
fields by their Avro names, numbers for times, text of the code points 0 to 255 for bytes, everything that has a
default left out at will. The gateway's own encoder judges them, so that an example is as right as a reading has to
be. What becomes of MQTT examples is tried in `mapping.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
from referencing import Registry

from gateway.contract.document import TooLargeError
from gateway.contract.headers import described
from gateway.core.codec.json_text import parse
from gateway.core.codec.precise_encoder import compile_encoder
from gateway.core.codec.validation_error import ValidationError
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.core.codec.scalar_payload import Content

LONGEST = 200  # characters of an explanation that a message repeats
TIMES = ("int", "long")  # the types under dates and times; readers of the docs see the number
FIXES = {
    Reason.MISSING: "Add it, or give the field a default.",
    Reason.EXTRA_FIELD: "Remove it, or add a field to the schema.",
    Reason.TOPIC_MISMATCH: "Let topic and payload say the same.",
    Reason.NO_KEY: "Fill in a field that the key is made of.",
}


def payloads(message: Node) -> tuple[Any, ...]:
    """The payloads of a message's examples."""
    return tuple(one.value for one in payload_nodes(message))


def payload_nodes(message: Node) -> list[Node]:
    """Where the payloads of a message's examples stand."""
    return [found for one in message.at("examples").entries() if not (found := one.own("payload")).is_absent]


def check_names(message: Node, findings: Findings) -> None:
    """Report names that stand twice: it would be unclear which example another message's is to be compared with."""
    seen: set[str] = set()
    for one in message.at("examples").entries():
        name = one.own("name")
        if name.text in seen:
            findings.error(name, f"Two examples of the message are called {name.text!r}.", "Rename one.")
        seen.add(name.text or "")


def check_kafka(message: Node, payload: Payload, findings: Findings) -> None:
    """Check what a reader of the topic would see, headers included.

    Args:
        message: the Kafka message.
        payload: its schema.
        findings: where to.
    """
    for one in payload_nodes(message):
        if payload.record is None:
            check_json(one, payload.json_schema, findings)
        else:
            _check_record(one, as_read(payload.record.schema.definition), findings)
    check_names(message, findings)
    check_headers(message, findings)


def check_json(node: Node, described: Any, findings: Findings) -> bool:
    """Check a value of the document against a JSON Schema.

    Args:
        node: the value.
        described: the schema, references written out.
        findings: where to.

    Returns:
        True when nothing was found.
    """
    errors = _errors(node.value, described)
    for error in errors:
        place = below(node, map(str, error.absolute_path))
        told = f"The example does not fit the message's schema: {cut(error.message)}."
        findings.error(place, told, "Correct the example, or the schema.")
    return not errors


def misfits(value: Any, described: Any) -> list[str]:
    """Why a value does not fit a JSON Schema, a clause each."""
    return [cut(error.message) for error in _errors(value, described)]


def _errors(value: Any, described: Any) -> list[Any]:
    checker = jsonschema.Draft7Validator
    try:
        checker.check_schema(described, format_checker=jsonschema.FormatChecker(formats=["regex"]))
    except jsonschema.SchemaError:
        return []  # against the specification, which is reported as such
    return list(checker(described, registry=Registry()).iter_errors(value))


def as_read(schema: Any) -> Any:
    """The schema by which a record's example is read: times are numbers, and nothing comes from elsewhere.

    Args:
        schema: JSON of an Avro schema; its binary form stays the same.
    """
    if isinstance(schema, list):
        return [as_read(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = {"logicalType"} if schema.get("type") in TIMES else set()
    return {
        key: value if key == "default" else as_read(value)
        for key, value in schema.items()
        if key not in dropped and not key.startswith("x-")
    }


def encoded(value: Any, schema: Any) -> bytes:
    """Avro bytes of an example.

    Args:
        value: the example's payload.
        schema: as `as_read` gives it.

    Raises:
        ValidationError: when it is no such record.
    """
    out = bytearray()
    compile_encoder(schema)(parse(as_sent(value)), out)
    return bytes(out)


def as_sent(value: Any, content: Content = "json") -> bytes:
    """An example as a device would send it.

    Args:
        value: the example's payload.
        content: what it is written in.
    """
    if content == "text" and isinstance(value, str):
        return value.encode()
    return json.dumps(value, ensure_ascii=False).encode()


def below(node: Node, steps: map[str] | Sequence[str]) -> Node:
    """A place inside a value."""
    for step in steps:
        node = node.own(step)
    return node


def shown(value: Any) -> str:
    """A decoded value as a message quotes it."""
    return "nothing" if value is None else cut(repr(value))


def cut(text: str) -> str:
    """As much of an explanation as a line bears."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _check_record(node: Node, schema: Any, findings: Findings) -> None:
    try:
        encoded(node.value, schema)
    except ValidationError as error:
        told = f"The example does not fit the Avro schema, {error.reason}: {error.detail}."
        findings.error(below(node, error.tokens), told, FIXES.get(error.reason, "Correct the example."))


def check_headers(message: Node, findings: Findings) -> None:
    """Check the headers of a message's examples by the message's own schema of them."""
    try:
        schema = described(message).written_out()
    except TooLargeError:
        return
    for one in message.at("examples").entries():
        headers = one.own("headers")
        if headers.is_mapping:
            check_json(headers, schema, findings)
