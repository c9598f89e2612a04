"""Send operations: the topic, schema, key, headers and framing of Kafka records.

- A record needs a key (`pointers.py`). Dead letters are keyed by their MQTT topic, and need no `x-location`.
- Headers are those that the message declares (`headers.py`).
- An address with parameters has a topic for each of their values, which `enum` lists: so all topics are known at the
  start, and no device makes one. The value is that of the MQTT address's parameter of the same name.
- The schema id is in the payload, after a zero byte (`4` in the binding), or in a header.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal, cast

from gateway.contract import examples, headers, pointers, timestamps
from gateway.contract.channel import MULTI_LEVEL, PARAMETER
from gateway.contract.document import quoted
from gateway.contract.message import only_message
from gateway.core.model import Route, Topic, TopicChoice
from gateway.core.reading import Reason
from gateway.documents.spelling import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.contract.channel import Channel
    from gateway.contract.document import Node
    from gateway.contract.findings import Findings
    from gateway.contract.message import Payload, Payloads

TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
MOST_TOPICS = 1_000  # of one address
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
    """A route of the contract with the message that it was read from."""

    route: Route
    message: Node
    payload: Payload
    channel: Channel


def read(name: str, operation: Node, channel: Channel, payloads: Payloads, *, dead_letters: bool) -> Sending | None:
    """Read a send operation on Kafka, with its traits; None when a part of it is missing.

    The payload of dead letters is the message's own.
    """
    findings = payloads.findings
    topic, choice = _topics(channel, findings, dead_letters=dead_letters)
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
        if topic.is_compacted:
            setting = channel.node.at("bindings", "kafka", "topicConfiguration", "cleanup.policy")
            warning = "A compacted topic keeps only the newest dead letter of each MQTT topic."
            findings.warning(setting, warning, "Write cleanup.policy: [delete].")
        route = Route(name, topic, None, (), declared)
    elif payload.record is None:
        fix = "Use schemaFormat application/vnd.apache.avro;version=1.9.0."
        findings.error(message.stated("payload"), "The payload of a Kafka message needs an Avro schema.", fix)
        return None
    else:
        _check_content_type(message.at("contentType"), findings)
        keys = pointers.keys(binding, payload.record, findings)
        route = Route(
            name, topic, payload.record.schema, keys.parts, declared, framing, strategy,
            required_headers=declared & headers.required(message),
            separator=keys.separator,
            choice=choice,
            timestamp=timestamps.timestamp(message, payload.record, topic, channel.node, findings),
        )  # fmt: skip
    return Sending(route, message, payload, channel)


def _check_content_type(stated: Node, findings: Findings) -> None:
    if stated.text is not None and "avro" not in stated.text:
        message = f"Records are Avro, but contentType is {quoted(stated.value)}."
        findings.warning(stated, message, "Write application/vnd.apache.avro.")


def _topics(channel: Channel, findings: Findings, *, dead_letters: bool) -> tuple[Topic, TopicChoice | None]:
    """The topic, and the choice of topics where the address has parameters; then it is the first of these.

    Its name is "" when it is invalid, so that the rest is still checked.
    """
    binding, address = channel.node.at("bindings", "kafka"), channel.node.at("address")
    stated = binding.at("topic") if not binding.at("topic").is_absent else address
    used = PARAMETER.findall(stated.text or "") if stated is address else []
    if used and dead_letters:
        findings.error(address, "Dead letters go to one topic, so its name has no parameters.", "Write a plain name.")
        return Topic(""), None
    if not used:
        return _topic(stated, stated.text, binding, findings), None
    allowed = {name: _allowed(name, channel.node.at("parameters", name), findings) for name in used}
    count = prod(map(len, allowed.values()))
    if count > MOST_TOPICS:
        message = f"The values of the parameters make {count:,} topics; the limit is {MOST_TOPICS:,}."
        findings.error(address, message, "Use fewer values.")
    if not 1 <= count <= MOST_TOPICS:
        return Topic(""), None
    values = [dict(zip(allowed, each, strict=True)) for each in product(*allowed.values())]
    names = [_filled(stated.text or "", each) for each in values]
    for name in {name for name in names if names.count(name) > 1}:
        message = f"Several values of the parameters make the topic {name!r}."
        findings.error(address, message, "Write text between the parameters.")
    topics = tuple(_topic(stated, name, binding, findings) for name in names)
    return topics[0], TopicChoice(allowed, topics)


def _filled(text: str, values: dict[str, str]) -> str:
    return PARAMETER.sub(lambda match: values[match[1]], text)


def _allowed(name: str, parameter: Node, findings: Findings) -> tuple[str, ...]:
    """The values of a parameter of a Kafka address, each of which is a part of a topic's name."""
    values = tuple(one.text for one in parameter.at("enum").entries() if one.text)
    if not parameter.is_absent and not parameter.at("enum").entries():
        message = f"The parameter {name!r} has no `enum`, so the topics are not known before a device publishes."
        findings.error(parameter, message, "Add `enum` with all its values.")
    if not parameter.at("location").is_absent:
        message = f"The gateway takes the value of {name!r} from the MQTT address, and not from `location`."
        findings.warning(parameter.at("location"), message, "Remove it.")
    if not parameter.at(MULTI_LEVEL).is_absent:
        findings.error(parameter.at(MULTI_LEVEL), "A Kafka topic has no levels.", "Remove it.")
    return values


def check_choice(sending: Sending, source: Channel, names: Sequence[str], findings: Findings) -> bool:
    """Tell whether an MQTT address has the parameters that choose the topic, with values that have one."""
    choice, has_all = sending.route.choice, True
    for name, allowed in choice.allowed.items() if choice else ():
        if name not in names:
            has_all = False
            address = source.node.at("address")
            message = f"The topic needs the parameter {name!r}, which {address.path} ({address.text}) does not have."
            findings.error(sending.channel.node.at("address"), message, f"Add {{{name}}} to that address.")
        described = source.node.at("parameters", name)
        stated = [described.at("default"), *described.at("examples").entries(), *described.at("enum").entries()]
        for one in stated:
            if one.text is not None and one.text not in allowed:
                message = f"A reading with {quoted(one.value)} would be a dead letter, not_allowed: it has no topic."
                findings.error(one, message, f"Use {', '.join(allowed)}.")
    return has_all


def _topic(stated: Node, name: str | None, binding: Node, findings: Findings) -> Topic:
    if name is None or not TOPIC.match(name) or name in {".", ".."}:
        fix = "Use 1 to 249 of: letters, digits, dot, underscore, hyphen."
        findings.error(stated, f"{name!r} is not a valid topic name." if name else "The topic has no name.", fix)
        return Topic("")
    if name.startswith("__"):
        findings.error(
            stated, f"Topics like {name!r} are reserved for Kafka.", "Use a name that does not begin with `__`."
        )
    configuration = {key: _setting(one.value) for key, one in binding.at("topicConfiguration").members()}
    partitions, replicas = binding.at("partitions").integer, binding.at("replicas").integer
    _check_settings(binding.at("topicConfiguration"), replicas, findings)
    return Topic(name, partitions, replicas, configuration)


def _check_settings(configuration: Node, replicas: int | None, findings: Findings) -> None:
    for key, one in configuration.members():
        if key not in SETTINGS and not key.startswith("confluent."):
            fix = suggestion(key, SETTINGS) or "Remove it, unless your cluster supports it."
            findings.warning(one, f"Apache Kafka has no topic setting {key!r}.", fix)
    insync = configuration.at("min.insync.replicas")
    if insync.integer is not None and replicas is not None and insync.integer > replicas:
        message = (
            f"min.insync.replicas is {insync.integer}, but the topic has {replicas} replica(s): "
            "Kafka would reject all records with acks=all."
        )
        findings.error(insync, message, "Increase `replicas`, or reduce this value.")


def _setting(value: Any) -> str:
    """A topic setting in the form of Kafka's tools."""
    if isinstance(value, list):
        return ",".join(map(_setting, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _framing(binding: Node, findings: Findings) -> Literal["payload", "header"]:
    encoding = binding.at("schemaIdPayloadEncoding")
    location = "header" if binding.at("schemaIdLocation").text == "header" else "payload"
    if location == "payload" and encoding.text is not None and encoding.text not in ENCODINGS:
        fix = "Write '4' for a zero byte and four bytes of id."
        findings.error(encoding, f"The gateway cannot frame records as {quoted(encoding.value)}.", fix)
    return cast("Literal['payload', 'header']", location)


def _strategy(
    binding: Node, findings: Findings
) -> Literal["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"]:
    stated = binding.at("schemaLookupStrategy")
    if stated.text is not None and stated.text not in STRATEGIES:
        fix = suggestion(stated.text, STRATEGIES) or f"Use {', '.join(STRATEGIES)}."
        findings.error(stated, f"The lookup strategy {quoted(stated.value)} is not supported.", fix)
    chosen = stated.text if stated.text in STRATEGIES else STRATEGIES[0]
    return cast("Literal['TopicNameStrategy', 'RecordNameStrategy', 'TopicRecordNameStrategy']", chosen)


def _check_dead_letters(message: Node, payload: Payload, findings: Findings) -> None:
    if payload.record is not None:
        fix = "Write payload: {type: string, format: binary}."
        findings.error(message.stated("payload"), "Dead letters are the bytes of the message, not Avro.", fix)
    reasons = message.at("headers", "properties", "error.reason", "enum")
    listed = {quoted(one.value) if one.text is None else one.text for one in reasons.entries()}
    missing, unknown = sorted(set(Reason) - listed), sorted(listed - set(Reason))
    if not reasons.is_absent and (missing or unknown):
        parts = [f"does not have {', '.join(missing)}"] * bool(missing)
        parts += [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        fix = f"List exactly {', '.join(Reason)}."
        findings.warning(reasons, f"The list of reasons {' and '.join(parts)}.", fix)
    location = message.at("bindings", "kafka", "key", "x-location")
    if not location.is_absent and location.value != "$message.header#/mqtt.topic":
        fix = "Write $message.header#/mqtt.topic."
        findings.error(location, "Dead letters are keyed by their MQTT topic.", fix)
