"""What the document can say beyond what ours says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.contract import load
from gateway.core.reading import Reading, Record
from gateway.core.stream_transform import transform_of
from gateway.documents import yaml_file

if TYPE_CHECKING:
    from tests.contract.conftest import Copy


def test_load_reads_a_document_in_json(copy: Copy) -> None:
    (copy.folder / "asyncapi.json").write_text(json.dumps(yaml_file.read(copy.document).data, indent=1))
    found = load(copy.folder / "asyncapi.json")
    assert found.streams.keys() == copy.contract().streams.keys()


def test_load_follows_references_into_other_files(copy: Copy) -> None:
    """A reference in the other file starts from that file's folder."""
    (copy.folder / "parts").mkdir()
    (copy.folder / "parts" / "door.yaml").write_text(
        "payload:\n  schemaFormat: application/vnd.apache.avro;version=1.9.0\n"
        "  schema: {$ref: ../schemas/door_sensor.avsc}\n"
    )
    copy.edit("doorSensor:\n      schemaFormat: application/vnd.apache.avro;version=1.9.0\n"
              "      schema: {$ref: ./schemas/door_sensor.avsc}",
              "doorSensor: {$ref: parts/door.yaml#/payload}")  # fmt: skip
    schema = copy.contract().streams["receiveDoors"].route.schema
    assert schema is not None
    assert schema.path == copy.folder / "schemas" / "door_sensor.avsc"


def test_load_reads_how_to_tell_that_readings_are_missing(copy: Copy) -> None:
    copy.edit("{$ref: '#/operations/sendMachineSensors'}\n",
              "{$ref: '#/operations/sendMachineSensors'}\n    x-sequence: $message.payload#/n\n"
              "    x-silent-after: 60\n")  # fmt: skip
    copy.edit('"fields": [', '"fields": [{"name": "n", "type": ["null", "long"], "default": null},',
              "schemas/machine_sensor.avsc")  # fmt: skip
    streams = copy.contract().streams
    watched = streams.pop("receiveFactorySensors")
    assert (watched.sequence, watched.silent_after, watched.is_watched) == ("/n", 60, True)
    assert not any(stream.is_watched for stream in streams.values())


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("x-sequence: $message.payload#/valu", "No field of gateway.factory.MachineSensor reads /valu."),
        ("x-sequence: $message.payload#/units", "neither int nor long"),
        ("x-sequence: $message.payload#", "point at a member of the payload"),
        ("x-sequence: $message.header#/n", "point at a member of the payload"),
        ("x-sequence: number", "not an expression of the form"),
        ("x-sequence: {}", "not an expression of the form"),
        ("x-silent-after: 0", "0 is not a number of seconds"),
        ("x-silent-after: 10s", "'10s' is not a number of seconds"),
        ("x-silent-after: true", "true is not a number of seconds"),
        ("x-silent-afte: 10", "Unknown extension 'x-silent-afte'"),
    ],
)
def test_examine_says_what_is_wrong_with_sequence_and_silence(copy: Copy, stated: str, message: str) -> None:
    copy.edit(
        "{$ref: '#/operations/sendMachineSensors'}\n", f"{{$ref: '#/operations/sendMachineSensors'}}\n    {stated}\n"
    )
    (finding,) = copy.findings()
    assert message in finding.message
    assert (finding.severity, finding.path.split("/")[-2]) == ("error", "receiveFactorySensors")
    assert finding.fix


def test_examine_names_the_other_file_where_the_fault_is_there(copy: Copy) -> None:
    (copy.folder / "door.yaml").write_text("# moved\npayload: {type: object, propertis: 5}\ntitel: x\n")
    copy.edit("doorSensorJson:\n", "doorSensorJson: {$ref: ./door.yaml}\n    formerly:\n")
    (finding,) = [one for one in copy.findings() if "titel" in one.message]
    assert (finding.source, finding.line, finding.path) == (str(copy.folder / "door.yaml"), 3, "#/titel")
    assert "title" in finding.fix


def test_load_reads_an_avro_schema_written_into_the_document(copy: Copy) -> None:
    text = json.dumps(json.loads((copy.folder / "schemas" / "door_sensor.avsc").read_text()))
    copy.edit("{$ref: ./schemas/door_sensor.avsc}", text)
    schema = copy.contract().streams["receiveDoors"].route.schema
    assert schema is not None
    assert (schema.path, schema.fullname) == (copy.document, "gateway.factory.DoorSensor")


def test_load_lets_unknown_members_pass_when_the_payload_schema_says_so(copy: Copy) -> None:
    copy.edit("additionalProperties: false\n        required: [reading_ts", "additionalProperties: true\n"
              "        required: [reading_ts")  # fmt: skip
    streams = copy.contract().streams
    assert streams["receiveWidgetLine"].unknown == "ignore"
    assert streams["receiveDoors"].unknown == "reject"


DOORS = "title: Door change (JSON)\n"


def test_load_lets_unknown_members_pass_of_a_message_described_in_avro(copy: Copy) -> None:
    copy.edit(DOORS, f"{DOORS}      x-additional-properties: true\n")
    streams = copy.contract().streams
    assert (streams["receiveDoors"].unknown, streams["receiveWidgetLine"].unknown) == ("ignore", "reject")
    reading = Reading("receiveDoors", b"doors/dock-2", b'{"state":"open","battery":{"V":3}}', 0)
    assert isinstance(transform_of(streams["receiveDoors"], [1], 1_000)(reading), Record)


@pytest.mark.parametrize(
    ("old", "value", "expected"),
    [
        (DOORS, "false", ""),
        (DOORS, "yes please", "'yes please' is neither true nor false. Write true or false."),
        (DOORS, "1", "1 is neither true nor false. Write true or false."),
        ("title: Widget reading (JSON)\n", "true", "described in Avro. Write additionalProperties in the schema."),
    ],
)
def test_examine_checks_the_switch_for_unknown_members(copy: Copy, old: str, value: str, expected: str) -> None:
    copy.edit(old, f"{old}      x-additional-properties: {value}\n")
    found = [f"{one.message} {one.fix}" for one in copy.findings() if one.path.endswith("/x-additional-properties")]
    assert len(found) == bool(expected)
    assert all(expected in one for one in found)


def test_load_gives_the_json_schema_with_references_written_out(copy: Copy) -> None:
    described = copy.contract().streams["receiveSmartMeter"].payload_schema
    assert described is not None
    assert described["additionalProperties"]["properties"]["time"]["type"] == "integer"
    assert "$ref" not in json.dumps(described)


def test_load_takes_subject_and_framing_from_the_binding(copy: Copy) -> None:
    copy.edit("schemaLookupStrategy: TopicNameStrategy", "schemaLookupStrategy: TopicRecordNameStrategy")
    copy.edit("schemaIdLocation: payload", "schemaIdLocation: header")
    route = copy.contract().streams["receiveDoors"].route
    assert (route.framing, route.subject) == ("header", "door-sensors-gateway.factory.DoorSensor")


def test_load_prefers_the_topic_of_the_binding(copy: Copy) -> None:
    copy.edit("      kafka:\n        partitions: 6\n", "      kafka:\n        topic: failures\n        partitions: 6\n")
    assert copy.contract().streams["receiveDoors"].dead_letters.topic.name == "failures"


def test_load_fills_in_server_variables_and_usual_ports(copy: Copy) -> None:
    copy.edit("host: localhost:1883\n", "host: '{site}.example'\n    variables: {site: {default: vienna}}\n")
    copy.edit("protocol: mqtt\n", "protocol: secure-mqtt\n")
    copy.edit("host: localhost:9092", "host: one.example, two.example:9192")
    found = copy.contract()
    assert found.mqtt_servers["factoryBroker"].host == "vienna.example:8883"
    assert found.mqtt_servers["factoryBroker"].tls
    assert found.kafka.host == "one.example:9092,two.example:9192"


def test_load_reads_security_and_last_will(copy: Copy) -> None:
    copy.edit("    title: Broker on the factory floor\n",
              "    security: [{$ref: '#/components/securitySchemes/device'}, {type: userPassword}]\n")  # fmt: skip
    copy.edit("components:\n", "components:\n  securitySchemes: {device: {type: X509}}\n")
    copy.edit("keepAlive: 60\n", "keepAlive: 20\n        maximumPacketSize: 5000\n"
              "        lastWill: {topic: status, qos: 1, message: offline, retain: true}\n")  # fmt: skip
    server = copy.contract().mqtt_servers["factoryBroker"]
    assert server.security == ("X509", "userPassword")
    assert (server.keep_alive, server.maximum_packet_size) == (20, 5000)
    assert server.last_will is not None
    assert (server.last_will.topic, server.last_will.message, server.last_will.qos) == ("status", "offline", 1)


def test_load_lets_an_operation_override_its_traits(copy: Copy) -> None:
    """JSON Merge Patch, the operation wins; what the trait says besides stays."""
    copy.edit("title: Receive the smart meter\n", "title: x\n    bindings: {mqtt: {qos: 0}}\n")
    streams = copy.contract().streams
    assert streams["receiveSmartMeter"].qos == 0
    assert streams["receiveSmartMeter"].dead_letters.topic.name == "gateway-dead-letters"
    assert streams["receiveDoors"].qos == 1


def test_load_lets_a_later_trait_win_over_an_earlier_one(copy: Copy) -> None:
    copy.edit("operationTraits:\n", "operationTraits:\n    never: {bindings: {mqtt: {qos: 0}}}\n")
    copy.edit("traits: [{$ref: '#/components/operationTraits/subscription'}]",
              "traits: [{$ref: '#/components/operationTraits/subscription'},"
              " {$ref: '#/components/operationTraits/never'}]")  # fmt: skip
    assert copy.contract().streams["receiveFactorySensors"].qos == 0


def test_load_accepts_a_list_of_one_in_x_forward_to(copy: Copy) -> None:
    copy.edit("x-forward-to: {$ref: '#/operations/sendDoorSensors'}",
              "x-forward-to: [{$ref: '#/operations/sendDoorSensors'}]")  # fmt: skip
    assert copy.contract().streams["receiveDoors"].route.operation == "sendDoorSensors"


def test_load_lets_a_stream_go_to_several_topics(copy: Copy) -> None:
    """The first is the stream's own; each has its schema, key and settings."""
    copy.edit("x-forward-to: {$ref: '#/operations/sendDoorSensors'}",
              "x-forward-to: [{$ref: '#/operations/sendDoorSensors'}, {$ref: '#/operations/sendLatest'}]")  # fmt: skip
    copy.edit("  doorSensorsTopic:\n", "  latest:\n    address: door-latest\n    servers: [{$ref: '#/servers/kafka'}]\n"
              "    messages: {record: {$ref: '#/components/messages/doorSensorAvro'}}\n"
              "    bindings: {kafka: {topicConfiguration: {cleanup.policy: [compact]}, bindingVersion: 0.5.0}}\n"
              "  doorSensorsTopic:\n")  # fmt: skip
    copy.edit("operations:\n", "operations:\n"
              "  sendLatest: {action: send, channel: {$ref: '#/channels/latest'}}\n")  # fmt: skip
    stream = copy.contract().streams["receiveDoors"]
    assert [route.topic.name for route in stream.routes] == ["door-sensors", "door-latest"]
    assert [route.topic.is_compacted for route in stream.routes] == [False, True]


def test_load_accepts_3_0(copy: Copy) -> None:
    copy.edit("asyncapi: 3.1.0", "asyncapi: 3.0.0")
    assert len(copy.contract().streams) == 4
