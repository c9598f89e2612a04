"""Our own `asyncapi.yaml` says what the gateway's users were promised."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from gateway.contract import Contract, examine, load
from tests.contract.conftest import REPOSITORY


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load(REPOSITORY / "asyncapi.yaml")


def test_examine_finds_nothing_in_it() -> None:
    assert examine(REPOSITORY / "asyncapi.yaml")[1] == []


@pytest.mark.parametrize(
    ("name", "server", "address", "sent"),
    [
        ("receiveFactorySensors", "factoryBroker", "factory/{machine}/{sensor}", ("machine-sensors", ("/machine",))),
        ("receiveDoors", "factoryBroker", "doors/{location}", ("door-sensors", ("/location",))),
        ("receiveWidgetLine", "factoryBroker", "widgets/{line}", ("widget-readings", ("/production_line",))),
        ("receiveSmartMeter", "meterBroker", "sma", ("smart-meter", ("/name", "/meter_number"))),
    ],
)
def test_load_gives_each_stream_its_route(
    contract: Contract, name: str, server: str, address: str, sent: tuple[str, tuple[str, ...]]
) -> None:
    stream, (topic, keys) = contract.streams[name], sent
    assert (stream.servers, stream.address.text, stream.qos) == ((server,), address, 1)
    assert (stream.route.topic.name, stream.route.keys) == (topic, keys)
    assert (stream.route.topic.partitions, stream.route.topic.replicas) == (6, 1)
    assert stream.route.subject == f"{topic}-value"
    assert stream.route.headers == {"mqtt.topic"}
    assert stream.dead_letters.topic.name == "gateway-dead-letters"
    assert stream.dead_letters.schema is None
    assert stream.unknown == "reject"
    assert stream.examples


def test_load_gives_the_streams_in_document_order(contract: Contract) -> None:
    expected = ["receiveFactorySensors", "receiveDoors", "receiveWidgetLine", "receiveSmartMeter"]
    assert list(contract.streams) == expected


def test_load_ties_parameters_to_the_payload(contract: Contract) -> None:
    found = {p.name: p.pointer for stream in contract.streams.values() for p in stream.parameters}
    assert found == {
        "machine": "/machine", "sensor": "/sensor", "location": "/location", "line": "/production_line",
    }  # fmt: skip


def test_load_gives_two_brokers_of_two_versions_and_one_kafka(contract: Contract) -> None:
    factory, meter = contract.mqtt_servers["factoryBroker"], contract.mqtt_servers["meterBroker"]
    assert (factory.host, factory.version, factory.client_id, factory.tls) == (
        "localhost:1883", "5.0", "iot-gateway", False,
    )  # fmt: skip
    assert (meter.host, meter.version, meter.client_id) == ("localhost:1883", "3.1.1", "iot-gateway-meter")
    assert not factory.clean_session
    assert not meter.clean_session
    assert factory.session_expiry == meter.session_expiry == 604_800
    assert (contract.kafka.host, contract.kafka.registry_url) == ("localhost:9092", "http://localhost:8081")


def test_load_gives_the_topic_settings_as_kafka_writes_them(contract: Contract) -> None:
    topic = contract.streams["receiveDoors"].route.topic
    assert topic.configuration == {"cleanup.policy": "delete", "retention.ms": "604800000"}


def test_load_keeps_our_attributes_from_the_registry(contract: Contract) -> None:
    """The definition says where each value comes from; the text for the registry does not, and keeps units."""
    schema = contract.streams["receiveSmartMeter"].route.schema
    assert schema is not None
    assert schema.fullname == "gateway.meter.SmartMeterReading"
    assert "x-source" in json.dumps(schema.definition)
    assert "x-source" not in schema.text
    assert '"unit":"Wh"' in schema.text
    assert json.loads(schema.text)["fields"][0]["name"] == "name"


@pytest.mark.parametrize(
    ("code", "field"),
    [
        ("1-0:1.8.0", "energy_import_wh"),
        ("1-0:2.8.0", "energy_export_wh"),
        ("1-0:3.8.0", "reactive_energy_import_varh"),
        ("1-0:4.8.0", "reactive_energy_export_varh"),
        ("1-0:1.7.0", "power_import_w"),
        ("1-0:2.7.0", "power_export_w"),
        ("1-0:52.7.0", "voltage_l2_v"),
        ("1-0:71.7.0", "current_l3_a"),
        ("1-0:2.8.2", "energy_export_tariff_2_wh"),
        ("1-0:13.7.0", "power_factor"),
    ],
)
def test_load_reads_a_register_into_its_field(contract: Contract, code: str, field: str) -> None:
    schema = contract.streams["receiveSmartMeter"].route.schema
    assert schema is not None
    fields = {one["name"]: one for one in schema.definition["fields"]}
    assert fields[field]["x-source"] == f"$message.payload#/{code}/value"
    assert fields[field]["type"] == ["null", "double"]
    assert f"$message.payload#/{code}/time" in fields["measured_at"]["x-source"]
    assert fields["other_registers"]["x-source"] == "$message.payload#"


def test_load_gives_values_that_can_be_pickled(contract: Contract) -> None:
    """So that a caller may load in a child process and keep jsonschema out of its own memory."""
    assert pickle.loads(pickle.dumps(contract)) == contract


def test_import_of_the_contract_brings_no_jsonschema() -> None:
    program = (
        "import sys, gateway.contract, gateway.core.model;"
        "sys.exit(any(name in sys.modules for name in ('jsonschema', 'fastavro', 'yaml')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
