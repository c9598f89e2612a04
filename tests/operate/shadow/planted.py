"""Changes of the bakery's contract, one at a time, and how many messages have which difference by each."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from gateway.operate.drift.partitioner import murmur2

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.operate.shadow.rig import Edit, Message

CONTRACT = "asyncapi.yaml"


class Planted(NamedTuple):
    """A change, and the differences that it makes: kind and place -> which messages have it, or None for no message."""

    edits: tuple[Edit, ...]
    differences: dict[tuple[str, str], Callable[[Message], bool] | None]


def kind(*names: str) -> Callable[[Message], bool]:
    """Messages of some kinds."""
    return lambda one: one.kind in names


def text(*payloads: str) -> Callable[[Message], bool]:
    """Messages of the doors with some texts."""
    return lambda one: one.payload in payloads


def turn(one: Message) -> int:
    """The number of its round."""
    return one.number // 10


def is_rounded(one: Message) -> bool:
    """Whether the temperature of an oven is no number of 32 bits."""
    if one.kind != "oven":
        return False
    value = one.payload["probe"]["dC"] / 10
    return struct.unpack("f", struct.pack("f", value)) != (value,)


def moves(count: int, new_count: int) -> Callable[[Message], bool]:
    """Tell whether a topic with more partitions has a key elsewhere."""

    def found(one: Message) -> bool:
        key = murmur2(one.topic.split("/")[1].encode()) & 0x7FFFFFFF
        return key % count != key % new_count

    return found


GOOD = kind("oven", "plug", "scales", "motor")
OPEN_OR_SHUT = text("open", "shut")
DEAD = "oven-dead-letters"
LAMPS = """  lamps:
    address: lamps/{lamp}
    servers: [{$ref: '#/servers/broker'}]
    parameters: {lamp: {description: The lamp., location: $message.payload#/plug, examples: [mixer]}}
    messages: {power: {$ref: '#/components/messages/lampJson'}}
  plugTopic:
"""
LAMP_JSON = """    lampJson:
      contentType: application/json
      x-forward-to: {$ref: '#/operations/sendPlugs'}
      payload: {type: object, required: [WHAT], properties: {WHAT: {type: number}}}
    plugText:
"""
RECEIVE = """    action: receive
    channel: {$ref: '#/channels/%s'}
    traits: [{$ref: '#/components/operationTraits/subscription'}]
    x-forward-to: {$ref: '#/operations/%s'}
"""
PLUG_KEY = "key: {type: string, x-location: $message.payload#/plug}}}"
PLUGS = f"  receivePlugs:\n{RECEIVE % ('plugs', 'sendPlugs')}"
OVENS = f"  receiveOvens:\n{RECEIVE % ('ovens', 'sendOvens')}"
EXAMPLES = [
    "        - {name: baking, payload: {oven: bread-1, temperature: 231.5, measured_at: 1767592800000}}\n",
    "        - {name: named by the topic, payload: {oven: bread-1, temperature: 231.5, measured_at: 1767592800000}}\n",
]
ANOTHER = """  bread1:
    address: ovens/bread-1
    servers: [{$ref: '#/servers/broker'}]
    messages: {reading: {$ref: '#/components/messages/ovenJson'}}
  bread1Topic:
    address: bread-1
    servers: [{$ref: '#/servers/kafka'}]
    messages: {reading: {$ref: '#/components/messages/ovenAvro'}}
  vibration:
"""


def edit(*pairs: str, file: str = CONTRACT) -> tuple[Edit, ...]:
    """Make edits of a file from texts and what replaces each."""
    return tuple((file, old, new) for old, new in zip(pairs[::2], pairs[1::2], strict=True))


def evolved(subject: str) -> dict[tuple[str, str], Callable[[Message], bool] | None]:
    """A schema that is compatible."""
    return {("evolved", f"{subject}-value"): None}


PLANTED: dict[str, Planted] = {
    "nothing": Planted((), {}),
    "another filter": Planted(
        edit("address: ovens/{oven}", "address: bakery/{oven}"),
        {
            ("lost", "not_subscribed"): kind("oven", "broken"),
            ("subscription", "ovens/+"): kind("oven", "broken"),
            ("subscribed", "bakery/+"): lambda _: False,
        },
    ),
    "a stream removed": Planted(
        edit(PLUGS, ""),
        {("lost", "not_subscribed"): kind("plug"), ("subscription", "plugs/+/power"): kind("plug")},
    ),
    "a stream ignored": Planted(
        edit(PLUGS, "  receivePlugs: {action: receive, channel: {$ref: '#/channels/plugs'}, x-ignored: true}\n"),
        {("lost", "not_subscribed"): kind("plug"), ("subscription", "plugs/+/power"): kind("plug")},
    ),
    "a stream renamed": Planted(
        edit("receivePlugs:", "receivePower:"),
        {("stream", "receivePower"): kind("plug")},
    ),
    "a more specific stream": Planted(
        edit(
            "  vibration:\n    address",
            f"{ANOTHER}    address",
            OVENS,
            f"{OVENS}  receiveBread1:\n{RECEIVE % ('bread1', 'sendBread1')}"
            "  sendBread1: {action: send, channel: {$ref: '#/channels/bread1Topic'}}\n",
        ),
        {
            ("stream", "receiveBread1"): lambda one: one.kind == "oven" and one.topic == "ovens/bread-1",
            ("topic", "oven-readings -> bread-1"): lambda one: one.kind == "oven" and one.topic == "ovens/bread-1",
            **evolved("bread-1"),
        },
    ),
    "the location of a parameter removed": Planted(
        edit(
            "      oven: {description: The oven., location: $message.payload#/oven, examples: [bread-1]}",
            "      oven: {description: The oven., examples: [bread-1]}",
            "        - {name: named by the topic, payload: {probe: {dC: 2315}, at: 1767592800}}\n",
            "",
            EXAMPLES[1],
            "",
        ),
        {
            ("dead", "missing /oven"): lambda one: one.kind == "oven" and turn(one) % 2 == 0,
            ("reason", "missing /oven"): kind("broken"),
        },
    ),
    "another key": Planted(
        edit(
            "bindings: {kafka: {key: {type: string, x-location: $message.payload#/oven}}}",
            "bindings: {kafka: {key: {type: string, x-location: $message.header#/mqtt.topic}}}",
        ),
        {("key", "oven-readings"): kind("oven")},
    ),
    "the same key from the topic": Planted(
        edit(
            "bindings: {kafka: {key: {type: string, x-location: $message.payload#/oven}}}",
            "bindings: {kafka: {key: {type: string, x-location: $message.parameter#/oven}}}",
        ),
        {},
    ),
    "more partitions": Planted(
        edit("    readings:\n      kafka: {partitions: 3", "    readings:\n      kafka: {partitions: 5"),
        {
            ("partition", topic): lambda one, of=of: one.kind == of and moves(3, 5)(one)
            for topic, of in {
                "oven-readings": "oven",
                "plugs": "plug",
                "weighings": "scales",
                "vibration": "motor",
            }.items()
        }
        | {("partition", "doors"): lambda one: OPEN_OR_SHUT(one) and moves(3, 5)(one)},
    ),
    "another factor": Planted(
        (
            *edit('"factor": "0.1"', '"factor": "0.01"', file="oven.avsc"),
            *edit("temperature: 231.5", "temperature: 23.15"),
        ),
        {("value", "/temperature"): kind("oven")},
    ),
    "a new field with a default": Planted(
        (
            *edit(
                '"fields": [', '"fields": [\n    {"name": "unit", "type": "string", "default": "C"},', file="oven.avsc"
            ),
            *edit("temperature: 231.5", "unit: C, temperature: 231.5"),
        ),
        {("field", "/unit"): kind("oven"), **evolved("oven-readings")},
    ),
    "fewer bits": Planted(
        edit('"temperature", "type": "double"', '"temperature", "type": "float"', file="oven.avsc"),
        {("value", "/temperature"): is_rounded, ("schema", "oven-readings-value"): None},
    ),
    "fewer bits for halves": Planted(
        edit('"power", "type": "double"', '"power", "type": "float"', file="plug.avsc"),
        {("schema", "plugs-value"): None},
    ),
    "a symbol added": Planted(
        (
            *edit('"symbols": ["open", "shut"]', '"symbols": ["open", "shut", "ajar"]', file="door.avsc"),
            *edit("enum: [open, shut]", "enum: [open, shut, ajar]"),
        ),
        {("accepted", "bad_format"): text("ajar"), **evolved("doors")},
    ),
    "a symbol removed": Planted(
        (
            *edit('"symbols": ["open", "shut"]', '"symbols": ["open"]', file="door.avsc"),
            *edit("enum: [open, shut]", "enum: [open]"),
        ),
        {("dead", "bad_format"): text("shut"), ("schema", "doors-value"): None},
    ),
    "a text allowed that the schema does not have": Planted(
        edit('"symbols": ["open", "shut"]', '"symbols": ["open", "shut", "ajar"]', file="door.avsc"),
        {("reason", "not_allowed"): text("ajar"), **evolved("doors")},
    ),
    "a member required": Planted(
        edit(
            "required: [probe, at]",
            "required: [probe, at, oven]",
            "        - {name: named by the topic, payload: {probe: {dC: 2315}, at: 1767592800}}\n",
            "",
            EXAMPLES[1],
            "",
        ),
        {("dead", "missing /oven"): lambda one: one.kind == "oven" and turn(one) % 2 == 0},
    ),
    "a field required": Planted(
        (
            *edit('{"name": "weight"', '{"name": "tare", "type": "double"}, {"name": "weight"', file="weighing.avsc"),
            *edit(
                "{at: 1767592800000, weight: 512.5}",
                "{at: 1767592800000, tare: 1.5, weight: 512.5}",
                "{at: 1767592803000, weight: 498}",
                "{at: 1767592803000, tare: 1.5, weight: 498}",
                "weight: 512.5}}",
                "tare: 1.5, weight: 512.5}}",
                "weight: 498.0}}",
                "tare: 1.5, weight: 498.0}}",
            ),
        ),
        {("dead", "missing /0/tare"): kind("scales"), ("schema", "weighings-value"): None},
    ),
    "a field removed": Planted(
        (
            *edit(
                '    {"name": "weight", "type": "double", "unit": "g", "doc": "What it weighs."}',
                '    {"name": "n", "type": "int", "default": 0}',
                file="weighing.avsc",
            ),
            *edit("weight: 512.5}}", "n: 0}}", "weight: 498.0}}", "n: 0}}"),
        ),
        {("value", "/weight"): kind("scales"), ("field", "/n"): kind("scales"), **evolved("weighings")},
    ),
    "a field renamed": Planted(
        (
            *edit('"name": "power"', '"name": "watts"', file="plug.avsc"),
            *edit("plug: mixer, power: 43.5", "plug: mixer, watts: 43.5"),
        ),
        {("value", "/power"): kind("plug"), ("field", "/watts"): kind("plug"), ("schema", "plugs-value"): None},
    ),
    "a field renamed with an alias": Planted(
        (
            *edit('"name": "power"', '"name": "watts", "aliases": ["power"]', file="plug.avsc"),
            *edit("plug: mixer, power: 43.5", "plug: mixer, watts: 43.5"),
        ),
        {("value", "/power"): kind("plug"), ("field", "/watts"): kind("plug"), **evolved("plugs")},
    ),
    "a member that no field reads": Planted(
        edit(
            "        additionalProperties: true\n        required: [probe, at]",
            "        additionalProperties: false\n        required: [probe, at]",
            ", firmware: 1.0.3",
            "",
        ),
        {("dead", "extra_field /firmware"): kind("oven")},
    ),
    "a branch removed": Planted(
        (*edit('"type": ["null", "Axis"], "default": null', '"type": "Axis"', file="vibration.avsc"),),
        {("schema", "vibration-value"): None},
    ),
    "a maximum": Planted(
        edit("dC: {type: integer", "dC: {type: integer, maximum: 2400"),
        {("dead", "out_of_range /probe/dC"): lambda one: one.kind == "oven" and one.payload["probe"]["dC"] > 2_400},
    ),
    "a maximum of a number alone": Planted(
        edit(
            "payload: {type: number, description: Watts.}",
            "payload: {type: number, maximum: 30}",
            "payload: 43.5}",
            "payload: 13.5}",
            "power: 43.5}",
            "power: 13.5}",
        ),
        {("dead", "out_of_range"): lambda one: one.kind == "plug" and float(one.payload) > 30},
    ),
    "multipleOf": Planted(
        edit(
            "payload: {type: number, description: Watts.}",
            "payload: {type: number, multipleOf: 1}",
            "payload: 43.5}",
            "payload: 13}",
            "power: 43.5}",
            "power: 13.0}",
        ),
        {("dead", "not_allowed"): lambda one: one.kind == "plug" and float(one.payload) % 1 != 0},
    ),
    "a text that means null": Planted(
        (
            *edit(
                '"type": "double", "unit": "W"',
                '"type": ["null", "double"], "default": null, "unit": "W"',
                '"x-source": "$message.payload#"',
                '"x-source": {"location": "$message.payload#", "nulls": [0]}',
                file="plug.avsc",
            ),
        ),
        {("value", "/power"): lambda one: one.kind == "plug" and float(one.payload) == 0, **evolved("plugs")},
    ),
    "a logical type removed": Planted(
        edit(
            '"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}',
            '"name": "at", "type": "long"',
            file="weighing.avsc",
        ),
        {("value", "/at"): kind("scales"), **evolved("weighings")},
    ),
    "microseconds of the same moments": Planted(
        (
            *edit("timestamp-millis", "timestamp-micros", '"factor": 1000', '"factor": 1000000', file="oven.avsc"),
            *edit("measured_at: 1767592800000}}", "measured_at: 1767592800000000}}"),
        ),
        {**evolved("oven-readings")},
    ),
    "documentation of a field": Planted(
        edit("In the middle of the oven.", "In the middle.", file="oven.avsc"), evolved("oven-readings")
    ),
    "a header dropped": Planted(
        edit(
            "          mqtt.qos: {type: string}\n          mqtt.retain: {type: string}\n          mqtt.content",
            "          mqtt.retain: {type: string}\n          mqtt.content",
        ),
        {("header", "mqtt.qos"): kind("motor")},
    ),
    "a header of all topics dropped": Planted(
        edit("properties: {mqtt.topic: {type: string}, gateway", "properties: {gateway"),
        {("header", "mqtt.topic"): lambda one: GOOD(one) or OPEN_OR_SHUT(one)},
    ),
    "a header added": Planted(
        edit(
            "          traceparent: {type: string}\n",
            "          traceparent: {type: string}\n          firmware: {type: string}\n",
            ", firmware: '2.4'}",
            "}",
        ),
        {("header", "firmware"): kind("motor")},
    ),
    "a header no longer required": Planted(edit("        required: [traceparent]\n", ""), {}),
    "a header required": Planted(
        edit(
            "required: [traceparent]",
            "required: [traceparent, mqtt.correlation_data]",
            "-01}\n          payload: {motor",
            "-01, mqtt.correlation_data: c}\n          payload: {motor",
        ),
        {("dead", "missing"): kind("motor")},
    ),
    "a topic renamed": Planted(
        edit("address: oven-readings", "address: bread"),
        {("topic", "oven-readings -> bread"): kind("oven"), **evolved("bread")},
    ),
    "another topic of dead letters": Planted(
        edit(f"address: {DEAD}", "address: rejected"),
        {("topic", f"{DEAD} -> rejected"): lambda one: one.kind == "broken" or one.payload == "ajar"},
    ),
    "a second topic": Planted(
        edit(
            "    x-forward-to: {$ref: '#/operations/sendPlugs'}",
            "    x-forward-to: [{$ref: '#/operations/sendPlugs'}, {$ref: '#/operations/sendAlso'}]",
            "  sendScales:",
            "  sendAlso: {action: send, channel: {$ref: '#/channels/alsoTopic'}}\n  sendScales:",
            "  plugTopic:\n",
            "  alsoTopic:\n    address: also\n    servers: [{$ref: '#/servers/kafka'}]\n"
            "    messages: {power: {$ref: '#/components/messages/plugAvro'}}\n  plugTopic:\n",
        ),
        {("also", "also"): kind("plug"), **evolved("also")},
    ),
    "a timestamp": Planted(
        edit(
            "x-location: $message.payload#/oven}}}\n",
            "x-location: $message.payload#/oven}}}\n      x-timestamp: $message.payload#/measured_at\n",
        ),
        {("timestamp", "oven-readings"): kind("oven")},
    ),
    "no timestamp": Planted(
        edit("      x-timestamp: $message.payload#/measured_at\n", ""),
        {("timestamp", "vibration"): kind("motor")},
    ),
    "framing in a header": Planted(
        edit(
            f"bindings: {{kafka: {{{PLUG_KEY}",
            f"bindings: {{kafka: {{schemaIdLocation: header, schemaIdPayloadEncoding: '4', {PLUG_KEY}",
        ),
        {("header", "__value_schema_id"): kind("plug")},
    ),
    "another subject": Planted(
        edit(
            f"bindings: {{kafka: {{{PLUG_KEY}",
            f"bindings: {{kafka: {{schemaLookupStrategy: RecordNameStrategy, {PLUG_KEY}",
        ),
        {("evolved", "example.ovens.PlugPower"): None},
    ),
    "another QoS": Planted(edit("qos: 1", "qos: 0"), {}),
    "another retention": Planted(edit("retention.ms: 604800000", "retention.ms: 86400000"), {}),
    "another encoding": Planted(
        edit("    doorText:\n      contentType: text/plain", "    doorText:\n      contentType: application/json"),
        {("dead", "not_json"): OPEN_OR_SHUT, ("reason", "not_json"): text("ajar")},
    ),
    "a smaller packet": Planted(
        edit("sessionExpiryInterval: 604800}}", "sessionExpiryInterval: 604800, maximumPacketSize: 80}}"),
        {("dead", "too_large"): lambda one: GOOD(one) and len(one.reading.payload) > 80},
    ),
}
