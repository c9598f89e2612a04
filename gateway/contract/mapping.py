"""Examples of MQTT messages are run through the codec of their stream, like readings.

An example that would become a dead letter is an error. If the Kafka message has an example of the same name, the two
test the mapping: the record and its key must be those of that example. Records are compared as readers see them, both
encoded, so 231 and 231.0 are the same float, and an absent field equals its default.

The topic of an example is the header `mqtt.topic` of the Kafka example of the same name. Without it the topic is made
from the address: the value in the payload, else the first example, default or enum value. Streams of several
addresses may share a message; the header then applies to those streams whose address it matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro

from gateway.contract import examples
from gateway.contract.document import TooLargeError
from gateway.contract.headers import properties
from gateway.core.avro_schema import build
from gateway.core.codec.codec import Codec
from gateway.core.codec.conversion import Conversion
from gateway.core.codec.json_text import parse
from gateway.core.codec.key import Key
from gateway.core.codec.validation_error import ValidationError, tokens
from gateway.core.dead_letter import TOPIC_HEADER
from gateway.core.headers import OWN
from gateway.core.reading import DeadLetter, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload
    from gateway.contract.route import Sending
    from gateway.contract.schema import Record
    from gateway.core.address import Address
    from gateway.core.codec.conversion import Content, Unknown
    from gateway.core.model import Parameter

CORRECT = "Correct one of the two examples, or the mapping."


@dataclass(frozen=True, slots=True)
class Mapping:
    """How a stream turns its messages into the records of one topic."""

    message: Node
    payload: Payload
    record: Record | None  # None when it is invalid
    address: Address | None  # None when it or the location of a parameter is invalid
    parameters: tuple[Parameter, ...]
    channel: Node  # has the parameters' descriptions
    unknown: Unknown  # what happens to members that no field reads
    sending: Sending | None  # None when it is invalid
    servers: tuple[str, ...]  # names of the stream's MQTT servers
    content: Content = "json"

    @property
    def user_headers(self) -> frozenset[str]:
        """The headers of its records that come from user properties of its message."""
        return self.sending.route.headers & properties(self.message).keys() - OWN if self.sending else frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        """Pointers into the record."""
        return self.sending.route.keys if self.sending else ()


def check(mappings: list[Mapping], findings: Findings) -> None:
    """Run every example of all streams."""
    for one in mappings:
        examples.check_names(one.message, findings)
        valid = [node for node in examples.payload_nodes(one.message) if _fits(node, one.payload, findings)]
        if one.record is not None and one.address is not None:
            _Trial(one, one.record, one.address, findings).run(valid)
        examples.check_headers(one.message, findings)
        _compare_headers(one, findings)
    _check_topics(mappings, findings)


def _fits(node: Node, payload: Payload, findings: Findings) -> bool:
    if payload.is_array and payload.record is not None and not isinstance(node.value, list):
        findings.error(
            node, "The message's schema is an array, but the example is not.", "Put the example in brackets."
        )
        return False
    described = payload.around if payload.is_array else payload.json_schema
    return payload.record is not None or examples.check_json(node, described, findings)


def _check_topics(mappings: list[Mapping], findings: Findings) -> None:
    """The header `mqtt.topic` of a Kafka example must be a topic of one of its streams."""
    for one in mappings:
        for _, _, example in _pairs(one):
            header = example.own("headers").own(TOPIC_HEADER)
            addresses = [other.address for other in mappings if other.sending is one.sending]
            is_known = any(each is None or each.match(header.text or "") is not None for each in addresses)
            if header.text is not None and not is_known:
                message = f"No stream of this record subscribes to the topic {header.text!r}."
                expected = " or ".join(each.text for each in addresses if each)
                findings.error(header, message, f"Write a topic of the form {expected}.")


def _compare_headers(mapping: Mapping, findings: Findings) -> None:
    """Examples of the same name must have the same user properties, where both have headers."""
    for sent, _, record in _pairs(mapping):
        headers = record.own("headers")
        for name in sorted(mapping.user_headers) if headers.is_mapping else ():
            expected, given = headers.own(name), sent.own("headers").own(name)
            if expected.value != given.value:
                values = [examples.shown(None if one.is_absent else one.value) for one in (given, expected)]
                message = f"The MQTT example of this name has {values[0]} in the header {name!r}; expected {values[1]}."
                findings.error(headers if expected.is_absent else expected, message, "Write the same in both examples.")


def _pairs(mapping: Mapping) -> Iterator[tuple[Node, Node, Node]]:
    """Examples of the same name: the MQTT example, the reading in its payload, the Kafka example.

    The readings of an array have the names `name/0`, `name/1` and so on.
    """
    if mapping.sending is None:
        return
    namesakes = {one.own("name").text: one for one in mapping.sending.message.at("examples").entries()}
    for one in mapping.message.at("examples").entries():
        name, payload = one.own("name").text, one.own("payload")
        if mapping.payload.is_array:
            named = [(f"{name}/{index}", each) for index, each in enumerate(_readings(payload, mapping.payload))]
        else:
            named = [(name or "", payload)]
        for full_name, reading in named if name is not None else ():
            if full_name in namesakes:
                yield one, reading, namesakes[full_name]


def _readings(node: Node, payload: Payload) -> list[Node]:
    """The readings in the payload of an MQTT example."""
    return node.own_entries() if payload.is_array else [node]


class _Trial:
    """Runs the examples of one stream."""

    def __init__(self, mapping: Mapping, record: Record, address: Address, findings: Findings) -> None:
        self.mapping = mapping
        self.address = address
        self.findings = findings
        pointers = tuple(parameter.pointer for parameter in mapping.parameters)
        conversion = Conversion(record.schema.record, mapping.keys, pointers, mapping.unknown, content=mapping.content)
        self.codec = Codec(conversion, is_fast=bool(mapping.keys))
        self.schema = examples.as_read(record.schema.definition)
        self.expected_key = Key(build(self.schema), mapping.keys)

    def run(self, payloads: list[Node]) -> None:
        """Run the examples with these payloads."""
        namesakes = {reading.place: other for _, reading, other in _pairs(self.mapping)}
        for payload in payloads:
            if payload.value == [] and self.mapping.payload.is_array:
                message = "The example would be a dead letter, empty: the array has no reading."
                self.findings.error(payload, message, "Add a reading.")
        for node in (one for payload in payloads for one in _readings(payload, self.mapping.payload)):
            namesake = namesakes.get(node.place)
            sent = examples.as_sent(node.value, self.mapping.content)
            encoded = self.codec.encode(sent, self._values(node.value, namesake))
            if isinstance(encoded, DeadLetter):
                self._report(node, encoded)
                continue
            key, record, *_ = encoded
            self._check_key(node, key)
            if namesake is not None and not namesake.own("payload").is_absent:
                self._compare(namesake.own("payload"), key, record)

    def _values(self, value: Any, namesake: Node | None) -> tuple[str, ...]:
        """The values of the address's parameters."""
        topic = namesake.own("headers").own(TOPIC_HEADER).text if namesake else None
        stated = None if topic is None else self.address.match(topic)
        return stated or tuple(self._made_value(value, parameter) for parameter in self.mapping.parameters)

    def _made_value(self, value: Any, parameter: Parameter) -> str:
        for token in tokens(parameter.pointer or ""):
            value = value.get(token) if isinstance(value, dict) else None
        if parameter.pointer and isinstance(value, str):
            return value
        described = self.mapping.channel.at("parameters", parameter.name)
        stated = [*described.at("examples").entries(), described.at("default"), *described.at("enum").entries()]
        return next((one.text for one in stated if one.text), parameter.name)

    def _report(self, node: Node, dead_letter: DeadLetter) -> None:
        reason = dead_letter.reason
        if reason is Reason.NO_KEY and not self.mapping.keys:
            return  # the definition of the key is invalid, and reported
        place = examples.below(node, tokens(dead_letter.pointer))
        message = f"The example would be a dead letter, {reason}: {examples.cut(dead_letter.detail)}."
        self.findings.error(place, message, examples.FIXES.get(reason, "Correct the example or the schema."))

    def _check_key(self, node: Node, key: bytes) -> None:
        """Check the key against its JSON Schema in the Kafka binding."""
        if self.mapping.sending is None:
            return
        described = self.mapping.sending.message.at("bindings", "kafka", "key")
        try:
            for mismatch in examples.mismatches(key.decode(), described.written_out()):
                fix = f"Correct the example, or the schema of the key ({described.path})."
                self.findings.error(node, f"The example's key does not match the key's schema: {mismatch}.", fix)
        except TooLargeError:
            return

    def _compare(self, node: Node, key: bytes, record: bytes) -> None:
        """Report where record and key differ from the Kafka example of the same name."""
        try:
            expected = examples.encoded(node.value, self.schema)
            expected_key = self.expected_key.of(parse(examples.as_sent(node.value)))
        except ValidationError as error:
            if error.reason is Reason.NO_KEY:
                place = examples.below(node, error.tokens)
                self.findings.error(place, f"The record has no key: {error.detail}.", CORRECT)
            return
        for keys, wanted, given in _differences(self._read(expected), self._read(record)):
            values = f"{examples.shown(given)} here; expected {examples.shown(wanted)}"
            place = examples.below(node, keys)
            self.findings.error(place, f"The MQTT example of this name gives {values}.", CORRECT)
        if key != expected_key:
            values = f"{key.decode()!r}; expected {expected_key.decode()!r}"
            self.findings.error(node, f"The MQTT example of this name has the key {values}.", CORRECT)

    def _read(self, record: bytes) -> Any:
        return fastavro.schemaless_reader(BytesIO(record), self.schema, None)


def _differences(expected: Any, given: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places where two values differ: the keys to each, expected, given; None for an absent value."""
    if isinstance(expected, dict) and isinstance(given, dict):
        for name in dict.fromkeys((*expected, *given)):
            yield from _differences(expected.get(name), given.get(name), *keys, name)
    elif isinstance(expected, list) and isinstance(given, list) and len(expected) == len(given):
        for index, (one, other) in enumerate(zip(expected, given, strict=True)):
            yield from _differences(one, other, *keys, str(index))
    elif expected != given:
        yield keys, expected, given
