"""Document -> Contract: a stream for every receive operation on MQTT, with its routes to Kafka.

Every part is read even after errors, so that all findings are reported at once; the contract is made only when there is
no error. A receive operation on MQTT must name where its readings go, and where rejected readings go. Operations of
other protocols are ignored, with a warning.

The default QoS of a subscription is 1: a broker delivers at most at the QoS of the subscription, so messages that
devices publish at QoS 0 still arrive at 0, and a forgotten binding loses no reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from gateway.contract import (
    constraints,
    envelope_rules,
    examples,
    header_rules,
    headers,
    mapping,
    message_choices,
    payload_rules,
    pointers,
    route,
)
from gateway.contract.channel import Channel, address, channel, referred
from gateway.contract.document import quoted
from gateway.contract.mapping import Mapping
from gateway.contract.message import DEAD_LETTER, FORWARD, IGNORED, Payload, Payloads, messages_of
from gateway.contract.message_choices import Incoming
from gateway.contract.server import kafka_server, mqtt_server, protocol
from gateway.core.encoding import JSON, PROPERTY, encoding_of
from gateway.core.model import Contract, Ignored, KafkaServer, MqttServer, Stream
from gateway.core.topic_index import NOT_ADDRESSED, UNMAPPED

if TYPE_CHECKING:
    from gateway.contract.document import Document, Node
    from gateway.contract.findings import Findings
    from gateway.contract.route import Sending
    from gateway.core.codec.conversion import Content
    from gateway.core.encoding import Encoding

TELEGRAM = re.compile(r"text/vnd\.dsmr\.p1\s*(?:;\s*lines\s*=\s*(?P<lines>[\w.-]+)\s*)?\Z", re.IGNORECASE)
GZIP_FIRST = re.compile(r"(?:x-)?gzip\+(json|msgpack|cbor)", re.IGNORECASE)
TEXT = re.compile(r"text/plain\s*(;\s*charset\s*=\s*\"?(utf-8|us-ascii)\"?\s*)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Built:
    """The valid parts of the document, by name, with the nodes that rules refer to."""

    streams: dict[str, Stream]
    ignored: dict[str, Ignored]
    operations: dict[str, Node]  # the receive operation of each
    mqtt_servers: dict[str, MqttServer]
    kafka_servers: dict[str, KafkaServer]  # one in a valid contract


def build(document: Document, findings: Findings) -> Built:
    """Read servers and operations."""
    servers = document.root.at("servers").members()
    mqtt = {name: mqtt_server(name, node, findings) for name, node in servers if protocol(node) == "mqtt"}
    kafka = {name: kafka_server(name, node, findings) for name, node in servers if protocol(node) == "kafka"}
    return _Builder(document, findings).built(mqtt, kafka)


def contract(document: Document, built: Built, elsewhere: frozenset[str]) -> Contract:
    """Make the contract of a document without errors; `elsewhere` are names of what this installation does not use."""
    info = document.root.at("info")
    (kafka,) = built.kafka_servers.values()
    title, version = info.at("title").text or "", info.at("version").text or ""
    return Contract(
        document.path, title, version, built.mqtt_servers, kafka, built.streams, elsewhere, built.ignored,
        document.digest,
    )  # fmt: skip


class _Builder:
    """Reads the operations; routes and payload schemas that streams share are read once."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self.document = document
        self.findings = findings
        self.payloads = Payloads(findings)
        self.sendings: dict[tuple[str, bool], Sending | None] = {}
        self.mappings: list[Mapping] = []

    def built(self, mqtt: dict[str, MqttServer], kafka: dict[str, KafkaServer]) -> Built:
        streams: dict[str, Stream] = {}
        ignored: dict[str, Ignored] = {}
        nodes: dict[str, Node] = {}
        for name, node in self.document.root.at("operations").members():
            operation = node.with_traits()
            read = self._receiving(name, operation) if operation.at("action").text == "receive" else None
            if isinstance(read, Stream):
                streams[name], nodes[name] = read, operation
            elif read is not None:
                ignored[name], nodes[name] = read, operation
        mapping.check(self.mappings, self.findings)
        header_rules.check(self.mappings, mqtt, self.findings)
        self._warn_of_unused()
        return Built(streams, ignored, nodes, mqtt, kafka)

    def _channel(self, operation: Node) -> Channel | None:
        name = referred(operation.own("channel"), "channels", self.findings)
        return None if name is None else channel(self.document, name, self.findings)

    def _receiving(self, name: str, operation: Node) -> Stream | Ignored | None:
        if name in {UNMAPPED, NOT_ADDRESSED}:
            self.findings.error(operation, f"The name {name!r} is reserved for metrics.", "Rename the operation.")
        return self._ignored(name, operation) if self._is_ignored(operation) else self._stream(name, operation)

    def _ignored(self, name: str, operation: Node) -> Ignored | None:
        source = self._channel(operation)
        if source is None or source.protocol == "unknown" or not self._is_mqtt(operation, source):
            return None
        where = address(source, self.findings)
        return None if where is None else Ignored(name, source.servers, where)

    def _stream(self, name: str, operation: Node) -> Stream | None:
        source = self._channel(operation)
        default = self._sendings(operation)
        failing = self._sending(operation.stated(DEAD_LETTER), DEAD_LETTER, dead_letters=True)
        if source is None or source.protocol == "unknown" or not self._is_mqtt(operation, source):
            return None
        messages = self._incoming(operation, source)
        if not messages or not all(one.is_ignored or _states_forward(one.message) for one in messages):
            self._require(operation, FORWARD, "where readings go")
        self._require(operation, DEAD_LETTER, "where dead letters go")
        wanted = [one for one in messages if not one.is_ignored]
        streams = {one.name: self._stream_of(name, operation, one, default, failing) for one in wanted}
        kinds = message_choices.check([replace(one, stream=streams.get(one.name)) for one in messages], self.findings)
        if len({self._encoding(one.message) for one in messages}) > 1:
            text = "The messages of an operation have one encoding, because it is read before they are told apart."
            self.findings.error(messages[-1].message.at("contentType"), text, "Give it an address of its own.")
        if failing is None or not wanted or not all(streams.values()):
            return None
        first = streams[wanted[0].name]
        assert first is not None, "all are there"
        header_rules.check_dead_letters(first, failing, self.findings)
        return replace(first, messages=kinds) if len(messages) > 1 else first

    def _stream_of(
        self, name: str, operation: Node, incoming: Incoming, default: list[Sending], failing: Sending | None
    ) -> Stream | None:
        """Make the stream of one of an operation's messages alone."""
        message = incoming.message
        sendings = self._sendings(message) if _states_forward(message) else default
        targets: list[Sending] | list[None] = sendings or [None]
        mappings = [self._mapping(incoming, sending) for sending in targets]
        self.mappings += mappings
        stated = (message if _states_forward(message) else operation).stated(FORWARD)
        envelope_rules.check_alike(stated, [one.payload.record for one in sendings], self.findings)
        payload = incoming.payload
        if not sendings or (record := sendings[0].payload.record) is None:
            return None
        self._check_watched(operation, payload)
        sequence = pointers.sequence(operation, payload, record, self.findings)
        silent_after, qos = self._silent_after(operation), self._qos(operation)
        if incoming.address is None or failing is None:
            return None
        return replace(
            mappings[0].alone(record, incoming.address),
            name=name,
            qos=qos,
            also=tuple(sending.route for sending in sendings[1:]),
            dead_letters=failing.route,
            examples=examples.payloads(message, incoming.content),
            sequence=sequence,
            silent_after=silent_after,
            user_properties=frozenset(headers.properties(message)),
            example_headers=headers.example_texts(message),
            encoding=self._encoding(message),
            lines=self._lines(message),
        )

    def _incoming(self, operation: Node, source: Channel) -> list[Incoming]:
        """The messages of a stream; [] when one is invalid."""
        where = address(source, self.findings)
        messages = messages_of(operation, source, self.findings)
        read = [(name, one, self.payloads.readings(one), self._is_ignored(one)) for name, one in messages]
        if read and all(is_ignored for *_, is_ignored in read):
            text = "All messages of the operation are ignored."
            self.findings.error(read[0][1].at(IGNORED), text, "Write x-ignored: true at the operation instead.")
        return [
            Incoming(source, where, name, one, payload, self._content(one), is_ignored)
            for name, one, payload, is_ignored in read
            if payload is not None
        ]

    def _is_ignored(self, node: Node) -> bool:
        """Whether an operation or a message is not wanted, so that it goes nowhere."""
        stated = node.at(IGNORED)
        is_ignored = self.findings.switch(stated) is True
        text = f"{IGNORED}: true drops all readings, so this has no effect: "
        if is_ignored and not node.stated(FORWARD).is_absent:
            self.findings.error(node.stated(FORWARD), f"{text}{FORWARD}.", f"Remove {FORWARD}, or {IGNORED}.")
        if is_ignored and not node.stated(DEAD_LETTER).is_absent:
            self.findings.warning(node.stated(DEAD_LETTER), f"{text}{DEAD_LETTER}.", "Remove it.")
        return is_ignored

    def _mapping(self, incoming: Incoming, sending: Sending | None) -> Mapping:
        """The mapping from a stream's messages to the records of one topic, checked."""
        payload, where = incoming.payload, incoming.address
        record = sending.payload.record if sending else payload.record
        names = where.names if where else ()
        parameters = payload_rules.parameters(incoming.channel, names, payload, record, self.findings)
        tied = parameters or ()
        if sending is not None and record is not None:
            payload_rules.check(incoming.message, payload, record, self.findings)
            if incoming.content == "text":
                payload_rules.check_text(self._content_type(incoming.message), payload, record, self.findings)
            if incoming.content == "telegram":
                payload_rules.check_telegram(self._content_type(incoming.message), payload, record, self.findings)
            payload_rules.check_whole(record, tied, self.findings)
            payload_rules.warn_of_open(payload, record, self.findings)
            payload_rules.warn_of_missing(payload, record, tied, self.findings)
            constraints.check(payload, record, self.findings)
        if (
            sending is not None
            and record is not None
            and not envelope_rules.check(payload, record, names, self.findings)
        ):
            where = None
        if sending is not None and where is not None and not self._has_parameters(incoming.channel, names, sending):
            where = None
        own = {each.name: getattr(incoming, each.name) for each in fields(incoming)}
        own["address"] = None if parameters is None else where
        return Mapping(**own, record=record, parameters=tied, sending=sending)

    def _has_parameters(self, source: Channel, names: tuple[str, ...], sending: Sending) -> bool:
        """Tell whether an address has the parameters that the key and the topic need."""
        binding = sending.message.at("bindings", "kafka")
        has_key = pointers.check_key(binding, sending.route.keys, source, names, self.findings)
        return route.check_choice(sending, source, names, self.findings) and has_key

    def _is_mqtt(self, operation: Node, source: Channel) -> bool:
        if source.protocol == "mqtt":
            return True
        fix = "Give the channel `servers` with protocol mqtt or secure-mqtt"
        if operation.stated(FORWARD).is_absent:
            message = f"The channel {source.name!r} is not on MQTT, so the gateway ignores the operation."
            self.findings.warning(operation, message, f"{fix}, if the gateway shall receive from it.")
        else:
            self.findings.error(operation.own("channel"), f"The channel {source.name!r} is not on MQTT.", f"{fix}.")
        return False

    def _require(self, operation: Node, key: str, what: str) -> None:
        if operation.stated(key).is_absent:
            fix = f"Add {key}: {{$ref: '#/operations/...'}}."
            self.findings.error(operation, f"{key} is missing: the operation does not say {what}.", fix)

    def _qos(self, operation: Node) -> int:
        stated = operation.at("bindings", "mqtt", "qos").integer
        return 1 if stated is None else stated

    def _sendings(self, operation: Node) -> list[Sending]:
        """The send operations for a stream's readings, one or a list; [] when one of them is invalid."""
        stated = operation.stated(FORWARD)
        places = stated.own_entries() if isinstance(stated.value, list) else [stated]
        if not places:
            self.findings.error(stated, "x-forward-to names no operation.", "Write {$ref: '#/operations/...'}.")
        read = [self._sending(place, FORWARD, dead_letters=False) for place in places]
        topics: set[str] = set()
        for place, one in zip(places, read, strict=True):
            names = {each.topic.name for each in one.route.each} if one else set()
            for name in names & topics:
                self.findings.error(place, f"The topic {name!r} is repeated.", "Remove one.")
            topics |= names
        sendings = [one for one in read if one is not None]
        return sendings if len(sendings) == len(places) else []

    def _sending(self, stated: Node, key: str, *, dead_letters: bool) -> Sending | None:
        """The send operation that an extension of a receive operation names."""
        if isinstance(stated.value, list):
            if len(stated.value) != 1:
                message = f"{key} names {len(stated.value)} operations, but dead letters go to one."
                self.findings.error(stated, message, "Name one operation.")
                return None
            stated = stated.own("0")
        if stated.is_absent:
            return None
        if stated.reference is None:
            self.findings.error(stated, f"{key} is not a reference.", "Write {$ref: '#/operations/...'}.")
            return None
        name = referred(stated, "operations", self.findings)
        return None if name is None else self._read_sending(name, stated, dead_letters=dead_letters)

    def _read_sending(self, name: str, stated: Node, *, dead_letters: bool) -> Sending | None:
        operation = self.document.root.at("operations", name).with_traits()
        target = self._channel(operation)
        if operation.at("action").text not in {"send", None}:
            fix = "Name an operation with action: send."
            self.findings.error(stated, f"{name!r} is not a send operation.", fix)
        elif target is not None and target.protocol not in {"kafka", "unknown"}:
            fix = "Name an operation whose channel is on a Kafka server."
            self.findings.error(stated, f"{name!r} does not send to Kafka.", fix)
        elif target is not None:
            if (name, dead_letters) not in self.sendings:
                read = route.read(name, operation, target, self.payloads, dead_letters=dead_letters)
                self.sendings[name, dead_letters] = read
            return self.sendings[name, dead_letters]
        return None

    def _content(self, message: Node) -> Content:
        """The format of a message's payload."""
        stated = self._content_type(message)
        if TEXT.match(stated.text or ""):
            return "text"
        if TELEGRAM.match(stated.text or ""):
            return "telegram"
        if stated.text is not None and not encoding_of(stated.text):
            known = "readings are JSON, MessagePack, CBOR, plain text in UTF-8, or P1 telegrams"
            text = f"The content type {quoted(stated.value)} is not supported; {known}."
            fix = (
                "Write application/json, application/msgpack or application/cbor, text/plain for one bare value, or "
                "text/vnd.dsmr.p1 for telegrams."
            )
            swapped = GZIP_FIRST.sub(r"\1+gzip", stated.text)
            self.findings.error(stated, text, f"Did you mean {swapped!r}?" if encoding_of(swapped) else fix)
        return "json"

    def _encoding(self, message: Node) -> Encoding:
        """How the payloads of a message are encoded."""
        stated = encoding_of(self._content_type(message).text or "") or JSON
        return stated._replace(has_property=PROPERTY in headers.properties(message))

    def _lines(self, message: Node) -> str:
        match = TELEGRAM.match(self._content_type(message).text or "")
        return (match and match["lines"]) or ""

    def _content_type(self, message: Node) -> Node:
        stated = message.at("contentType")
        return self.document.root.at("defaultContentType") if stated.is_absent else stated

    def _check_watched(self, operation: Node, payload: Payload) -> None:
        """Sequence and silence are observed per message with one key, so not for arrays of readings."""
        for key in ("x-sequence", "x-silent-after") if payload.is_array else ():
            stated = operation.at(key)
            if not stated.is_absent:
                message = f"{key} needs messages of one reading, but the message holds several."
                self.findings.error(stated, message, "Remove it, or let devices publish each reading alone.")

    def _silent_after(self, operation: Node) -> int | None:
        """Read `x-silent-after`: seconds; None when absent or invalid."""
        stated = operation.at("x-silent-after")
        if stated.is_absent or (stated.integer is not None and stated.integer > 0):
            return stated.integer
        message = f"{quoted(stated.value)} is not a number of seconds."
        self.findings.error(stated, message, "Write whole seconds, several times the interval between two readings.")
        return None

    def _warn_of_unused(self) -> None:
        used = {name for name, _ in self.sendings}
        for name, node in self.document.root.at("operations").members():
            if node.at("action").text == "send" and name not in used and not self.findings.has_errors:
                message = f"No stream sends to {name!r}, so the gateway ignores the operation."
                servers = node.at("channel", "servers").entries()
                is_mqtt = bool(servers) and protocol(servers[0]) == "mqtt"
                fix = "write action: receive if devices publish there." if is_mqtt else "name it in x-forward-to."
                self.findings.warning(node, message, f"Remove it, or {fix}")


def _states_forward(message: Node) -> bool:
    return not message.stated(FORWARD).is_absent
