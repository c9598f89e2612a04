"""An MQTT broker: whether it keeps a session, grants the subscriptions, and has dropped messages.

Whether sessions are kept is tried with a client id of its own, whose session is removed afterwards. Whether they
survive a restart of the broker is not visible from outside, nor are Mosquitto's limits; the counters under `$SYS` show
the damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import Finding
from gateway.installation import broker_of
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.drift import broker
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import MqttServer
    from gateway.installation import Installation
    from gateway.signals import Stopping

VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"
LISTEN_SECONDS = 3.0
KEPT_FIX = "Let the broker keep sessions: Mosquitto needs `persistence true` and `per_listener_settings false`."
DROPPED_FIX = "Set max_queued_messages 0, max_queued_bytes 0 and per_listener_settings false in mosquitto.conf."


def examine(installation: Installation, server: MqttServer, stopping: Stopping) -> Iterator[Finding]:
    """Check a broker; `stopping` ends listening early.

    Raises:
        GatewayError: when the broker does not answer or refuses the probe.
    """
    yield from broker.compare(installation, server, 0, stopping)
    with BrokerProbe(broker_of(server, installation.settings), server.session_expiry) as probe:
        yield _session(server, probe)
        yield from _counters(server, _retained(probe, stopping))


def _session(server: MqttServer, probe: BrokerProbe) -> Finding:
    if server.clean_session:
        fix = "Set cleanSession: false in the contract, or readings are lost while the gateway is stopped."
        return Finding.at(server.name, "session", "warning", "the contract asks for a clean session", fix)
    if probe.is_session_kept():
        return Finding.at(server.name, "session", "ok", "kept over a disconnect")
    return Finding.at(server.name, "session", "error", "dropped at the disconnect", KEPT_FIX)


def _counters(server: MqttServer, published: dict[str, str]) -> Iterator[Finding]:
    version, dropped = published.get(VERSION), published.get(DROPPED, "")
    yield Finding.at(server.name, "version", "ok" if version else "unknown", version or "not published")
    if not dropped.isdecimal():
        yield Finding.at(server.name, "dropped messages", "unknown", f"{DROPPED} is not published")
    elif int(dropped):
        text = f"{dropped}, of all clients together"
        yield Finding.at(server.name, "dropped messages", "warning", text, DROPPED_FIX)
    else:
        yield Finding.at(server.name, "dropped messages", "ok", "none")


def _retained(probe: BrokerProbe, stopping: Stopping) -> dict[str, str]:
    """Read what the broker publishes about itself, by topic; it is retained, so it arrives at once or never."""
    published: dict[str, str] = {}
    probe.subscribe({VERSION: 0, DROPPED: 0}, is_retained_wanted=True)
    probe.listen(
        lambda topic, payload: published.update({topic.decode(errors="replace"): cut(payload)}),
        LISTEN_SECONDS,
        stopping,
    )
    return published
