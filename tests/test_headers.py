"""Headers out of MQTT 5 properties, and the time of the event, with real servers: from the device to the record."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.stack.gateway import ROOT, Gateway
from tests.stack.reading_records import records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACE = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-00"
TOPICS = ["vibration", "oven-readings", "oven-dead-letters"]


@dataclass(frozen=True)
class Site:
    """The last step of the documentation's contract, with topics of this test's own.

    Args:
        contract: its file.
        suffix: of the topics' names.
        servers: the `servers` section of gateway.yaml.
        broker: to publish to.
        kafka: where the topics are.
    """

    contract: Path
    suffix: str
    servers: dict[str, Any]
    broker: Mosquitto
    kafka: Kafka

    def topic(self, name: str) -> str:
        """Give the name that a topic has in this test."""
        return f"{name}-{self.suffix}"

    def create(self, *names: str) -> None:
        """Make topics."""
        for name in names:
            self.kafka.create_topic(self.topic(name), 1)

    def edit(self, old: str, new: str) -> None:
        """Change the contract."""
        text = self.contract.read_text()
        assert old in text
        self.contract.write_text(text.replace(old, new))

    def headers(self, name: str, count: int) -> list[list[tuple[str, bytes]]]:
        """Give the headers of a topic's records, but for the time of their arrival."""
        found = records(self.kafka.bootstrap, self.topic(name), count)
        return [[header for header in one.headers if header[0] != "gateway.received_at"] for one in found]


@pytest.fixture
def site(kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path) -> Site:
    """Give a broker and a contract; the topics are not made yet."""
    broker, suffix = mosquitto(), uuid.uuid4().hex[:8]
    shutil.copytree(ROOT / "docs" / "steps" / "8", tmp_path, dirs_exist_ok=True)
    contract = tmp_path / "asyncapi.yaml"
    text = contract.read_text()
    for name in TOPICS:
        assert f"address: {name}\n" in text
        text = text.replace(f"address: {name}\n", f"address: {name}-{suffix}\n")
    contract.write_text(text)
    told = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    return Site(contract, suffix, told, broker, kafka)


def publish(broker: Mosquitto, *messages: dict[str, Any], measured_at: int) -> None:
    """Publish windows of a motor at QoS 1, each with these MQTT 5 properties, and wait for the acknowledgements."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for told in messages:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho types it not
        for name, value in told.items():
            setattr(properties, name, value)
        window = json.dumps({"measured_at": measured_at, "radial": {"rms": 2.1}})
        client.publish("motors/fan-3/vibration", window, 1, properties=properties).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def start(gateway: Gateway) -> None:
    gateway.start(ready=False)
    gateway.wait_subscribed("broker")


@pytest.mark.parametrize("reader", ["fast", "paho"])
def test_run_carries_what_the_contract_declares(site: Site, reader: str) -> None:
    """Twice what came twice, nothing that nobody declares, no name of ours out of a device's mouth."""
    site.create(*TOPICS)
    measured_at = round(time.time() * 1000) - 60_000
    full = {
        "ContentType": "application/json",
        "CorrelationData": b"\xff\x00\x01",
        "MessageExpiryInterval": 600,
        "ResponseTopic": "answers",
        "UserProperty": [
            ("traceparent", TRACE), ("firmware", "2.4"), ("stranger", "x"), ("mqtt.qos", "7"),
            ("traceparent", OTHER_TRACE),
        ],
    }  # fmt: skip
    with Gateway(site.servers, site.contract, mqtt={"reader": reader}) as gateway:
        start(gateway)
        publish(site.broker, full, {"UserProperty": [("traceparent", "µ")]}, {}, measured_at=measured_at)
        gateway.wait_settled(3)
        ledger = gateway.stop_and_read_ledger()
    assert (ledger["delivered"], ledger["dead_lettered"], ledger["balanced"]) == (2, 1, True)
    first, second = records(site.kafka.bootstrap, site.topic("vibration"), 2)
    assert [header for header in first.headers if header[0] != "gateway.received_at"] == [
        ("mqtt.topic", b"motors/fan-3/vibration"),
        ("mqtt.qos", b"1"),
        ("mqtt.retain", b"false"),
        ("mqtt.content_type", b"application/json"),
        ("mqtt.correlation_data", b"\xff\x00\x01"),
        ("traceparent", TRACE.encode()),
        ("traceparent", OTHER_TRACE.encode()),
    ]
    assert dict(second.headers)["traceparent"] == "µ".encode()
    assert "mqtt.content_type" not in dict(second.headers)
    assert [first.timestamp, second.timestamp] == [measured_at] * 2
    (letter,) = site.headers("oven-dead-letters", 1)
    assert dict(letter)["error.reason"] == b"missing"
    assert b"'traceparent'" in dict(letter)["error.detail"]


def test_run_dates_records_so_that_kafka_keeps_them(site: Site) -> None:
    """A clock of 2005, and an hour's retention that only the topic states: such records are dated by their arrival."""
    site.edit(", retention.ms: 604800000", "")
    site.create("oven-readings", "oven-dead-letters")
    site.kafka.create_topic(site.topic("vibration"), 1, settings={"retention.ms": "3600000"})
    began = round(time.time() * 1000)
    times = [1_104_625_548_000, began - 7_200_000, began - 60_000]
    with Gateway(site.servers, site.contract) as gateway:
        start(gateway)
        for measured_at in times:
            publish(site.broker, {"UserProperty": [("traceparent", TRACE)]}, measured_at=measured_at)
        gateway.wait_settled(3)
    ancient, old, recent = [one.timestamp for one in records(site.kafka.bootstrap, site.topic("vibration"), 3)]
    assert began <= ancient <= old <= time.time() * 1000
    assert recent == times[-1]


def test_run_keeps_properties_on_disk_over_a_restart(site: Site) -> None:
    """What waited for its topic when the gateway was stopped has its headers when it goes there at last."""
    site.create("oven-readings", "oven-dead-letters")
    measured_at = round(time.time() * 1000) - 60_000
    with Gateway(site.servers, site.contract) as gateway:
        start(gateway)
        sent = [{"UserProperty": [("traceparent", f"{number}-{TRACE}")]} for number in range(20)]
        publish(site.broker, *sent, measured_at=measured_at)
        wait_for(lambda: gateway.metric("gateway_received_total") == 20, 30, gateway.metrics)
        assert gateway.stop_and_read_ledger()["spooled"] == 20
        site.create("vibration")
        start(gateway)
        gateway.wait_settled(20)
    found = records(site.kafka.bootstrap, site.topic("vibration"), 20)
    assert [dict(one.headers)["traceparent"] for one in found] == [f"{n}-{TRACE}".encode() for n in range(20)]
    assert {one.timestamp for one in found} == {measured_at}


def test_replay_gives_a_dead_letter_the_headers_it_ought_to_have_had(site: Site) -> None:
    """The properties are in the dead letter; a contract that does without what was missing finds the others there."""
    site.create(*TOPICS)
    measured_at = round(time.time() * 1000) - 60_000
    with Gateway(site.servers, site.contract) as gateway:
        start(gateway)
        publish(site.broker, {"ContentType": "text/x", "CorrelationData": b"\0\xff"}, measured_at=measured_at)
        gateway.wait_settled(1)
        gateway.stop_and_read_ledger()
        site.edit("        required: [traceparent]\n", "")
        done = gateway.command("dlq", "replay", "-c", str(gateway.settings_file))
        assert "replayed: 1" in done.stdout, done.stderr
    (replayed,) = records(site.kafka.bootstrap, site.topic("vibration"), 1)
    assert replayed.timestamp == measured_at
    assert dict(replayed.headers).items() >= {
        ("mqtt.content_type", b"text/x"),
        ("mqtt.correlation_data", b"\0\xff"),
        ("mqtt.qos", b"1"),
    }
