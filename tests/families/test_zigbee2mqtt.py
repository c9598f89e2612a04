"""A house of 300 Zigbee devices of twelve models, on real servers: what the family makes of `zigbee2mqtt/#`."""

from __future__ import annotations

import io
import json
import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import fastavro

from tests.families.test_families import contract_of
from tests.stack.gateway import Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

DEVICES = 300
ROUNDS = 2
# Each model with the message that it has in the family; the numbers are those of a round.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "WSDCGQ11LM": (
        "climate",
        {"battery": 86, "humidity": 55.43, "pressure": 1000.6, "temperature": 22.75, "voltage": 2985},
    ),
    "SNZB-02": ("climate", {"battery": 100, "humidity": 41.2, "temperature": 19.96, "voltage": 3000}),
    "TS0201": ("climate", {"battery": 74.5, "humidity": 61, "temperature": -3.1, "linkquality": 92}),
    "MCCGQ11LM": ("contact", {"battery": 91, "contact": True, "device_temperature": 24, "voltage": 3015}),
    "SNZB-04": ("contact", {"battery": 88, "battery_low": False, "contact": False, "tamper": False}),
    "TS0203": ("contact", {"battery_low": False, "contact": True, "linkquality": 102, "tamper": True}),
    "TS011F": (
        "plug",
        {"child_lock": "UNLOCK", "current": 0.07, "energy": 1.54, "power": 12, "state": "ON", "voltage": 239},
    ),
    "SP 120": ("plug", {"consumption": 3.2, "energy": 3.2, "power": 0, "state": "OFF", "temperature": 31}),
    "RTCGQ11LM": ("other", {"battery": 97, "illuminance": 12, "occupancy": True, "voltage": 3025}),
    "WXKG01LM": ("other", {"action": "single", "battery": 100, "linkquality": 60}),
    "LCT015": ("other", {"brightness": 254, "color": {"x": 0.5, "y": 0.4}, "color_mode": "xy", "state": "ON"}),
    "E1603": ("other", {"linkquality": 110, "state": "OFF", "update": {"state": "idle"}}),
}
TOPICS = {"climate": "zigbee-climate", "contact": "zigbee-contacts", "plug": "zigbee-plugs"}
OF_ALL = {"device", "linkquality", "last_seen"}  # members that tell nothing of what a device measures


def devices() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, message and payload of each; some names have slashes."""
    for number in range(DEVICES):
        message, payload = list(MODELS.values())[number % len(MODELS)]
        yield f"floor {number % 3}/{number}" if number % 2 else f"0x00158d{number:08x}", message, payload


def messages(rounds: int = ROUNDS) -> Iterator[tuple[str, bytes]]:
    """What is published: by the bridge, and in each round by each device, whose availability follows."""
    for what in ("state", "info", "devices", "logging"):
        yield f"zigbee2mqtt/bridge/{what}", b'{"state":"online"}'
    for number in range(rounds):
        for name, _, payload in devices():
            yield f"zigbee2mqtt/{name}", json.dumps({"linkquality": number % 255, **payload}).encode()
            yield f"zigbee2mqtt/{name}/availability", b'{"state":"online"}'


def test_a_house_of_twelve_models_has_three_topics(
    mosquitto: StartMosquitto, kafka: Kafka, registry: Registry, tmp_path: Path
) -> None:
    """Each reading is in the topic of its message and says something; all other messages are counted and dropped."""
    broker, path = mosquitto(), shutil.copytree(contract_of("zigbee2mqtt").parent, tmp_path / "own") / "asyncapi.yaml"
    suffix = tmp_path.name.replace("_", "-")
    text = path.read_text()
    for topic in TOPICS.values():
        text = text.replace(f"address: {topic}\n", f"address: {topic}-{suffix}\n")
    path.write_text(text)
    servers = {
        "broker": {"host": f"127.0.0.1:{broker.port}"},
        "kafka": {"host": kafka.bootstrap, "registry": {"url": registry.url}},
    }
    sent, names = list(messages()), defaultdict[str, list[str]](list)
    for name, message, _ in devices():
        names[message].append(name)
    with Gateway(servers, path) as gateway, Publisher(broker.port) as publisher:
        assert gateway.command("topics", "apply", "--yes", "-c", str(gateway.settings_file)).returncode == 0
        gateway.start()
        publisher.publish(sent)
        gateway.wait_settled(len(sent))
        dropped = gateway.metric("gateway_dropped_total", reason="ignored")
        ledger = gateway.stop_and_read_ledger()
        filters = json.loads((gateway.folder / "gateway-subscriptions.json").read_text())
    assert [*filters["broker"].values()] == [["zigbee2mqtt/#"]]
    wanted = ROUNDS * sum(len(names[message]) for message in TOPICS)
    assert (ledger["balanced"], ledger["delivered"], ledger["dead_lettered"]) == (True, wanted, 0)
    assert dropped == 4 + ROUNDS * (DEVICES + len(names["other"]))
    for message, topic in TOPICS.items():
        schema = fastavro.schema.load_schema(str(path.parent / f"zigbee_{message}.avsc"))
        found = records(kafka.bootstrap, f"{topic}-{suffix}", ROUNDS * len(names[message]))
        assert {record.key for record in found} == {name.encode() for name in names[message]}
        for record in found:
            read: Any = fastavro.schemaless_reader(io.BytesIO((record.value or b"")[5:]), schema, None)
            assert [value for name, value in read.items() if name not in OF_ALL and value is not None], read
