"""Examples of one name on both sides are a test of the mapping between them, and it is run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gateway.errors import Finding
    from tests.contract.conftest import Copy

MACHINE = "schemas/machine_sensor.avsc"
SENT, RECORD = "#/components/messages/machineSensorJson/examples", "#/components/messages/machineSensorAvro/examples"
ALIKE = "value: 231.0, units: C}\n        - name: oven, named"
KEY = "key: {type: string, description: The machine.,"


def found(copy: Copy, path: str) -> Finding:
    """The one finding, which is at this place."""
    findings = copy.findings()
    assert [one.path for one in findings] == [path], "\n".join(map(str, findings))
    assert findings[0].line > 0
    return findings[0]


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (ALIKE, ALIKE.replace("231.0", "232.0"), "machineSensorAvro/examples/0/payload/value",
         "gives 231.0 here; expected 232.0"),
        ("reading_ts: 1582114965000", "reading_ts: 1582114965001", "widgetReadingAvro/examples/0/payload/reading_ts",
         "gives 1582114965000 here; expected 1582114965001"),
        ("            energy_import_wh: 83402.0\n", "", "smartMeterAvro/examples/0/payload/energy_import_wh",
         "gives 83402.0 here; expected nothing"),
        ("'1-0:16.7.0': {value: -310, time: 1694093410}\n", "'1-0:16.7.0': {value: -311, time: 1694093410}\n",
         "smartMeterAvro/examples/1/payload/other_registers/1-0:16.7.0/value", "gives -310 here; expected -311"),
        ("              '1-0:16.7.0': {value: -310, time: 1694093410}\n", "",
         "smartMeterAvro/examples/1/payload/other_registers/1-0:16.7.0",
         'gives {"value": -310, "time": 1694093410} here; expected nothing'),
    ],
)  # fmt: skip
def test_examine_reports_where_a_record_is_another_than_its_example(
    copy: Copy, old: str, new: str, path: str, message: str
) -> None:
    """The last occurrence of the text is the one in the Kafka example."""
    text = copy.document.read_text()
    assert old in text
    before, after = text.rsplit(old, 1)
    copy.document.write_text(before + new + after)
    assert message in found(copy, f"#/components/messages/{path}").message


TYPES = [
    ("bytes", "\u0001\u00ff", "\u0001\u00ff", ""),
    ("bytes", "\u0001\u00ff", "\u0001\u00fe", "/0/payload/value"),
    ({"type": "fixed", "name": "Two", "size": 2}, "ab", "ab", ""),
    ({"type": "fixed", "name": "Two", "size": 2}, "ab", "ac", "/0/payload/value"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, 231.25, 231.25, ""),
    ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, 231.25, 231.26, "/0/payload/value"),
    ({"type": "string", "logicalType": "uuid"}, *["c1a8e9a2-5b7c-4a6e-9f00-0123456789ab"] * 2, ""),
    ({"type": "long", "logicalType": "timestamp-micros"}, "2020-02-19T12:22:45Z", 1_582_114_965_000_000, ""),
    ({"type": "int", "logicalType": "date"}, "1970-01-02", 1, ""),
    ({"type": "int", "logicalType": "date"}, "1970-01-02", 2, "/0/payload/value"),
    ({"type": "array", "items": "int"}, [1, 2], [1, 2], ""),
    ({"type": "array", "items": "int"}, [1, 2], [1, 3], "/0/payload/value/1"),
    ({"type": "array", "items": "int"}, [1, 2], [1], "/0/payload/value"),
    (["null", "long"], None, None, ""),
    (["null", "long"], 5, None, "/0/payload/value"),
]


def machine_with(copy: Copy, avro_type: Any, sent: Any, record: Any) -> None:
    """Make the machine's value of another type, in the schema and in all its examples."""
    copy.edit('"type": "float"', f'"type": {json.dumps(avro_type)}', MACHINE)
    text = copy.document.read_text()
    text = text.replace("value: 231,", f"value: {json.dumps(sent)},")
    copy.document.write_text(text.replace("value: 231.0,", f"value: {json.dumps(record)},"))


@pytest.mark.parametrize(("avro_type", "sent", "record", "path"), TYPES)
def test_examine_compares_values_of_every_type(copy: Copy, avro_type: Any, sent: Any, record: Any, path: str) -> None:
    """Times are numbers in a record's example, bytes are text of their code points, decimals are numbers."""
    machine_with(copy, avro_type, sent, record)
    findings = copy.findings()
    assert {one.path for one in findings} == ({RECORD + path, RECORD + path.replace("0", "1", 1)} if path else set())
    assert all("gives" in one.message and "expected" in one.message for one in findings)


@pytest.mark.parametrize(
    ("avro_type", "sent", "message"),
    [
        ({"type": "fixed", "name": "Two", "size": 2}, "abc", "expected 2 bytes, got 3"),
        ("bytes", "\u20ac", "its code point is above 255"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, 1.255, "more than 2 digits after"),
    ],
)
def test_examine_checks_examples_of_bytes(copy: Copy, avro_type: Any, sent: Any, message: str) -> None:
    machine_with(copy, avro_type, sent, sent)
    findings = copy.findings()
    places = {f"{side}/{n}/payload/value" for side in (SENT, RECORD) for n in (0, 1)}
    if "digits after" in message:  # `round` would read it
        places = {"#/fields/2", *(place for place in places if place.startswith(RECORD))}
    assert {one.path for one in findings} == places
    assert all(message in one.message for one in findings)


def test_examine_takes_the_topic_from_the_namesake_s_header(copy: Copy) -> None:
    """What the payload leaves out comes from there."""
    header = "headers: {mqtt.topic: factory/MagicMaker3000/oven_temp}\n          payload"
    before, after = copy.document.read_text().rsplit(header, 1)
    copy.document.write_text(before + header.replace("oven_temp", "lid_temp") + after)
    assert "gives 'lid_temp' here; expected 'oven_temp'" in found(copy, f"{RECORD}/1/payload/sensor").message


def test_examine_makes_a_topic_from_the_parameters_where_there_is_no_header(copy: Copy) -> None:
    header = "headers: {mqtt.topic: factory/MagicMaker3000/oven_temp}\n          payload"
    before, after = copy.document.read_text().rsplit(header, 1)
    copy.document.write_text(before + "payload" + after)
    assert copy.findings() == []
    copy.edit("examples: [oven_temp]", "examples: [lid_temp]")
    assert "gives 'lid_temp' here" in found(copy, f"{RECORD}/1/payload/sensor").message


def test_examine_finds_keys_that_differ(copy: Copy) -> None:
    """Another record has another key; both are reported."""
    before, after = copy.document.read_text().rsplit("{location: gate-1, state: closed}", 1)
    copy.document.write_text(f"{before}{{location: gate-2, state: closed}}{after}")
    messages = {one.path: one.message for one in copy.findings()}
    place = "#/components/messages/doorSensorAvro/examples/1/payload"
    assert messages.keys() == {place, f"{place}/location"}
    assert "has the key 'gate-1'; expected 'gate-2'" in messages[place]


def test_examine_holds_keys_against_their_schema(copy: Copy) -> None:
    copy.edit(KEY, KEY.replace("type: string,", "type: string, maxLength: 5,"))
    findings = copy.findings()
    assert [one.path for one in findings] == [f"{SENT}/0/payload", f"{SENT}/1/payload"]
    assert "'MagicMaker3000' is too long" in findings[0].message
    assert "machineSensorAvro/bindings/kafka/key" in findings[0].fix


def add_stream(copy: Copy, name: str, sends_to: str = "") -> None:
    """Add a stream that shares both messages of the doors; its records go to a topic of its own, or where these do."""
    copy.edit("  widgetLine:\n", f"  {name}:\n    address: {name}/{{location}}\n"
              "    servers: [{$ref: '#/servers/factoryBroker'}]\n"
              "    parameters: {location: {location: $message.payload#/location}}\n"
              "    messages: {change: {$ref: '#/components/messages/doorSensorJson'}}\n  widgetLine:\n")  # fmt: skip
    copy.edit("  receiveWidgetLine:\n", f"  receive-{name}:\n    action: receive\n"
              f"    channel: {{$ref: '#/channels/{name}'}}\n"
              "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
              f"    x-forward-to: {{$ref: '#/operations/{sends_to or 'send-' + name}'}}\n"
              "  receiveWidgetLine:\n")  # fmt: skip
    if not sends_to:
        copy.edit("  widgetLine:\n", f"  {name}Topic:\n    address: {name}\n"
                  "    servers: [{$ref: '#/servers/kafka'}]\n"
                  "    messages: {change: {$ref: '#/components/messages/doorSensorAvro'}}\n"
                  "  widgetLine:\n")  # fmt: skip
        copy.edit("  receiveWidgetLine:\n", f"  send-{name}: {{action: send, "
                  f"channel: {{$ref: '#/channels/{name}Topic'}}}}\n  receiveWidgetLine:\n")  # fmt: skip


def test_examine_warns_once_of_streams_with_one_topic(copy: Copy) -> None:
    for name in ("gates", "hatches", "hoods"):
        add_stream(copy, name, "sendDoorSensors")
    message = found(copy, "#/operations/receive-gates/x-forward-to").message
    assert message == "'receiveDoors' and 'receive-gates' and 2 more streams go to the same topic 'door-sensors'."


def test_examine_accepts_an_example_that_fits_one_of_the_streams_that_share_its_messages(copy: Copy) -> None:
    """The second example has no location; the topic that its header names supplies it."""
    add_stream(copy, "gates")
    copy.edit("payload: {location: gate-1, state: closed}", "payload: {state: closed}")
    copy.edit("{mqtt.topic: doors/gate-1}", "{mqtt.topic: gates/gate-1}")
    assert copy.findings() == []


def test_examine_reports_an_example_that_fits_none_of_the_streams_once(copy: Copy) -> None:
    add_stream(copy, "gates")
    copy.edit("{mqtt.topic: doors/gate-1}", "{mqtt.topic: hatches/gate-1}")
    finding = found(copy, "#/components/messages/doorSensorAvro/examples/1/headers/mqtt.topic")
    assert finding.fix == "Write a topic of the form doors/{location} or gates/{location}."


def test_examine_compares_an_example_with_the_stream_of_its_topic(copy: Copy) -> None:
    """The other stream would make the same record of it, but not from this topic."""
    add_stream(copy, "gates")
    copy.edit("{mqtt.topic: doors/gate-1}", "{mqtt.topic: gates/gate-2}")
    finding = found(copy, "#/components/messages/doorSensorJson/examples/1/payload/location")
    assert "topic_mismatch" in finding.message


def test_examine_accepts_a_header_that_one_of_the_streams_that_share_a_record_supplies(copy: Copy) -> None:
    """One MQTT message declares the user property; the other stream's records go without."""
    add_stream(copy, "gates")
    copy.edit("    doorSensorAvro:\n", "    gateSensorJson:\n      headers: {properties: {firmware: {type: string}}}\n"
              "      payload: {$ref: '#/components/schemas/doorSensor'}\n    doorSensorAvro:\n")  # fmt: skip
    gates, after = copy.document.read_text().split("  gatesTopic:\n")
    gates = gates.removesuffix("messages/doorSensorJson'}}\n") + "messages/gateSensorJson'}}\n"
    copy.document.write_text(f"{gates}  gatesTopic:\n{after}")
    copy.edit("      payload: {$ref: '#/components/schemas/doorSensor'}\n      bindings",
              "      headers: {properties: {firmware: {type: string}}}\n"
              "      payload: {$ref: '#/components/schemas/doorSensor'}\n      bindings")  # fmt: skip
    assert found(copy, "#/components/messages/deadLetter/headers").severity == "warning"


def test_examine_tries_examples_of_a_stream_that_leads_nowhere(copy: Copy) -> None:
    """What is wrong with its route does not hide what is wrong with its examples."""
    copy.edit("    x-forward-to: {$ref: '#/operations/sendDoorSensors'}\n", "")
    copy.edit("state: closed}", "state: ajar}")
    assert {one.path for one in copy.findings()} >= {
        "#/operations/receiveDoors", "#/components/messages/doorSensorJson/examples/1/payload/state",
    }  # fmt: skip


def test_examine_warns_of_an_address_that_has_empty_levels(copy: Copy) -> None:
    text = copy.document.read_text()
    copy.document.write_text(text.replace("address: sma\n", "address: /sma\n").replace("topic: sma}", "topic: /sma}"))
    assert "empty" in found(copy, "#/channels/smartMeter/address").message
