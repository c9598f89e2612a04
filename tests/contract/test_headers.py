"""Headers and `x-timestamp` in the contract: what is read of them, and what is found wrong with them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import REPOSITORY, Copy

if TYPE_CHECKING:
    from pathlib import Path

AVRO = "#/components/messages/vibrationAvro"
JSON = "#/components/messages/vibrationJson"
TIME = "x-timestamp: $message.payload#/measured_at"
OLD = ("protocolVersion: '5.0'", "protocolVersion: 3.1.1")


@pytest.fixture
def step(tmp_path: Path) -> Copy:
    """Give a copy of the documentation's step about headers."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "8", tmp_path, dirs_exist_ok=True)
    return Copy(tmp_path)


def test_the_contract_holds_what_both_messages_declare(step: Copy) -> None:
    """Only streams with a header out of the MQTT message keep its properties."""
    streams = step.contract().streams
    vibration = streams["receiveVibration"]
    assert vibration.user_properties == {"traceparent", "firmware"}
    assert vibration.route.required_headers == {"traceparent"}
    assert vibration.route.timestamp == "/measured_at"
    assert [set(each) for each in vibration.example_headers] == [{"traceparent", "firmware"}]
    assert [vibration.keeps_properties, streams["receiveOvens"].keeps_properties] == [True, False]


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (
            "          traceparent: {type: string, desc", "          tracepart: {type: string, desc",
            f"{AVRO}/headers/properties/traceparent", "no MQTT message of its streams declares it",
        ),
        (
            "          mqtt.qos: {type: string}\n          mqtt.retain: {type: string}\n          mqtt.content",
            "          mqtt.quos: {type: string}\n          mqtt.content",
            f"{AVRO}/headers/properties/mqtt.quos", "Did you mean 'mqtt.qos'?",
        ),
        (
            "          traceparent: {type: string}\n", "          traceparent: {type: integer}\n",
            f"{AVRO}/headers/properties/traceparent/type", "must be text",
        ),
        (
            "required: [traceparent]", "required: [traceparent, site]",
            f"{AVRO}/headers/required/1", "has no value for the required header",
        ),
        (*OLD, f"{JSON}/headers", "requires the header 'traceparent', but MQTT 3.1.1 has no properties"),
        (
            "firmware: '2.4'}", "firmware: 2.4}",
            f"{JSON}/examples/0/headers/firmware", "2.4 is not of type 'string'",
        ),
        (
            "          headers: {traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01}\n",
            "          headers: {traceparent: 00-4b}\n",
            f"{AVRO}/examples/0/headers/traceparent", "expected '00-4b'",
        ),
        (
            "headers: {traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, firmware: '2.4'}",
            "headers: {firmware: '2.4'}",
            f"{AVRO}/examples/0/headers/traceparent", "has nothing in the header 'traceparent'",
        ),
        (TIME, "x-timestamp: measured_at", f"{AVRO}/x-timestamp", "not an expression"),
        (TIME, "x-timestamp: 7", f"{AVRO}/x-timestamp", "not an expression"),
        (TIME, "x-timestamp: $message.header#/at", f"{AVRO}/x-timestamp", "must be a field of the record"),
        (TIME, "x-timestamp: $message.payload#", f"{AVRO}/x-timestamp", "must be a field of the record"),
        (TIME, "x-timestamp: $message.payload#/measured", f"{AVRO}/x-timestamp",
         "Did you mean '$message.payload#/measured_at'?"),
        (TIME, "x-timestamp: $message.payload#/radial/at", f"{AVRO}/x-timestamp", "has no field at '/radial/at'"),
        (TIME, "x-timestamp: $message.payload#/axial/rms", f"{AVRO}/x-timestamp", "has no field at '/axial/rms'"),
        (TIME, "x-timestamp: $message.payload#/radial/rms", f"{AVRO}/x-timestamp", "is not an Avro timestamp"),
        (TIME, "x-timestamp: $message.payload#/motor", f"{AVRO}/x-timestamp", "is not an Avro timestamp"),
    ],
)  # fmt: skip
def test_check_finds_what_is_wrong(step: Copy, old: str, new: str, path: str, message: str) -> None:
    step.edit(old, new)
    errors = {one.path: f"{one.message} {one.fix}" for one in step.findings() if one.severity == "error"}
    assert message in errors.pop(path, "")
    assert all("examples" in other for other in errors), "nothing but examples that no longer fit"


@pytest.mark.parametrize(
    "kind",
    [
        '"long"',
        '{"type": "long", "logicalType": "local-timestamp-millis"}',
        '[{"type": "long", "logicalType": "timestamp-millis"}]',
        '["null", "string", {"type": "long", "logicalType": "timestamp-millis"}]',
    ],
)
def test_check_refuses_a_field_that_is_not_surely_a_moment(step: Copy, kind: str) -> None:
    """A bare long may count seconds; a local time has no zone; text is no time at all."""
    stated = '"type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "End'
    step.edit(stated, f'"type": {kind}, "doc": "End', "vibration.avsc")
    assert (f"{AVRO}/x-timestamp", True) in [
        (one.path, "is not an Avro timestamp" in one.message) for one in step.findings()
    ]


@pytest.mark.parametrize(
    ("configuration", "is_warned"),
    [
        ("cleanup.policy: [delete], retention.ms: 604800000", False),
        ("retention.ms: -1", False),
        ("cleanup.policy: [compact]", False),
        ("cleanup.policy: [delete]", True),
        ("cleanup.policy: [compact, delete]", True),
        ("max.message.bytes: 1000000", True),
    ],
)
def test_check_warns_of_a_timestamp_without_retention(step: Copy, configuration: str, is_warned: bool) -> None:  # noqa: FBT001 - a column
    """The contract then does not show which records get the time of their arrival."""
    step.edit("cleanup.policy: [delete], retention.ms: 604800000", configuration)
    found = [one for one in step.findings() if one.path == f"{AVRO}/x-timestamp"]
    assert [(one.severity, "retention.ms: 604800000" in one.fix) for one in found] == [("warning", True)] * is_warned


@pytest.mark.parametrize("unit", ["millis", "micros", "nanos"])
@pytest.mark.parametrize("form", ["{}", '["null", {}]', '[{}, "null"]'])
def test_a_timestamp_may_be_null_and_of_any_unit(step: Copy, unit: str, form: str) -> None:
    kind = form.replace("{}", f'{{"type": "long", "logicalType": "timestamp-{unit}"}}')
    stated = '"type": {"type": "long", "logicalType": "timestamp-millis"}, "doc": "End'
    step.edit(stated, f'"type": {kind}, "doc": "End', "vibration.avsc")
    assert not [one for one in step.findings() if "x-timestamp" in one.path]


def warnings(step: Copy) -> list[tuple[str, str]]:
    found = step.findings()
    assert all(one.severity == "warning" for one in found), found
    return [(one.path, one.message) for one in found]


def test_check_warns_of_headers_that_mqtt_3_1_1_does_not_have(step: Copy) -> None:
    """They are never set, which is no error when the record does not require them."""
    step.edit(*OLD)
    step.edit("        required: [traceparent]\n", "")
    properties = f"{AVRO}/headers/properties"
    assert [path for path, message in warnings(step) if "is never set" in message] == [
        f"{properties}/{name}" for name in ("traceparent", "mqtt.content_type", "mqtt.correlation_data")
    ]


def test_check_warns_when_dead_letters_do_not_declare_the_properties(step: Copy) -> None:
    step.edit("          mqtt.properties: {", "          payload.sha256: {")
    step.edit("          payload.sha256: {type: string}\n", "")
    ((path, message),) = warnings(step)
    assert path == "#/components/messages/deadLetter/headers"
    assert message == "Dead letters have the header 'mqtt.properties', which is not declared."


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("firmware: {type: string,", "firmware: {type: string, pattern: '^[0-9.]+$',",
         f"{JSON}/headers/properties/firmware",
         "The gateway does not enforce 'pattern' of the header 'firmware': values that violate it pass."),
        ("firmware: {type: string,", "firmware: {oneOf: [{const: '2.4'}],",
         f"{JSON}/headers/properties/firmware", "does not enforce 'oneOf'"),
        ("          traceparent: {type: string}\n", "          traceparent: {minLength: 55, maxLength: 55}\n",
         f"{AVRO}/headers/properties/traceparent", "does not enforce 'minLength' and 'maxLength'"),
        ("mqtt.content_type: {type: string}", "mqtt.content_type: {const: application/json}",
         f"{AVRO}/headers/properties/mqtt.content_type", "does not enforce 'const'"),
        ("      headers:\n        type: object\n        properties:\n          traceparent",
         "      headers:\n        required: [traceparent, firmware]\n        properties:\n          traceparent",
         f"{JSON}/headers/required/1", "Readings without the header 'firmware' pass"),
    ],
)  # fmt: skip
def test_check_warns_of_constraints_that_headers_do_not_have(
    step: Copy, old: str, new: str, path: str, message: str
) -> None:
    """What devices send in a user property is passed on unchanged."""
    step.edit(old, new)
    ((place, text),) = warnings(step)
    assert (place, message in text) == (path, True)


def test_a_constraint_of_what_the_gateway_writes_is_no_finding(step: Copy) -> None:
    rest = "          mqtt.retain: {type: string}\n          mqtt.content"
    step.edit(f"          mqtt.qos: {{type: string}}\n{rest}", f"          mqtt.qos: {{enum: ['0', '1']}}\n{rest}")
    assert warnings(step) == []


def test_check_warns_when_kafka_dates_the_records_itself(step: Copy) -> None:
    step.edit("topicConfiguration: {cleanup", "topicConfiguration: {message.timestamp.type: LogAppendTime, cleanup")
    ((path, message),) = warnings(step)
    assert path.endswith("/topicConfiguration/message.timestamp.type")
    assert "x-timestamp has no effect" in message


def test_a_header_may_be_filled_in_by_one_of_several_streams(step: Copy) -> None:
    """The others' records do without it; one that requires it is message which stream cannot have it."""
    step.edit(
        "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
        "    x-forward-to: {$ref: '#/operations/sendVibration'}",
        "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
        "    x-forward-to: {$ref: '#/operations/sendVibration'}\n"
        "  receiveMore:\n"
        "    action: receive\n"
        "    channel: {$ref: '#/channels/more'}\n"
        "    traits: [{$ref: '#/components/operationTraits/subscription'}]\n"
        "    x-forward-to: {$ref: '#/operations/sendVibration'}",
    )
    step.edit(
        "  vibrationTopic:\n    address",
        "  more:\n    address: more/{motor}\n    servers: [{$ref: '#/servers/broker'}]\n"
        "    parameters: {motor: {description: The motor., location: $message.payload#/motor}}\n"
        "    messages: {window: {payload: {$ref: '#/components/schemas/vibration'}}}\n"
        "  vibrationTopic:\n    address",
    )
    errors = [one for one in step.findings() if one.severity == "error"]
    assert [(one.path, "does not declare" in one.message) for one in errors] == [
        ("#/channels/more/messages/window/headers", True)
    ]
    step.edit("        required: [traceparent]\n", "")
    streams = step.contract().streams
    assert streams["receiveMore"].user_properties == set()
