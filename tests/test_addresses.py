"""Devices with names of several levels, and messages that are not wanted: the contract of `docs/steps/17`."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from typing import TYPE_CHECKING

from tests.stack.gateway import ROOT, Gateway
from tests.stack.publisher import Publisher
from tests.stack.reading_records import records
from tests.test_end_to_end import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartMosquitto
    from tests.stack.kafka import Kafka
    from tests.stack.registry import Registry

SENSORS = [f"floor {number % 3}/room {number % 20}/sensor {number}" for number in range(200)]
PLUGS = [f"{number}" for number in range(100)]
ROUNDS = 3
KEYS = {"climate": SENSORS, "plugs": PLUGS, "heating-north": ["b1"], "heating-south": ["b1"]}
DROPS = (("ignoreBridge", "ignored"), ("ignoreAvailability", "ignored"), ("unmapped", "not_addressed"))


def messages() -> Iterator[tuple[str, bytes]]:
    """What zigbee2mqtt publishes, and boilers, one of them in a building that the contract does not know."""
    for each in ("bridge/info", "bridge/logging", "bridge/state"):
        yield f"zigbee2mqtt/{each}", b'{"message":"no reading"}'
    yield "zigbee2mqtt", b"offline"
    yield "zigbee2mqtt/plug-", b'{"power":1}'
    for number in range(ROUNDS):
        for name in SENSORS:
            yield f"zigbee2mqtt/{name}", json.dumps({"temperature": number, "linkquality": 80}).encode()
            yield f"zigbee2mqtt/{name}/availability", b'{"state":"online"}'
        for name in PLUGS:
            yield f"zigbee2mqtt/plug-{name}", json.dumps({"power": number}).encode()
            yield f"zigbee2mqtt/plug-{name}/availability", b'{"state":"online"}'
        for building in ("north", "south", "west"):
            yield f"heating/{building}/b1", json.dumps({"temperature": number}).encode()


def own_contract(folder: Path, suffix: str) -> Path:
    """Copy the step, with Kafka topics of the test's own."""
    path = shutil.copytree(ROOT / "docs" / "steps" / "17", folder) / "asyncapi.yaml"
    text = re.sub(
        r"(address: )(climate|plugs|heating-\{building\}|home-dead-letters)\n", rf"\1\2-{suffix}\n", path.read_text()
    )
    assert text.count(f"-{suffix}\n") == 4
    path.write_text(text)
    return path


def test_run_reads_all_of_zigbee2mqtt_by_one_subscription(
    kafka: Kafka, registry: Registry, mosquitto: StartMosquitto, tmp_path: Path
) -> None:
    """Each message is in its topic, its dead letters or its counted drops, and the books go on after a restart."""
    broker, suffix = mosquitto(), uuid.uuid4().hex[:8]
    at = servers(broker, kafka, registry)
    sent, wanted = list(messages()), ROUNDS * (len(SENSORS) + len(PLUGS) + 2)
    with Gateway(
        {"broker": at["factoryBroker"], "kafka": at["kafka"]}, own_contract(tmp_path / "own", suffix)
    ) as gateway:
        applied = gateway.command("topics", "apply", "--yes", "-c", str(gateway.settings_file))
        assert applied.returncode == 0, applied.stderr
        gateway.start()
        with Publisher(broker.port) as publisher:
            publisher.publish(sent)
        gateway.wait_settled(len(sent))
        dropped = {name: gateway.metric("gateway_dropped_total", stream=name, reason=reason) for name, reason in DROPS}
        drift = gateway.command("drift", "-c", str(gateway.settings_file), "--seconds", "0")
        first = gateway.stop_and_read_ledger()
        found = {name: records(kafka.bootstrap, f"{name}-{suffix}", ROUNDS * len(keys)) for name, keys in KEYS.items()}
        letters = records(kafka.bootstrap, f"home-dead-letters-{suffix}", ROUNDS + 1)
        gateway.start()
        ignored = gateway.metric("gateway_dropped_total", stream="ignoreBridge", reason="ignored")
        second = gateway.stop_and_read_ledger()
        filters = json.loads((gateway.folder / "gateway-subscriptions.json").read_text())
    assert filters == {"broker": {"home-gateway": ["heating/+/+", "zigbee2mqtt/#"]}}
    assert drift.returncode == 0, drift.stdout + drift.stderr
    assert (first["delivered"], first["dead_lettered"], first["balanced"]) == (wanted, ROUNDS + 1, True)
    assert dropped == {"ignoreBridge": 3, "ignoreAvailability": ROUNDS * 300, "unmapped": 1}
    assert (ignored >= 3, second["balanced"]) == (True, True)  # the broker may repeat some
    for name, keys in KEYS.items():
        assert {record.key for record in found[name]} == {key.encode() for key in keys}
    reasons = [dict(record.headers)["error.reason"] for record in letters]
    assert sorted(reasons) == [b"bad_topic", *[b"not_allowed"] * ROUNDS]
