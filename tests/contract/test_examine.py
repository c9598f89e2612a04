"""Whatever a file contains, the result is findings and never an exception; and all of them at once."""

from __future__ import annotations

import json
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from gateway.contract import examine, load
from gateway.documents import yaml_file
from gateway.errors import ConfigurationError, Finding
from tests.contract.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.conftest import Copy


class Fault(NamedTuple):
    """A text replaced by another, the path of the finding, and the text on its line."""

    file: str
    old: str
    new: str
    path: str
    line: str


FAULTS = [
    Fault("asyncapi.yaml", "  version: 0.1.0\n", "", "#/info", "info:"),
    Fault("asyncapi.yaml", "keepAlive: 60", "keepAlive: sixty", "#/servers/factoryBroker/bindings/mqtt/keepAlive",
          "keepAlive: sixty"),
    Fault("asyncapi.yaml", "host: localhost:9092", "host: ':'", "#/servers/kafka/host", "host: ':'"),
    Fault("asyncapi.yaml", "doors/{location}\n", "doors/#\n", "#/channels/doors/address", "address: doors/#"),
    Fault("asyncapi.yaml", "address: smart-meter", "address: smart meter", "#/channels/smartMeterTopic/address",
          "address: smart meter"),
    Fault("asyncapi.yaml", "    x-forward-to: {$ref: '#/operations/sendMachineSensors'}\n", "",
          "#/operations/receiveFactorySensors", "receiveFactorySensors:"),
    Fault("asyncapi.yaml", "value: 231, units: C}", "value: hot, units: C}",
          "#/components/messages/machineSensorJson/examples/0/payload/value", "value: hot"),
    Fault("schemas/widget_reading.avsc", '"type": "double"', '"type": "duoble"', "#/fields/4/type", "duoble"),
    Fault("schemas/door_sensor.avsc", '["open"', '["o pen"', "#/fields/1/type/symbols/0", '"o pen"'),
]  # fmt: skip


def test_examine_reports_all_faults_at_once_with_their_lines(copy: Copy) -> None:
    """One fault of each kind in one contract: none hides another."""
    for fault in FAULTS:
        copy.edit(fault.old, fault.new, fault.file)
    found = {(one.source, one.path): one.line for one in copy.findings()}
    for fault in FAULTS:
        line = found[str(copy.folder / fault.file), fault.path]
        assert fault.line in (copy.folder / fault.file).read_text().splitlines()[line - 1]


def test_load_raises_all_errors_and_no_warning(copy: Copy) -> None:
    copy.edit("cleanSession: false", "cleanSession: true")
    copy.edit("address: sma\n", "address: sma/#\n")
    copy.edit('"float"', '"flot"', "schemas/machine_sensor.avsc")
    with pytest.raises(ConfigurationError) as raised:
        load(copy.document)
    assert raised.value.exit_code == 78
    assert {one.path for one in raised.value.findings} == {"#/channels/smartMeter/address", "#/fields/2/type"}


TEXTS = {
    "a tab": ("a:\n\tb: 1\n", "tab"),
    "a key twice": ("asyncapi: 3.1.0\nasyncapi: 3.0.0\n", "repeated"),
    "an open bracket": ("a: [1, 2", "The YAML is invalid"),
    "nothing": ("", "empty"),
    "a list": ("- a\n", "not a mapping"),
    "a second document": ("asyncapi: 3.1.0\n---\na: b\n", "second document"),
    "a tag": ("a: !!python/object:os.system x\n", "tag"),
    "an alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "alias"),
    "a merge key": ("a: &a {b: 1}\nc: {<<: *a}\n", "merge key"),
    "brackets without end": ("a: " + "[" * 100_000, "nested"),
    "a control character": ("a: \x07\n", "not allowed"),
    "another version": ("asyncapi: 1.2.0\n", "not supported"),
    "OpenAPI": ("openapi: 3.1.0\ninfo: {title: x}\n", "is an OpenAPI document"),
    "no version": ("info: {title: x}\n", "not an AsyncAPI document"),
    "a number for a version": ("asyncapi: 3.1\n", "must be text"),
    "only a version": ("asyncapi: 3.1.0\n", "'info' is required here"),
    "too much": ("# " + "x" * 1_000_001, "larger"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_examine_finds_what_is_wrong_with_the_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "asyncapi.yaml"
    path.write_text(text)
    contract, findings = examine(path)
    assert contract is None
    assert any(message in one.message for one in findings), findings


def test_examine_reports_all_that_an_empty_contract_lacks(tmp_path: Path) -> None:
    """No servers and no stream are two findings of one pass."""
    path = tmp_path / "asyncapi.yaml"
    path.write_text("asyncapi: 3.1.0\ninfo: {title: Nothing yet, version: 1.0.0}\n")
    _, findings = examine(path)
    assert [one.path for one in findings] == ["#/operations", "#/servers"]


def test_examine_finds_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    for name, message in (("none.yaml", "does not exist"), (".", "directory"), ("latin.yaml", "not UTF-8")):
        contract, findings = examine(tmp_path / name)
        assert contract is None
        assert message in findings[0].message


def test_examine_stops_at_references_that_grow_without_bound(copy: Copy) -> None:
    """Thirty schemas that each refer twice to the next would be a billion when written out: this test would not end."""
    chain = "".join(
        f"    s{n}: {{type: object, properties: {{a: {{$ref: '#/components/schemas/s{n + 1}'}}, "
        f"b: {{$ref: '#/components/schemas/s{n + 1}'}}}}}}\n"
        for n in range(30)
    )
    copy.edit("  schemas:\n", f"  schemas:\n{chain}    s30: {{type: string}}\n")
    copy.edit("time: {type: integer, ", "time: {$ref: '#/components/schemas/s0', ")
    assert any("too large" in one.message for one in copy.findings())


REFERENCE_KNOTS = [
    "{$ref: '#/components/schemas/knot'}",
    "{$ref: '#/components/schemas/knot/inside'}",
    "{$ref: '#'}",
    "{$ref: ''}",
    "{$ref: asyncapi.yaml}",
    "{allOf: [{$ref: '#/components/schemas/knot'}]}",
    "{$ref: 5}",
    "{$ref: '#/components/schemas/knot%2'}",
    "{$ref: '#components'}",
    "{$ref: 'file:///etc/hostname'}",
    "{$ref: '//example.com/x'}",
    "{$ref: /dev/zero}",
    "{$ref: schemas}",
    "{$ref: 'sch%00ema.avsc'}",
]


@pytest.mark.parametrize("knot", REFERENCE_KNOTS)
def test_examine_refuses_references_in_knots(copy: Copy, knot: str) -> None:
    copy.edit("  schemas:\n", f"  schemas:\n    knot: {knot}\n")
    copy.edit("payload: {$ref: '#/components/schemas/doorSensor'}", "payload: {$ref: '#/components/schemas/knot'}")
    contract, findings = examine(copy.document)
    assert contract is None
    assert any(one.path.startswith("#/components/schemas/knot") for one in findings), findings


STREETLIGHTS = """\
asyncapi: 3.0.0
info: {title: Streetlights, version: 1.0.0}
servers:
  production:
    host: test.example:{port}
    protocol: mqtt
    variables: {port: {default: '1883', enum: ['1883', '8883']}}
    security: [{$ref: '#/components/securitySchemes/apiKey'}]
channels:
  lightingMeasured:
    address: streetlights/{streetlightId}/lighting/measured
    messages: {lightMeasured: {$ref: '#/components/messages/lightMeasured'}}
    parameters: {streetlightId: {$ref: '#/components/parameters/streetlightId'}}
  turnOn:
    address: streetlights/{streetlightId}/turn/on
    messages: {turnOn: {$ref: '#/components/messages/turnOnOff'}}
    parameters: {streetlightId: {$ref: '#/components/parameters/streetlightId'}}
operations:
  receiveLightMeasurement:
    action: receive
    channel: {$ref: '#/channels/lightingMeasured'}
    traits: [{$ref: '#/components/operationTraits/mqtt'}]
    messages: [{$ref: '#/channels/lightingMeasured/messages/lightMeasured'}]
  turnOn:
    action: send
    channel: {$ref: '#/channels/turnOn'}
components:
  messages:
    lightMeasured:
      headers: {type: object, properties: {my-app-header: {type: integer}}}
      payload: {type: object, properties: {lumens: {type: integer}, sentAt: {$ref: '#/components/schemas/sentAt'}}}
    turnOnOff:
      payload: {type: object, properties: {command: {type: string, enum: [on, off]}}}
  schemas: {sentAt: {type: string, format: date-time}}
  parameters: {streetlightId: {description: The id of the streetlight.}}
  securitySchemes: {apiKey: {type: apiKey, in: user}}
  operationTraits: {mqtt: {bindings: {mqtt: {qos: 2}}}}
"""

ACCOUNTS = """\
asyncapi: 3.0.0
info: {title: Account Service, version: 1.0.0}
channels:
  userSignedup:
    address: user/signedup
    messages: {UserSignedUp: {$ref: '#/components/messages/UserSignedUp'}}
operations:
  sendUserSignedup:
    action: send
    channel: {$ref: '#/channels/userSignedup'}
    messages: [{$ref: '#/channels/userSignedup/messages/UserSignedUp'}]
components:
  messages:
    UserSignedUp:
      payload: {type: object, properties: {email: {type: string, format: email}}}
"""

CHAT = """\
asyncapi: 3.0.0
info: {title: Chat, version: 1.0.0}
servers: {chat: {host: chat.example, protocol: wss, pathname: /v1}}
channels:
  root:
    address: /
    messages: {hello: {payload: {type: object}}, bye: {payload: {type: object}}}
    bindings: {ws: {method: POST, bindingVersion: 0.1.0}}
operations:
  receiveHello: {action: receive, channel: {$ref: '#/channels/root'}, reply: {address: {location: $message.header#/to}}}
"""


def errors_of(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    """Paths and first words of what is found."""
    path = tmp_path / "asyncapi.yaml"
    path.write_text(text)
    contract, findings = examine(path)
    assert contract is None
    return [(one.path, " ".join(one.message.split()[:6])) for one in findings if one.severity == "error"]


def test_examine_reports_what_a_streetlight_document_lacks(tmp_path: Path) -> None:
    assert errors_of(tmp_path, STREETLIGHTS) == [
        ("#/servers", "The contract has no Kafka server."),
        ("#/operations/receiveLightMeasurement", "x-dead-letter-to is missing: the operation does"),
        ("#/operations/receiveLightMeasurement", "x-forward-to is missing: the operation does"),
        ("#/components/securitySchemes/apiKey/type", "The gateway cannot log in with"),
    ]


def test_examine_reports_what_a_document_without_servers_lacks(tmp_path: Path) -> None:
    assert errors_of(tmp_path, ACCOUNTS) == [
        ("#/servers", "The contract has no Kafka server."),
        ("#/operations", "The contract has no stream: no"),
    ]


def test_examine_leaves_other_protocols_alone(tmp_path: Path) -> None:
    assert errors_of(tmp_path, CHAT) == [("#/servers", "The contract has no Kafka server.")]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value inside a value, texts for people left out."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        if key not in {"description", "title", "tags", "examples"}:
            yield (*place, key)
            yield from places(value[key], (*place, key))


def test_examine_reports_a_clash_once_a_stream(copy: Copy) -> None:
    """A hundred streams with one address and one topic are a hundred findings and one, not ten thousand."""
    again = (
        f"  again{number}: {{action: receive, channel: {{$ref: '#/channels/factorySensors'}}, "
        "traits: [{$ref: '#/components/operationTraits/subscription'}], "
        "x-forward-to: {$ref: '#/operations/sendMachineSensors'}}\n"
        for number in range(100)
    )
    copy.edit("  sendMachineSensors:\n", "".join(again) + "  sendMachineSensors:\n")
    messages = [finding.message for finding in copy.findings()]
    for clash, count in {"overlap on": 100, "go to the same topic": 1}.items():
        assert sum(clash in one for one in messages) == count


@pytest.mark.parametrize(
    ("content", "message", "fix"),
    [
        (b"", "Expecting value", "Correct that file, or refer to another."),
        (b"\xff", "Byte 0 is not UTF-8", "Correct that file, or refer to another."),
        (None, "The file does not exist", "Correct the reference."),
    ],
)
def test_examine_reports_which_of_two_files_to_correct(
    copy: Copy, content: bytes | None, message: str, fix: str
) -> None:
    """A reference to a file that cannot be read is right when the file is there."""
    path = copy.folder / "schemas" / "door_sensor.avsc"
    path.unlink() if content is None else path.write_bytes(content)
    (finding,) = [one for one in copy.findings() if one.path == "#/components/schemas/doorSensor/schema"]
    assert message in finding.message
    assert finding.fix == fix


DOCUMENT = yaml_file.read(REPOSITORY / "asyncapi.yaml").data
NAMED = {"servers": 2, "channels": 2, "operations": 2, "components": 3}  # steps to an object with a name of our choice
SHARES = 8  # so that a failure names a part


def kind(place: tuple[Any, ...]) -> object:
    """What a place has in common with those that are checked as it is: its path in an object with the same members."""
    steps = NAMED.get(place[0], 0)
    if len(place) < steps or not steps:
        return place
    named = reduce(getitem, place[:steps], DOCUMENT)
    return place[: steps - 1], frozenset(named), tuple("" if isinstance(key, int) else key for key in place[steps:])


PLACES = list({kind(place): place for place in places(DOCUMENT)}.values())


def changed(place: tuple[Any, ...], index: int) -> str:
    """The document as JSON without one value, or with another in its stead."""
    data = json.loads(json.dumps(DOCUMENT))
    around = data
    for key in place[:-1]:
        around = around[key]
    instead: tuple[Any, ...] = ([], {}, 5, "x", None, [["x"]], {"$ref": "#/info"}, {"$ref": "#"}, True)
    if index < 0:
        del around[place[-1]]
    else:
        around[place[-1]] = instead[index % len(instead)]
    return json.dumps(data)


def check_is_reported(copy: Copy, text: str) -> list[Finding]:
    path = copy.folder / "asyncapi.json"
    path.write_text(text)
    contract, findings = examine(path)
    assert (contract is None) == any(one.severity == "error" for one in findings)
    assert all(str(one) for one in findings)
    return findings


@pytest.mark.parametrize("share", range(SHARES))
def test_examine_never_raises_when_a_value_is_missing(copy: Copy, share: int) -> None:
    for place in PLACES[share::SHARES]:
        findings = check_is_reported(copy, changed(place, -1))
        assert len(place) > 1 or place[0] in {"id", "defaultContentType"} or findings, place


@pytest.mark.parametrize("share", range(SHARES))
def test_examine_never_raises_when_a_value_is_another(copy: Copy, share: int) -> None:
    for index, place in list(enumerate(PLACES))[share :: SHARES * 2]:
        check_is_reported(copy, changed(place, index // SHARES))
