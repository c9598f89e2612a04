"""Messages: the one that an operation takes or sends, and what its payload must be.

A payload is described by Avro or by JSON Schema; nothing else is understood, and the formats are named rather than
guessed, because a tool that does not know a format skips the schema without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway.contract import schema
from gateway.contract.document import ReferenceFault, TooLargeError
from gateway.contract.expression import split

if TYPE_CHECKING:
    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings

AVRO = re.compile(r"application/vnd\.apache\.avro(\+json|\+yaml)?;version=1\.9\.0\Z")
JSON_SCHEMA = re.compile(
    r"application/(schema\+(json|yaml);version=draft-07|vnd\.aai\.asyncapi(\+json|\+yaml)?;version=[23]\.\d+\.\d+)\Z"
)


@dataclass(frozen=True, slots=True)
class Payload:
    """What a message's payload must be.

    Args:
        node: the schema; of one element, where the payload is an array of readings.
        record: when it is Avro.
        json_schema: when it is JSON Schema, references written out.
        is_array: the payload is an array of readings.
        around: the JSON Schema of the array, if it has one.
    """

    node: Node
    record: schema.Record | None = None
    json_schema: Any = None
    is_array: bool = False
    around: Any = None


class Payloads:
    """Reads payload schemas, each once: MQTT and Kafka messages often share one.

    Args:
        findings: told what is wrong with them.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self._records: dict[Any, schema.Record | None] = {}

    def readings(self, message: Node) -> Payload | None:
        """The schema of what a device sends: a reading, or an array of them. None when there is none that is right."""
        payload = message.at("payload")
        stated = payload.at("schema") if payload.is_mapping and "schema" in payload.value else payload
        is_array = stated.is_mapping and stated.value.get("type") == "array" and not stated.at("items").is_absent
        found = self._payload(message, of_element=is_array)
        return replace(found, is_array=is_array) if found else None

    def payload(self, message: Node) -> Payload | None:
        """The schema of a message's payload, None when there is none that is right."""
        return self._payload(message, of_element=False)

    def _payload(self, message: Node, *, of_element: bool) -> Payload | None:
        stated, place = message.at("payload"), message.stated("payload")
        if stated.is_absent:
            self.findings.error(message, "The message has no payload schema.", "Add `payload`.")
            return None
        if not (stated.is_mapping and "schema" in stated.value):
            return self._json_schema(stated, place, of_element=of_element)
        form, inner = stated.at("schemaFormat"), stated.at("schema")
        if form.is_absent or JSON_SCHEMA.match(form.text or ""):
            return self._json_schema(inner, place, of_element=of_element)
        if AVRO.match(form.text or ""):
            return self._avro(inner.at("items") if of_element else inner)
        fix = "Write application/vnd.apache.avro;version=1.9.0, or leave schemaFormat out for JSON Schema."
        self.findings.error(form, f"The schema format {form.value!r} is not supported.", fix)
        return None

    def _avro(self, node: Node) -> Payload | None:
        if node.is_absent:
            return None  # an absent schema is against the specification, a dangling reference is reported as such
        if node.place not in self._records:
            self._records[node.place] = schema.load(node, self.findings)
        record = self._records[node.place]
        return None if record is None else Payload(node, record=record)

    def _json_schema(self, node: Node, place: Node, *, of_element: bool) -> Payload | None:
        if node.source.path.suffix == ".avsc" or (node.is_mapping and node.value.get("type") == "record"):
            fix = "Write payload: {schemaFormat: application/vnd.apache.avro;version=1.9.0, schema: {$ref: ...}}."
            self.findings.error(place, "An Avro schema stands where JSON Schema is expected.", fix)
            return None
        try:
            if of_element:
                return Payload(node.at("items"), json_schema=node.at("items").written_out(), around=node.written_out())
            return Payload(node, json_schema=node.written_out())
        except TooLargeError:
            self.findings.error(
                node, "The schema is too large or endless when its references are written out.", "Make it smaller."
            )
            return None


def only_message(operation: Node, channel: Channel, findings: Findings) -> Node | None:
    """The one message of an operation, with its traits; None when there is not exactly one."""
    stated = operation.at("messages")
    if stated.is_absent:
        place, found = channel.node.at("messages"), [one for _, one in channel.node.at("messages").members()]
    else:
        place, found = stated, [one for one in _chosen(stated, channel, findings) if one is not None]
        if len(found) < len(stated.entries()):
            return None
    if len(found) == 1:
        return found[0].with_traits() if found[0].is_mapping else None
    what = "more than one message" if found else "no message"
    findings.error(place, f"The operation has {what}; the gateway needs one to check readings by.", "Name one message.")
    return None


def _chosen(stated: Node, channel: Channel, findings: Findings) -> list[Node | None]:
    """What the operation's list of messages leads to; None for entries that are wrong."""
    found: list[Node | None] = []
    for index, one in enumerate(stated.entries()):
        found.append(one if _is_of_channel(stated.own(str(index)), channel, findings) else None)
    return found


def _is_of_channel(node: Node, channel: Channel, findings: Findings) -> bool:
    try:
        target = node.hop() if node.reference is not None else None
    except ReferenceFault:
        return False
    if target is not None and target.tokens[:-1] == ("channels", channel.name, "messages"):
        return True
    if target is not None:
        fix = f"Refer to #/channels/{channel.name}/messages/..."
        findings.error(node, f"{node.reference!r} is no message of the operation's channel.", fix)
    return False


def describes(described: Any, tokens: tuple[str, ...]) -> bool:
    """Whether a JSON Schema says something of a place in the payload.

    Args:
        described: the schema, references written out.
        tokens: keys that lead to the place.
    """
    if not isinstance(described, dict):
        return described is True
    if not tokens:
        return True
    options = [option for key in ("allOf", "anyOf", "oneOf") for option in _items(described.get(key))]
    inner = [one for one in _inner(described, tokens[0]) if describes(one, tokens[1:])]
    return bool(inner) or any(describes(option, tokens) for option in options)


def unread(pointer: str, payload: Payload, record: schema.Record) -> str:
    """Why no field of the record reads a place of the payload, or nothing.

    Args:
        pointer: RFC 6901, into the payload.
        payload: of the MQTT message.
        record: that it becomes.
    """
    if payload.record is None and record.whole is None and not describes(payload.json_schema, split(pointer)):
        return f"The message's schema describes nothing at {pointer}."
    return "" if record.reader(pointer) else f"No field of {record.schema.fullname} reads {pointer}."


def _inner(described: dict[str, Any], key: str) -> list[Any]:
    """Schemas of one member: its own, those of patterns, or the one for all others."""
    properties, patterns = described.get("properties"), described.get("patternProperties")
    if isinstance(properties, dict) and key in properties:
        return [properties[key]]
    matching = (
        [one for pattern, one in patterns.items() if _matches(pattern, key)] if isinstance(patterns, dict) else []
    )
    return matching or [described.get("additionalProperties", False)]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _matches(pattern: str, key: str) -> bool:
    try:
        return re.search(pattern, key) is not None
    except re.error:  # reported as against the specification
        return False
