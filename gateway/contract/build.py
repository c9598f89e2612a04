"""Document -> Contract: a stream for every receive operation, and the way it takes to Kafka.

Everything is read although something was found wrong before, so that all findings come in one go; the contract is
made only when there was none. A receive operation on MQTT is one of ours and must say where its readings go and
where those go that do not fit. Operations of other protocols are no business of the gateway: a warning, no more.

The subscription's QoS is 1 where the document says nothing. It is the highest at which messages arrive, so what
devices publish at QoS 0 still comes at 0, and nobody loses readings through a binding that was forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.contract import examples, header_rules, headers, mapping, route, sequence_rules
from gateway.contract.channel import Channel, address, channel, referred
from gateway.contract.expression import ExpressionError, parse, split
from gateway.contract.findings import proposal
from gateway.contract.mapping import Mapping
from gateway.contract.message import Payload, Payloads, describes, only_message, unread
from gateway.contract.schema import WHOLE
from gateway.contract.server import kafka_server, mqtt_server, protocol
from gateway.core.codec.precise_encoder import PAYLOAD
from gateway.core.model import Contract, KafkaServer, MqttServer, Parameter, Stream
from gateway.core.topic_index import UNMAPPED

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings
    from gateway.contract.route import Sending
    from gateway.contract.schema import Record
    from gateway.core.address import Address
    from gateway.core.codec.precise_encoder import Unknown
    from gateway.core.codec.scalar_payload import Content

JSON = re.compile(r"(application|text)/([^/;\s]+\+)?json\s*(;|\Z)")
TEXT = re.compile(r"text/plain\s*(;\s*charset\s*=\s*\"?(utf-8|us-ascii)\"?\s*)?\Z", re.IGNORECASE)
NESTING = {"array", "map", "record"}


@dataclass(frozen=True, slots=True)
class Built:
    """What could be made of the document, with the places that rules speak of.

    Args:
        streams: by name; those that could be read.
        operations: the receive operation of each.
        mqtt_servers: by name.
        kafka_servers: by name; the contract has one.
    """

    streams: dict[str, Stream]
    operations: dict[str, Node]
    mqtt_servers: dict[str, MqttServer]
    kafka_servers: dict[str, KafkaServer]


def build(document: Document, findings: Findings) -> Built:
    """Read servers and operations.

    Args:
        document: the contract's files.
        findings: told everything that is wrong.

    Returns:
        What could be read.
    """
    servers = document.root.at("servers").members()
    mqtt = {name: mqtt_server(name, node, findings) for name, node in servers if protocol(node) == "mqtt"}
    kafka = {name: kafka_server(name, node, findings) for name, node in servers if protocol(node) == "kafka"}
    return _Builder(document, findings).built(mqtt, kafka)


def contract(document: Document, built: Built) -> Contract:
    """Put the contract together, once nothing was found wrong."""
    info = document.root.at("info")
    (kafka,) = built.kafka_servers.values()
    title, version = info.at("title").text or "", info.at("version").text or ""
    return Contract(document.path, title, version, built.mqtt_servers, kafka, built.streams)


class _Builder:
    """Reads the operations; routes and payload schemas are read once however many streams share them."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self.document = document
        self.findings = findings
        self.payloads = Payloads(findings)
        self.sendings: dict[tuple[str, bool], Sending | None] = {}
        self.mappings: list[Mapping] = []

    def built(self, mqtt: dict[str, MqttServer], kafka: dict[str, KafkaServer]) -> Built:
        streams: dict[str, Stream] = {}
        nodes: dict[str, Node] = {}
        for name, node in self.document.root.at("operations").members():
            operation = node.with_traits()
            stream = self._stream(name, operation) if operation.at("action").text == "receive" else None
            if stream is not None:
                streams[name], nodes[name] = stream, operation
        mapping.check(self.mappings, self.findings)
        header_rules.check(self.mappings, mqtt, self.findings)
        self._warn_of_idle()
        return Built(streams, nodes, mqtt, kafka)

    def _channel(self, operation: Node) -> Channel | None:
        name = referred(operation.own("channel"), "channels", self.findings)
        return None if name is None else channel(self.document, name, self.findings)

    def _stream(self, name: str, operation: Node) -> Stream | None:
        source = self._channel(operation)
        sendings = self._sendings(operation)
        failing = self._sending(operation.stated("x-dead-letter-to"), "x-dead-letter-to", dead_letters=True)
        if source is None or source.protocol == "unknown" or not self._is_ours(operation, source):
            return None
        self._demand(operation, "x-forward-to", "where its readings go")
        self._demand(operation, "x-dead-letter-to", "where readings go that do not fit")
        if name == UNMAPPED:
            self.findings.error(operation, f"No operation may be called {name!r}; the books use it.", "Rename it.")
        where, qos = address(source, self.findings), self._qos(operation)
        message = only_message(operation, source, self.findings)
        payload = None if message is None else self.payloads.readings(message)
        if message is None or payload is None:
            return None
        targets: list[Sending] | list[None] = sendings or [None]
        content = self._content(message)
        mappings = [self._mapping(source, where, message, payload, sending, content) for sending in targets]
        self.mappings += mappings
        if not sendings or (record := sendings[0].payload.record) is None:
            return None
        sequence_rules.check_array(operation, payload, self.findings)
        sequence = sequence_rules.sequence(operation, payload, record, self.findings)
        silent_after = sequence_rules.silent_after(operation, self.findings)
        if where is None or failing is None:
            return None
        stream = Stream(
            name=name,
            servers=source.servers,
            address=where,
            parameters=mappings[0].parameters,
            qos=qos,
            unknown=_unknown(payload),
            route=sendings[0].route,
            also=tuple(sending.route for sending in sendings[1:]),
            dead_letters=failing.route,
            examples=examples.payloads(message),
            payload_schema=payload.json_schema if isinstance(payload.json_schema, dict) else None,
            sequence=sequence,
            silent_after=silent_after,
            user_properties=frozenset(headers.properties(message)),
            example_headers=headers.example_texts(message),
            content=content,
            is_array=payload.is_array,
        )
        header_rules.check_dead_letters(stream, failing, self.findings)
        return stream

    def _mapping(  # noqa: PLR0913, PLR0917 - both ends of the way, and what is written on them
        self,
        source: Channel,
        where: Address | None,
        message: Node,
        payload: Payload,
        sending: Sending | None,
        content: Content,
    ) -> Mapping:
        """What a stream makes of its messages for one topic, checked."""
        record = sending.payload.record if sending else payload.record
        parameters = self._parameters(source, where.names if where else (), payload, record)
        if sending is not None and record is not None:
            self._check_payload(message, payload, record)
            self._check_whole(message, payload, record, parameters or (), content)
            self._warn_of_missing(payload, record, parameters or ())
        return Mapping(
            message=message,
            payload=payload,
            record=record,
            address=None if parameters is None else where,
            parameters=parameters or (),
            channel=source.node,
            unknown=_unknown(payload),
            sending=sending,
            servers=source.servers,
            content=content,
        )

    def _is_ours(self, operation: Node, source: Channel) -> bool:
        if source.protocol == "mqtt":
            return True
        forward = operation.stated("x-forward-to")
        if forward.is_absent:
            self.findings.warning(
                operation, f"The channel {source.name!r} is not on MQTT; the gateway leaves it alone."
            )
        else:
            fix = "Give the channel `servers` with protocol mqtt or secure-mqtt."
            self.findings.error(operation.own("channel"), f"The channel {source.name!r} is not on MQTT.", fix)
        return False

    def _demand(self, operation: Node, key: str, what: str) -> None:
        if operation.stated(key).is_absent:
            fix = f"Add {key}: {{$ref: '#/operations/...'}}."
            self.findings.error(operation, f"The operation does not say {what}: {key} is missing.", fix)

    def _qos(self, operation: Node) -> int:
        stated = operation.at("bindings", "mqtt", "qos")
        if stated.integer == 2:
            message = "The gateway cannot keep QoS 2 state safely; it subscribes at QoS 1."
            self.findings.warning(stated, message, "Write qos: 1.")
        return 0 if stated.integer == 0 else 1

    def _sendings(self, operation: Node) -> list[Sending]:
        """Where a receive operation's readings go: one send operation, or a list; none when one of them is wrong."""
        stated = operation.stated("x-forward-to")
        places = [stated]
        if isinstance(stated.value, list):
            places = [stated.own(str(index)) for index in range(len(stated.value))]
        if not places:
            self.findings.error(stated, "x-forward-to names no operation.", "Name one at least.")
        found = [self._sending(place, "x-forward-to", dead_letters=False) for place in places]
        sendings = [one for one in found if one is not None]
        topics: set[str] = set()
        for place, one in zip(places, found, strict=True):
            if one is not None and one.route.topic.name in topics:
                self.findings.error(place, f"The topic {one.route.topic.name!r} is named twice.", "Remove one.")
            topics.add(one.route.topic.name if one else "")
        return sendings if len(sendings) == len(places) else []

    def _sending(self, stated: Node, key: str, *, dead_letters: bool) -> Sending | None:
        """The send operation that an extension of a receive operation names."""
        if isinstance(stated.value, list):
            if len(stated.value) != 1:
                told = f"{key} names {len(stated.value)} operations, and readings that do not fit go to one."
                self.findings.error(stated, told, "Name one operation.")
                return None
            stated = stated.own("0")
        if stated.is_absent:
            return None
        if stated.reference is None:
            self.findings.error(stated, f"{key} is no reference.", "Write {$ref: '#/operations/...'}.")
            return None
        name = referred(stated, "operations", self.findings)
        return None if name is None else self._read_sending(name, stated, dead_letters=dead_letters)

    def _read_sending(self, name: str, stated: Node, *, dead_letters: bool) -> Sending | None:
        operation = self.document.root.at("operations", name).with_traits()
        target = self._channel(operation)
        if operation.at("action").text not in {"send", None}:
            fix = "Name an operation with action: send."
            self.findings.error(stated, f"{name!r} is no send operation.", fix)
        elif target is not None and target.protocol not in {"kafka", "unknown"}:
            fix = "Name an operation whose channel is on a Kafka server."
            self.findings.error(stated, f"{name!r} does not send to Kafka.", fix)
        elif target is not None:
            return self._read_once(name, operation, target, dead_letters=dead_letters)
        return None

    def _read_once(self, name: str, operation: Node, target: Channel, *, dead_letters: bool) -> Sending | None:
        if (name, dead_letters) not in self.sendings:
            found = route.read(name, operation, target, self.payloads, dead_letters=dead_letters)
            self.sendings[name, dead_letters] = found
        return self.sendings[name, dead_letters]

    def _parameters(
        self, source: Channel, names: tuple[str, ...], payload: Payload, record: Record | None
    ) -> tuple[Parameter, ...] | None:
        """The parameters of the address; None when one of them cannot be tied to the payload."""
        found = []
        for name in names:
            location = source.node.at("parameters", name, "location")
            is_tied = location.text is not None and record is not None
            pointer = self._location(location, payload, record) if is_tied and record is not None else None
            found.append((is_tied, Parameter(name, pointer)))
        if any(is_tied and parameter.pointer is None for is_tied, parameter in found):
            return None
        return tuple(parameter for _, parameter in found)

    def _location(self, node: Node, payload: Payload, record: Record) -> str | None:
        """Check where the payload repeats a level of the topic."""
        try:
            expression = parse(node.text or "")
        except ExpressionError as error:
            self.findings.error(node, f"{error}.", "Write $message.payload#/member.")
            return None
        fault = _location_fault(expression.part, expression.pointer, payload, record)
        if fault:
            others = sorted({one for some in record.sources.values() for one in some} - {"", expression.pointer})
            near = proposal(expression.pointer, others)
            self.findings.error(node, fault, near or "Point at a text member that a field of the record reads.")
            return None
        return expression.pointer

    def _content(self, message: Node) -> Content:
        """What the message's payload is written in."""
        stated = self._content_type(message)
        if TEXT.match(stated.text or ""):
            return "text"
        if stated.text is not None and not JSON.match(stated.text):
            told = f"Readings are JSON, or plain text in UTF-8; {stated.text!r} cannot be read."
            self.findings.error(stated, told, "Write application/json, or text/plain for one bare value.")
        return "json"

    def _content_type(self, message: Node) -> Node:
        stated = message.at("contentType")
        return self.document.root.at("defaultContentType") if stated.is_absent else stated

    def _check_whole(
        self, message: Node, payload: Payload, record: Record, parameters: tuple[Parameter, ...], content: Content
    ) -> None:
        """A payload that is one value goes into one field; the others have theirs from the topic, or a default."""
        name = record.schema.fullname
        if content == "text" and payload.is_array:
            told = "Plain text is one value, and the message's schema is an array."
            self.findings.error(self._content_type(message), told, "Write application/json, or describe one value.")
        elif content == "text" and (record.whole is None or _nests(record, record.whole["type"])):
            told = f"Plain text is one value, and {name} has no field for it."
            fix = f'Write "x-source": "{PAYLOAD}" at the field of the .avsc that takes it: a number, text or an enum.'
            self.findings.error(self._content_type(message), told, fix)
        if record.whole is None:
            return
        tied = {parameter.pointer for parameter in parameters}
        for index, field in enumerate(record.schema.definition["fields"]):
            pointers = record.sources[field["name"]]
            if pointers != WHOLE and "default" not in field and not tied.intersection(pointers):
                taker = record.whole["name"]
                told = f"Field {taker!r} takes the payload whole, so nothing is left for {field['name']!r}."
                location = f"location: {PAYLOAD}{pointers[0]}"
                fix = f"Let the topic fill it in, with {location} at a parameter, or give it a default."
                self.findings.error(record.node.at("fields", str(index)), told, fix)

    def _check_payload(self, message: Node, payload: Payload, record: Record) -> None:
        """The message that comes in and the record that goes out speak of the same members."""
        if payload.record is not None:
            if payload.record.schema.definition != record.schema.definition:
                fix = "Use the same Avro schema on both sides, or describe the MQTT payload with JSON Schema."
                what = "an array of another Avro record" if payload.is_array else "another Avro schema"
                told = f"The MQTT message has {what} than the record {record.schema.fullname}."
                self.findings.error(message.stated("payload"), told, fix)
            return
        for index, (name, pointers) in enumerate(record.sources.items()):
            place = record.node.at("fields", str(index))
            stated = place.at("x-source")
            for pointer in pointers:
                if pointer and record.whole is None and not describes(payload.json_schema, split(pointer)):
                    told = f"Field {name!r} reads {pointer}, which the MQTT message's schema does not describe."
                    fix = "Correct x-source, or describe the member."
                    self.findings.error(place if stated.is_absent else stated, told, fix)
        self._check_unread(payload, record)

    def _warn_of_missing(self, payload: Payload, record: Record, parameters: tuple[Parameter, ...]) -> None:
        """A member that the JSON Schema lets devices leave out, and no record can do without."""
        if not isinstance(payload.json_schema, dict) or "properties" not in payload.json_schema:
            return
        required = payload.json_schema.get("required")
        sure = {*(required if isinstance(required, list) else ()), *(one.pointer for one in parameters)}
        lacking = []
        for field in record.schema.definition["fields"]:
            pointers = [pointer for pointer in record.sources[field["name"]] if pointer]
            if "default" not in field and pointers and not {*pointers, *(split(one)[0] for one in pointers)} & sure:
                lacking.append(pointers[0])
        if lacking:
            told = f"Devices may leave out {', '.join(lacking)}; the record's fields that read this have no default."
            self.findings.warning(payload.node, told, "Add it to `required`, or give the fields a default.")

    def _check_unread(self, payload: Payload, record: Record) -> None:
        if ("",) in record.sources.values() or _ignores(payload.json_schema):
            return
        read = {split(pointer)[0] for pointers in record.sources.values() for pointer in pointers}
        for key, node in payload.node.at("properties").members():
            if key not in read:
                fix = "Add a field to the record, or remove the member."
                message = f"No field of {record.schema.fullname} reads {key!r}; readings that have it would be refused."
                self.findings.error(node, message, fix)

    def _warn_of_idle(self) -> None:
        used = {name for name, _ in self.sendings}
        for name, node in self.document.root.at("operations").members():
            if node.at("action").text == "send" and name not in used and not self.findings.has_errors:
                self.findings.warning(node, f"Nothing is forwarded to {name!r}; the gateway leaves it alone.")


def _nests(record: Record, avro_type: Any) -> bool:
    """Whether values of a type hold others, so that no plain text says them."""
    kinds = [record.kind(one) for one in (avro_type if isinstance(avro_type, list) else [avro_type])]
    return any(isinstance(one, dict) and one["type"] in NESTING for one in kinds)


def _unknown(payload: Payload) -> Unknown:
    return "ignore" if _ignores(payload.json_schema) else "reject"


def _ignores(json_schema: Any) -> bool:
    """Unknown members are let pass only when the contract says so in so many words."""
    return isinstance(json_schema, dict) and json_schema.get("additionalProperties") is True


def _location_fault(part: str, pointer: str, payload: Payload, record: Record) -> str:
    """Why a parameter cannot be tied to this place, or nothing."""
    if part != "payload" or not pointer:
        return "A parameter is tied to a member of the payload: $message.payload#/member."
    if fault := unread(pointer, payload, record):
        return fault
    kind = record.walk((record.reader(pointer) or "",))
    kinds = [record.kind(one) for one in kind] if isinstance(kind, list) else [kind]
    if not any(one == "string" or (isinstance(one, dict) and one["type"] == "enum") for one in kinds):
        return f"The field that reads {pointer} is not text, and a level of a topic is."
    return ""
