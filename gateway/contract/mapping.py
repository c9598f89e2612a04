"""Examples of MQTT messages are run through the codec of their stream, like readings.

An example that would become a dead letter is an error. If the Kafka message has an example of the same name, the two
test the mapping: the record and its key must be those of that example. Records are compared as readers see them, both
encoded, so 231 and 231.0 are the same float, and an absent field equals its default.

The topic of an example is the header `mqtt.topic` of the Kafka example of the same name. Without it the topic is made
from the address: the value in the payload, else the first example, default or enum value.

Streams may share both messages. An example must then fit one of these streams, and if it has the header, one whose
address the header matches.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro
from msgspec import structs

from gateway.contract import examples, source_advice
from gateway.contract.document import TooLargeError, quoted
from gateway.contract.findings import Findings
from gateway.contract.headers import properties
from gateway.contract.message_choices import Incoming
from gateway.contract.payload_place import find
from gateway.core.avro_schema import PAYLOAD, build
from gateway.core.codec.codec import Codec
from gateway.core.codec.json_text import parse
from gateway.core.codec.key import Key
from gateway.core.codec.telegram import as_json
from gateway.core.codec.validation_error import ValidationError, pointer, tokens
from gateway.core.dead_letter import TOPIC_HEADER
from gateway.core.headers import OWN
from gateway.core.message_demands import value_at
from gateway.core.message_schema import unread_around
from gateway.core.model import Route, Stream, Topic
from gateway.core.reading import DeadLetter, Reason
from gateway.core.record_path import RecordPath, is_around
from gateway.core.transform import conversion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.contract.document import Node
    from gateway.contract.message import Payload
    from gateway.contract.route import Sending
    from gateway.contract.schema import Record
    from gateway.core.address import Address
    from gateway.core.avro_schema import Path
    from gateway.core.codec.conversion import Content
    from gateway.core.model import Parameter
    from gateway.core.record_path import Group, Step

MOST = 3  # addresses that a message lists
CORRECT = "Correct one of the two examples, or the mapping."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping(Incoming):
    """How a stream turns its messages into the records of one topic; without address if a parameter's is wrong."""

    record: Record | None  # None when it is invalid
    parameters: tuple[Parameter, ...]
    sending: Sending | None  # None when it is invalid

    @property
    def user_headers(self) -> frozenset[str]:
        """The headers of its records that come from user properties of its message."""
        return self.sending.route.headers & properties(self.message).keys() - OWN if self.sending else frozenset()

    @property
    def record_place(self) -> Any:
        """Identifies the Kafka message."""
        return self.sending and self.sending.message.place

    def alone(self, record: Record, address: Address) -> Stream:
        """The stream of these readings, by what their message says alone."""
        route = self.sending.route if self.sending else Route("", Topic(""), record.schema, (), frozenset())
        payload = self.payload
        return Stream(
            "", self.channel.servers, address, self.parameters, 1, payload.unknown, route, route,
            payload_schema=payload.json_schema if isinstance(payload.json_schema, dict) else None,
            array_schema=payload.around,
            content=self.content,
            is_array=payload.is_array,
            steps=payload.steps,
        )  # fmt: skip


def check(mappings: list[Mapping], findings: Findings) -> None:
    """Run every example of all streams."""
    for one in mappings:
        examples.check_names(one.message, findings)
        examples.check_headers(one.message, findings)
        _compare_headers(one, findings)
    for sharing in grouped(mappings, lambda one: (one.message.place, one.record_place)):
        _run(sharing, findings)
    for leading in grouped(mappings, lambda one: one.record_place):
        _check_topics(leading, findings)


def grouped(mappings: Iterable[Mapping], key: Callable[[Mapping], Any]) -> Iterable[list[Mapping]]:
    """The mappings that have the same key, together, in order."""
    groups: dict[Any, list[Mapping]] = {}
    for one in mappings:
        groups.setdefault(key(one), []).append(one)
    return groups.values()


def _run(sharing: list[Mapping], findings: Findings) -> None:
    """Run the examples of streams that share both messages; report those that fit none of the streams."""
    first = sharing[0]
    namesakes = {reading.place: record for _, reading, record in _pairs(first)}
    trials = [_Trial(each, each.record, each.address) for each in sharing if each.record and each.address]
    for payload in examples.payload_nodes(first.message, first.content):
        readings = _readings(payload, first.payload) if _fits(payload, first, findings) else []
        for number, node in enumerate(readings):
            namesake = namesakes.get(node.place)
            topic = _topic(namesake)
            matching = [one for one in trials if topic is not None and one.address.match(topic) is not None]
            record = namesake if matching or topic is None else None
            _report_unfit((one.run(_Example(payload, number, node), record) for one in matching or trials), findings)


def _report_unfit(attempts: Iterable[Findings], findings: Findings) -> None:
    """Report the findings of the first attempt, unless one has none."""
    first = None
    for found in attempts:
        if not found.has_errors:
            return
        first = first or found
    for one in first or ():
        findings.add(one)


def _fits(node: Node, mapping: Mapping, findings: Findings) -> bool:
    payload = mapping.payload
    if mapping.content == "telegram" and not node.is_mapping:
        try:
            as_json(examples.as_sent(node.value, mapping.content))
        except ValidationError as error:
            text = f"The example would be a dead letter, {error.reason}: {examples.cut(error.detail)}."
            findings.error(node, text, "Correct the example.")
            return False
    if payload.is_array and payload.record is not None and not isinstance(node.value, list):
        findings.error(
            node, "The message's schema is an array, but the example is not.", "Put the example in brackets."
        )
        return False
    if payload.is_array and not _readings(node, payload):
        message = "The example would be a dead letter, empty: the message has no reading."
        findings.error(node, message, "Add a reading.")
        return False
    described = payload.around if payload.is_array else payload.json_schema
    return payload.record is not None or examples.check_json(node, described, findings)


def _check_topics(leading: list[Mapping], findings: Findings) -> None:
    """The header `mqtt.topic` of a Kafka example must be a topic of one of the message's streams."""
    addresses = [one.address for one in leading]
    for example in {example.place: example for one in leading for _, _, example in _pairs(one)}.values():
        header = example.own("headers", TOPIC_HEADER)
        is_known = any(each is None or each.match(header.text or "") is not None for each in addresses)
        if header.text is not None and not is_known:
            message = f"No stream of this record subscribes to the topic {quoted(header.value)}."
            expected = " or ".join([each.text for each in addresses if each][:MOST])
            findings.error(header, message, f"Write a topic of the form {expected}.")


def _compare_headers(mapping: Mapping, findings: Findings) -> None:
    """Examples of the same name must have the same user properties, where both have headers."""
    for sent, _, record in _pairs(mapping):
        headers = record.own("headers")
        for name in sorted(mapping.user_headers) if headers.is_mapping else ():
            expected, given = headers.own(name), sent.own("headers", name)
            if expected.value != given.value:
                values = [examples.shown(None if one.is_absent else one.value) for one in (given, expected)]
                message = f"The MQTT example of this name has {values[0]} in the header {name!r}; expected {values[1]}."
                findings.error(headers if expected.is_absent else expected, message, "Write the same in both examples.")


def _topic(example: Node | None) -> str | None:
    """The topic that a Kafka example states."""
    return example.own("headers", TOPIC_HEADER).text if example else None


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
    nodes = [node]
    for step in payload.steps if payload.is_array else ():
        nodes = [below for one in nodes for below in _taken(one, step)]
    return nodes


def _taken(node: Node, step: Step) -> list[Node]:
    if step.kind == "items":
        return node.own_entries()
    names = [step.name] if step.kind == "member" else list(node.value) if node.is_mapping else []
    return [one for name in names if not (one := node.own(name)).is_absent]


class _Example(NamedTuple):
    """A reading in the payload of an MQTT example."""

    payload: Node
    number: int  # among the readings of the payload
    node: Node


class _Trial:
    """Runs examples through the codec of one stream."""

    def __init__(self, mapping: Mapping, record: Record, address: Address) -> None:
        self.mapping = mapping
        self.record = record
        self.address = address
        self.schema = examples.as_read(record.schema.definition)
        stream = mapping.alone(record, address)
        self.conversion = conversion(stream, stream.route)
        self.findings = Findings()

    @cached_property
    def codec(self) -> Codec:
        """The codec of the stream, made when it is needed; a few examples are no reason to compile one."""
        content: Content = "text" if self.mapping.content == "text" else "json"  # of a telegram, what it is read as
        return Codec(self.conversion._replace(content=content), is_fast=False)

    @cached_property
    def path(self) -> RecordPath:
        """The path to the records in a message."""
        payload = self.mapping.payload
        return RecordPath(payload.steps, self.record.schema.record, unread_around(payload.around))

    def run(self, example: _Example, namesake: Node | None) -> Findings:
        """Run the example of a reading, and compare the result with the Kafka example of its name."""
        self.findings = Findings()
        try:
            sent, groups = self._sent(example)
        except ValidationError as error:
            self._report(example.payload, error.dead_letter())
            return self.findings
        value = json.loads(sent) if groups else example.node.value
        texts = self._texts(value, _topic(namesake))
        if refused := self._refused(texts):
            self._report(example.payload, refused)
            return self.findings
        encoded = self.codec.encode(sent, texts)
        if isinstance(encoded, DeadLetter):
            path = tokens(encoded.pointer)
            place = self.path.place(groups, example.number, path) if groups else path
            self._report(example.payload, structs.replace(encoded, pointer=pointer(place)), path)
            return self.findings
        key, record, *_ = encoded
        self._check_key(example.node, key)
        if namesake is not None and not namesake.own("payload").is_absent:
            self._compare(example.node, namesake.own("payload"), texts, key, record)
        return self.findings

    def _refused(self, texts: tuple[str, ...]) -> DeadLetter | None:
        """The dead letter of a topic that chooses no Kafka topic."""
        choice = self.mapping.sending and self.mapping.sending.route.choice
        detail = choice.fault(dict(zip(self.address.names, texts, strict=False))) if choice else ""
        return DeadLetter(Reason.NOT_ALLOWED, "", detail) if detail else None

    def _sent(self, example: _Example) -> tuple[bytes, list[Group]]:
        """The text of the reading, and how it was cut out of the message; raises ValidationError."""
        sent = examples.as_sent(example.payload.value, self.mapping.content)
        if not self.mapping.payload.is_array:
            return sent, []
        groups = self.path.cut(sent)
        return [text for group in groups for text in group.texts][example.number], groups

    def _texts(self, value: Any, topic: str | None) -> tuple[str, ...]:
        """What the topic contributes: the values of the address's parameters, and the topic."""
        stated = None if topic is None else self.address.match(topic)
        values = stated or tuple(self._made_value(value, parameter) for parameter in self.mapping.parameters)
        return *values, topic or self.address.topic(values)

    def _made_value(self, value: Any, parameter: Parameter) -> str:
        found = value_at(value, tokens(parameter.pointer or ""))
        if parameter.pointer and isinstance(found, str):
            return found
        described = self.mapping.channel.node.at("parameters", parameter.name)
        stated = [*described.at("examples").entries(), described.at("default"), *described.at("enum").entries()]
        if isinstance(found, int | float):
            return json.dumps(found)
        return next((text for text in (*(one.text for one in stated), *parameter.examples) if text), parameter.name)

    def _report(self, node: Node, dead_letter: DeadLetter, path: Path = ()) -> None:
        """Report that an example would be a dead letter; `path` leads to the place from the reading."""
        reason = dead_letter.reason
        if reason is Reason.NO_KEY and not self.conversion.keys:
            return  # the definition of the key is invalid, and reported
        place = node.own(*tokens(dead_letter.pointer))
        message = f"The example would be a dead letter, {reason}: {examples.cut(dead_letter.detail)}."
        field, words = self._unread(place, path)
        if field and words:  # the fix is in the schema, so the finding is
            example = f"{place.source.name}:{place.line} {place.path}"
            self.findings.error(field, f"{message[:-1]} ({example}).", f"Write {words}.")
            return
        self.findings.error(place, message, examples.FIXES.get(reason, "Correct the example or the schema."))

    def _unread(self, place: Node, path: Path) -> tuple[Node | None, str]:
        """The field that reads a place of the example and refuses its value, and the words with which it would not."""
        record, is_bare = (
            self.record.schema.record,
            self.record.whole and path[:1] != (PAYLOAD,) and not is_around(path),
        )
        found = find(record, (PAYLOAD, *path) if is_bare else path)
        if place.is_absent or not (found and found.field and found.type is found.field.type):
            return None, ""
        node = self.record.node.own(*found.field.place)
        return node, source_advice.proposal(found.field, parse(examples.as_sent(place.value)))

    def _encoded(self, sent: Node, keys: tuple[str, ...], wanted: Any) -> tuple[Node | None, str]:
        """The field of bytes that takes an encoded text as it is, and the words with which it would not."""
        field = self.record.schema.record.field_named(keys[0]) if len(keys) == 1 and isinstance(wanted, bytes) else None
        for path in field.paths if field else ():
            value = sent.value if self.record.whole else sent.own(*path).value
            if field and (words := source_advice.encoding(field, value, wanted)):
                return self.record.node.own(*field.place), words
        return None, ""

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

    def _compare(self, sent: Node, node: Node, texts: tuple[str, ...], key: bytes, record: bytes) -> None:
        """Report where record and key differ from the Kafka example of the same name."""
        try:
            expected = examples.encoded(node.value, self.schema)
            key_of = Key(build(self.schema), self.conversion.keys, self.conversion.separator).of
            expected_key = key_of(parse(examples.as_sent(node.value)), texts)
        except ValidationError as error:
            if error.reason is Reason.NO_KEY:
                place = node.own(*error.tokens)
                self.findings.error(place, f"The record has no key: {error.detail}.", CORRECT)
            return
        for keys, wanted, given in _differences(self._read(expected), self._read(record)):
            values = f"{examples.shown(given)} here; expected {examples.shown(wanted)}"
            field, words = self._encoded(sent, keys, wanted)
            fix = f"Write {words}." if words else CORRECT
            self.findings.error(field or node.own(*keys), f"The MQTT example of this name gives {values}.", fix)
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
