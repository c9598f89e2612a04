"""The contract that a run's gateway reads: the shipped schemas, under topics of the run's own."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from bench.load import SCHEMAS, stream_topic

if TYPE_CHECKING:
    from pathlib import Path

TOPIC_HEADER = {"type": "object", "required": ["mqtt.topic"], "properties": {"mqtt.topic": {"type": "string"}}}
DEAD_LETTER = {"contentType": "application/octet-stream", "payload": {"type": "string", "format": "binary"}}
AVRO = "application/vnd.apache.avro;version=1.9.0"
# Stream, MQTT address, schema, and the pointers to its key; the sensors' streams come on top, numbered.
OTHER_STREAMS = [
    ("doors", "doors/{location}", "door_sensor", ["location"]),
    ("telegrams", "sma", "smart_meter", ["name", "meter_number"]),
]


def write_contract(folder: Path, prefix: str, streams: int, version: str = "5.0") -> Path:
    """Write a contract.

    Args:
        folder: gets asyncapi.yaml and the schemas.
        prefix: begins the names of all Kafka topics.
        streams: how many streams of sensors; each has a Kafka topic of its own.
        version: of MQTT.

    Returns:
        The file.
    """
    shutil.copytree(SCHEMAS, folder / "schemas", dirs_exist_ok=True)
    every = [sensors(number) for number in range(streams)] + OTHER_STREAMS
    channels: dict[str, Any] = {"deadTopic": _channel("kafka", f"{prefix}-dead", DEAD_LETTER)}
    operations: dict[str, Any] = {"sendDead": _operation("send", "deadTopic")}
    for name, address, schema, keys in every:
        payload = {"schemaFormat": AVRO, "schema": {"$ref": f"./schemas/{schema}.avsc"}}
        channels[name] = _channel("broker", address, {"payload": _telegram() if name == "telegrams" else payload})
        channels[name]["parameters"] = {
            level[1:-1]: {"location": f"$message.payload#/{level[1:-1]}"}
            for level in address.split("/")
            if level.startswith("{")
        }
        channels[f"{name}Topic"] = _channel("kafka", f"{prefix}-{name}", _record(payload, keys))
        operations[f"send-{name}"] = _operation("send", f"{name}Topic")
        operations[name] = _operation("receive", name) | {
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
            "x-forward-to": {"$ref": f"#/operations/send-{name}"},
            "x-dead-letter-to": {"$ref": "#/operations/sendDead"},
        }
    document = {
        "asyncapi": "3.1.0",
        "info": {"title": "Benchmark", "version": "1.0.0"},
        "defaultContentType": "application/json",
        "servers": _servers(version),
        "channels": channels,
        "operations": operations,
    }
    file = folder / "asyncapi.yaml"
    file.write_text(json.dumps(document, indent=1))  # JSON is YAML
    return file


def sensors(number: int) -> tuple[str, str, str, list[str]]:
    """Describe one stream of sensors, as `OTHER_STREAMS` does."""
    return f"sensors-{number}", f"{stream_topic(number)}/{{machine}}/{{sensor}}", "machine_sensor", ["machine"]


def topics(prefix: str, streams: int) -> list[str]:
    """List the Kafka topics of a contract."""
    names = [f"sensors-{number}" for number in range(streams)] + [name for name, *_ in OTHER_STREAMS] + ["dead"]
    return [f"{prefix}-{name}" for name in names]


def _servers(version: str) -> dict[str, Any]:
    mqtt = {"clientId": "bench", "cleanSession": False, "keepAlive": 60, "bindingVersion": "0.2.0"}
    if version == "5.0":
        mqtt["sessionExpiryInterval"] = 604_800
    registry = {"schemaRegistryUrl": "http://localhost:8081", "schemaRegistryVendor": "confluent"}
    return {
        "broker": {
            "host": "localhost:1883",
            "protocol": "mqtt",
            "protocolVersion": version,
            "bindings": {"mqtt": mqtt},
        },
        "kafka": {
            "host": "localhost:9092",
            "protocol": "kafka",
            "bindings": {"kafka": registry | {"bindingVersion": "0.5.0"}},
        },
    }


def _channel(server: str, address: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"address": address, "servers": [{"$ref": f"#/servers/{server}"}], "messages": {"it": message}}


def _operation(action: str, channel: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/it"}],
    }


def _record(payload: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    pointers = [f"$message.payload#/{key}" for key in keys]
    key = {"type": "string", "x-location": pointers if len(pointers) > 1 else pointers[0]}
    framing = {
        "schemaIdLocation": "payload",
        "schemaIdPayloadEncoding": "4",
        "schemaLookupStrategy": "TopicNameStrategy",
    }
    return {
        "contentType": "application/vnd.apache.avro",
        "headers": TOPIC_HEADER,
        "payload": payload,
        "bindings": {"kafka": framing | {"key": key, "bindingVersion": "0.5.0"}},
    }


def _telegram() -> dict[str, Any]:
    register = {
        "type": "object",
        "additionalProperties": False,
        "required": ["value"],
        "properties": {"value": {"type": ["number", "string"]}, "time": {"type": "integer"}},
    }
    fixed = {"api_version": {"type": "string"}, "name": {"type": "string"}, "sma_time": {"type": "number"}}
    required = ["api_version", "sma_time"]
    return {"type": "object", "required": required, "properties": fixed, "additionalProperties": register}
