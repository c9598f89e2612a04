"""What is allowed and not wise is said, and does not stop the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from gateway.contract import examine
from tests.contract.test_findings import assert_fixed

if TYPE_CHECKING:
    from tests.contract.conftest import Copy


class Doubt(NamedTuple):
    """A text replaced by another, and the warning it leads to."""

    old: str
    new: str
    path: str
    message: str


DOUBTS = [
    Doubt("cleanup.policy: [delete], retention.ms: 2419200000", "cleanup.policy: [compact]",
          "#/channels/deadLettersTopic/bindings/kafka/topicConfiguration/cleanup.policy", "keeps only the newest"),
    Doubt("cleanSession: false", "cleanSession: true", "#/servers/factoryBroker/bindings/mqtt/cleanSession",
          "the broker drops"),
    Doubt("        clientId: iot-gateway\n", "", "#/servers/factoryBroker/bindings/mqtt/clientId",
          "'gateway-factoryBroker' is used"),
    Doubt("sessionExpiryInterval: 604800", "sessionExpiryInterval: 0",
          "#/servers/factoryBroker/bindings/mqtt/sessionExpiryInterval", "With an expiry of 0"),
    Doubt("sessionExpiryInterval: 604800", "sessionExpiryInterval: 60",
          "#/servers/factoryBroker/bindings/mqtt/sessionExpiryInterval", "is disconnected for more than 60 s"),
    Doubt("keepAlive: 60", "keepAlive: 0", "#/servers/factoryBroker/bindings/mqtt/keepAlive", "the gateway pings"),
    Doubt("keepAlive: 30", "keepAlive: 3600", "#/servers/meterBroker/bindings/mqtt/keepAlive", "only after 5400 s"),
    Doubt("x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n",
          "x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n"
          "  again:\n    action: receive\n    channel: {$ref: '#/channels/gates'}\n"
          "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
          "    x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n",
          "#/operations/again/x-forward-to", "the same topic 'door-sensors'"),
    Doubt("  sendMachineSensors:\n",
          "  again: {action: receive, channel: {$ref: '#/channels/gates'}, x-ignored: true}\n  sendMachineSensors:\n",
          "#/operations/again", "so there is none to ignore"),
    Doubt("  sendMachineSensors:\n",
          "  again:\n    action: receive\n    channel: {$ref: '#/channels/gates'}\n    x-ignored: true\n"
          "    x-dead-letter-to: {$ref: '#/operations/sendDeadLetter'}\n  sendMachineSensors:\n",
          "#/operations/again/x-dead-letter-to", "drops all readings"),
    Doubt("address: door-sensors\n", "address: 'door-{location}'\n    parameters:\n      location: "
          "{enum: [dock-2, gate-1], location: $message.payload#/location}\n",
          "#/channels/doorSensorsTopic/parameters/location/location", "not from `location`"),
    Doubt("  sendMachineSensors:\n",
          "  idle: {action: send, channel: {$ref: '#/channels/doors'}}\n  sendMachineSensors:\n",
          "#/operations/idle", "No stream sends to"),
    Doubt("  kafka:\n", "  spare: {host: other, protocol: mqtt, bindings: {mqtt: {clientId: x}}}\n  kafka:\n",
          "#/servers/spare", "No stream uses"),
    Doubt("          error.pointer: {type: string, description: 'The place in the payload: a JSON pointer, empty for "
          "the whole.'}\n", "", "#/components/messages/deadLetter/headers", "not declared: error.pointer"),
    Doubt("  sendMachineSensors:\n",
          "  readBack: {action: receive, channel: {$ref: '#/channels/smartMeterTopic'}}\n  sendMachineSensors:\n",
          "#/operations/readBack", "is not on MQTT"),
    Doubt("keepAlive: 30", "sessionExpiryInterval: 60", "#/servers/meterBroker/bindings/mqtt/sessionExpiryInterval",
          "MQTT 3.1.1 has no session expiry"),
    Doubt("    title: Broker on the factory floor\n", "    pathname: /mqtt\n", "#/servers/factoryBroker/pathname",
          "has no path"),
    Doubt("retention.ms: 604800000", "retenton.ms: 604800000",
          "#/components/channelBindings/readings/kafka/topicConfiguration/retenton.ms", "no topic setting"),
    Doubt("contentType: application/vnd.apache.avro", "contentType: application/json",
          "#/components/messageTraits/record/contentType", "Records are Avro"),
    Doubt("examples: [dock-2]", "enum: [dock-2, gate-1]", "#/channels/doors/parameters/location/enum",
          "receives every value"),
    Doubt("widget_type, temp_celcius, widget_weight_g]", "widget_type]",
          "#/components/messages/widgetReadingJson/payload", "does not require /temp_celcius, /widget_weight_g"),
    Doubt("        additionalProperties: false\n        required: [reading_ts", "        required: [reading_ts",
          "#/components/messages/widgetReadingJson/payload/additionalProperties", "allows other members"),
    Doubt("payload: {$ref: '#/components/schemas/doorSensor'}",
          "payload: {$ref: '#/components/schemas/doorSensor', title: x}",
          "#/components/messages/doorSensorJson/payload", "next to $ref are ignored"),
    Doubt("    protocolVersion: '5.0'\n", "    protocolVersion: '5.0'\n    security: [{type: oauth2, flows: {}}, "
          "{type: userPassword}]\n", "#/servers/factoryBroker/security/0/type", "cannot log in with 'oauth2'"),
    Doubt("    title: Doors (MQTT)\n", "    title: Doors (MQTT)\n    tags: [{name: learned}]\n",
          "#/channels/doors/tags/0", "`gateway learn` proposed this, and no person has said that it is right: doors."),
    Doubt("refused, fault]", "refusd, fault]", "#/components/messages/deadLetter/headers/properties/error.reason/enum",
          "does not have refused and has unknown refusd"),
]  # fmt: skip

GATES = """\
  gates:
    address: gates/{location}
    servers: [{$ref: '#/servers/factoryBroker'}]
    parameters: {location: {location: $message.payload#/location}}
    messages: {change: {$ref: '#/components/messages/doorSensorJson'}}
  widgetLine:
"""


@pytest.mark.parametrize("name", ["datetime", "guid", "uid", "timestamp-seconds", "timestamp-milis", "of-our-own"])
def test_examine_warns_of_unknown_logical_types(copy: Copy, name: str) -> None:
    """Avro ignores them, so the gateway runs; a similar name is suggested."""
    copy.edit('"type": "float"', f'"type": {{"type": "float", "logicalType": "{name}"}}', "schemas/machine_sensor.avsc")
    copy.contract()
    (finding,) = [one for one in copy.findings() if "Unknown logical type" in one.message]
    assert finding.severity == "warning"
    assert ("Did you mean" in finding.fix) == (name != "of-our-own"), finding.fix


def test_the_member_to_require_is_one_that_the_message_describes(copy: Copy) -> None:
    """A field may have several locations, for messages of several forms."""
    copy.edit("widget_type, temp_celcius, widget_weight_g]", "widget_type, widget_weight_g]")
    other = '"x-source": ["$message.payload#/t", "$message.payload#/temp_celcius"]'
    copy.edit('"name": "temp_celcius",', f'"name": "temp_celcius", {other},', "schemas/widget_reading.avsc")
    (warning,) = [one for one in copy.findings() if "does not require" in one.message]
    assert "does not require /temp_celcius," in warning.message


@pytest.mark.parametrize("doubt", DOUBTS, ids=lambda doubt: doubt.message.replace(" ", "_"))
def test_examine_warns(copy: Copy, doubt: Doubt) -> None:
    copy.edit("  widgetLine:\n", GATES)  # a channel that no operation uses is no error
    copy.edit(doubt.old, doubt.new)
    contract, findings = examine(copy.document)
    assert contract is not None, findings
    (finding,) = [one for one in findings if doubt.message in one.message]
    assert (finding.severity, finding.path) == ("warning", doubt.path)
    assert finding.line > 0
    assert_fixed(copy, finding, findings)


def test_load_subscribes_at_qos_2_when_the_contract_says_2(copy: Copy) -> None:
    copy.edit("qos: 1", "qos: 2")
    assert {stream.qos for stream in copy.contract().streams.values()} == {2}


def test_examine_does_not_warn_where_the_schema_says_what_happens_to_other_members(copy: Copy) -> None:
    copy.edit("additionalProperties: false\n        required: [reading_ts",
              "additionalProperties: true\n        required: [reading_ts")  # fmt: skip
    assert copy.findings() == []


def test_examine_warns_of_a_subscription_that_is_wider_than_the_addresses(copy: Copy) -> None:
    """Two subscriptions that overlap become one; what it brings beside the two is dropped."""
    copy.edit("  widgetLine:\n", GATES.replace("gates/{location}", "'{location}/{gate}/oven_temp'")
              .replace("parameters: {", "parameters: {gate: {description: The gate.}, "))  # fmt: skip
    copy.edit("    channel: {$ref: '#/channels/doors'}\n    messages: [{$ref: '#/channels/doors/messages/change'}]\n",
              "    channel: {$ref: '#/channels/gates'}\n")  # fmt: skip
    (finding,) = [one for one in copy.findings() if "so the gateway subscribes" in one.message]
    assert finding.path == "#/operations/receiveDoors"
    assert (
        "+/+/oven_temp and factory/+/+ overlap on 'factoryBroker', so the gateway subscribes to +/+/+"
        in finding.message
    )


def test_examine_warns_once_of_streams_that_share_a_choice_of_topics(copy: Copy) -> None:
    """Two streams that go to the same operation share all its topics, which is one warning."""
    copy.edit("  widgetLine:\n", GATES)
    copy.edit("address: door-sensors\n",
              "address: 'door-{location}'\n    parameters: {location: {enum: [dock-2, gate-1]}}\n")  # fmt: skip
    copy.edit("  sendMachineSensors:\n",
              "  again:\n    action: receive\n    channel: {$ref: '#/channels/gates'}\n"
              "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
              "    x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n  sendMachineSensors:\n")  # fmt: skip
    (finding,) = [one for one in copy.findings() if "go to the same topic" in one.message]
    assert "'door-dock-2'" in finding.message


def test_examine_does_not_warn_where_a_part_of_the_schema_requires_the_members(copy: Copy) -> None:
    """`allOf` applies as well as the schema itself."""
    parts = "[{required: [temp_celcius]}, {allOf: [{required: [widget_weight_g]}]}]"
    copy.edit("widget_type, temp_celcius, widget_weight_g]", f"widget_type]\n        allOf: {parts}")
    assert copy.findings() == []
