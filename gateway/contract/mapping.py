"""Examples of MQTT messages are tried out: each goes the way of a reading, through the codec of its stream.

An example that would be a dead letter is wrong. Where the Kafka message has an example of the same name, the two are
a test of the mapping: the record that comes out must be that example, and so must its key. Records are compared as
readers see them, both having been through the encoder, so 231 and 231.0 are one float and a default is what it says.

The topic that an example is taken to have come from is the header `mqtt.topic` of its namesake; without one it is made
from the address: what the payload says of a parameter, else the parameter's first example, default or allowed value.
A message may be shared by streams of several addresses; the header then belongs to those streams that it matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro

from gateway.contract import examples
from gateway.contract.document import TooLargeError
from gateway.contract.expression import split
from gateway.contract.headers import properties
from gateway.core.codec.codec import Codec
from gateway.core.codec.json_text import parse
from gateway.core.codec.key import Key
from gateway.core.codec.precise_encoder import normal_form
from gateway.core.codec.validation_error import ValidationError
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
    from gateway.core.codec.precise_encoder import Unknown
    from gateway.core.codec.scalar_payload import Content
    from gateway.core.model import Parameter

CORRECT = "Correct one of the two examples, or the mapping."


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a stream makes of its message's examples.

    Args:
        message: the MQTT message.
        payload: its schema.
        record: that readings become, None when that could not be read.
        address: of the channel, None when it or a parameter's location was found wrong.
        parameters: of the address.
        channel: where the parameters are described.
        unknown: what to do with members that no field reads.
        sending: where the records go, None when that could not be read.
        servers: names of the MQTT servers that it comes from.
        content: what the payload is written in.
    """

    message: Node
    payload: Payload
    record: Record | None
    address: Address | None
    parameters: tuple[Parameter, ...]
    channel: Node
    unknown: Unknown
    sending: Sending | None
    servers: tuple[str, ...]
    content: Content = "json"

    @property
    def user_headers(self) -> frozenset[str]:
        """Headers of its records that are user properties of its message."""
        return self.sending.route.headers & properties(self.message).keys() - OWN if self.sending else frozenset()

    @property
    def keys(self) -> tuple[str, ...]:
        """Pointers into the record."""
        return self.sending.route.keys if self.sending else ()


def check(mappings: list[Mapping], findings: Findings) -> None:
    """Try every example.

    Args:
        mappings: of all streams.
        findings: told what does not come out as the document says.
    """
    for one in mappings:
        examples.check_names(one.message, findings)
        fitting = [node for node in examples.payload_nodes(one.message) if _fits(node, one.payload, findings)]
        if one.record is not None and one.address is not None:
            _Trial(one, one.record, one.address, findings).run(fitting)
        examples.check_headers(one.message, findings)
        _compare_headers(one, findings)
    _check_topics(mappings, findings)


def _fits(node: Node, payload: Payload, findings: Findings) -> bool:
    if payload.is_array and payload.record is not None and not isinstance(node.value, list):
        findings.error(node, "The example is no array, and the message's schema is one.", "Put it in brackets.")
        return False
    described = payload.around if payload.is_array else payload.json_schema
    return payload.record is not None or examples.check_json(node, described, findings)


def _check_topics(mappings: list[Mapping], findings: Findings) -> None:
    """A header that names a topic which no stream on the way there takes in."""
    for one in mappings:
        for _, _, example in _pairs(one):
            header = example.own("headers").own(TOPIC_HEADER)
            ways = [other.address for other in mappings if other.sending is one.sending]
            if header.text is not None and not any(way is None or way.match(header.text) is not None for way in ways):
                told = f"No stream that leads here takes in the topic {header.text!r}."
                expected = " or ".join(way.text for way in ways if way)
                findings.error(header, told, f"Write a topic of the form {expected}.")


def _compare_headers(mapping: Mapping, findings: Findings) -> None:
    """A header out of a user property says what the MQTT example of this name says, where both show headers."""
    for sent, _, record in _pairs(mapping):
        shown = record.own("headers")
        for name in sorted(mapping.user_headers) if shown.is_mapping else ():
            wanted, got = shown.own(name), sent.own("headers").own(name)
            if wanted.value != got.value:
                values = [examples.shown(None if one.is_absent else one.value) for one in (got, wanted)]
                told = f"The MQTT example of this name has {values[0]} for the header {name!r}; expected {values[1]}."
                findings.error(shown if wanted.is_absent else wanted, told, "Let the two examples say the same.")


def _pairs(mapping: Mapping) -> Iterator[tuple[Node, Node, Node]]:
    """Examples of equal name on both sides: MQTT, the reading in its payload, Kafka.

    The readings of an array are called `name/0`, `name/1` and so on.
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
        for called, reading in named if name is not None else ():
            if called in namesakes:
                yield one, reading, namesakes[called]


def _readings(node: Node, payload: Payload) -> list[Node]:
    """The readings in the payload of an MQTT example."""
    if not payload.is_array:
        return [node]
    return [node.own(str(index)) for index in range(len(node.value))] if isinstance(node.value, list) else []


class _Trial:
    """Runs the examples of one stream."""

    def __init__(self, mapping: Mapping, record: Record, address: Address, findings: Findings) -> None:
        self.mapping = mapping
        self.address = address
        self.findings = findings
        definition = record.schema.definition
        pointers = [parameter.pointer for parameter in mapping.parameters]
        self.codec = Codec(
            definition, mapping.keys, pointers, mapping.unknown, content=mapping.content, is_fast=bool(mapping.keys)
        )
        self.schema = examples.as_read(definition)
        self.expected_key = Key(normal_form(self.schema), mapping.keys)

    def run(self, payloads: list[Node]) -> None:
        """Try the examples whose payloads these are."""
        namesakes = {reading.place: other for _, reading, other in _pairs(self.mapping)}
        for payload in payloads:
            if payload.value == [] and self.mapping.payload.is_array:
                told = "The example would be a dead letter, empty: there is no reading in the array."
                self.findings.error(payload, told, "Put one into it.")
        for node in (one for payload in payloads for one in _readings(payload, self.mapping.payload)):
            namesake = namesakes.get(node.place)
            found = self.codec.encode(
                examples.as_sent(node.value, self.mapping.content), self._values(node.value, namesake)
            )
            if isinstance(found, DeadLetter):
                self._refused(node, found)
                continue
            key, record = found
            self._check_key(node, key)
            if namesake is not None and not namesake.own("payload").is_absent:
                self._compare(namesake.own("payload"), key, record)

    def _values(self, value: Any, namesake: Node | None) -> tuple[str, ...]:
        """The parameters' values."""
        topic = namesake.own("headers").own(TOPIC_HEADER).text if namesake else None
        stated = None if topic is None else self.address.match(topic)
        return stated or tuple(self._made_up(value, parameter) for parameter in self.mapping.parameters)

    def _made_up(self, value: Any, parameter: Parameter) -> str:
        for token in split(parameter.pointer or ""):
            value = value.get(token) if isinstance(value, dict) else None
        if parameter.pointer and isinstance(value, str):
            return value
        described = self.mapping.channel.at("parameters", parameter.name)
        stated = [*described.at("examples").entries(), described.at("default"), *described.at("enum").entries()]
        return next((one.text for one in stated if one.text), parameter.name)

    def _refused(self, node: Node, letter: DeadLetter) -> None:
        if letter.reason is Reason.NO_KEY and not self.mapping.keys:
            return  # what the key is made of was found wrong before
        place = examples.below(node, split(letter.pointer))
        told = f"The example would be a dead letter, {letter.reason}: {examples.cut(letter.detail)}."
        self.findings.error(place, told, examples.FIXES.get(letter.reason, "Correct the example, or the schema."))

    def _check_key(self, node: Node, key: bytes) -> None:
        """The key's schema may say more of it than that it is text."""
        if self.mapping.sending is None:
            return
        described = self.mapping.sending.message.at("bindings", "kafka", "key")
        try:
            for told in examples.misfits(key.decode(), described.written_out()):
                fix = f"Correct the example, or the schema of the key ({described.path})."
                self.findings.error(node, f"The example's key does not fit the key's schema: {told}.", fix)
        except TooLargeError:
            return

    def _compare(self, node: Node, key: bytes, record: bytes) -> None:
        """Tell where the record differs from the example that it ought to be."""
        try:
            expected = examples.encoded(node.value, self.schema)
            expected_key = self.expected_key.of(parse(examples.as_sent(node.value)))
        except ValidationError as error:
            if error.reason is Reason.NO_KEY:
                place = examples.below(node, error.tokens)
                self.findings.error(place, f"The record has no key: {error.detail}.", CORRECT)
            return
        for steps, wanted, got in _differences(self._read(expected), self._read(record)):
            told = f"The MQTT example of this name gives {examples.shown(got)} here; expected {examples.shown(wanted)}."
            self.findings.error(examples.below(node, steps), told, CORRECT)
        if key != expected_key:
            told = f"The MQTT example of this name has the key {key.decode()!r}; expected {expected_key.decode()!r}."
            self.findings.error(node, told, CORRECT)

    def _read(self, record: bytes) -> Any:
        return fastavro.schemaless_reader(BytesIO(record), self.schema, None)


def _differences(expected: Any, found: Any, *steps: str) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The places where two values differ: steps to it, expected, found; None for what is not there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*expected, *found)):
            yield from _differences(expected.get(name), found.get(name), *steps, name)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _differences(one, other, *steps, str(index))
    elif expected != found:
        yield steps, expected, found
