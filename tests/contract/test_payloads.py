"""Payloads that are not one object of the record's own members: what the contract may say of them, and what not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec import structs

from gateway.contract import examine
from gateway.core.encoding import Encoding
from gateway.core.reading import DeadLetter, Reading
from gateway.core.stream_transform import transform_of
from tests import fixes
from tests.contract.conftest import REPOSITORY, Copy

MESSAGES = "#/components/messages"
PLUG = ', "x-source": "$message.payload#"}\n  ]'  # the field that takes the payload
TIED = ", location: $message.payload#/plug"
TEXT = "plugText:\n      contentType: text/plain"


def copy_of_step(number: int, tmp_path: Path) -> Copy:
    """Copy a step of `docs/contract.md`."""
    return Copy(Path(shutil.copytree(REPOSITORY / "docs" / "steps" / str(number), tmp_path / "step")))


@pytest.fixture
def steps(tmp_path: Path) -> Copy:
    """A copy of the last step that is about the ovens."""
    return copy_of_step(13, tmp_path)


def test_load_takes_one_value_in_plain_text_or_json(steps: Copy) -> None:
    streams = steps.contract().streams
    assert [streams[name].content for name in ("receivePlugs", "receiveDoors", "receiveOvens")] == [
        "text", "text", "json",
    ]  # fmt: skip
    steps.edit(TEXT, TEXT.replace("text/plain", "text/plain; charset=UTF-8"))
    assert steps.contract().streams["receivePlugs"].content == "text"
    steps.edit("text/plain; charset=UTF-8", "application/json")
    assert steps.contract().streams["receivePlugs"].content == "json"


def test_load_takes_avro_on_both_sides_of_one_value(steps: Copy) -> None:
    steps.edit("payload: {type: number, description: Watts.}", "payload: {$ref: '#/components/schemas/plug'}")
    assert steps.contract().streams["receivePlugs"].content == "text"


def test_load_takes_a_factor_as_number_or_text(steps: Copy) -> None:
    for factor in ("0.1", "1e-1", '"1e-1"', '"0.1"'):
        steps.edit('"factor": "0.1"', f'"factor": {factor}', "oven.avsc")
        assert steps.findings() == []
        steps.edit(f'"factor": {factor}', '"factor": "0.1"', "oven.avsc")


def test_load_keeps_the_factor_from_the_registry(steps: Copy) -> None:
    schema = steps.contract().streams["receiveOvens"].route.schema
    assert schema is not None
    assert "factor" not in schema.text


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('"0.1"', "0", "/factor", "A factor of zero would make every value zero"),
        ('"0.1"', '"0.0"', "/factor", "A factor of zero would make every value zero"),
        ('"0.1"', '"NaN"', "/factor", "'NaN' is not a factor"),
        ('"0.1"', '"Infinity"', "/factor", "'Infinity' is not a factor"),
        ('"0.1"', '"0,1"', "/factor", "'0,1' is not a factor"),
        ('"0.1"', '"1/10"', "/factor", "'1/10' is not a factor"),
        ('"0.1"', "true", "/factor", "true is not a factor"),
        ('"0.1"', "null", "/factor", "null is not a factor"),
        ('"0.1"', "0.1234567890123456", "/factor", "A factor of 16 digits must be text"),
        ('"0.1"', '"1e31"', "/factor", "is out of range"),
        ('"0.1"', f'"1.{31 * "1"}"', "/factor", "is out of range"),
        ('"factor": "0.1"', '"facter": "0.1"', "/facter", "x-source has no member 'facter'"),
        (', "factor": "0.1"', "", "", "does not say how the device writes the value"),
        ('"type": "double"', '"type": "string"', "/factor", "Only a field with a number can have 'factor'"),
        ('"type": "double"', '"type": ["double", "string"]', "/factor",
         "Only a field with a number alone, or with null, can have 'factor'"),
        ('"type": "double"', '"type": {"type": "map", "values": "double"}', "/factor",
         "Only a field with a number can have 'factor'"),
        ("$message.payload#/probe/dC", "$message.payload#/probe/C", "",
         "reads /probe/C, which the MQTT message's schema does not describe"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_a_factor(steps: Copy, old: str, new: str, place: str, message: str) -> None:
    steps.edit(old, new, "oven.avsc")
    errors = [one for one in steps.findings() if one.severity == "error"]
    path = f"#/fields/1/x-source{place}"
    assert any(one.path == path and message in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)


def test_examine_tells_where_a_scaled_record_is_another_than_its_example(steps: Copy) -> None:
    steps.edit("probe: {dC: 2315}", "probe: {dC: 2316}")
    (finding,) = steps.findings()
    assert (finding.path, finding.severity) == (f"{MESSAGES}/ovenAvro/examples/0/payload/temperature", "error")
    assert "gives 231.6 here; expected 231.5" in finding.message


WEIGHINGS = "schema: {type: array, items: {$ref: weighing.avsc}}"
LOAVES = "[{at: 1767592800000, weight: 512.5}, {at: 1767592803000, weight: 498}]"


def test_load_takes_an_array_of_the_record(steps: Copy) -> None:
    stream = steps.contract().streams["receiveScales"]
    assert stream.is_array
    assert [one["weight"] for one in stream.example_readings] == [512.5, 498]
    assert not steps.contract().streams["receiveOvens"].is_array


def test_examine_compares_the_headers_of_an_array_with_those_of_each_record(steps: Copy) -> None:
    """A user property of the message is a header of all its records."""
    declared = "      headers: {properties: {batch: {type: string}}}\n"
    for message in ("weighingsJson:\n", "weighingAvro:\n"):
        steps.edit(message, message + declared)
    steps.edit("{name: loaves, ", "{name: loaves, headers: {batch: b7}, ")
    for index, batch in enumerate(("b7", "b8")):
        steps.edit(f"{{name: loaves/{index}, ", f"{{name: loaves/{index}, headers: {{batch: {batch}}}, ")
    (finding,) = steps.findings()
    assert finding.path == f"{MESSAGES}/weighingAvro/examples/1/headers/batch"
    assert "'b7' in the header 'batch'; expected 'b8'" in finding.message
    steps.edit("batch: b8", "batch: b7")
    assert steps.contract().streams["receiveScales"].example_headers == ({"batch": "b7"},)


def test_load_takes_an_array_in_json_schema(steps: Copy) -> None:
    """Its elements are looked at as any message is."""
    element = (
        "{type: object, additionalProperties: false, required: [at, weight], properties: "
        "{scale: {type: string}, at: {type: integer}, weight: {type: number}}}"
    )
    steps.edit("      x-additional-properties: true\n", "")
    steps.edit(
        "payload: {$ref: '#/components/schemas/weighings'}", f"payload: {{type: array, maxItems: 2, items: {element}}}"
    )
    assert steps.contract().streams["receiveScales"].is_array
    steps.edit("maxItems: 2", "maxItems: 1")
    (finding,) = steps.findings()
    assert finding.path == f"{MESSAGES}/weighingsJson/examples/0/payload"
    steps.edit("maxItems: 1", "maxItems: 2")
    steps.edit("weight: {type: number}", "load: {type: number}")
    message = "\n".join(one.message for one in steps.findings())
    assert "Field 'weight' reads /weight, which the MQTT message's schema does not describe" in message
    assert "No field of example.ovens.Weighing reads 'load'; readings that have it would be dead letters" in message


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ("weight: 498}", "weight: heavy}", f"{MESSAGES}/weighingsJson/examples/0/payload/1/weight",
         "The example would be a dead letter, wrong_type"),
        ("weight: 498.0", "weight: 499.0", f"{MESSAGES}/weighingAvro/examples/1/payload/weight",
         "gives 498.0 here; expected 499.0"),
        (LOAVES, "[]", f"{MESSAGES}/weighingsJson/examples/0/payload", "the message has no reading"),
        (LOAVES, "{at: 1767592800000, weight: 512.5}", f"{MESSAGES}/weighingsJson/examples/0/payload",
         "the example is not"),
        ("items: {$ref: weighing.avsc}", "items: {$ref: plug.avsc}", f"{MESSAGES}/weighingsJson/payload",
         "has an array of another Avro record than the record example.ovens.Weighing"),
        ("items: {$ref: weighing.avsc}", "items: string", "#/components/schemas/weighings/schema/items",
         "Expected the Avro schema of a record"),
        ("payload: {$ref: '#/components/schemas/weighing'}", "payload: {$ref: '#/components/schemas/weighings'}",
         "#/components/schemas/weighings/schema", "Expected the Avro schema of a record, not a schema of type 'array'"),
        ("    x-forward-to: {$ref: '#/operations/sendScales'}\n",
         "    x-forward-to: {$ref: '#/operations/sendScales'}\n    x-sequence: $message.payload#/at\n",
         "#/operations/receiveScales/x-sequence", "x-sequence needs messages of one reading"),
        ("    x-forward-to: {$ref: '#/operations/sendScales'}\n",
         "    x-forward-to: {$ref: '#/operations/sendScales'}\n    x-silent-after: 60\n",
         "#/operations/receiveScales/x-silent-after", "x-silent-after needs messages of one reading"),
        ("weighingsJson:\n      contentType: application/json", "weighingsJson:\n      contentType: text/plain",
         f"{MESSAGES}/weighingsJson/contentType", "The message holds several readings, but plain text is one value"),
        ("weighingsJson:\n      contentType: application/json", "weighingsJson:\n      contentType: text/vnd.dsmr.p1",
         f"{MESSAGES}/weighingsJson/contentType", "The message holds several readings, but a telegram is one"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_an_array(steps: Copy, old: str, new: str, path: str, message: str) -> None:
    steps.edit(old, new)
    errors = [one for one in steps.findings() if one.severity == "error"]
    assert any(one.path == path and message in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)


@pytest.mark.parametrize(
    ("old", "new", "file", "path", "message"),
    [
        (TIED, "", "asyncapi.yaml", "#/fields/0", "'plug' has no value"),
        (TIED, TIED.replace("plug", "power"), "asyncapi.yaml", "#/channels/plugs/parameters/plug/location",
         "No field of example.ovens.PlugPower reads /power"),
        ('"fields": [', '"fields": [{"name": "y", "type": "int", "x-source": "$message.payload#/a/b"},', "plug.avsc",
         "#/fields/0", "'y' has no value"),
        ('"$message.payload#"', '["$message.payload#"]', "plug.avsc", "#/fields/1/x-source",
         "cannot read anything else"),
        ('"doc": "The plug."', '"x-source": "$message.payload#"', "plug.avsc", "#/fields/1/x-source",
         "Field 'plug' also reads the whole payload"),
        (', "x-source": "$message.payload#"', "", "plug.avsc", f"{MESSAGES}/plugText/contentType",
         "Plain text is one value, but example.ovens.PlugPower has no field that takes one"),
        ('"type": "double"', '"type": {"type": "array", "items": "double"}', "plug.avsc",
         f"{MESSAGES}/plugText/contentType", "has no field that takes one"),
        (TEXT, f"{TEXT}; charset=latin-1", "asyncapi.yaml", f"{MESSAGES}/plugText/contentType", "plain text in UTF-8"),
        ("payload: 43.5}]\n    plugAvro", "payload: hot}]\n    plugAvro", "asyncapi.yaml",
         f"{MESSAGES}/plugText/examples/0/payload", "not of type 'number'"),
        ("payload: open}]", "payload: ajar}]", "asyncapi.yaml", f"{MESSAGES}/doorText/examples/0/payload",
         "is not one of"),
        ("power: 43.5", "power: 43.6", "asyncapi.yaml", f"{MESSAGES}/plugAvro/examples/0/payload/power",
         "gives 43.5 here; expected 43.6"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_one_value(  # noqa: PLR0917 - the edit, and what is found
    steps: Copy, old: str, new: str, file: str, path: str, message: str
) -> None:
    steps.edit(old, new, file)
    errors = [one for one in steps.findings() if one.severity == "error"]
    assert any(one.path == path and message in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)


@pytest.fixture
def inside(tmp_path: Path) -> Copy:
    """A copy of the step with records inside messages."""
    return copy_of_step(19, tmp_path)


def test_load_takes_records_inside_a_message(inside: Copy) -> None:
    streams = inside.contract().streams
    assert [str(step) for step in streams["receiveTelemetry"].steps] == ["{device}", "*"]
    first, _ = streams["receiveValues"].example_readings
    assert first == {"$message.envelope#/timestamp": 1767592800, "$message.envelope#/line": "dough", "id": "rpm",
                     "v": 61.5, "q": True}  # fmt: skip


def test_a_field_reads_a_parameter_of_the_address(inside: Copy) -> None:
    """Each record inside a message gets what only the topic says; the payload need not describe it."""
    field = '{"name": "machine", "type": "string", "x-source": "$message.parameter#/machine"}'
    inside.edit('"fields": [', f'"fields": [{field},', "value.avsc")
    for name in ("mixing/0", "mixing/1"):
        inside.edit(f"name: {name}, payload: {{", f"name: {name}, payload: {{machine: mixer-2, ")
    assert inside.findings() == []
    stream = inside.contract().streams["receiveValues"]
    transform = transform_of(stream, [1], 10_000)
    payload = b'{"timestamp":1767592800,"line":"dough","values":[{"id":"a","v":1,"q":true},{"id":"b","v":1,"q":1}]}'
    reading = Reading("receiveValues", b"machines/m7/values", payload, 0)
    dead_letter = transform(reading)
    assert isinstance(dead_letter, DeadLetter)
    assert dead_letter.pointer == "/values/1/q"
    records = transform(structs.replace(reading, payload=payload.replace(b'"q":1}', b'"q":true}')))
    assert isinstance(records, list)
    assert [record.value.count(b"\x04m7") for record in records if record.value] == [1, 1]


def test_a_path_without_an_asterisk_leads_to_one_record(tmp_path: Path) -> None:
    """The fields are relative to the object there, and the rest of the message is the envelope."""
    copy = copy_of_step(6, tmp_path)
    plain = transform_of(copy.contract().streams["receiveOvens"], [1], 10_000)
    copy.edit('"doc": "The oven."}', '"doc": "The oven.", "x-source": "$message.envelope#/oven"}', "oven.avsc")
    copy.edit("$message.payload#/probe/C", "$message.payload#/C", "oven.avsc")
    copy.edit("$message.payload#/at", "$message.envelope#/at", "oven.avsc")
    copy.edit("    ovenJson:\n", "    ovenJson:\n      x-records: $message.payload#/probe\n")
    copy.edit("probe: {type: object, ", "probe: {type: object, additionalProperties: false, ")
    for name in ("baking", "named by the topic"):
        copy.edit(f"name: {name}, payload: {{oven: bread-1, temp", f"name: {name}/0, payload: {{oven: bread-1, temp")
    assert copy.findings() == []
    inside = transform_of(copy.contract().streams["receiveOvens"], [1], 10_000)
    payload = b'{"probe":{"C":231.5},"at":"2026-01-05T06:00:00Z"}'
    reading = Reading("receiveOvens", b"ovens/bread-1", payload, 0)
    assert inside(reading) == [plain(reading)]


VALUES, TELEMETRY = f"{MESSAGES}/valuesJson", f"{MESSAGES}/telemetryJson"


@pytest.mark.parametrize(
    ("old", "new", "file", "path", "message"),
    [
        ("#/values/*", "#", "asyncapi.yaml", f"{VALUES}/x-records", "leads to places inside"),
        ("$message.payload#/values/*", "/values/*", "asyncapi.yaml", f"{VALUES}/x-records", "not an expression"),
        ("$message.payload#/values/*", "$message.header#/*", "asyncapi.yaml", f"{VALUES}/x-records", "places inside"),
        ("#/values/*", "#/valus/*", "asyncapi.yaml", f"{VALUES}/x-records", "describes nothing at /valus"),
        ("#/values/*", "#/*", "asyncapi.yaml", f"{VALUES}/x-records", "describes nothing at /*"),
        ("#/{device}/*", "#/{device}/{device}", "asyncapi.yaml", f"{TELEMETRY}/x-records", "two parameters of one"),
        ("      x-records: $message.payload#/{device}/*\n", "", "asyncapi.yaml", "#/fields/0/x-source",
         "The address has no parameter 'device'"),
        ("{device}", "{divice}", "asyncapi.yaml", "#/fields/0/x-source", "nor the address has a parameter"),
        ("parameter#/device", "parameter#/device/0", "telemetry.avsc", "#/fields/0/x-source", "has one name"),
        ("envelope#/line", "envelope#/lane", "value.avsc", "#/fields/0/x-source", "is not described by"),
        ("envelope#/line", "envelope#/values", "value.avsc", "#/fields/0/x-source", "holds the records"),
        ("envelope#/line", "envelope#/values/*/id", "value.avsc", "#/fields/0/x-source", "is inside the record"),
        ("envelope#/line", "envelope#/timestamp", "value.avsc", "#/fields/1/x-source", "'line' also reads"),
        ("          line: {type: string}\n", "          line: {type: string}\n          lane: {type: string}\n",
         "asyncapi.yaml", f"{VALUES}/payload/properties/lane", "reads 'lane'"),
        ("            line: dough\n", "            line: 5\n", "asyncapi.yaml", f"{VALUES}/examples/0/payload/line",
         "not of type 'string'"),
        ("{id: rpm, v: 61.5, q: true}, {id: torque, v: 210, q: false}", "", "asyncapi.yaml",
         f"{VALUES}/examples/0/payload", "the message has no reading"),
        ("Oven B: [{ts: 1767592800100", "Oven B: [{ts: 1.5", "asyncapi.yaml",
         f"{TELEMETRY}/examples/0/payload/Oven B/0/ts", "not of type 'integer'"),
        ("device: Oven B", "device: Oven C", "asyncapi.yaml", f"{MESSAGES}/telemetryAvro/examples/1/payload/device",
         "gives 'Oven B' here; expected 'Oven C'"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_records_inside_a_message(  # noqa: PLR0917 - a row of a table
    inside: Copy, old: str, new: str, file: str, path: str, message: str
) -> None:
    inside.edit(old, new, file)
    errors = [one for one in inside.findings() if one.severity == "error"]
    assert any(one.path == path and message in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)


def test_examine_warns_of_a_message_that_allows_members_beside_its_records(inside: Copy) -> None:
    inside.edit("        additionalProperties: false\n", "")
    (warning,) = inside.findings()
    assert (warning.path, warning.severity) == (f"{VALUES}/payload/additionalProperties", "warning")


@pytest.mark.parametrize(
    ("location", "pointer"),
    [("/line", "/$message.envelope#~1line"), ("/values/*/id", "/id"), ("/lane", None), ("/values/*/v", None)],
)
def test_a_location_points_into_the_whole_message(inside: Copy, location: str, pointer: str | None) -> None:
    """As AsyncAPI says; a field of the record must read the place, as text."""
    inside.edit("The machine., examples", f"The machine., location: $message.payload#{location}, examples")
    inside.edit("[mixer-2]", "[dough]")
    inside.edit("{id: torque, v: 210, q: false}", "{id: rpm, v: 210, q: false}")
    inside.edit("signal: torque", "signal: rpm")
    if location.startswith("/values"):
        inside.edit("[dough]", "[rpm]")
    found, findings = examine(inside.document)
    errors = [one.path for one in findings if one.severity == "error"]
    if pointer is None:
        assert errors == ["#/channels/machines/parameters/machine/location"]
    else:
        assert found is not None, findings
        assert found.streams["receiveValues"].parameters[0].pointer == pointer


def test_a_location_outside_the_records_names_the_expression_that_its_field_needs(inside: Copy) -> None:
    """The field read the record, which has no such member; only the topic does."""
    inside.edit("The machine., examples", "The machine., location: $message.payload#/line, examples")
    inside.edit("$message.envelope#/line", "$message.payload#/line", "value.avsc")
    faults = [one for one in inside.findings() if one.path == "#/channels/machines/parameters/machine/location"]
    assert [one.fix for one in faults] == [
        'Let the field read the message around the record: "x-source": "$message.envelope#/line".'
    ]


# --- telegrams -------------------------------------------------------------------------------------------------------


@pytest.fixture
def meters(tmp_path: Path) -> Copy:
    """A copy of the step with telegrams."""
    return copy_of_step(24, tmp_path)


def test_load_takes_telegrams(meters: Copy) -> None:
    """Examples are read as the objects that telegrams are."""
    stream = meters.contract().streams["receiveTelegrams"]
    assert stream.content == "telegram"
    (example,) = stream.examples
    assert example["1-0:1.8.1"] == {"value": 5779.835, "unit": "kWh"}
    meters.edit("text/vnd.dsmr.p1", "Text/VND.DSMR.P1 ")
    assert meters.findings() == []
    assert stream.lines == ""
    meters.edit("Text/VND.DSMR.P1 ", "text/vnd.dsmr.p1; lines=SerialReceived")
    assert meters.contract().streams["receiveTelegrams"].lines == "SerialReceived"


def test_load_takes_encodings(copy: Copy) -> None:
    """The content type names it."""
    for content_type, encoding in (
        ("application/msgpack", Encoding("msgpack")),
        ("application/cbor", Encoding("cbor")),
        ("application/json+gzip", Encoding(is_gzip=True)),
        ("application/json", Encoding()),
    ):
        copy.edit("defaultContentType: application/json", f"defaultContentType: {content_type}")
        stream = copy.contract().streams["receiveDoors"]
        assert (stream.encoding, stream.keeps_properties) == (encoding, encoding != Encoding())
        copy.edit(f"defaultContentType: {content_type}", "defaultContentType: application/json")


def test_load_refuses_gzip_before_the_form(copy: Copy) -> None:
    copy.edit("defaultContentType: application/json", "defaultContentType: application/x-gzip+cbor")
    (fix,) = {one.fix for one in copy.findings() if "not supported" in one.message}
    assert fix == "Did you mean 'application/cbor+gzip'?"


TELEGRAM = f"{MESSAGES}/telegram"


@pytest.mark.parametrize(
    ("old", "new", "file", "path", "message"),
    [
        ("005779.835", "005779.836", "asyncapi.yaml", f"{TELEGRAM}/examples/0/payload", "bad_telegram: its checksum"),
        ("text/vnd.dsmr.p1", "text/vnd.dsmr", "asyncapi.yaml", f"{TELEGRAM}/contentType", "is not supported"),
        ("dsmr.p1", "dsmr.p1; line=text", "asyncapi.yaml", f"{TELEGRAM}/contentType", "is not supported"),
        ("dsmr.p1", "dsmr.p1; lines=", "asyncapi.yaml", f"{TELEGRAM}/contentType", "is not supported"),
        ("type: object, required: [value], properties: {value: {type: number}, unit: {const: kWh",
         "type: object, required: [value], properties: {value: {type: number}, unit: {const: Wh", "asyncapi.yaml",
         f"{TELEGRAM}/examples/0/payload/1-0:1.8.1/unit", "'Wh' was expected"),
        ("tariff: 2", "tariff: 1", "asyncapi.yaml", f"{MESSAGES}/meterAvro/examples/0/payload/tariff", "gives 2 here"),
        ("1-0:1.8.1/value", "1-0:1.8.1", "meter.avsc", "#/fields/2/x-source/location", "has the members value, unit"),
        ("1-0:1.8.1/value", "1-0:1.8.1/kWh", "meter.avsc", "#/fields/2/x-source/location", "has the members value"),
        ('{"location": "$message.payload#/0-0:1.0.0/value", "zone": "Europe/Amsterdam"}',
         '"$message.payload#/0-0:1.0.0/value"', "meter.avsc", "#/fields/1/x-source", "needs the zone of the meter"),
    ],
)  # fmt: skip
def test_examine_finds_what_is_wrong_with_telegrams(  # noqa: PLR0917 - a row of a table
    meters: Copy, old: str, new: str, file: str, path: str, message: str
) -> None:
    meters.edit(old, new, file)
    errors = [one for one in meters.findings() if one.severity == "error"]
    assert any(one.path == path and message in one.message for one in errors), "\n".join(map(str, errors))
    assert all(one.line > 0 and one.fix for one in errors)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1-0:1.8.1/value", "1-0:1.8.1/kWh"),
        ('{"location": "$message.payload#/0-0:1.0.0/value", "zone": "Europe/Amsterdam"}',
         '"$message.payload#/0-0:1.0.0/value"'),
    ],
)  # fmt: skip
def test_the_fix_of_a_place_in_a_telegram_works(meters: Copy, old: str, new: str) -> None:
    meters.edit(old, new, "meter.avsc")
    found = next(one for one in meters.findings() if "telegram" in one.message)
    assert fixes.apply(found)
    assert meters.findings() == []


def test_a_telegram_is_the_only_message_of_an_address(meters: Copy) -> None:
    meters.edit("messages: {telegram: {", "messages: {other: {$ref: '#/components/messages/deadLetter'}, telegram: {")
    assert any("no JSON, whose members tell messages apart" in one.message for one in meters.findings())
