"""The published status, and the message by which Home Assistant discovers it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from gateway.core.ledger import Books
from gateway.core.reading import Reason
from gateway.observe.figures import Rates, Snapshot
from gateway.observe.peer_state import Health, PeerState
from gateway.observe.status_document import discovery, document, id_of, topic_of

# The documentation of Home Assistant's MQTT integration, "Device discovery payload", and of its MQTT sensor and binary
# sensor: what a message may have, with its form. Home Assistant 2026.11.0 itself was asked once, on Python 3.14: its
# `mqtt.discovery._parse_device_payload` takes the message, and the `DISCOVERY_SCHEMA` of `mqtt.sensor` and
# `mqtt.binary_sensor` each of its seven components; it refuses the message without `origin`.
TEXT, TOPIC, TEMPLATE = r"[ -~]+", r"[A-Za-z0-9_/-]+", r"\{\{.+\}\}"
NAMES = {"name": TEXT, "sw_version": TEXT}
DEVICE = NAMES | {"model": TEXT, "manufacturer": TEXT, "hw_version": TEXT, "serial_number": TEXT}
ORIGIN = NAMES | {"support_url": r"https?://.+"}
SHARED = {"state_topic": TOPIC, "availability_topic": TOPIC, "availability_template": TEMPLATE}
ENTITY = {"unique_id": r"[A-Za-z0-9_-]+", "name": TEXT, "value_template": TEMPLATE}
PLATFORMS = {
    "binary_sensor": ENTITY | {"platform": TEXT, "device_class": "running|connectivity|problem"},
    "sensor": ENTITY
    | {
        "platform": TEXT,
        "device_class": "duration|data_size|timestamp",
        "state_class": "measurement|total|total_increasing",
        "unit_of_measurement": "h|min|s|1/s",
    },
}


def fits(given: dict[str, Any], forms: dict[str, str]) -> bool:
    """Whether a message has only these members, in these forms."""
    return all(name in forms and re.fullmatch(forms[name], value) for name, value in given.items())


@pytest.mark.parametrize("gateway_id", ["plant-7", "a", "A_" * 32])
def test_discovery_is_as_home_assistant_documents_it(gateway_id: str) -> None:
    """One message for the device: required members, no others, and an id of each entity that is nowhere else."""
    topic, message = discovery(gateway_id)
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    device, origin, components = message.pop("device"), message.pop("origin"), message.pop("components")
    assert message.pop("qos") in {0, 1, 2}
    assert fits(message, SHARED)
    assert device.pop("identifiers") == [f"iot_gateway_{gateway_id}"]
    assert fits(device, DEVICE)
    assert origin["name"]
    assert fits(origin, ORIGIN)
    for one in components.values():
        assert {"platform", "unique_id"} <= one.keys()
        assert fits(one, PLATFORMS[one["platform"]])
        assert one.get("device_class") != "duration" or one["unit_of_measurement"] in {"h", "min", "s"}
    assert len({one["unique_id"] for one in components.values()}) == len(components) == 7


def test_document_has_what_the_discovery_reads() -> None:
    """Each entity reads a member that is there."""
    made = document(Health(alive=True, ready=True), Snapshot(), Rates())
    for member, one in discovery("x")[1]["components"].items():
        assert f"'{member}'" in one["value_template"]
        assert member in made


def test_document_sums_over_streams() -> None:
    """Rates, what waits, dead letters, and those of them that a counter kept back."""
    doors = Books(received=90, delivered=50, in_flight=5, spooled=35)
    meters = Books(dead_lettered=Counter({Reason.FELL: 3, Reason.JUMPED: 2, Reason.NOT_JSON: 4}))
    snapshot = Snapshot({"doors": doors, "meters": meters}, gauges={"spool_room_bytes": 7_200_000.0})
    health = Health(
        alive=True, ready=False, states=(PeerState("kafka", "unreachable", "10.0.0.1"), PeerState("b", "ok"))
    )
    assert document(health, snapshot, Rates(30.0, {"doors": 2.5, "meters": 0.125}, 1000.0, 1.75)) == {
        "state": "online",
        "ready": False,
        "problems": ["kafka: unreachable"],
        "rate": 2.62,
        "delivered_rate": 1.75,
        "waiting": 40,
        "hours_left": 2.0,
        "dead_letters": 9,
        "quarantined": 5,
    }


def test_document_without_a_rate_guesses_nothing() -> None:
    made = json.loads(json.dumps(document(Health(alive=False, ready=False), Snapshot(), Rates())))
    assert (made["rate"], made["delivered_rate"], made["hours_left"]) == (None, None, None)
    assert made["problems"] == ["loop: hangs"]


@pytest.mark.parametrize("topic", ["gateway/status", "gateway/a/b/status", "gateway/a/status/x", "gateway//status"])
def test_topic_of_something_else_is_no_gateways(topic: str) -> None:
    assert id_of(topic_of("a")) == "a"
    assert not id_of(topic)
