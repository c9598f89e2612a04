"""Each fault of a document is found, at its place, with a sentence; and all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.contract import examine, load
from gateway.contract.avro_rules import AvroRules
from gateway.contract.document import Document
from gateway.contract.findings import Findings
from gateway.errors import ConfigurationError
from tests.contract.prose import PROSE
from tests.fixes import PYTHON, apply

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.errors import Finding
    from tests.contract.conftest import Copy


class Fault(NamedTuple):
    """A text replaced by another, and the finding it leads to."""

    old: str
    new: str
    path: str
    message: str
    file: str = "asyncapi.yaml"


METER = "schemas/smart_meter.avsc"
MACHINE = "schemas/machine_sensor.avsc"
DOOR = "schemas/door_sensor.avsc"
TOPIC = "address: door-sensors\n"
LOCATION = (
    "address: doors/{location}\n    title: Doors (MQTT)\n    servers: [{$ref: '#/servers/factoryBroker'}]\n"
    "    parameters:\n      location: {"
)
WIDGET = "schemas/widget_reading.avsc"
MACHINE_KEY = "{kafka: {key: {type: string, description: The machine., x-location: $message.payload#/machine}}}"
KEY_PATH = "#/components/messages/machineSensorAvro/bindings/kafka/key"

# The specification
SPECIFICATION = [
    Fault("asyncapi: 3.1.0", "asyncapi: 2.6.0", "#/asyncapi", "AsyncAPI '2.6.0' is not supported"),
    Fault("asyncapi: 3.1.0", "asyncapi: 3.1", "#/asyncapi", "must be text"),
    Fault("asyncapi: 3.1.0\n", "", "#", "not an AsyncAPI document"),
    Fault("  version: 0.1.0\n", "", "#/info", "'version' is required here"),
    Fault("protocolVersion: '5.0'", "protocolVersion: 5.0", "#/servers/factoryBroker/protocolVersion", "Expected text"),
    Fault("protocol: mqtt\n", "protocoll: mqtt\n", "#/servers/factoryBroker/protocoll", "Unknown member 'protocoll'"),
    Fault("action: receive", "action: recieve", "#/operations/receiveFactorySensors/action",
          "not one of send, receive"),
    Fault("keepAlive: 60", "keepAlive: sixty", "#/servers/factoryBroker/bindings/mqtt/keepAlive", "a whole number"),
    Fault("qos: 1", "qos: 3", "#/components/operationTraits/subscription/bindings/mqtt/qos", "not one of 0, 1, 2"),
    Fault(
        "temp_celcius: {type: number}", "temp_celcius: {type: nmber}",
        "#/components/messages/widgetReadingJson/payload/properties/temp_celcius/type", "matches none of",
    ),
]  # fmt: skip

# References
REFERENCES = [
    Fault(
        "$ref: '#/operations/sendMachineSensors'", "$ref: '#/operations/sendMachines'",
        "#/operations/receiveFactorySensors/x-forward-to", "leads nowhere",
    ),
    Fault(
        "./schemas/door_sensor.avsc", "./schemas/dor_sensor.avsc",
        "#/components/schemas/doorSensor/schema", "schemas/dor_sensor.avsc: The file does not exist",
    ),
    Fault(
        "./schemas/door_sensor.avsc", "https://example.com/door_sensor.avsc",
        "#/components/schemas/doorSensor/schema", "it is a URL",
    ),
    Fault(
        "time: {type: integer, description: \"The meter's clock, seconds since 1970; some codes have none.\"}",
        "time: {$ref: '#/components/schemas/obisRegister'}",
        "#/components/schemas/obisRegister/properties/time", "is cyclic",
    ),
    Fault(
        "traits: [{$ref: '#/components/operationTraits/subscription'}]",
        "traits: [{$ref: '#/components/messageTraits/record'}]",
        "#/components/messageTraits/record/contentType", "Unknown member 'contentType'",
    ),
    Fault(
        "channel: {$ref: '#/channels/doors'}", "channel: {$ref: '#/components/messages/deadLetter'}",
        "#/operations/receiveDoors/channel", "is not among the channels",
    ),
    Fault(
        "[{$ref: '#/channels/doors/messages/change'}]", "[{$ref: '#/channels/widgetLine/messages/reading'}]",
        "#/operations/receiveDoors/messages/0", "is not a message of the operation's channel",
    ),
    Fault(
        "servers: [{$ref: '#/servers/meterBroker'}]", "servers: [{$ref: '#/channels/doors'}]",
        "#/channels/smartMeter/servers/0", "is not among the servers",
    ),
]  # fmt: skip

# Servers
SERVERS = [
    Fault("host: localhost:1883", "host: '{where}:1883'", "#/servers/factoryBroker/host", "variable 'where'"),
    Fault("host: localhost:1883", "host: me:secret@broker:1883", "#/servers/factoryBroker/host", "user or password"),
    Fault("host: localhost:1883", "host: mqtt://broker", "#/servers/factoryBroker/host", "not a host and port"),
    Fault("host: localhost:1883", "host: broker:99999", "#/servers/factoryBroker/host", "99999 is not a port"),
    Fault("protocolVersion: 3.1.1", "protocolVersion: '3.1'", "#/servers/meterBroker/protocolVersion", "MQTT '3.1'"),
    Fault("clientId: iot-gateway-meter", "clientId: iot-gateway", "#/servers/meterBroker/bindings/mqtt/clientId",
          "have the same host and clientId"),
    Fault("http://localhost:8081", "http://u:p@localhost:8081", "#/servers/kafka/bindings/kafka/schemaRegistryUrl",
          "user or password"),
    Fault("http://localhost:8081", "localhost:8081", "#/servers/kafka/bindings/kafka/schemaRegistryUrl",
          "not an http or https URL"),
    Fault("keepAlive: 60", "keepAlive: 70000", "#/servers/factoryBroker/bindings/mqtt/keepAlive", "not between 0 and"),
    Fault("keepAlive: 60", "keepAlive: 60\n        lastWill: {topic: a/#, qos: 1, message: x, retain: true}",
          "#/servers/factoryBroker/bindings/mqtt/lastWill", "without wildcards"),
    Fault("qos: 1, b", "qos: '1', b", "#/components/operationTraits/subscription/bindings/mqtt/qos",
          "Remove the quotes"),
    Fault("cleanSession: false", "cleanSession: no", "#/servers/factoryBroker/bindings/mqtt/cleanSession",
          "true or false, not text"),
    Fault("protocol: kafka", "protocol: amqp", "#/servers/kafka/protocol", "'kafka' has the protocol 'amqp'"),
    Fault("channels:\n", "  kafka2: {host: other, protocol: kafka}\n\nchannels:\n", "#/servers/kafka2",
          "more than one Kafka server"),
    Fault("    title: Kafka cluster\n", "    security: [{type: httpApiKey, name: k, in: header}]\n",
          "#/servers/kafka/security/0/type", "cannot log in with 'httpApiKey'"),
]  # fmt: skip

# Channels and operations
CHANNELS = [
    Fault("factory/{machine}/{sensor}", "factory/{machine}/{sensor}/{line}", "#/channels/factorySensors/address",
          "parameter 'line' of the address is not in"),
    Fault("factory/{machine}/{sensor}", "factory/{machine}", "#/channels/factorySensors/parameters/sensor",
          "has no {sensor}"),
    Fault("address: doors/{location}", "address: doors/{location}{x}", "#/channels/doors/address",
          "is not one {parameter}"),
    Fault("address: sma\n", "address: sma/#\n", "#/channels/smartMeter/address", "MQTT wildcard"),
    Fault("    address: sma\n", "", "#/channels/smartMeter/address", "no address"),
    Fault("    servers: [{$ref: '#/servers/meterBroker'}]\n", "", "#/channels/smartMeter",
          "lists no servers, and the document has some of different protocols"),
    Fault("address: doors/{location}\n    title: Doors (MQTT)\n    servers: [",
          "address: doors/{location}\n    title: Doors (MQTT)\n    servers: [{$ref: '#/servers/kafka'}, ",
          "#/channels/doors/servers", "has servers of different protocols"),
    Fault("address: machine-sensors", "address: machine sensors", "#/channels/machineSensorsTopic/address",
          "not a valid topic name"),
    Fault("    x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n", "", "#/operations/receiveDoors",
          "x-forward-to is missing"),
    Fault("      x-dead-letter-to: {$ref: '#/operations/sendDeadLetter'}\n", "", "#/operations/receiveDoors",
          "x-dead-letter-to is missing"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-foward-to: {$ref: '#/operations/sendDoorSensors'}",
          "#/operations/receiveDoors/x-foward-to", "Unknown extension 'x-foward-to'"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-forward-to: sendDoorSensors",
          "#/operations/receiveDoors/x-forward-to", "is not a reference"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-forward-to: {$ref: '#/operations/receiveDoors'}",
          "#/operations/receiveDoors/x-forward-to", "not a send operation"),
    Fault("channel: {$ref: '#/channels/doorSensorsTopic'}\n"
          "    messages: [{$ref: '#/channels/doorSensorsTopic/messages/change'}]",
          "channel: {$ref: '#/channels/doors'}\n    messages: [{$ref: '#/channels/doors/messages/change'}]",
          "#/operations/receiveDoors/x-forward-to", "does not send to Kafka"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}",
          "x-forward-to: [{$ref: '#/operations/sendDoorSensors'}, {$ref: '#/operations/sendDoorSensors'}]",
          "#/operations/receiveDoors/x-forward-to/1", "is repeated"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-forward-to: {$ref: '#/operations/sendDeadLetter'}",
          "#/components/messages/deadLetter/payload", "needs an Avro schema"),
    Fault("channel: {$ref: '#/channels/smartMeter'}\n    messages: [{$ref: '#/channels/smartMeter/messages/telegram'}]",
          "channel: {$ref: '#/channels/smartMeterTopic'}\n"
          "    messages: [{$ref: '#/channels/smartMeterTopic/messages/telegram'}]",
          "#/operations/receiveSmartMeter/channel", "is not on MQTT"),
    Fault("messages: {change: {$ref: '#/components/messages/doorSensorJson'}}",
          "messages: {}", "#/operations/receiveDoors/messages/0", "leads nowhere"),
    Fault("messages: [{$ref: '#/channels/doors/messages/change'}]", "messages: []",
          "#/operations/receiveDoors/messages",
          "no message"),
    Fault("address: doors/{location}\n", "address: factory/{x}/{location}\n", "#/operations/receiveDoors", "overlap"),
    Fault("examples: [dock-2]}", "examples: [dock-2], x-multi-level: 1}",
          "#/channels/doors/parameters/location/x-multi-level", "neither true nor false"),
    Fault(LOCATION, LOCATION.replace("{location}", "x{location}") + "x-multi-level: true, ", "#/channels/doors/address",
          "beside a parameter that takes several levels"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}",
          "x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n    x-ignored: true",
          "#/operations/receiveDoors/x-forward-to", "drops all readings"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-ignored: 'yes'",
          "#/operations/receiveDoors/x-ignored", "neither true nor false"),
    Fault("  sendMachineSensors:\n",
          "  again: {action: receive, channel: {$ref: '#/channels/doors'}, x-ignored: true}\n  sendMachineSensors:\n",
          "#/operations/again", "a message could belong to both"),
    Fault(TOPIC, "address: 'door-{location}'\n    parameters: {location: {description: Where.}}\n",
          "#/channels/doorSensorsTopic/parameters/location", "has no `enum`"),
    Fault(TOPIC, "address: 'door-{location}'\n    parameters: {location: {enum: [1]}}\n",
          "#/channels/doorSensorsTopic/parameters/location/enum/0", "Expected text, not the number 1"),
    Fault(TOPIC, "address: 'door-{location}'\n    parameters: {location: {enum: [dock-2, gate 1]}}\n",
          "#/channels/doorSensorsTopic/address", "'door-gate 1' is not a valid topic name"),
    Fault(TOPIC, "address: 'door-{location}'\n    parameters: {location: {enum: [dock-1, gate-1]}}\n",
          "#/channels/doors/parameters/location/examples/0", "would be a dead letter, not_allowed"),
    Fault(TOPIC, "address: 'door-{location}'\n    parameters: {location: {enum: [dock-2]}}\n",
          "#/components/messages/doorSensorJson/examples/1/payload", "has 'gate-1' for location; allowed are dock-2"),
    Fault(TOPIC, "address: 'door-{site}'\n    parameters: {site: {enum: [a, b]}}\n",
          "#/channels/doorSensorsTopic/address",
          "needs the parameter 'site', which #/channels/doors/address (doors/{location}) does not have"),
    Fault(TOPIC, "address: '{a}{b}'\n    parameters: {a: {enum: [x, xy]}, b: {enum: [yz, z]}}\n",
          "#/channels/doorSensorsTopic/address", "make the topic 'xyz'"),
    Fault(TOPIC, f"address: 'x{{a}}'\n    parameters: {{a: {{enum: {[f'v{number}' for number in range(1_001)]}}}}}\n",
          "#/channels/doorSensorsTopic/address", "make 1,001 topics"),
    Fault(TOPIC, "address: 'x-{location}'\n    parameters: {location: {enum: [dock-2, gate-1], x-multi-level: true}}\n",
          "#/channels/doorSensorsTopic/parameters/location/x-multi-level", "has no levels"),
    Fault("address: gateway-dead-letters\n", "address: 'dead-{x}'\n    parameters: {x: {enum: [a]}}\n",
          "#/channels/deadLettersTopic/address", "Dead letters go to one topic"),
    Fault("  receiveDoors:\n", "  not_addressed:\n", "#/operations/not_addressed", "is reserved for metrics"),
    Fault("  receiveDoors:\n", "  unmapped:\n", "#/operations/unmapped", "is reserved for metrics"),
    Fault("address: doors/{location}\n", "address: $share/doors/{location}\n", "#/channels/doors/address", "reserved"),
    Fault("factory/{machine}/{sensor}", "factory/{machine}/{machine}", "#/channels/factorySensors/address",
          "two parameters of one name"),
    Fault("examples: [dock-2]", "examples: [dock/2]", "#/channels/doors/parameters/location/examples/0",
          "cannot be a level of a topic"),
    Fault("examples: [dock-2]", "enum: [dock-1], default: dock-9", "#/channels/doors/parameters/location/default",
          "not one of the values in `enum`"),
    Fault("{$ref: '#/operations/sendDeadLetter'}", "{$ref: '#/operations/sendDeadLetters'}",
          "#/components/operationTraits/subscription/x-dead-letter-to", "leads nowhere"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}",
          "x-forward-to: {$ref: 'https://example.com/#/operations/sendDoorSensors'}",
          "#/operations/receiveDoors/x-forward-to", "it is a URL"),
    Fault("x-forward-to: {$ref: '#/operations/sendDoorSensors'}", "x-forward-to: []",
          "#/operations/receiveDoors/x-forward-to", "names no operation"),
    Fault("address: door-sensors", "address: __consumer_offsets", "#/channels/doorSensorsTopic/address",
          "reserved for Kafka"),
    Fault("replicas: 1", "replicas: 0", "#/channels/deadLettersTopic/bindings/kafka/replicas", "less than"),
    Fault("retention.ms: 604800000", "retention.ms: 7d",
          "#/components/channelBindings/readings/kafka/topicConfiguration/retention.ms", "a whole number"),
    Fault("retention.ms: 604800000", "min.insync.replicas: 2",
          "#/components/channelBindings/readings/kafka/topicConfiguration/min.insync.replicas", "has 1 replica(s)"),
    Fault("cleanup.policy: [delete]", "cleanup.policy: [deleet]",
          "#/channels/deadLettersTopic/bindings/kafka/topicConfiguration/cleanup.policy/0", "Did you mean 'delete'?"),
    Fault("address: door-sensors", "address: machine-sensors", "#/operations/receiveDoors/x-forward-to",
          "the same topic 'machine-sensors' with different schemas"),
    Fault("address: gateway-dead-letters", "address: smart-meter",
          "#/components/operationTraits/subscription/x-dead-letter-to", "the topic of the readings"),
]  # fmt: skip

# Messages
MESSAGES = [
    Fault("schemaFormat: application/vnd.apache.avro;version=1.9.0",
          "schemaFormat: application/vnd.apache.avro;version=1.11.0",
          "#/components/schemas/machineSensor/schemaFormat", "is not supported"),
    Fault("temp_celcius: {type: number}", "temp_celcius: {type: number, exclusiveMinimum: true}",
          "#/components/messages/widgetReadingJson/payload/properties/temp_celcius/exclusiveMinimum", "Draft 4"),
    Fault("temp_celcius: {type: number}", "temp_celcius: {type: number, required: true}",
          "#/components/messages/widgetReadingJson/payload/properties/temp_celcius/required", "Draft 3"),
    Fault("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '['}",
          "#/components/messages/widgetReadingJson/payload/properties/sensor_id/pattern",
          "not a regular expression: it has an end in the middle of it"),
    *[
        Fault("schemaFormat: application/vnd.apache.avro;version=1.9.0", f"schemaFormat: {name}",
              "#/components/schemas/machineSensor/schemaFormat", named)
        for name, named in (
            ("application/vnd.avro", "Write application/vnd.apache.avro;version=1.9.0."),
            ("'application/vnd.apache.avro; version=1.9.0'", "Write application/vnd.apache.avro;version=1.9.0."),
            ("application/schema+json;version=draft-07x", "Write application/vnd.apache.avro;version=1.9.0."),
        )
    ],
    *[
        Fault("      payload:\n        type: object\n        required:",
              f"      payload:\n       schemaFormat: {name}\n       schema:\n        type: object\n        required:",
              "#/components/messages/smartMeterJson/payload/schemaFormat", named)
        for name, named in (
            ("application/schema+json;version=draft-2020-12", "Write application/schema+json;version=draft-07."),
            ("application/vnd.google.protobuf;version=3", "Describe the payload in Avro"),
        )
    ],
    Fault("payload: {$ref: '#/components/schemas/doorSensor'}", "payload: {$ref: ./schemas/door_sensor.avsc}",
          "#/components/messages/doorSensorJson/payload", "Expected JSON Schema, not an Avro schema"),
    Fault("payload: {$ref: '#/components/schemas/doorSensor'}", "payload: {$ref: '#/components/schemas/machineSensor'}",
          "#/components/messages/doorSensorJson/payload", "another Avro schema"),
    Fault("location: $message.payload#/machine", "location: $message.payload#/maschine",
          "#/channels/factorySensors/parameters/machine/location", "No field of gateway.factory.MachineSensor reads"),
    Fault("location: $message.payload#/machine", "location: $message.payload/machine",
          "#/channels/factorySensors/parameters/machine/location", "not an expression"),
    Fault("location: $message.payload#/machine", "location: $message.header#/machine",
          "#/channels/factorySensors/parameters/machine/location", "a member of the payload"),
    Fault("location: $message.payload#/machine", "location: $message.payload#/value",
          "#/channels/factorySensors/parameters/machine/location", "is not text"),
    Fault("location: $message.payload#/production_line", "location: $message.payload#/line",
          "#/channels/widgetLine/parameters/line/location", "describes no member /line"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.payload#/maschine", KEY_PATH + "/x-location",
          "no field at '/maschine'"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.payload#/value", KEY_PATH + "/x-location",
          "is not text"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.header#/mqtt.qos", KEY_PATH + "/x-location",
          "The only header that can be a key is mqtt.topic"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.envelope#/machine", KEY_PATH + "/x-location",
          "A key must be a field of the record"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.parameter#/sensor/1", KEY_PATH + "/x-location",
          "has one name"),
    Fault("x-location: $message.payload#/machine", "x-location: $message.parameter#/sensr", KEY_PATH + "/x-location",
          "'sensr', which #/channels/factorySensors/address (factory/{machine}/{sensor}) does not have"),
    Fault("x-location: $message.payload#/machine}", "x-location: $message.payload#/machine, x-separator: '/'}",
          KEY_PATH + "/x-separator", "x-location has one"),
    Fault("x-location: $message.payload#/machine}",
          "x-location: [$message.payload#/machine, $message.payload#/sensor], x-separator: ''}",
          KEY_PATH + "/x-separator", "cannot separate"),
    Fault("x-location: [$message.payload#/name, $message.payload#/meter_number]",
          "x-separator: '-'\n            x-location: [$message.payload#/name, $message.payload#/meter_number]",
          "#/components/messages/smartMeterAvro/bindings/kafka/key/x-location/1", "may be null"),
    Fault("x-location: $message.payload#/machine", "x-location: payload.machine", KEY_PATH + "/x-location",
          "not an expression"),
    Fault("key: {type: string, description: The machine.,", "key: {type: integer, description: The machine.,",
          KEY_PATH + "/type", "The key must be text"),
    Fault(MACHINE_KEY, "{kafka: {}}", "#/components/messages/machineSensorAvro/bindings/kafka", "no key"),
    Fault("x-location: [$message.payload#/name, $message.payload#/meter_number]",
          "x-location: $message.payload#/meter_number",
          "#/components/messages/smartMeterAvro/bindings/kafka/key/x-location", "may be null"),
    Fault("x-location: [$message.payload#/name, $message.payload#/meter_number]", "x-location: []",
          "#/components/messages/smartMeterAvro/bindings/kafka/key/x-location", "is empty"),
    Fault("schemaLookupStrategy: TopicNameStrategy", "schemaLookupStrategy: RecordIdStrategy",
          "#/components/messageTraits/record/bindings/kafka/schemaLookupStrategy", "is not supported"),
    Fault("schemaIdPayloadEncoding: '4'", "schemaIdPayloadEncoding: apicurio-legacy",
          "#/components/messageTraits/record/bindings/kafka/schemaIdPayloadEncoding", "cannot frame"),
    Fault("          mqtt.topic: {type: string, description: The MQTT topic that the reading came from.}",
          "          mqtt.topik: {type: string}", "#/components/messageTraits/record/headers/properties/mqtt.topik",
          "no value for the header"),
    Fault("required: [mqtt.topic]\n", "required: [mqtt.topic, vendor]\n",
          "#/components/messageTraits/record/headers/required/1", "has no value for the required header"),
    Fault("mqtt.topic: {type: string, description: The MQTT topic that", "mqtt.topic: {type: integer, description: The",
          "#/components/messageTraits/record/headers/properties/mqtt.topic/type", "must be text"),
    Fault("schemaRegistryVendor: confluent", "schemaRegistryVendor: aws-glue",
          "#/servers/kafka/bindings/kafka/schemaRegistryVendor", "does not offer the AWS Glue registry"),
    Fault("defaultContentType: application/json", "defaultContentType: text/xml", "#/defaultContentType",
          "readings are JSON"),
    Fault("x-location: $message.header#/mqtt.topic", "x-location: $message.payload#/machine",
          "#/components/messages/deadLetter/bindings/kafka/key/x-location", "keyed by their MQTT topic"),
    Fault("payload: {type: string, format: binary}", "payload: {$ref: '#/components/schemas/doorSensor'}",
          "#/components/messages/deadLetter/payload", "not Avro"),
    Fault("          sensor_id: {type: string}\n", "", "#/fields/1", "reads /sensor_id, which the MQTT message"),
    Fault("          sensor_id: {type: string}\n", "          sensor_id: {type: string}\n          extra: {}\n",
          "#/components/messages/widgetReadingJson/payload/properties/extra", "reads 'extra'"),
]  # fmt: skip

# Examples
EXAMPLES = [
    Fault("payload: {machine: MagicMaker3000, sensor: oven_temp, value: 231, units: C}",
          "payload: {machine: MagicMaker3000, sensor: oven_temp, value: hot, units: C}",
          "#/components/messages/machineSensorJson/examples/0/payload/value", "dead letter, wrong_type"),
    Fault("payload: {machine: MagicMaker3000, sensor: oven_temp, value: 231, units: C}",
          "payload: {machine: MagicMaker3000, sensor: oven_temp, value: 231, units: C, unit: C}",
          "#/components/messages/machineSensorJson/examples/0/payload/unit", "dead letter, extra_field"),
    Fault("payload: {location: gate-1, state: closed}", "payload: {location: gate-1, state: ajar}",
          "#/components/messages/doorSensorJson/examples/1/payload/state", "'ajar' is none of open, closed"),
    Fault("payload: {machine: MagicMaker3000, sensor: oven_temp, value: 231.0, units: C}",
          "payload: {machine: MagicMaker3000, sensor: oven_temp, value: 231.0}",
          "#/components/messages/machineSensorAvro/examples/0/payload/units", "field 'units' is missing"),
    Fault("temp_celcius: 23\n", "temp_celcius: warm\n",
          "#/components/messages/widgetReadingJson/examples/0/payload/temp_celcius", "does not match the message's"),
    Fault("reading_ts: 1582114965000", "reading_ts: '2020-02-19T12:22:45Z'",
          "#/components/messages/widgetReadingAvro/examples/0/payload/reading_ts", "does not match the Avro schema"),
    Fault("'1-0:1.7.0': {value: 43, time: 1697622940}", "'1-0:1.7.0': {time: 1697622940}",
          "#/components/messages/smartMeterJson/examples/0/payload/1-0:1.7.0", "'value' is a required"),
    Fault("value: 231, units: C}\n        - name: oven, n", "value: 1e300, units: C}\n        - name: oven, n",
          "#/components/messages/machineSensorJson/examples/0/payload/value", "dead letter, out_of_range"),
    Fault("'2020-02-19T12:22:45Z'", "'2020-02-19T12:22:45'",
          "#/fields/0", "a time with its zone"),
    Fault("'0-0:96.1.0': {value: '84646841'}", "'0-0:96.1.1': {value: '84646841'}",
          "#/components/messages/smartMeterJson/examples/1/payload/name", "dead letter, no_key"),
    Fault("name: gate\n", "name: dock\n", "#/components/messages/doorSensorJson/examples/1/name",
          "two examples with the name 'dock'"),
    Fault("mqtt.topic: doors/dock-2", "mqtt.topic: door/dock-2",
          "#/components/messages/doorSensorAvro/examples/0/headers/mqtt.topic",
          "Write a topic of the form doors/{location}"),
    Fault("mqtt.topic: doors/dock-2", "mqtt.topic: doors/dock-3",
          "#/components/messages/doorSensorJson/examples/0/payload/location", "dead letter, topic_mismatch"),
    Fault("error.reason: wrong_type", "error.reason: wrong",
          "#/components/messages/deadLetter/examples/0/headers/error.reason", "does not match the message's"),
]  # fmt: skip

# Avro
AVRO = [
    Fault('"type": "float"', '"type": "flot"', "#/fields/2/type", "Did you mean 'float'?", MACHINE),
    Fault('"type": "float"', '"type": "number"', "#/fields/2/type", "Did you mean 'double'?", MACHINE),
    Fault('"type": "float"', '"type": "timestamp-millis"', "#/fields/2/type",
          'is a logical type, which has a type below it. Write {"type": "long", "logicalType": "timestamp-millis"}.',
          MACHINE),
    Fault('"name": "sensor"', '"name": "machine"', "#/fields/1/name", "two fields 'machine'", MACHINE),
    Fault('"name": "sensor"', '"name": "the sensor"', "#/fields/1", "not an Avro name", MACHINE),
    Fault('"type": "float"', '"type": "float", "default": "x"', "#/fields/2/default", "does not match", MACHINE),
    Fault('"type": "record"', '"type": "enum", "symbols": ["A"]', "#", "not a schema of type 'enum'", MACHINE),
    Fault('"type": "float"', '"type": {"$ref": "x.json"}', "#/fields/2/type", "Avro has no $ref", MACHINE),
    Fault('"type": "float"', '"type": "float", "default": 1e300', "#/fields/2/default", "does not match", MACHINE),
    Fault('"type": "float"', '"type": "long", "default": 9223372036854775808', "#/fields/2/default", "does not match",
          MACHINE),
    Fault('"type": "float"', '"type": "float", "default": NaN', "", "NaN is not a number in JSON", MACHINE),
    Fault('"type": "float"', '"type": "MachineSensor"', "#/fields/2/type", "contains itself without end", MACHINE),
    Fault('"type": "float"', '"type": "array"', "#/fields/2/type", "needs a definition", MACHINE),
    Fault('"type": "float"', '"type": {"type": "array"}', "#/fields/2/type/items", "Expected an Avro type", MACHINE),
    Fault('"type": "float"', '"type": {"type": "fixed", "name": "F", "size": 0}', "#/fields/2/type/size",
          "a whole number from 1", MACHINE),
    Fault('"type": "float"', '"type": {"type": "fixed", "name": "F", "size": 8, "logicalType": "uuid"}',
          "#/fields/2/type/size", "A uuid has 16 bytes", MACHINE),
    Fault('"type": "float"',
          '"type": {"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", "precision": 999999999}',
          "#/fields/2/type/precision", "has 4 digits", MACHINE),
    Fault('"type": "float"', '"type": {"type": "bytes", "logicalType": "decimal"}', "#/fields/2/type",
          "needs a precision", MACHINE),
    Fault('"name": "sensor"', '"name": "sensor", "aliases": ["machine"]', "#/fields/1/aliases/0",
          "the name or alias of another field", MACHINE),
    Fault('"name": "sensor"', '"name": "sensor", "aliases": "x"', "#/fields/1/aliases", "a list of names", MACHINE),
    Fault('"name": "sensor"', '"name": "sensor", "aliases": ["a b"]', "#/fields/1/aliases/0",
          "not an Avro name", MACHINE),
    Fault('"name": "sensor"', '"name": "sensor", "order": "up"', "#/fields/1/order",
          "not an order of a field", MACHINE),
    Fault('"gateway.factory"', '"gateway.fac tory"', "#/namespace", "not an Avro namespace", MACHINE),
    Fault('"gateway.factory"', "5", "#/namespace", "not an Avro namespace", MACHINE),
    Fault('["open", "closed"]', '["open", "closed"], "default": "ajar"', "#/fields/1/type/default",
          "not one of the symbols", DOOR),
    Fault('["open", "closed"]}', '["open", "closed"]}, "default": "ajar"', "#/fields/1/default",
          "does not match", DOOR),
    Fault('{"type": "long", "logicalType": "timestamp-millis"}', '"long", "logicalType": "timestamp-millis"',
          "#/fields/0/logicalType", "is next to the type", WIDGET),
    Fault('"fields": [', '"fields": [{"type": "int"},', "#/fields/0", "has no name", MACHINE),
    Fault('"open", "closed"', '"open", "half open"', "#/fields/1/type/symbols/1", "is not a symbol", DOOR),
    Fault('"open", "closed"', '"open", "open"', "#/fields/1/type/symbols/1", "is repeated", DOOR),
    Fault('"DoorState"', '"DoorSensor"', "#/fields/1/type/name",
          'The name "gateway.factory.DoorSensor" is already defined', DOOR),
    Fault('"type": "long", "log', '"type": "int", "log', "#/fields/0/type/logicalType",
          "a logical type of long", WIDGET),
    Fault('["null", "string"], "default": null', '["string", "null"], "default": null', "#/fields/1/default",
          "the union's first branch", METER),
    Fault('["null", "string"]', '["null", "string", "string"]', "#/fields/1/type/2", "two branches", METER),
    Fault('["null", "string"]', '["null", ["string"]]', "#/fields/1/type/1", "cannot contain a union", METER),
    Fault('"x-source": "$message.payload#/0-0:96.1.0/value"', '"x-source": "0-0:96.1.0"', "#/fields/1/x-source",
          "not an expression", METER),
    Fault('"x-source": "$message.payload#/0-0:96.1.0/value"', '"x-source": "$message.payload#/1-0:1.8.0/value"',
          "#/fields/5/x-source", "reads /1-0:1.8.0/value", METER),
    Fault('"x-source": "$message.payload#/0-0:96.1.0/value"', '"x-source": "$message.payload#"',
          "#/fields/27/x-source", "'meter_number' also reads the whole payload", METER),
    Fault('"x-source": "$message.payload#/0-0:96.1.0/value"', '"x-sorce": "$message.payload#/0-0:96.1.0/value"',
          "#/fields/1/x-sorce", "Unknown extension 'x-sorce'", METER),
    Fault('"x-source": "$message.payload#/0-0:96.1.0/value"', '"x-source": "$message.payload#/0-0:96.1.0/number"',
          "#/fields/1/x-source", "which the MQTT message's schema does not describe", METER),
    Fault('{"name": "value", "type": [', '{"name": "value", "x-source": "$message.payload#/v", "type": [',
          "#/fields/27/type/values/fields/0/x-source", "outermost record only", METER),
    Fault('"units"', '"units" "x"', "", "The JSON is invalid", MACHINE),
    Fault('"doc": "One reading', '"name": "Twice", "doc": "One reading', "#/name", "is repeated", MACHINE),
]  # fmt: skip

ALL = SPECIFICATION + REFERENCES + SERVERS + CHANNELS + MESSAGES + EXAMPLES + AVRO


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.message.replace(" ", "_"))
def test_examine_finds(copy: Copy, fault: Fault) -> None:
    copy.edit(fault.old, fault.new, fault.file)
    contract, findings = examine(copy.document)
    errors = [one for one in findings if one.severity == "error"]
    matching = [one for one in errors if one.path == fault.path and fault.message in f"{one.message} {one.fix}"]
    assert matching, "\n".join(map(str, errors))
    assert all(one.line > 0 for one in errors), "\n".join(map(str, errors))
    assert all(one.fix for one in errors), "\n".join(map(str, errors))
    assert contract is None
    assert_fixed(copy, matching[0], findings)


def test_a_type_that_is_no_name_is_one_finding(copy: Copy) -> None:
    """There is no second finding for the logical type, because its base type is unknown."""
    copy.edit('"type": "float"', '"type": {"type": {"type": "long"}, "logicalType": "timestamp-millis"}', MACHINE)
    assert [one.path for one in copy.findings()] == ["#/fields/2/type/type"]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("temp_celcius: {type: number}", "temp_celcius: {type: number, minimum: '0'}",
         "/properties/temp_celcius/minimum"),
        ("temp_celcius: {type: number}", "temp_celcius: {exclusiveMaximum: false}",
         "/properties/temp_celcius/exclusiveMaximum"),
        ("temp_celcius: {type: number}", "temp_celcius: {$ref: '#/components/schemas/no'}", "/properties/temp_celcius"),
        ("temp_celcius: {type: number}", "temp_celcius: {$ref: '#/components/messages/widgetReadingJson/payload'}",
         "/properties/temp_celcius"),
        ("sensor_id: {type: string}", "sensor_id: {type: string, pattern: '(a'}", "/properties/sensor_id/pattern"),
        ("      payload:\n        type: object\n        additionalProperties: false\n        required: [reading",
         "      payload:\n        $ref: no.yaml\n        additionalProperties: false\n        required: [reading", ""),
    ],
)  # fmt: skip
def test_a_fault_of_a_schema_is_one_finding(copy: Copy, old: str, new: str, path: str) -> None:
    """No other check finds cause again."""
    copy.edit(old, new)
    errors = [one for one in copy.findings() if one.severity == "error" or "not enforce" in one.message]
    assert [one.path for one in errors] == [f"#/components/messages/widgetReadingJson/payload{path}"]


def assert_fixed(copy: Copy, finding: Finding, before: list[Finding]) -> None:
    """Apply the fix that a finding quotes: it is gone, and there is no new one. Other fixes are known to be prose.

    Only examples may have new ones: while a schema is invalid, they cannot be checked.
    """
    assert not [str(one) for one in before if PYTHON.search(f"{one.message} {one.fix}")]
    if not apply(finding):
        assert finding.fix in PROSE, "Quote what can be copied, or add this fix to PROSE."
        return
    after = {(one.path, one.message): str(one) for one in copy.findings() if "/examples/" not in one.path}
    assert after.keys() <= {(one.path, one.message) for one in before} - {(finding.path, finding.message)}, after


NOT_PYTHON = [
    ("asyncapi.yaml", "examples: [dock-2]", "examples: [null, true, dock-2]"),
    ("asyncapi.yaml", "payload: {location: gate-1, state: closed}", "payload: {location: null, state: [true, null]}"),
    ("asyncapi.yaml", "temp_celcius: 23\n", "temp_celcius: [null, true]\n"),
    ("asyncapi.yaml", "temp_celcius: {type: number}", "temp_celcius: {const: null, maximum: true}"),
    ("asyncapi.yaml", "temp_celcius: {type: number}", "temp_celcius: {enum: [null, true, 'None']}"),
    ("asyncapi.yaml", "temp_celcius: {type: number}", "temp_celcius: false"),
    ("asyncapi.yaml", "protocolVersion: 3.1.1", "protocolVersion: null"),
    ("asyncapi.yaml", "schemaLookupStrategy: TopicNameStrategy", "schemaLookupStrategy: true"),
    ("asyncapi.yaml", "schemaIdPayloadEncoding: '4'", "schemaIdPayloadEncoding: null"),
    ("asyncapi.yaml", "retention.ms: 604800000", "retention.ms: null"),
    ("asyncapi.yaml", "required: [mqtt.topic]\n", "required: [null, true]\n"),
    ("asyncapi.yaml", "qos: 1", "qos: null"),
    (MACHINE, '"type": "float"', '"type": null'),
    (MACHINE, '"type": "float"', '"type": "float", "default": [null, true, {"a": false}]'),
    (MACHINE, '"type": "float"', '"type": {"type": true, "logicalType": null}, "logicalType": false, "order": null'),
    (MACHINE, '"name": "sensor"', '"name": null, "aliases": [null, true], "x-source": null'),
    (MACHINE, '"name": "sensor"', '"name": "sensor", "x-source": {"factor": null, "location": [true]}'),
    (MACHINE, '"gateway.factory"', "true"),
    (DOOR, '"open", "closed"', '"open", null, true], "default": false, "aliases": [null'),
]


@pytest.mark.parametrize(("file", "old", "new"), NOT_PYTHON)
def test_messages_say_null_true_and_false(copy: Copy, file: str, old: str, new: str) -> None:
    """The words of JSON and YAML, not those of Python, whatever is wrong."""
    copy.edit(old, new, file)
    findings = [str(one) for one in copy.findings()]
    assert [one for one in findings if PYTHON.search(one.replace('"None"', ""))] == []
    assert findings


def test_load_raises_what_examine_finds(copy: Copy) -> None:
    """An invalid contract is not loaded."""
    copy.edit("action: receive", "action: recieve")
    with pytest.raises(ConfigurationError, match="Did you mean 'receive'"):
        load(copy.document)


def errors_of(copy: Copy) -> list[tuple[str, str]]:
    """The place and the fix of each error."""
    return [(one.path, one.fix) for one in copy.findings() if one.severity == "error"]


@pytest.mark.parametrize(
    ("name", "wrong", "path"),
    [
        ("x-forward-to:", "x-foward-to:", "#/operations/receiveFactorySensors/x-foward-to"),
        ("x-dead-letter-to:", "x-dead-leter-to:", "#/components/operationTraits/subscription/x-dead-leter-to"),
        ("x-location:", "x-locaton:", "#/components/messages/machineSensorAvro/bindings/kafka/key/x-locaton"),
        ("\noperations:", "\noperatons:", "#/operatons"),
        ("\nchannels:", "\nchanels:", "#/chanels"),
        ("    address:", "    adress:", "#/channels/factorySensors/adress"),
        ("    action:", "    acton:", "#/operations/receiveFactorySensors/acton"),
        ("    protocol:", "    protcol:", "#/servers/factoryBroker/protcol"),
    ],
)
def test_a_misspelt_member_is_one_finding_that_names_the_right_one(
    copy: Copy, name: str, wrong: str, path: str
) -> None:
    """It is not missed elsewhere, and what it contains is checked."""
    copy.edit(name, wrong)
    assert errors_of(copy) == [(path, f"Did you mean {name.strip().rstrip(':')!r}?")]


def test_what_is_below_a_misspelt_member_is_checked(copy: Copy) -> None:
    copy.edit("\noperations:", "\noperatons:")
    copy.edit("action: receive", "acton: recieve")
    assert {path for path, _ in errors_of(copy)} == {
        "#/operatons",
        "#/operations/receiveFactorySensors/acton",
        "#/operations/receiveFactorySensors/action",
    }


@pytest.mark.parametrize("name", ["dock", "loction"])
def test_a_parameter_renamed_in_the_address_is_one_finding_whose_fix_works(copy: Copy, name: str) -> None:
    copy.edit("doors/{location}", f"doors/{{{name}}}")
    assert errors_of(copy) == [("#/channels/doors/parameters/location", f"Rename it to {name!r}.")]
    copy.edit("      location: {", f"      {name}: {{")
    assert errors_of(copy) == []


NEXT_TO_TYPE = [
    ('"long", "logicalType": "timestamp-millis"', '{"type": "long", "logicalType": "timestamp-millis"}'),
    ('["null", "long"], "logicalType": "timestamp-millis"',
     '["null", {"type": "long", "logicalType": "timestamp-millis"}]'),
    ('["null", {"type": "long", "x-unit": "ms"}], "logicalType": "timestamp-nanos"',
     '["null", {"type": "long", "x-unit": "ms", "logicalType": "timestamp-nanos"}]'),
    ('["string", "bytes"], "logicalType": "decimal", "precision": 4, "scale": 1',
     '["string", {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1}]'),
    ('{"type": "fixed", "name": "U", "size": 16}, "logicalType": "uuid"',
     '{"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}'),
    ('{"type": "fixed", "name": "U", "size": 15}, "logicalType": "uuid"', None),
    ('"string", "logicalType": "date"', None),
    ('["null", "bytes"], "logicalType": "decimal"', None),
    ('{"type": "array", "items": "long"}, "logicalType": "timestamp-millis"', None),
]  # fmt: skip


@pytest.mark.parametrize(("written", "right"), NEXT_TO_TYPE)
def test_a_logical_type_next_to_a_type_is_moved_into_it(tmp_path: Path, written: str, right: str | None) -> None:
    """The quoted type is accepted as it is; where none can carry the logical type, it is removed."""
    path = tmp_path / "t.avsc"
    path.write_text(f'{{"type": "record", "name": "R", "fields": [{{"name": "t", "type": {written}}}]}}')
    (finding,) = schema_findings(path)
    assert finding.fix == ("Remove it." if right is None else f'Write "type": {right}, and remove it here.')
    assert apply(finding)
    assert schema_findings(path) == []


WRONG_BASE = ["date", "uuid", "decimal", "big-decimal", "duration", "timestamp-nanos"]


@pytest.mark.parametrize("name", WRONG_BASE)
def test_a_logical_type_of_another_type_names_its_own(tmp_path: Path, name: str) -> None:
    """All that the right type needs is quoted."""
    path = tmp_path / "t.avsc"
    fields = f'[{{"name": "t", "type": {{"type": "boolean", "logicalType": "{name}"}}}}]'
    path.write_text(f'{{"type": "record", "name": "R", "fields": {fields}}}')
    (finding,) = schema_findings(path)
    assert apply(finding)
    assert schema_findings(path) == []


def schema_findings(path: Path) -> list[Finding]:
    findings = Findings()
    AvroRules(findings, is_strict=True).check(Document(path).root)
    return findings.ordered(str(path))


def test_findings_in_an_avro_schema_name_the_field(copy: Copy) -> None:
    """The place has its index only."""
    inner = '{"type": "record", "name": "Inner", "fields": [{"name": "deep", "type": "flot"}]}'
    copy.edit('"type": "float"', f'"type": {inner}', MACHINE)
    (finding,) = [one for one in copy.findings() if "flot" in one.message]
    assert finding.path == "#/fields/2/type/fields/0/type"
    assert finding.message == "Field 'value.deep': Unknown Avro type \"flot\"."
