"""Streams -> the text of asyncapi.yaml and of its .avsc files.

The same streams give the same bytes: nothing here depends on the time, on the machine or on the order of a set.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from gateway.contract.rules import LEARNED
from gateway.core.codec.validation_error import pointer as pointer_of
from gateway.operate.init import family as families
from gateway.operate.learn.proposal import is_text
from gateway.operate.learn.record import PARAMETER, PAYLOAD
from gateway.operate.learn.types import pascal
from gateway.operate.learn.units import snake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.address import Address
    from gateway.operate.learn.proposal import Message, Stream

WIDTH = 120


class Site(NamedTuple):
    """The servers of a contract, and what gateway.yaml says of them."""

    host: str = "localhost:1883"  # of the broker
    is_tls: bool = False
    version: str = "5.0"
    kafka: str = "localhost:9092"
    registry: str = "http://localhost:8081"
    of_broker: Mapping[str, Any] = {}  # settings
    of_kafka: Mapping[str, Any] = {}


class _Dumper(yaml.SafeDumper):
    """Writes texts that other readers would take for numbers in quotes, and equal parts each time."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if text[:1].isdigit() or text[:1] in "+-." else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def contract_text(streams: list[Stream], ignored: list[Address], site: Site) -> str:
    """Write asyncapi.yaml; `ignored` are addresses whose messages are not wanted."""
    about = "Proposed by `gateway learn` from what a broker's devices published. Read it before use."
    shared = _shared()
    document = {
        "asyncapi": "3.1.0",
        "info": {"title": "Learned from traffic", "version": "0.1.0", "description": about},
        "servers": _servers(site),
        "channels": _channels(streams) | shared["channels"] | _ignored_channels(ignored),
        "operations": _operations(streams) | shared["operations"] | _ignored_operations(ignored),
        "components": _components(streams, shared["components"]),
    }
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, width=WIDTH, default_flow_style=None, allow_unicode=True
    )


@cache
def _shared() -> dict[str, Any]:
    """What the contracts of all families have: dead letters, and the traits and bindings of readings."""
    whole, shared = yaml.safe_load(families.family(families.names()[0]).text), dict[str, Any]()
    for *place, name in sorted([*families.SHARED, *families.DEAD_LETTERS]):
        value, found = shared, whole
        for key in place:
            value, found = value.setdefault(key, {}), found[key]
        value[name] = found[name]
    return shared


def schema_texts(streams: Iterable[Stream]) -> dict[str, str]:
    """Write the .avsc files, by name."""
    return {f"{one.name}.avsc": avsc_text(one.definition) for stream in streams for one in stream.messages}


def avsc_text(definition: dict[str, Any]) -> str:
    """Write a record with each field on a line."""
    head = {key: value for key, value in definition.items() if key != "fields"}
    lines = [json.dumps(one, ensure_ascii=False) for one in definition["fields"]]
    fields = ",\n    ".join(lines)
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "fields": [\n    {fields}\n]}}\n'


def _ref(*place: str) -> dict[str, str]:
    return {"$ref": f"#/{'/'.join(place)}"}


def camel(name: str) -> str:
    """Write a name in snake case as that of a member of AsyncAPI."""
    one = pascal(name)
    return one[:1].lower() + one[1:]


def _servers(site: Site) -> dict[str, Any]:
    return {
        "broker": {
            "host": Site().host if site.host.startswith("unix:") else site.host,
            "protocol": "secure-mqtt" if site.is_tls else "mqtt",
            "protocolVersion": site.version,
            "bindings": {"mqtt": {"clientId": "iot-gateway", "cleanSession": False, "keepAlive": 60}},
        },
        "kafka": {
            "host": site.kafka,
            "protocol": "kafka",
            "bindings": {"kafka": {"schemaRegistryUrl": site.registry, "schemaRegistryVendor": "confluent"}},
        },
    }


def _channels(streams: list[Stream]) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for stream in streams:
        channels[camel(stream.name)] = _channel(stream)
        for one in stream.messages:
            channels[f"{camel(one.name)}Topic"] = {
                "address": one.topic,
                "servers": [_ref("servers", "kafka")],
                "messages": {camel(one.name): _ref("components", "messages", f"{camel(one.name)}Avro")},
                "bindings": _ref("components", "channelBindings", "readings"),
            }
    return channels


def _channel(stream: Stream) -> dict[str, Any]:
    parameters, names = {}, [camel(one.name) for one in stream.messages]
    for one in stream.parameters:
        location = {"location": f"{PAYLOAD}{pointer_of(one.pointer)}"} if one.pointer else {}
        multi = {"x-multi-level": True} if one.is_multi else {}
        parameters[one.name] = {"description": "Level of the topic.", **multi, **location, "examples": [one.example]}
    return {
        "address": stream.address,
        "servers": [_ref("servers", "broker")],
        **({"parameters": parameters} if parameters else {}),
        "messages": {name: _ref("components", "messages", f"{name}Json") for name in names},
        "tags": [{"name": LEARNED}],
    }


def _ignored_channels(ignored: list[Address]) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    for one in ignored:
        parameters = {
            level.name: {"x-multi-level": True} if level.is_multi else {} for level in one.levels if level.name
        }
        channels[camel(f"not_{snake(one.text)}")] = {
            "address": one.text, "servers": [_ref("servers", "broker")],
            **({"parameters": parameters} if parameters else {}),
        }  # fmt: skip
    return channels


def _ignored_operations(ignored: list[Address]) -> dict[str, Any]:
    named = {ignoring(one): camel(f"not_{snake(one.text)}") for one in ignored}
    return {
        name: {"action": "receive", "channel": _ref("channels", channel), "x-ignored": True}
        for name, channel in named.items()
    }


def ignoring(address: Address) -> str:
    """Name the operation that ignores the messages of an address."""
    return f"ignore{pascal(snake(address.text))}"


def _operations(streams: list[Stream]) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for stream in streams:
        only = stream.messages[0] if len(stream.messages) == 1 else None
        operations[f"receive{pascal(stream.name)}"] = {
            "action": "receive",
            "channel": _ref("channels", camel(stream.name)),
            "traits": [_ref("components", "operationTraits", "subscription")],
            **({"x-forward-to": _ref("operations", f"send{pascal(only.name)}")} if only else {}),
        }
        for one in stream.messages:
            channel = _ref("channels", f"{camel(one.name)}Topic")
            operations[f"send{pascal(one.name)}"] = {"action": "send", "channel": channel}
    return operations


def _components(streams: list[Stream], shared: dict[str, Any]) -> dict[str, Any]:
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for stream in streams:
        for one in stream.messages:
            schemas[camel(one.name)] = {
                "schemaFormat": "application/vnd.apache.avro;version=1.9.0",
                "schema": {"$ref": f"{one.name}.avsc"},
            }
            messages[f"{camel(one.name)}Json"] = _mqtt_message(stream, one)
            messages[f"{camel(one.name)}Avro"] = _kafka_message(stream, one)
    messages |= shared["messages"]
    return shared | {**({"schemas": schemas} if schemas else {}), "messages": messages}


def _mqtt_message(stream: Stream, message: Message) -> dict[str, Any]:
    forward = {"x-forward-to": _ref("operations", f"send{pascal(message.name)}")} if len(stream.messages) > 1 else {}
    numbered = [{"name": f"learned {n}", "payload": one} for n, one in enumerate(message.examples, start=1)]
    return {
        "contentType": "text/plain" if is_text(message, stream) else "application/json",
        **forward,
        "payload": _payload(message),
        **({"examples": numbered} if numbered else {}),
    }


def _payload(message: Message) -> dict[str, Any]:
    """The JSON Schema: which members there are always, or never; all else about them is in the Avro schema."""
    if message.is_bare:
        return {"type": "array"} if message.form == "array" else _bare(message)
    item: dict[str, Any] = {"type": "object", "additionalProperties": True}
    if message.required:
        item["required"] = message.required
    if message.never:
        item["properties"] = dict.fromkeys(message.never, False)
    return {"type": "array", "items": item} if message.is_array else item


def _bare(message: Message) -> dict[str, Any]:
    evidence = message.evidence
    kinds = ["string"] * bool(evidence.texts) + ["number"] * bool(evidence.numbers)
    kinds += ["boolean"] * bool(evidence.trues + evidence.falses)
    return {"type": kinds[0] if len(kinds) == 1 else kinds}


def _kafka_message(stream: Stream, message: Message) -> dict[str, Any]:
    parts = [f"{PARAMETER}/{one.name}" for one in stream.parameters] or ["$message.header#/mqtt.topic"]
    key: dict[str, Any] = {"type": "string", "x-location": parts[0] if len(parts) == 1 else parts}
    if len(parts) > 1:
        key["x-separator"] = "/"
    timestamp = {"x-timestamp": f"{PAYLOAD}/{message.timestamp}"} if message.timestamp else {}
    return {
        "traits": [_ref("components", "messageTraits", "record")],
        "payload": _ref("components", "schemas", camel(message.name)),
        "bindings": {"kafka": {"key": key}},
        **timestamp,
    }
