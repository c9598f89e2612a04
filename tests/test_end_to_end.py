"""From MQTT to Kafka with real servers: what goes in comes out in order or is a dead letter, and the books balance."""

from __future__ import annotations

import io
import json
import random
import shutil
import time
import uuid
from collections import defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from gateway.contract import load
from tests.core.codec.test_codec import BAD
from tests.stack.gateway import ROOT, ConfinedGateway, Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import StoredRecord, record_count, records
from tests.stack.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.mosquitto import Mosquitto
    from tests.stack.registry import Registry

# A broker that keeps its promises over kill -9 writes its whole store after each change: too slow for a long queue.
IN_MEMORY = "listener 1883\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
TOPICS = ["machine-sensors", "door-sensors", "widget-readings", "smart-meter", "gateway-dead-letters"]
CONTRACT = load(ROOT / "asyncapi.yaml")


@pytest.fixture
def topics(kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the shared Kafka under names of this test's own, and a contract that says so."""
    return Topics(kafka, tmp_path)


class Topics:
    """The contract's topics, by the names that the shipped contract gives them.

    Args:
        kafka: where they are made.
        folder: for the contract that names them.
        missing: those that are not made.
    """

    def __init__(self, kafka: Kafka, folder: Path, missing: str = "") -> None:
        self.kafka = kafka
        self._suffix = uuid.uuid4().hex[:8]
        text = (ROOT / "asyncapi.yaml").read_text()
        for name in TOPICS:
            assert f"address: {name}\n" in text
            text = text.replace(f"address: {name}\n", f"address: {self(name)}\n")
            if name != missing:
                self.create(name)
        shutil.copytree(ROOT / "schemas", folder / "schemas")
        self.contract = folder / "asyncapi.yaml"
        self.contract.write_text(text)

    def __call__(self, name: str) -> str:
        """Give the name that a topic has in this test."""
        return f"{name}-{self._suffix}"

    def create(self, name: str) -> None:
        """Make one topic."""
        self.kafka.create_topic(self(name), 3)

    def count(self, name: str) -> int:
        """Count a topic's records."""
        return record_count(self.kafka.bootstrap, self(name))

    def records(self, name: str, count: int) -> list[StoredRecord]:
        """Read a topic's records."""
        return records(self.kafka.bootstrap, self(name), count)


@pytest.fixture(params=["fast", "paho"])
def reader(request: pytest.FixtureRequest) -> str:
    """Run the test once with each MQTT reader."""
    return str(request.param)


@pytest.fixture
def away(away_kafka: Kafka, tmp_path: Path) -> Topics:
    """Make the contract's topics in the Kafka that the test may freeze."""
    return Topics(away_kafka, tmp_path)


def servers(broker: Mosquitto, cluster: Kafka, registry: Registry) -> dict[str, Any]:
    """Write the `servers` section of gateway.yaml."""
    at = {"host": f"127.0.0.1:{broker.port}"}
    kafka = {"host": cluster.bootstrap, "registry": {"url": registry.url}}
    return {"factoryBroker": at, "meterBroker": at, "kafka": kafka}


def decoded(record: StoredRecord, stream: str) -> dict[str, Any]:
    """Decode a record's value behind the wire format."""
    schema = CONTRACT.streams[stream].route.schema
    assert schema, "readings have a schema"
    assert record.value, "a reading's record has a value"
    assert record.value[0] == 0, "the magic byte of the wire format"
    value = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), fastavro.parse_schema(schema.definition), None)
    assert isinstance(value, dict)
    return value


def mixed(count: int, seed: int) -> Iterator[tuple[str, bytes, str]]:
    """Make readings of all streams, one in fifty broken; the third value is the Kafka topic it belongs to."""
    chance = random.Random(seed)
    for number in range(count):
        kind = chance.choice(["factory", "factory", "doors", "widgets", "sma"])
        place = chance.randrange(20)
        if kind == "factory":
            topic, value = f"factory/machine-{place}/temperature", {"value": number % 4096, "units": "C"}
            target = "machine-sensors"
        elif kind == "doors":
            topic, value = f"doors/dock-{place}", {"state": chance.choice(["open", "closed"])}
            target = "door-sensors"
        elif kind == "widgets":
            topic, target = f"widgets/w{place:02}", "widget-readings"
            value = {"reading_ts": 1582114965000 + number, "sensor_id": "aa-101", "widget_type": "acme94",
                     "temp_celcius": 23, "widget_weight_g": 100}  # fmt: skip
        else:
            topic, target = "sma", "smart-meter"
            value = {"api_version": "v1", "name": f"meter-{place}", "sma_time": number / 10,
                     "1-0:1.8.0": {"value": number, "time": 1697622940}, "9-9:9.9.9": {"value": "free"}}  # fmt: skip
        if chance.random() < 0.02:
            value["stranger"] = {"number": number}
            target = "gateway-dead-letters"
        yield topic, json.dumps(value).encode(), target


def sequence_of(record: StoredRecord, topic: str) -> float:
    """Find the number that `mixed` put into a record."""
    if topic == "machine-sensors":
        return float(decoded(record, "receiveFactorySensors")["value"])
    if topic == "widget-readings":
        return float(decoded(record, "receiveWidgetLine")["reading_ts"].timestamp())
    return float(decoded(record, "receiveSmartMeter")["sma_time"])


def test_run_moves_mixed_readings(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto, reader: str
) -> None:
    """Every reading is in its topic or in the dead letters, keyed, in order per key, and the books balance."""
    broker = mosquitto()
    readings = list(mixed(4_000, seed=3))
    with Gateway(servers(broker, kafka, registry), topics.contract, mqtt={"reader": reader}) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish((topic, payload) for topic, payload, _ in readings)
        gateway.wait_settled(len(readings))
        ledger = gateway.stop_and_read_ledger()
    expected = {name: sum(target == name for _, _, target in readings) for name in TOPICS}
    assert {name: topics.count(name) for name in TOPICS} == expected
    assert ledger["received"] == len(readings)
    assert ledger["dead_lettered"] == expected["gateway-dead-letters"]
    assert ledger["delivered"] == len(readings) - expected["gateway-dead-letters"]
    assert ledger["balanced"]
    for topic in ("machine-sensors", "widget-readings", "smart-meter"):
        by_key = defaultdict(list)
        for record in topics.records(topic, expected[topic]):
            by_key[record.key].append((record.partition, sequence_of(record, topic)))
        assert len(by_key) == 20
        for found in by_key.values():
            assert len({partition for partition, _ in found}) == 1, "one key, one partition"
            assert found == sorted(found), "in the order of publication"


def test_run_with_use_servers_runs_the_streams_of_these_alone(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """The contract has another Kafka, which is nowhere; what it and the other broker belong to is no fault."""
    broker, text = mosquitto(), topics.contract.read_text()
    other = "  otherKafka: {host: 'kafka.invalid:9092', protocol: kafka}\n"
    text = text.replace("[{$ref: '#/servers/kafka'}]", "[{$ref: '#/servers/kafka'}, {$ref: '#/servers/otherKafka'}]")
    topics.contract.write_text(text.replace("\nchannels:\n", f"{other}\nchannels:\n", 1))
    used = servers(broker, kafka, registry)
    del used["meterBroker"]
    with Gateway(used, topics.contract, use_servers=[*used]) as gateway:
        gateway.start()
        gateway.wait_subscribed("factoryBroker")
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/dock-1", b'{"state":"open"}'), ("sma", b'{"name":"m"}')])
        gateway.wait_settled(1)
        assert gateway.states().keys().isdisjoint({"meterBroker", "otherKafka"})
        assert gateway.command("check", "-c", "gateway.yaml").returncode == 0
        assert gateway.command("doctor", "-c", "gateway.yaml").returncode == 0
        assert 'stream="receiveSmartMeter"' not in gateway.metrics()
    assert {name: topics.count(name) for name in TOPICS} == dict.fromkeys(TOPICS, 0) | {"door-sensors": 1}


def test_run_lets_readings_wait_for_others_as_long_as_its_linger_says(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """While readings arrive, they go to Kafka together each tenth of a second."""
    broker = mosquitto()
    given = servers(broker, kafka, registry)
    given["kafka"]["producer"] = {"linger.ms": 100}
    with Gateway(given, topics.contract) as gateway:
        gateway.start()
        gateway.wait_subscribed()
        with Publisher(broker.port) as publisher:
            for number in range(60):
                publisher.publish([("factory/a/b", b'{"value":%d,"units":"C"}' % number)])
                time.sleep(0.01)  # each would make a request of its own
        gateway.wait_settled(60)
    batches = sum(kafka.batches(topics("machine-sensors"), partition) for partition in range(3))
    assert batches <= 30, "about 8 turns; the Kafka client may divide the readings of a turn"


def test_run_works_under_the_filters_of_its_unit(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """With no system call but those that systemd allows it, readings arrive, are kept over a restart, and are told."""
    broker = mosquitto()
    readings = list(mixed(500, seed=7))
    spool = {"when": "always"}  # the disk is used, too
    with ConfinedGateway(servers(broker, kafka, registry), topics.contract, spool=spool) as gateway:
        for _ in range(2):
            gateway.start()
            with Publisher(broker.port) as publisher:
                publisher.publish((topic, payload) for topic, payload, _ in readings)
            gateway.wait_settled(len(readings))
            ledger = gateway.stop_and_read_ledger()
            assert ledger["balanced"]
    assert sum(topics.count(name) for name in TOPICS) == 2 * len(readings)
    assert "Operation not permitted" not in gateway.log


def test_run_dead_letters_every_kind_of_bad_payload(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto, reader: str
) -> None:
    """Each bad payload ends in the dead letters, whole, with reason and pointer; its neighbours arrive."""
    broker = mosquitto()
    good = b'{"machine":"a","sensor":"b","units":"C","value":1}'
    messages = [("factory/a/b", payload) for row in BAD for payload in (row[1], good)]
    with Gateway(servers(broker, kafka, registry), topics.contract, mqtt={"reader": reader}) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish(messages)
        gateway.wait_settled(len(messages))
        assert gateway.is_ready()
        ledger = gateway.stop_and_read_ledger()
    assert (ledger["delivered"], ledger["dead_lettered"]) == (len(BAD), len(BAD))
    letters = topics.records("gateway-dead-letters", len(BAD))
    found = [
        (letter.value or b"", *(dict(letter.headers)[f"error.{name}"] for name in ("reason", "pointer")))
        for letter in letters
    ]
    assert found == [(payload, reason.encode(), pointer.encode()) for _, payload, reason, pointer in BAD]


def test_run_cuts_a_payload_above_the_limit(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto, reader: str
) -> None:
    """A payload that no record can hold is a dead letter: cut, with the size and SHA-256 of the whole."""
    broker = mosquitto()
    huge = b'{"units":"' + b"x" * 3_000_000 + b'","value":1}'
    with Gateway(servers(broker, kafka, registry), topics.contract, mqtt={"reader": reader}) as gateway:
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([("factory/a/b", huge), ("doors/d", b'{"state":"open"}')])
        gateway.wait_settled(2)
        gateway.stop_and_read_ledger()
    (letter,) = topics.records("gateway-dead-letters", 1)
    headers = dict(letter.headers)
    assert headers["error.reason"] == b"too_large"
    assert headers["payload.size"] == str(len(huge)).encode()
    assert headers["payload.sha256"] == sha256(huge).hexdigest().encode()
    assert letter.value
    assert huge.startswith(letter.value)
    assert topics.count("door-sensors") == 1


def test_run_names_a_missing_topic_and_goes_on_when_it_is_there(
    kafka: Kafka, tmp_path: Path, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """A topic that Kafka lacks holds up its own stream only; `/readyz` names it; its readings follow in order."""
    broker, topics = mosquitto(), Topics(kafka, tmp_path, missing="machine-sensors")
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start(ready=False)
        gateway.wait_subscribed()
        wait_for(lambda: gateway.states()["kafka"]["state"] == "topic_missing", 30, lambda: str(gateway.states()))
        assert topics("machine-sensors") in gateway.states()["kafka"]["detail"]
        with Publisher(broker.port) as publisher:
            sensors = [("factory/a/b", b'{"value":%d,"units":"C"}' % number) for number in range(50)]
            publisher.publish([*sensors, *[("doors/d", b'{"state":"open"}')] * 50])
        wait_for(lambda: gateway.metric("gateway_delivered_total", stream="receiveDoors") == 50, 30, "doors to flow")
        sensors_held = gateway.metric("gateway_received_total", stream="receiveFactorySensors")
        assert (sensors_held, gateway.metric("gateway_delivered_total", stream="receiveFactorySensors")) == (50, 0)
        topics.create("machine-sensors")
        gateway.wait_settled(100)
        assert gateway.stop_and_read_ledger()["delivered"] == 100
    values = [decoded(record, "receiveFactorySensors")["value"] for record in topics.records("machine-sensors", 50)]
    assert values == list(range(50))


def test_run_survives_frozen_kafka_and_a_restarted_broker(
    away: Topics, registry: Registry, mosquitto: StartMosquitto, reader: str
) -> None:
    """Kafka frozen and thawed, Mosquitto restarted: nothing is lost, and order per key holds."""
    broker = mosquitto()
    with Gateway(servers(broker, away.kafka, registry), away.contract, mqtt={"reader": reader}) as gateway:
        gateway.start()
        away.kafka.freeze()
        with Publisher(broker.port) as publisher:
            publisher.publish(("factory/a/b", b'{"value":%d,"units":"C"}' % number) for number in range(2_000))
        broker.restart()
        with Publisher(broker.port) as publisher:
            publisher.publish(("factory/a/b", b'{"value":%d,"units":"C"}' % n) for n in range(2_000, 3_000))
        away.kafka.thaw()
        # How many come cannot be said: after the restart the broker sends again what it has no acknowledgement for.
        wait_for(lambda: 2_999 in stored_values(away), 60, "the last reading in Kafka")
        gateway.wait_settled(3_000)
        ledger = gateway.stop_and_read_ledger()
    assert ledger["balanced"]
    first_times = list(dict.fromkeys(stored_values(away)))
    assert first_times == list(range(3_000)), "every reading, in order; a repeat may come after its first time only"


def stored_values(topics: Topics) -> list[int]:
    """Read the numbers of all sensor readings that Kafka has."""
    found = topics.records("machine-sensors", topics.count("machine-sensors"))
    return [int(decoded(record, "receiveFactorySensors")["value"]) for record in found]


def test_run_starts_without_registry_when_the_lock_file_is_there(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Schema ids are kept: after a first start the registry may be away, and readings flow at once."""
    broker = mosquitto()
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        gateway.start()
        gateway.stop_and_read_ledger()
        settings = gateway.settings_file.read_text()
        gateway.settings_file.write_text(settings.replace(registry.url, "http://127.0.0.1:1/apis/ccompat/v7"))
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/d", b'{"state":"open"}')] * 10)
        gateway.wait_settled(10)
        assert gateway.stop_and_read_ledger()["delivered"] == 10


def test_run_waits_for_a_registry_that_is_down(
    kafka: Kafka, topics: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """Without id and registry readings wait, they are no dead letters; `/readyz` says what is missing."""
    broker = mosquitto()
    with Gateway(servers(broker, kafka, registry), topics.contract) as gateway:
        settings = gateway.settings_file.read_text()
        gateway.settings_file.write_text(settings.replace(registry.url, "http://127.0.0.1:1/apis/ccompat/v7"))
        gateway.start(ready=False)
        gateway.wait_subscribed("factoryBroker")
        with Publisher(broker.port) as publisher:
            publisher.publish([("doors/d", b'{"state":"open"}')] * 10)
        wait_for(lambda: gateway.metric("gateway_received_total") == 10, 60, "readings to come in")
        wait_for(lambda: gateway.states()["registry"]["state"] == "no_schema_id", 30, lambda: str(gateway.states()))
        assert topics.count("gateway-dead-letters") == 0


@pytest.mark.parametrize("limit", ["256KiB", "1GiB"])
def test_run_bounds_its_memory_while_kafka_is_away(
    away: Topics, registry: Registry, mosquitto: StartMosquitto, reader: str, limit: str
) -> None:
    """With a small memory and Kafka frozen readings go to disk; with a small disk too, reading stops, the link lives.

    Either way everything arrives afterwards, in order.
    """
    broker = mosquitto(IN_MEMORY)
    spool = {"memory": "256KiB", "limit": limit}
    with Gateway(servers(broker, away.kafka, registry), away.contract, mqtt={"reader": reader}, spool=spool) as gateway:
        gateway.start()
        away.kafka.freeze()
        with Publisher(broker.port) as publisher:
            publisher.publish(("factory/a/b", b'{"value":%d,"units":"C"}' % number) for number in range(8_000))
        wait_for(lambda: gateway.metric("gateway_received_total") > 500, 60, "readings")
        assert gateway.metric("gateway_spool_memory_bytes") < 4 * 2**20
        away.kafka.thaw()
        gateway.wait_settled(8_000)
        assert gateway.metric("gateway_mqtt_connects_total", server="factoryBroker") == 1
        ledger = gateway.stop_and_read_ledger()
        assert (ledger["received"], ledger["delivered"], ledger["balanced"]) == (8_000, 8_000, True), ledger
    stored = away.records("machine-sensors", 8_000)
    assert [decoded(record, "receiveFactorySensors")["value"] for record in stored] == list(range(8_000))


def test_run_keeps_an_outage_on_disk_over_kill_and_restart(
    away: Topics, registry: Registry, mosquitto: StartMosquitto
) -> None:
    """What the disk has is acknowledged and survives kill -9; it comes out in order, ahead of what is new.

    What had been sent before the kill lies in the frozen Kafka's sockets, so it may be there twice.
    """
    broker = mosquitto(IN_MEMORY)
    with Gateway(servers(broker, away.kafka, registry), away.contract, spool={"after": "100ms"}) as gateway:
        gateway.start()
        away.kafka.freeze()
        with Publisher(broker.port) as publisher:
            publisher.publish(("factory/a/b", b'{"value":%d,"units":"C"}' % number) for number in range(3_000))
            wait_for(lambda: gateway.metric("gateway_spooled") == 3_000, 60, "3,000 readings on disk")
            # What is on disk is acknowledged in the same turn: when the next turn has one more, PUBACKs are out.
            publisher.publish([("factory/a/b", b'{"value":3000,"units":"C"}')])
            wait_for(lambda: gateway.metric("gateway_spooled") == 3_001, 60, "one more on disk")
        gateway.kill()
        away.kafka.thaw()
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish(("factory/a/b", b'{"value":%d,"units":"C"}' % number) for number in range(3_001, 3_500))

        def came_once() -> float:
            return gateway.metric("gateway_received_total") - gateway.metric("gateway_repeated_total")

        wait_for(lambda: came_once() == 3_500, 60, "all readings")
        gateway.wait_settled(3_500)
        ledger = gateway.stop_and_read_ledger()
    assert ledger["balanced"]
    assert ledger["delivered"] in {3_500, 3_501}, "but for the last, whose PUBACK may not have been out"
    assert list(dict.fromkeys(stored_values(away))) == list(range(3_500))
