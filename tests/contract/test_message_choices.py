"""Operations of several messages: what tells them apart, what `check` refuses, and messages of real devices."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.contract import Choice, examination, load
from gateway.contract.document import Document
from gateway.core.reading import DeadLetter, Reading, Record
from gateway.core.stream_transform import transform_of
from gateway.errors import Finding
from tests.contract.conftest import REPOSITORY, Copy
from tests.contract.test_findings import assert_fixed

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.encoded_transform import EncodedTransform


@pytest.fixture
def home(tmp_path: Path) -> Copy:
    """Climate sensors, door contacts and buttons at one address."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "20", tmp_path, dirs_exist_ok=True)
    return Copy(tmp_path)


def test_load_reads_each_message_as_a_stream_of_its_own(home: Copy) -> None:
    stream = home.contract().streams["receiveClimate"]
    assert [(one.name, one.stream and one.stream.route.topic.name) for one in stream.messages] == [
        ("climate", "climate"), ("contact", "contacts"), ("button", None),
    ]  # fmt: skip
    assert [route.topic.name for route in stream.routes] == ["climate", "contacts"]
    assert not any(one.stream.messages for one in stream.messages if one.stream)


CONTACT = "#/components/messages/contactJson"
FORWARD = "      x-forward-to: {$ref: '#/operations/sendContact'}\n"


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("          temperature: false\n", "", f"{CONTACT}/payload/properties",
         '(#/components/messages/climateJson): {"temperature": 19.5, "linkquality": 55, "contact": true} fits both.'),
        ("contact: false, ", "", "#/components/messages/buttonJson/payload/properties",
         '(#/components/messages/contactJson): {"contact": true, "linkquality": 61, "action": "toggle"} fits both.'),
        ("    contactJson:\n      contentType: application/json\n", "    contactJson:\n      contentType: text/plain\n",
         f"{CONTACT}/contentType", "no JSON, whose members tell messages apart"),
        ("x-ignored: true\n", "x-ignored: 'yes'\n", "#/components/messages/buttonJson/x-ignored", "neither true nor"),
        ("x-ignored: true\n", "x-ignored: true\n" + FORWARD, "#/components/messages/buttonJson/x-forward-to",
         "drops all readings"),
        ("payload: {action: toggle, linkquality: 61}", "payload: {linkquality: 61}",
         "#/components/messages/buttonJson/examples/0/payload", "does not fit the message 'button'"),
        ("    address: contacts\n", "    address: climate\n", "#/operations/receiveClimate", "with different schemas"),
        (FORWARD, FORWARD.replace("Contact", "Contacts"), f"{CONTACT}/x-forward-to", "leads nowhere"),
        (FORWARD, "      x-forward-to: []\n", f"{CONTACT}/x-forward-to", "names no operation"),
        ("{report: {$ref: '#/components/messages/contactAvro'}}",
         "{report: {$ref: '#/components/messages/contactAvro'}, other: {$ref: '#/components/messages/climateAvro'}}",
         "#/channels/contactTopic/messages", "more than one message"),
        ("contact: true, linkquality: 55", "contact: 1, linkquality: 55", f"{CONTACT}/examples/0/payload/contact",
         "does not match"),
    ],
)  # fmt: skip
def test_examine_refuses(home: Copy, old: str, new: str, path: str, message: str) -> None:
    home.edit(old, new)
    before = home.findings()
    finding = next((one for one in before if one.path == path and message in one.message), None)
    assert finding, [str(one) for one in before]
    assert finding.severity == "error"
    assert_fixed(home, finding, before)


def test_examine_forbids_all_members_of_which_another_message_has_one(home: Copy) -> None:
    """An object that has either cannot be the message that forbids both."""
    home.edit("        required: [contact]\n", "        anyOf: [{required: [contact]}, {required: [opening]}]\n")
    home.edit('"name": "contact", ', '"name": "contact", "default": false, ', "contact.avsc")
    home.edit("contact: false, ", "")
    before = home.findings()
    finding = next(one for one in before if "Nothing tells" in one.message)
    assert '{"contact": true, "linkquality": 61, "action": "toggle"} fits both.' in finding.message
    assert finding.fix == "Write contact: false, opening: false."
    assert_fixed(home, finding, before)
    assert home.contract().streams["receiveClimate"].messages


def test_examine_refuses_messages_all_of_which_are_ignored(home: Copy) -> None:
    home.edit(FORWARD, "      x-ignored: true\n")
    home.edit("    climateJson:\n", "    climateJson:\n      x-ignored: true\n")
    (finding,) = [one for one in home.findings() if "are ignored" in one.message]
    assert finding.path == "#/components/messages/climateJson/x-ignored"


def test_examine_shows_the_least_that_fits_two_messages_without_examples(home: Copy) -> None:
    home.edit("      examples: [{name: cellar, payload: {contact: true, linkquality: 55}}]\n", "")
    home.edit("          temperature: false\n", "")
    home.edit("      examples: [{name: attic, payload: {temperature: 19.5, linkquality: 76}}]\n", "")
    messages = [one.message for one in home.findings() if one.severity == "error"]
    assert any('{"contact": true, "temperature": 1} fits both' in one for one in messages), messages


def test_examine_shows_a_fraction_that_fits_two_messages(home: Copy) -> None:
    """The values of a member are compared as decimals, and shown as JSON."""
    home.edit("      examples: [{name: cellar, payload: {contact: true, linkquality: 55}}]\n", "")
    home.edit("          temperature: false\n", "          temperature: {enum: [19.5, 20.5]}\n")
    home.edit("required: [contact]", "required: [contact, temperature]")
    home.edit("      examples: [{name: attic, payload: {temperature: 19.5, linkquality: 76}}]\n", "")
    messages = [one.message for one in home.findings() if one.severity == "error"]
    assert any('{"contact": true, "temperature": 19.5} fits both' in one for one in messages), messages


def test_messages_need_no_target_of_their_operation_when_each_has_one(home: Copy) -> None:
    home.edit("    x-forward-to: {$ref: '#/operations/sendClimate'}\n", "")
    assert "#/operations/receiveClimate" in [one.path for one in home.findings()]
    home.edit("    climateJson:\n", "    climateJson:\n      x-forward-to: {$ref: '#/operations/sendClimate'}\n")
    assert home.contract().streams["receiveClimate"].route.topic.name == "climate"


def test_stage_without_the_topic_of_a_message_is_refused(home: Copy) -> None:
    """The other messages have somewhere to go, so the stream stays: readings of this one would be lost."""
    home.edit("  kafka:\n", "  other: {host: 'other:9092', protocol: kafka}\n  kafka:\n")
    home.edit("address: contacts\n    servers: [{$ref: '#/servers/kafka'}]",
              "address: contacts\n    servers: [{$ref: '#/servers/other'}]")  # fmt: skip
    place = Finding("gateway.yaml", 1, "use_servers", "")
    _, findings = examination.examine(Document(home.document), Choice(("broker", "kafka"), place))
    assert [(one.path, one.severity) for one in findings] == [(f"{CONTACT}/x-forward-to", "error")]
    both = "[{$ref: '#/operations/sendContact'}, {$ref: '#/operations/sendClimate'}]"
    home.edit(FORWARD, f"      x-forward-to: {both}\n")
    _, findings = examination.examine(Document(home.document), Choice(("broker", "kafka"), place))
    assert not [one for one in findings if "only to servers" in one.message]


# --- messages of real devices ------------------------------------------------------------------------------------

TEXT, NUMBER, OBJECT, BOOLEAN = {"type": "string"}, {"type": "number"}, {"type": "object"}, {"type": "boolean"}


def kind(required: list[str], **properties: Any) -> dict[str, Any]:
    """An open JSON Schema: a device sends more members than those that matter."""
    return {"type": "object", "additionalProperties": True, "required": required, "properties": properties}


def shelly(method: str) -> dict[str, Any]:
    return kind(["src", "method"], src=TEXT, method={"const": method}, params=OBJECT)


DEVICE = kind(["deviceName"], deviceName=TEXT)
FAMILIES = {
    "shelly": ("/src", {each: shelly(each) for each in ("NotifyStatus", "NotifyFullStatus", "NotifyEvent")}),
    "zigbee2mqtt": ("/name", {
        "contact": kind(["contact"], name=TEXT, contact=BOOLEAN, temperature=False, power=False),
        "climate": kind(["temperature", "humidity"], name=TEXT, temperature=NUMBER, humidity=NUMBER, power=False),
        "plug": kind(["power", "energy"], name=TEXT, power=NUMBER, energy=NUMBER),
    }),
    "chirpstack": ("/deviceInfo/deviceName", {
        "up": kind(["deviceInfo", "fCnt", "data"], deviceInfo=DEVICE, fCnt=NUMBER, data=TEXT),
        "join": kind(["deviceInfo", "devAddr"], deviceInfo=DEVICE, devAddr=TEXT, data=False, margin=False,
                     acknowledged=False),
        "status": kind(["deviceInfo", "margin"], deviceInfo=DEVICE, margin=NUMBER, data=False, acknowledged=False),
        "ack": kind(["deviceInfo", "acknowledged"], deviceInfo=DEVICE, acknowledged=BOOLEAN, data=False),
    }),
}  # fmt: skip
INFO = {"tenantId": "52f14cd4", "deviceName": "well-3", "devEui": "0101010101010101"}
SENT = [
    ("shelly", "NotifyStatus", {"src": "shellypro3em-08f9e0e3e1a0", "dst": "x", "method": "NotifyStatus",
     "params": {"ts": 1711542060.11, "em:0": {"id": 0, "a_current": 4.029, "total_act_power": 983.2}}}),
    ("shelly", "NotifyFullStatus", {"src": "shellyplus1pm-a8032abe54dc", "dst": "x", "method": "NotifyFullStatus",
     "params": {"ts": 1631266595.44, "ble": {}, "switch:0": {"id": 0, "apower": 0.0, "temperature": {"tC": 53.2}}}}),
    ("shelly", "NotifyEvent", {"src": "shellyplusi4-a8032ab1fe78", "dst": "x", "method": "NotifyEvent",
     "params": {"ts": 1625490072.28, "events": [{"component": "input:0", "id": 0, "event": "single_push"}]}}),
    ("shelly", "no_message", {"id": 1, "src": "shellyplus1pm-a8032abe54dc", "dst": "x", "result": {"output": True}}),
    ("zigbee2mqtt", "contact", {"battery": 100, "contact": False, "linkquality": 112, "voltage": 3000}),
    ("zigbee2mqtt", "climate", {"battery": 97, "humidity": 48.7, "pressure": 977, "temperature": 21.5}),
    ("zigbee2mqtt", "plug", {"current": 0.21, "energy": 12.08, "power": 43, "state": "ON", "voltage": 229,
     "update": {"installed_version": 65, "state": "idle"}}),
    ("zigbee2mqtt", "no_message", {"action": "toggle", "linkquality": 61}),
    ("chirpstack", "up", {"deduplicationId": "3ac7e3c4", "time": "2022-07-18T09:34:15.77Z", "deviceInfo": INFO,
     "devAddr": "00189440", "adr": True, "dr": 1, "fCnt": 4, "fPort": 1, "data": "qg==", "rxInfo": []}),
    ("chirpstack", "join", {"deduplicationId": "c9dbe358", "time": "2022-07-18T09:33:28.8Z", "deviceInfo": INFO,
     "devAddr": "00189440"}),
    ("chirpstack", "status", {"deduplicationId": "b83e6bd4", "deviceInfo": INFO, "margin": 10, "batteryLevel": 88.5,
     "externalPowerSource": False}),
    ("chirpstack", "ack", {"deduplicationId": "7d1a5d1e", "deviceInfo": INFO, "queueItemId": "fe8a3a1a",
     "acknowledged": True, "fCntDown": 9}),
    ("chirpstack", "no_message", {"deviceInfo": INFO, "level": "ERROR", "code": "UPLINK_CODEC"}),
]  # fmt: skip


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, EncodedTransform]:
    """The transform of a family's messages, each of which has a topic of its name."""
    key, kinds = FAMILIES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    stream = load(write(folder, key, kinds)).streams["receive"]
    return request.param, transform_of(stream, range(len(kinds)), 10_000)


def write(folder: Path, key: str, kinds: dict[str, Any]) -> Path:
    """Write a contract of one address, whose records have a key only, and the messages' schemas."""
    shutil.copytree(REPOSITORY / "docs" / "steps" / "20", folder, dirs_exist_ok=True)
    document = yaml.safe_load((folder / "asyncapi.yaml").read_text())
    record = {"type": "record", "name": "Device", "fields": [
        {"name": "device", "type": "string", "x-source": f"$message.payload#{key}"},
    ]}  # fmt: skip
    (folder / "device.avsc").write_text(json.dumps(record))
    kafka = [{"$ref": "#/servers/kafka"}]
    channels, operations = document["channels"], document["operations"]
    parameter = (
        {"description": "The device.", "location": f"$message.payload#{key}"}
        if key == "/name"
        else {"description": "x"}
    )
    channels["home"] = {
        "address": "home/{id}",
        "servers": [{"$ref": "#/servers/broker"}],
        "parameters": {"id": parameter},
    }
    channels["home"]["messages"] = {
        name: {"payload": schema, "x-forward-to": {"$ref": f"#/operations/send{name}"}}
        for name, schema in kinds.items()
    }
    operations["receive"] = {"action": "receive", "channel": {"$ref": "#/channels/home"},
                             "x-dead-letter-to": {"$ref": "#/operations/sendDeadLetter"}}  # fmt: skip
    for name in kinds:
        operations[f"send{name}"] = {"action": "send", "channel": {"$ref": f"#/channels/device{name}"}}
        message = {
            "payload": {"schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": {"$ref": "device.avsc"}},
            "bindings": {"kafka": {"key": {"type": "string", "x-location": "$message.payload#/device"}}},
        }
        channels[f"device{name}"] = {"address": f"home-{name}", "servers": kafka, "messages": {"record": message}}
    (folder / "asyncapi.yaml").write_text(json.dumps(document))
    return folder / "asyncapi.yaml"


def test_payloads_of_real_devices_go_where_their_message_does(family: tuple[str, EncodedTransform]) -> None:
    """A payload of none is a dead letter, `no_message`."""
    name, transform = family
    for _, message, payload in (one for one in SENT if one[0] == name):
        result = transform(Reading("receive", b"home/device-1", json.dumps(payload).encode(), 0))
        expected = result.reason if isinstance(result, DeadLetter) else message
        assert expected == message
        assert isinstance(result, DeadLetter) or (isinstance(result, Record) and result.topic == f"home-{message}")
