"""Messages: those of an operation, and the schema of their payloads.

A payload is described in Avro or JSON Schema. Schema formats are compared with exact names, because tools silently skip
schemas in formats that they do not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.contract import records, schema
from gateway.contract.document import ReferenceFault, TooLargeError, quoted
from gateway.contract.payload_place import describes
from gateway.core.codec.validation_error import tokens
from gateway.core.message_schema import keywords, schema_at, unknown_around
from gateway.core.record_path import EACH_ITEM, is_around

if TYPE_CHECKING:
    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.core.codec.conversion import Unknown
    from gateway.core.record_path import Step

AVRO = re.compile(r"application/vnd\.apache\.avro(\+json|\+yaml)?;version=1\.9\.0\Z")
JSON_SCHEMA = re.compile(
    r"application/(schema\+(json|yaml);version=draft-07|vnd\.aai\.asyncapi(\+json|\+yaml)?;version=[23]\.\d+\.\d+)\Z"
)

_AVRO = "application/vnd.apache.avro;version=1.9.0"
_DRAFT_7 = "application/schema+json;version=draft-07"
FORWARD, DEAD_LETTER, IGNORED = "x-forward-to", "x-dead-letter-to", "x-ignored"
ADDITIONAL = "x-additional-properties"  # what `additionalProperties` of JSON Schema is, for Avro


@dataclass(frozen=True, slots=True)
class Payload:
    """The schema of a message's payload."""

    node: Node  # of one element, where the payload is an array of readings
    record: schema.Record | None = None  # when it is Avro
    json_schema: Any = None  # when it is JSON Schema, references written out
    is_array: bool = False  # the payload holds several readings
    around: Any = None  # the JSON Schema of the message that holds several readings, if it has one
    around_node: Node | None = None  # likewise
    steps: tuple[Step, ...] = EACH_ITEM  # that lead to them
    unknown: Unknown = "reject"  # what happens to members that no field reads


class Payloads:
    """Reads payload schemas, each once, because MQTT and Kafka messages often share one."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._records: dict[Any, schema.Record | None] = {}

    def readings(self, message: Node) -> Payload | None:
        """The schema of an MQTT message: of a reading, or of an array of readings. None when it is invalid."""
        if not message.at(records.RECORDS).is_absent:
            whole = self._payload(message, of_element=False)
            read = self._inside(message, whole) if whole else None
            return replace(read, unknown=self._unknown(message, read)) if read else None
        payload = message.at("payload")
        stated = payload.at("schema") if payload.is_mapping and "schema" in payload.value else payload
        is_array = stated.is_mapping and stated.value.get("type") == "array" and not stated.at("items").is_absent
        read = self._payload(message, of_element=is_array)
        return replace(read, is_array=is_array, unknown=self._unknown(message, read)) if read else None

    def _inside(self, message: Node, whole: Payload) -> Payload | None:
        """The schema of the records inside a message."""
        stated = message.at(records.RECORDS)
        if whole.record is not None:
            text = f"{records.RECORDS} is for payloads that are described in JSON Schema."
            self.findings.error(stated, text, "Describe the message in JSON Schema.")
            return None
        steps = records.steps(stated, whole.json_schema, self.findings)
        if steps is None:
            return None
        node = whole.node.at(*(keyword for step in steps for keyword in keywords(step)))
        schema = schema_at(whole.json_schema, steps)
        return Payload(node, None, schema, is_array=True, around=whole.json_schema, around_node=whole.node, steps=steps)

    def _unknown(self, message: Node, payload: Payload) -> Unknown:
        """Members that no field reads are ignored only if the contract explicitly allows them."""
        stated = message.at(ADDITIONAL)
        if payload.record is not None:
            return "ignore" if self.findings.switch(stated) else "reject"
        if not stated.is_absent:
            fix = "Write additionalProperties in the schema."
            self.findings.error(stated, f"{ADDITIONAL} is for payloads that are described in Avro.", fix)
        return unknown_around(payload.json_schema)

    def payload(self, message: Node) -> Payload | None:
        """The schema of a message's payload; None when it is invalid."""
        return self._payload(message, of_element=False)

    def _payload(self, message: Node, *, of_element: bool) -> Payload | None:
        stated, place = message.at("payload"), message.stated("payload")
        if stated.is_absent:
            if place.reference is None:  # else it is reported that it leads nowhere
                self.findings.error(message, "The message has no payload schema.", "Add `payload`.")
            return None
        if not (stated.is_mapping and "schema" in stated.value):
            return self._json_schema(stated, place, of_element=of_element)
        form, inner = stated.at("schemaFormat"), stated.at("schema")
        if form.is_absent or JSON_SCHEMA.match(form.text or ""):
            return self._json_schema(inner, place, of_element=of_element)
        if AVRO.match(form.text or ""):
            return self._avro(inner.at("items") if of_element else inner)
        self.findings.error(form, *_unsupported(form, inner))
        return None

    def _avro(self, node: Node) -> Payload | None:
        if node.is_absent:
            return None  # reported as a violation of the specification, or as a reference that leads nowhere
        if node.place not in self._records:
            self._records[node.place] = schema.load(node, self.findings)
        record = self._records[node.place]
        return None if record is None else Payload(node, record=record)

    def _json_schema(self, node: Node, place: Node, *, of_element: bool) -> Payload | None:
        if _is_avro(node):
            what = f"{{$ref: '{place.reference}'}}" if place.reference else "..."
            fix = f"Write payload: {{schemaFormat: application/vnd.apache.avro;version=1.9.0, schema: {what}}}."
            self.findings.error(place, "Expected JSON Schema, not an Avro schema.", fix)
            return None
        try:
            if of_element:
                items, whole = node.at("items"), node.written_out()
                return Payload(items, json_schema=items.written_out(), around=whole, around_node=node)
            return Payload(node, json_schema=node.written_out())
        except TooLargeError:
            message = "The schema is too large or infinite when its references are written out."
            self.findings.error(node, message, "Make it smaller.")
            return None


def _is_avro(node: Node) -> bool:
    """Whether a schema is clearly meant to be Avro's."""
    return node.source.path.suffix == ".avsc" or (node.is_mapping and node.value.get("type") == "record")


def _unsupported(form: Node, schema: Node) -> tuple[str, str]:
    """What is wrong with a schema format, and the one that was meant."""
    text = (form.text or "").lower()
    wrong = f"The schema format {quoted(form.value)} is not supported"
    if "avro" in text or _is_avro(schema):
        return f"{wrong}: AsyncAPI names Avro 1.9.0, whose schemas are those of 1.8 to 1.12.", f"Write {_AVRO}."
    if "schema" in text or "asyncapi" in text:
        return f"{wrong}: AsyncAPI names draft 7 of JSON Schema.", f"Write {_DRAFT_7}."
    return f"{wrong}.", "Describe the payload in Avro, or in JSON Schema without schemaFormat."


def only_message(operation: Node, channel: Channel, findings: Findings) -> Node | None:
    """The message of an operation that sends, with its traits; None when it does not have exactly one."""
    messages = messages_of(operation, channel, findings)
    if len(messages) > 1:
        stated = operation.at("messages")
        place = channel.node.at("messages") if stated.is_absent else stated
        fix = "Name one message; all records of a topic have one schema."
        findings.error(place, "The operation has more than one message.", fix)
    return messages[0][1] if len(messages) == 1 else None


def forwards(operation: Node) -> list[Node]:
    """Every `x-forward-to` of an operation and of its messages."""
    channel = operation.at("channel", "messages").members()
    messages = operation.at("messages").entries() or [one for _, one in channel]
    layers = [operation, *(one.with_traits() for one in messages if one.is_mapping)]
    return [stated for one in layers if not (stated := one.stated(FORWARD)).is_absent]


def messages_of(operation: Node, channel: Channel, findings: Findings) -> list[tuple[str, Node]]:
    """The messages of an operation, with their names in the channel and their traits; [] when one is invalid."""
    stated = operation.at("messages")
    if stated.is_absent:
        place, messages = channel.node.at("messages"), channel.node.at("messages").members()
    else:
        entries = list(zip(stated.entries(), stated.own_entries(), strict=True))
        place = stated
        messages = [(own.hop().tokens[-1], one) for one, own in entries if _is_of_channel(own, channel, findings)]
        if len(messages) < len(entries):
            return []
    if not messages:
        findings.error(
            place, "The operation has no message.", "Name one message; the gateway validates readings against it."
        )
    return [(name, one.with_traits()) for name, one in messages] if all(one.is_mapping for _, one in messages) else []


def _is_of_channel(node: Node, channel: Channel, findings: Findings) -> bool:
    try:
        target = node.hop() if node.reference is not None else None
    except ReferenceFault:
        return False
    if target is not None and target.tokens[:-1] == ("channels", channel.name, "messages"):
        return True
    if target is not None:
        messages = channel.node.at("messages")
        own = [messages.own(name).path for name, one in messages.members() if one.place == target.followed().place]
        fix = f"Refer to {own[0]}." if own else f"Refer to {messages.path}/..."
        findings.error(node, f"{node.reference!r} is not a message of the operation's channel.", fix)
    return False


def unread(pointer: str, payload: Payload, record: schema.Record) -> str:
    """Why no field of the record reads a place in the payload of an MQTT message; "" when one does."""
    is_described = is_around(tokens(pointer)) or describes(payload.json_schema, tokens(pointer))
    if payload.record is None and record.whole is None and not is_described:
        return f"The message's schema describes no member {pointer}."
    return "" if record.field_at(pointer) else f"No field of {record.schema.fullname} reads {pointer}."
