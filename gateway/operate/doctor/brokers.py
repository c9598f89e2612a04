"""An MQTT broker: whether it keeps a session, grants what we ask for, and has thrown messages away.

Whether sessions are kept is tried with an id of our own, which is gone afterwards; whether they outlive the broker's
own restart cannot be seen from outside, nor can Mosquitto's limits. What it counts under `$SYS` shows the damage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.installation import broker_of
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.doctor.diagnosis import Diagnosis, State, diagnosed
from gateway.operate.drift import broker
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.model import MqttServer
    from gateway.installation import Installation
    from gateway.signals import Stopping

VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"
LISTEN_SECONDS = 3.0
KEPT_FIX = "Let the broker keep sessions: Mosquitto wants `persistence true`, and `per_listener_settings false`."
DROPPED_FIX = "Set max_queued_messages 0, max_queued_bytes 0 and per_listener_settings false in mosquitto.conf."


def examine(installation: Installation, server: MqttServer, stopping: Stopping) -> Iterator[Diagnosis]:
    """Look at a broker.

    Args:
        installation: its files.
        server: of the contract.
        stopping: ends listening before its time.

    Raises:
        GatewayError: when the broker cannot be asked.
    """
    for observation in broker.compare(installation, server, 0, stopping):
        yield diagnosed(observation, lambda _: State.WRONG)
    with BrokerProbe(broker_of(server, installation.settings), server.session_expiry) as visit:
        yield _session(server, visit)
        yield from _losses(server, visit, stopping)


def _session(server: MqttServer, visit: BrokerProbe) -> Diagnosis:
    if server.clean_session:
        fix = "Set cleanSession: false in the contract, or readings are lost while the gateway is away."
        return Diagnosis(server.name, "session", State.WARNING, "the contract asks for none that is kept", fix)
    if visit.is_session_kept():
        return Diagnosis(server.name, "session", State.OK, "kept over a disconnect")
    return Diagnosis(server.name, "session", State.WRONG, "forgotten as soon as we disconnect", KEPT_FIX)


def _losses(server: MqttServer, visit: BrokerProbe, stopping: Stopping) -> Iterator[Diagnosis]:
    told = _told(visit, stopping)
    yield Diagnosis(server.name, "version", State.OK if VERSION in told else State.UNSEEN, told.get(VERSION, "untold"))
    dropped = told.get(DROPPED, "")
    if not dropped.isdecimal():
        yield Diagnosis(server.name, "dropped messages", State.UNSEEN, f"it does not tell {DROPPED}")
    elif int(dropped):
        # Of all clients: whose they were, nobody tells.
        yield Diagnosis(server.name, "dropped messages", State.WARNING, f"{dropped}, of all clients", DROPPED_FIX)
    else:
        yield Diagnosis(server.name, "dropped messages", State.OK, "none")


def _told(visit: BrokerProbe, stopping: Stopping) -> dict[str, str]:
    """What the broker tells of itself; it is retained, so it comes at once or not at all."""
    told: dict[str, str] = {}
    visit.subscribe({VERSION: 0, DROPPED: 0}, is_retained_wanted=True)
    visit.listen(
        lambda topic, payload: told.update({topic.decode(errors="replace"): cut(payload)}), LISTEN_SECONDS, stopping
    )
    return told
