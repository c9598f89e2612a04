"""Send operations: topic, schema, key, headers and framing of what goes to Kafka.

Decisions of this file:

- A record needs a key, and the key is text: without one there is no order to keep. `x-location` names the fields of
  the *record* that hold it, by their Avro names; several mean "the first that is not empty". One alone must not be
  nullable. Dead letters are keyed by their MQTT topic, and need no `x-location`.
- Headers are those that the message declares (`headers.py`).
- The schema id goes into the payload after a zero byte, as the `4` of the binding says, or into a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from gateway.contract import examples, headers, timestamp
from gateway.contract.expression import ExpressionError, join, parse
from gateway.contract.findings import proposal
from gateway.contract.message import only_message
from gateway.core.model import Route, Topic
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.expression import Expression
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload, Payloads
    from gateway.contract.schema import Record

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
STRATEGIES = ("TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy")
ENCODINGS = frozenset({"4", "confluent"})
SETTINGS = frozenset({
    "cleanup.policy", "compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level",
    "delete.retention.ms", "file.delete.delay.ms", "flush.messages", "flush.ms",
    "follower.replication.throttled.replicas", "index.interval.bytes", "leader.replication.throttled.replicas",
    "local.retention.bytes", "local.retention.ms", "max.compaction.lag.ms", "max.message.bytes",
    "message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "message.timestamp.type",
    "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas", "preallocate",
    "remote.copy.disable", "remote.log.delete.on.disable", "remote.storage.enable", "retention.bytes", "retention.ms",
    "segment.bytes", "segment.index.bytes", "segment.jitter.ms", "segment.ms", "unclean.leader.election.enable",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sending:
    """A route with the places it was read from.

    Args:
        route: for the contract.
        node: the send operation.
        message: its message.
        payload: of the message.
    """

    route: Route
    node: Node
    message: Node
    payload: Payload


def read(
    name: str,
    operation: Node,
    channel: Channel,
    payloads: Payloads,
    *,
    dead_letters: bool,
) -> Sending | None:
    """Read a send operation.

    Args:
        name: of the operation.
        operation: with its traits.
        channel: of the operation, on Kafka.
        payloads: reads the schema, and is told what is wrong.
        dead_letters: True when failed readings come this way, unchanged.

    Returns:
        The route, or None when something needed is missing.
    """
    findings = payloads.findings
    topic = _topic(channel, findings)
    message = only_message(operation, channel, findings)
    if message is None:
        return None
    payload = payloads.payload(message)
    declared = (headers.of_dead_letters if dead_letters else headers.of_readings)(message, findings)
    binding = message.at("bindings", "kafka")
    framing, strategy = _framing(binding, findings), _strategy(binding, findings)
    if payload is None:
        return None
    examples.check_kafka(message, payload, findings)
    if dead_letters:
        _check_dead_letters(message, payload, findings)
        route = Route(name, topic, None, (), declared)
    elif payload.record is None:
        fix = "Use schemaFormat application/vnd.apache.avro;version=1.9.0."
        findings.error(message.stated("payload"), "What goes to Kafka needs an Avro schema.", fix)
        return None
    else:
        _check_content_type(message.at("contentType"), findings)
        keys = _keys(binding, payload.record, findings)
        route = Route(
            name, topic, payload.record.schema, keys, declared, framing, strategy,
            required_headers=declared & headers.required(message),
            timestamp=timestamp.pointer(message, payload.record, topic, channel.node, findings),
        )  # fmt: skip
    return Sending(route, operation, message, payload)


def _check_content_type(stated: Node, findings: Findings) -> None:
    if stated.text is not None and "avro" not in stated.text:
        told = f"Records are Avro, whatever contentType says: {stated.text!r}."
        findings.warning(stated, told, "Write application/vnd.apache.avro.")


def _topic(channel: Channel, findings: Findings) -> Topic:
    """The topic; without a name when that was found wrong, so that the rest is still checked."""
    binding = channel.node.at("bindings", "kafka")
    stated = binding.at("topic") if not binding.at("topic").is_absent else channel.node.at("address")
    name = stated.text
    if name is None or not TOPIC.match(name) or name in {".", ".."}:
        fix = "Use 1 to 249 of: letters, digits, dot, underscore, hyphen."
        findings.error(stated, f"{name!r} is no name of a Kafka topic." if name else "The topic has no name.", fix)
        return Topic("")
    if name.startswith("__"):
        findings.error(stated, f"Kafka keeps topics like {name!r} for itself.", "Choose a name without `__` in front.")
    configuration = {key: _setting(one.value) for key, one in binding.at("topicConfiguration").members()}
    partitions, replicas = binding.at("partitions").integer, binding.at("replicas").integer
    _check_settings(binding.at("topicConfiguration"), replicas, findings)
    return Topic(name, partitions, replicas, configuration)


def _check_settings(configuration: Node, replicas: int | None, findings: Findings) -> None:
    for key, one in configuration.members():
        if key not in SETTINGS and not key.startswith("confluent."):
            fix = proposal(key, SETTINGS) or "Leave it, if your cluster knows it."
            findings.warning(one, f"Apache Kafka has no topic setting {key!r}.", fix)
    insync = configuration.at("min.insync.replicas")
    if insync.integer is not None and replicas is not None and insync.integer > replicas:
        told = f"With {replicas} replica(s) there are never {insync.integer} in sync, so Kafka would take no record."
        findings.error(insync, told, "Raise `replicas`, or lower this.")


def _setting(value: Any) -> str:
    """A topic setting as Kafka's tools write it."""
    if isinstance(value, list):
        return ",".join(map(_setting, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _framing(binding: Node, findings: Findings) -> Literal["payload", "header"]:
    encoding = binding.at("schemaIdPayloadEncoding")
    location = "header" if binding.at("schemaIdLocation").text == "header" else "payload"
    if location == "payload" and encoding.text is not None and encoding.text not in ENCODINGS:
        fix = "Write '4' for a zero byte and four bytes of id."
        findings.error(encoding, f"The gateway cannot frame records as {encoding.text!r}.", fix)
    return cast("Literal['payload', 'header']", location)


def _strategy(
    binding: Node, findings: Findings
) -> Literal["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"]:
    stated = binding.at("schemaLookupStrategy")
    if stated.text is not None and stated.text not in STRATEGIES:
        fix = proposal(stated.text, STRATEGIES) or f"Use {', '.join(STRATEGIES)}."
        findings.error(stated, f"The lookup strategy {stated.text!r} is not supported.", fix)
    chosen = stated.text if stated.text in STRATEGIES else STRATEGIES[0]
    return cast("Literal['TopicNameStrategy', 'RecordNameStrategy', 'TopicRecordNameStrategy']", chosen)


def _check_dead_letters(message: Node, payload: Payload, findings: Findings) -> None:
    if payload.record is not None:
        fix = "Write payload: {type: string, format: binary}."
        findings.error(message.stated("payload"), "Dead letters are the bytes that arrived, not Avro.", fix)
    reasons = message.at("headers", "properties", "error.reason", "enum")
    listed = {one.text for one in reasons.entries()}
    if not reasons.is_absent and listed != set(Reason):
        lacking, unknown = sorted(set(Reason) - listed), sorted(map(str, listed - set(Reason)))
        told = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        findings.warning(reasons, f"The list of reasons {' and '.join(told)}.", "List exactly the reasons there are.")
    _check_topic_key(message.at("bindings", "kafka", "key"), findings)


def _check_topic_key(key: Node, findings: Findings) -> None:
    location = key.at("x-location")
    if not location.is_absent and location.value != "$message.header#/mqtt.topic":
        findings.error(location, "Dead letters are keyed by their MQTT topic.", "Write $message.header#/mqtt.topic.")


def _keys(binding: Node, record: Record, findings: Findings) -> tuple[str, ...]:
    key = binding.at("key")
    location = key.at("x-location")
    if key.is_absent or location.is_absent:
        fix = "Add key: {type: string, x-location: $message.payload#/field} to the message's Kafka binding."
        findings.error(binding if key.is_absent else key, "The record has no key, so its order could not be kept.", fix)
        return ()
    if not key.at("type").is_absent and key.at("type").value != "string":
        findings.error(key.at("type"), "The key is text.", "Write type: string.")
    entries = location.entries() if isinstance(location.value, list) else [location]
    if not entries:
        findings.error(location, "The list of key fields is empty.", "Name at least one.")
    found = [_key(one, record, findings, alone=len(entries) == 1) for one in entries]
    return tuple(one for one in found if one is not None)


def _key(node: Node, record: Record, findings: Findings, *, alone: bool) -> str | None:
    try:
        expression = parse(str(node.value))
    except ExpressionError as error:
        findings.error(node, f"{error}.", "Write $message.payload#/field.")
        return None
    fault = _key_fault(expression, record, alone=alone)
    if fault:
        fix = proposal(expression.tokens[0], record.sources) if expression.tokens else ""
        findings.error(node, fault, (fix if "no field" in fault else "") or "Name a text field of the record.")
        return None
    return join(*expression.tokens)


def _key_fault(expression: Expression, record: Record, *, alone: bool) -> str:
    """Why this cannot be a key, or nothing."""
    if expression.part != "payload" or not expression.tokens:
        return "The key is a field of the record: $message.payload#/field."
    avro_type = record.walk(expression.tokens)
    if avro_type is None:
        return f"{record.schema.fullname} has no field at {expression.pointer!r}."
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    kinds = [record.kind(branch) for branch in branches]
    if [one for one in kinds if one != "null"] != ["string"]:
        return f"The field at {expression.pointer!r} is not text, so it cannot be a key."
    if "null" in kinds and alone:
        return f"The field at {expression.pointer!r} may be null, so it cannot be the only key."
    return ""
