"""The status of a gateway as a small JSON document, which `service/status_publisher.py` publishes over MQTT.

    gateway/ID/status              what `document` makes; its `state` is `online`, or `offline` in the last will
    homeassistant/device/ID/config what Home Assistant needs to show the document as one device with its entities

It has names of servers and streams' sums, and nothing that could be secret: no address, no login, no detail of a peer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway import __version__
from gateway.core.counters import QUARANTINED
from gateway.observe.figures import hours_left

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.observe.figures import Rates, Snapshot
    from gateway.observe.peer_state import Health

FILTER: Final = "gateway/+/status"
_ID: Final = re.compile("gateway/([^/]+)/status")
_ENTITIES: Final[Mapping[str, dict[str, str]]] = {  # member of the document -> what Home Assistant shows
    "rate": {"name": "Readings", "unit_of_measurement": "1/s", "state_class": "measurement"},
    "delivered_rate": {"name": "Delivered", "unit_of_measurement": "1/s", "state_class": "measurement"},
    "waiting": {"name": "Waiting readings", "state_class": "measurement"},
    "hours_left": {
        "name": "Spool lasts",
        "device_class": "duration",
        "unit_of_measurement": "h",
        "state_class": "measurement",
    },
    "dead_letters": {"name": "Dead letters", "state_class": "total_increasing"},
    "quarantined": {"name": "Quarantined", "state_class": "total_increasing"},
}


def topic_of(gateway_id: str) -> str:
    """Name the topic of a gateway's status."""
    return FILTER.replace("+", gateway_id)


def id_of(topic: str) -> str:
    """Find the gateway that a topic is about; "" for another topic."""
    match = _ID.fullmatch(topic)
    return match[1] if match else ""


def document(health: Health, snapshot: Snapshot, rates: Rates) -> dict[str, Any]:
    """Describe a running gateway; what is not known is None."""
    books = snapshot.books.values()
    dead_lettered = [count for book in books for count in book.dead_lettered.items()]
    return {
        "state": "online",
        "ready": health.ready,
        "problems": problems(health),
        "rate": round(sum(rates.readings.values()), 2) if rates.seconds else None,
        "delivered_rate": round(rates.delivered, 2) if rates.seconds else None,
        "waiting": sum(book.in_flight + book.spooled for book in books),
        "hours_left": None if (hours := hours_left(snapshot.gauges, rates)) is None else round(hours, 1),
        "dead_letters": sum(count for _, count in dead_lettered),
        "quarantined": sum(count for reason, count in dead_lettered if reason in QUARANTINED),
    }


def problems(health: Health) -> list[str]:
    """Name what keeps the gateway from being ready."""
    peers = [f"{state.peer}: {state.state}" for state in health.states if not state.is_fine]
    return peers if health.alive else ["loop: hangs", *peers]


def moment(at: float) -> str:
    """Write a time in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def discovery(gateway_id: str) -> tuple[str, dict[str, Any]]:
    """Give the topic and the message by which Home Assistant discovers a gateway as one device.

    Its documentation of the MQTT integration, "Device discovery payload", requires `device`, `components` and
    `origin`; of each component `platform` and `unique_id`; and of the id that it has only letters, digits, _ and -.
    """
    unique, topic = f"iot_gateway_{gateway_id}", topic_of(gateway_id)
    components = {
        member: {
            "platform": "sensor",
            "unique_id": f"{unique}_{member}",
            "value_template": f"{{{{ value_json.get('{member}') }}}}",  # a last will has no figures: None is unknown
            **entity,
        }
        for member, entity in _ENTITIES.items()
    }
    components["ready"] = {
        "platform": "binary_sensor",
        "unique_id": f"{unique}_ready",
        "value_template": "{{ 'ON' if value_json.get('ready') else 'OFF' }}",
        "name": "Ready",
        "device_class": "running",
    }
    return f"homeassistant/device/{gateway_id}/config", {
        "device": {
            "identifiers": [unique],
            "name": f"Gateway {gateway_id}",
            "model": "IoT gateway, MQTT to Kafka",
            "sw_version": __version__,
        },
        "origin": {"name": "iot-gateway", "sw_version": __version__},
        "availability_topic": topic,
        "availability_template": "{{ value_json.state }}",  # online and offline are Home Assistant's words, too
        "state_topic": topic,
        "qos": 1,
        "components": components,
    }
