"""Forms of other versions and tools: each has one finding, and a document that follows its fix has none."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from gateway.contract import examine

if TYPE_CHECKING:
    from gateway.errors import Finding

STEP = Path(__file__).parents[2] / "docs" / "steps" / "5"
AVRO = "application/vnd.apache.avro;version=1.9.0"
RECEIVE, SEND = "operations/receiveOvens", "operations/sendOvens"
TOPIC = "components/channelBindings/readings/kafka"
SENT, RECORD = "components/messages/ovenJson", "components/messages/ovenAvro"
GONE = object()


class Form(NamedTuple):
    """Members of an object in the form of others, the place of the finding, and its fix."""

    place: str
    members: dict[str, Any]
    path: str
    fix: str


SERVERS = [
    Form("servers/broker", {"host": "localhost", "port": 1883}, "port", "Instead, write host: localhost:1883."),
    Form("servers/kafka", {"host": "a,b", "port": "9092"}, "port", "Instead, write host: 'a:9092,b:9092'."),
    Form("servers/broker", {"port": 1883}, "port", "Remove it."),
    Form("servers/broker", {"host": GONE, "url": "mqtt://u:p@localhost:1883/x"}, "url",
         "Instead, write host: localhost:1883."),
    Form("servers/kafka", {"host": GONE, "url": "a:9092,b:9092"}, "url", "Instead, write host: 'a:9092,b:9092'."),
    Form("servers/broker", {"host": "mqtt://localhost:1883"}, "host", "Write host: localhost:1883."),
    Form("servers/kafka", {"host": ["a:9092", "b:9092"]}, "host", "Write host: 'a:9092,b:9092'."),
    Form("servers/broker", {"tls": True}, "tls", "Instead, write protocol: secure-mqtt."),
    Form("servers/broker", {"clientId": "x", "bindings": GONE}, "clientId",
         "Instead, write bindings: {mqtt: {clientId: x}}."),
    Form("servers/broker/bindings", {"mqtt": GONE, "clientId": "x"}, "clientId", "Instead, write mqtt: {clientId: x}."),
    Form("servers/broker/bindings", {"mqtt": GONE, "mqtt5": {"clientId": "x"}}, "mqtt5", "Write mqtt."),
    Form("servers/broker/bindings/mqtt", {"cleanSession": GONE, "cleanStart": False}, "cleanStart",
         "Instead, write cleanSession: false."),
    Form("servers/broker/bindings/mqtt", {"qos": 1}, "qos", "Move it to the operation: bindings: {mqtt: {qos: 1}}."),
    Form("servers/kafka", {"schemaRegistryUrl": "http://localhost:8081"}, "schemaRegistryUrl",
         "Instead, write bindings: {kafka: {schemaRegistryUrl: http://localhost:8081}}."),
    Form("servers/broker", {"username": "gateway"}, "username",
         "Remove it; gateway.yaml has the login of each installation."),
    Form("servers/broker", {"protocolVersion": 5}, "protocolVersion", "Write protocolVersion: '5.0'."),
    Form("servers/broker", {"protocolVersion": 3.1}, "protocolVersion", "Write protocolVersion: '3.1.1'."),
    Form("servers/broker", {"security": [{"login": []}]}, "security",
         "Write security: [{$ref: '#/components/securitySchemes/login'}]."),
    Form("servers/broker", {"security": ["login"]}, "security",
         "Write security: [{$ref: '#/components/securitySchemes/login'}]."),
    Form("servers/broker", {"security": {"login": []}}, "security",
         "Write security: [{$ref: '#/components/securitySchemes/login'}]."),
    Form("servers/kafka", {"security": [{"other": []}]}, "security", "Write security: [{type: userPassword}]."),
]  # fmt: skip
PROTOCOLS = [
    Form("servers/broker", {"protocol": "mqtt5"}, "protocol",
         "Write mqtt, or secure-mqtt for TLS, and protocolVersion: '5.0'."),
    Form("servers/broker", {"protocol": "ws", "bindings": GONE}, "protocol",
         "Write mqtt, or secure-mqtt for TLS, or add bindings: {mqtt: {}}."),
    *(Form("servers/broker", {"protocol": word}, "protocol", "Write mqtt, or secure-mqtt for TLS.")
      for word in ("MQTT", "mqtt-secure", "mqtss", "tcp", "amqp", GONE)),
    *(Form("servers/kafka", {"protocol": word}, "protocol", "Write kafka, or kafka-secure for TLS.")
      for word in ("kafkas", "kafak", "kafka-ssl", "SASL_SSL", "pulsar", GONE)),
]  # fmt: skip
CHANNELS = [
    Form("channels/ovens", {"qos": 1}, "qos", "Move it to the operation: bindings: {mqtt: {qos: 1}}."),
    Form("channels/ovens", {"bindings": {"mqtt": {"qos": 1}}}, "bindings/mqtt/qos",
         "Move it to the operation: bindings: {mqtt: {qos: 1}}."),
    Form("channels/ovens", {"servers": ["broker"]}, "servers", "Write servers: [{$ref: '#/servers/broker'}]."),
    Form("channels/ovens", {"servers": {"$ref": "#/servers/broker"}}, "servers",
         "Write servers: [{$ref: '#/servers/broker'}]."),
    Form("channels/ovens", {"servers": GONE, "server": {"$ref": "#/servers/broker"}}, "server",
         "Instead, write servers: [{$ref: '#/servers/broker'}]."),
    Form("channels/ovens", {"messages": [{"$ref": f"#/{SENT}"}]}, "messages",
         "Write messages: {ovenJson: {$ref: '#/components/messages/ovenJson'}}."),
    Form("channels/ovens", {"messages": GONE, "message": {"$ref": f"#/{SENT}"}}, "message",
         "Instead, write messages: {ovenJson: {$ref: '#/components/messages/ovenJson'}}."),
    Form("channels/ovens", {"publish": {"message": {"$ref": f"#/{SENT}"}}}, "publish",
         "Write it in `operations`, with action: receive for MQTT or send for Kafka, and channel: {$ref: ...}."),
    Form("channels/ovens/parameters/oven", {"schema": {"type": "string"}}, "schema", "Remove it."),
    Form("channels/ovens/parameters/oven", {"schema": {"type": "string", "default": "b"}}, "schema",
         "Instead, write default: b."),
    Form("channels/ovens/parameters/oven", {"type": "string"}, "type",
         "Remove it; a parameter is text, and always there."),
    Form("channels/ovenTopic", {"address": GONE, "topic": "ovens"}, "topic", "Instead, write address: ovens."),
    Form(TOPIC, {"topicConfiguration": GONE, "configs": {"retention.ms": 604800000}}, "configs",
         "Instead, write topicConfiguration: {retention.ms: 604800000}."),
    Form(TOPIC, {"topicConfiguration": GONE, "retention.ms": 604800000}, "retention.ms",
         "Instead, write topicConfiguration: {retention.ms: 604800000}."),
    Form(TOPIC, {"replicas": GONE, "replicationFactor": 1}, "replicationFactor", "Instead, write replicas: 1."),
    Form(TOPIC, {"groupId": "gateway"}, "groupId", "Remove it; the gateway only sends to this topic."),
]  # fmt: skip
OPERATIONS = [
    Form(RECEIVE, {"action": "send"}, "action", "Write action: receive."),
    Form(RECEIVE, {"action": "publish"}, "action", "Write action: receive."),
    Form(SEND, {"action": "receive"}, "action", "Write action: send."),
    Form(SEND, {"action": GONE}, "action", "Write action: send."),
    Form(RECEIVE, {"qos": 1}, "qos", "Instead, write bindings: {mqtt: {qos: 1}}."),
    Form(RECEIVE, {"channel": "ovens"}, "channel", "Write channel: {$ref: '#/channels/ovens'}."),
    Form(RECEIVE, {"channel": "ovens/{oven}"}, "channel", "Write channel: {$ref: '#/channels/ovens'}."),
    Form(RECEIVE, {"messages": ["reading"]}, "messages",
         "Write messages: [{$ref: '#/channels/ovens/messages/reading'}]."),
    Form(RECEIVE, {"message": {"$ref": f"#/{SENT}"}}, "message",
         "Write it in `messages` of the channel, under a name."),
    Form(RECEIVE, {"messages": [{"$ref": f"#/{SENT}"}]}, "messages/0", "Refer to #/channels/ovens/messages/reading."),
    Form(RECEIVE, {"operationId": "x"}, "operationId", "Remove it; the key of the operation is its name."),
    Form(RECEIVE, {"traits": {"$ref": "#/components/operationTraits/subscription"}}, "traits",
         "Write traits: [{$ref: '#/components/operationTraits/subscription'}]."),
    Form(RECEIVE, {"x-forward-to": "sendOvens"}, "x-forward-to",
         "Write x-forward-to: {$ref: '#/operations/sendOvens'}."),
    Form(SEND, {"bindings": {"kafka": {"groupId": "gw"}}}, "bindings/kafka/groupId",
         "Write groupId: {type: string, enum: [gw]}."),
]  # fmt: skip
MESSAGES = [
    Form(SENT, {"messageId": "oven"}, "messageId", "Remove it; the key of the message is its name."),
    Form(SENT, {"bindings": {"mqtt": {"qos": 1}}}, "bindings/mqtt/qos",
         "Move it to the operation: bindings: {mqtt: {qos: 1}}."),
    Form(SENT, {"schemaFormat": AVRO, "payload": {"$ref": "oven.avsc"}}, "schemaFormat",
         f"Instead, write payload: {{schemaFormat: '{AVRO}', schema: {{$ref: oven.avsc}}}}."),
    Form(RECORD, {"payload": {"$ref": "oven.avsc"}}, "payload",
         f"Write payload: {{schemaFormat: {AVRO}, schema: {{$ref: 'oven.avsc'}}}}."),
    Form(SENT, {"examples": GONE, "example": {"oven": "a", "temperature": 1}}, "example",
         "Instead, write examples: [{payload: {oven: a, temperature: 1}}]."),
    Form(SENT, {"examples": [{"oven": "a", "temperature": 1}]}, "examples",
         "Write examples: [{payload: {oven: a, temperature: 1}}]."),
    Form(RECORD, {"headers": {"mqtt.topic": {"type": "string"}}}, "headers",
         "Write headers: {type: object, properties: {mqtt.topic: {type: string}}}."),
    Form(f"{RECORD}/bindings/kafka", {"key": "oven"}, "key",
         "Write key: {type: string, x-location: $message.payload#/oven}."),
    Form(f"{RECORD}/bindings/kafka", {"key": {"type": "string", "location": "$message.payload#/oven"}}, "key",
         "Write key: {type: string, x-location: $message.payload#/oven}."),
    Form(RECORD, {"bindings": GONE, "key": {"type": "string", "x-location": "$message.payload#/oven"}}, "key",
         "Instead, write bindings: {kafka: {key: {type: string, x-location: $message.payload#/oven}}}."),
    Form("", {"tags": [{"name": "ovens"}]}, "tags", "Instead, write info: {tags: [{name: ovens}]}."),
]  # fmt: skip
MISSPELT = [
    Form(RECEIVE, {"traits": GONE, "trait": [{"$ref": "#/components/operationTraits/subscription"}]}, "trait",
         "Did you mean 'traits'?"),
    Form("servers/kafka", {"protocol": GONE, "protocoll": "kafka"}, "protocoll", "Did you mean 'protocol'?"),
    Form(TOPIC, {"partitions": "3"}, "partitions", "Remove the quotes."),
    Form(f"{TOPIC}/topicConfiguration", {"cleanup.policy": "delete"}, "cleanup.policy", "Put it in brackets."),
]  # fmt: skip
ALL = [*SERVERS, *PROTOCOLS, *CHANNELS, *OPERATIONS, *MESSAGES, *MISSPELT]


def document() -> Any:
    """Step 5, with a security scheme."""
    read = yaml.safe_load((STEP / "asyncapi.yaml").read_text())
    read["components"]["securitySchemes"] = {"login": {"type": "userPassword"}}
    return read


def findings(folder: Path, written: Any) -> list[Finding]:
    """The findings of a document in a folder."""
    shutil.copy(STEP / "oven.avsc", folder)
    path = folder / "asyncapi.yaml"
    path.write_text(json.dumps(written))
    return examine(path)[1]


def at(written: Any, place: str) -> Any:
    """The value at a place."""
    for key in filter(None, place.split("/")):
        written = written[int(key) if key.isdigit() else key.replace("~1", "/")]
    return written


def merge(target: Any, members: Any) -> None:
    """Put members into an object, and into the objects in it."""
    for key, value in members.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict) and "$ref" not in target[key]:
            merge(target[key], value)
        else:
            target[key] = value


def follow(written: Any, path: str, fix: str) -> None:
    """Change a document in the way that the fix of a finding says."""
    place, _, member = path.removeprefix("#/").rpartition("/")
    owner = at(written, place)
    if match := re.fullmatch(r"(?:Instead, write|Write|Move it to the operation:) ([\w.-]+: .*)\.", fix):
        if not fix.startswith("Write"):
            del owner[member]
        members = yaml.safe_load(f"{{{match[1]}}}")
        merge(at(written, RECEIVE) if "operation:" in fix else owner, members)
    elif match := re.match(r"Write (kafka|mqtt)(?:,|\.)", fix):
        owner.update({match[1]: owner.pop(member)} if member.startswith("mqtt") else {member: match[1]})
    elif match := re.fullmatch(r"Did you mean '(\w+)'\?", fix):
        owner[match[1]] = owner.pop(member)
    elif match := re.fullmatch(r"Refer to (.*)\.", fix):
        owner[int(member)] = {"$ref": match[1]}
    elif fix in {"Remove the quotes.", "Put it in brackets."}:
        owner[member] = [owner[member]] if "brackets" in fix else int(owner[member])
    else:
        del owner[member]


@pytest.mark.parametrize("form", ALL, ids=lambda form: f"{form.path}-{form.fix[:30]}")
def test_a_form_of_others_has_one_finding_with_a_fix_that_works(tmp_path: Path, form: Form) -> None:
    written = document()
    owner = at(written, form.place)
    owner.update(form.members)
    for member in [key for key, value in owner.items() if value is GONE]:
        del owner[member]
    found = findings(tmp_path, written)
    path = "#/" + "/".join(filter(None, (form.place, form.path)))
    errors = [one for one in found if one.severity == "error" or "no effect" in one.message]
    assert [(one.path, one.fix) for one in errors] == [(path, form.fix)], "\n".join(map(str, found))
    follow(written, path, form.fix)
    assert [one for one in findings(tmp_path, written) if one.severity == "error"] == []


SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["oven", "temperature"],
    "properties": {"oven": {"type": "string"}, "temperature": {"type": "number"}},
}


@pytest.mark.parametrize(
    ("temperature", "more", "path", "fix"),
    [
        ({"type": "float"}, {}, "/type", "Write number."),
        ({"type": "int"}, {}, "/type", "Write integer."),
        ({"$ref": "#/$defs/t"}, {"$defs": {"t": {"type": "number"}}}, "",
         f"Write '#/{SENT}/payload/$defs/t': a reference starts at the top of the file."),
    ],
)  # fmt: skip
def test_a_schema_of_others_has_one_finding(
    tmp_path: Path, temperature: Any, more: dict[str, Any], path: str, fix: str
) -> None:
    written = document()
    properties = {**SCHEMA["properties"], "temperature": temperature}
    at(written, SENT)["payload"] = {**SCHEMA, **more, "properties": properties}
    at(written, SENT)["examples"].pop()
    (finding,) = findings(tmp_path, written)
    assert (finding.path, finding.fix) == (f"#/{SENT}/payload/properties/temperature{path}", fix)
