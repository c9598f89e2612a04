"""An MQTT broker against the contract: whether it accepts a client, what it grants, which topics no stream describes.

The probe subscribes to the filters of the contract as the gateway does, and unsubscribes at once: only the SUBACK
matters. Shared subscriptions are not tried: that would take messages away from the workers. Then, if the broker permits
it, the probe subscribes to `#` with QoS 0 for a while and counts topics.

A granted subscription is no proof: with an `acl_file` Mosquitto grants each subscription and withholds the messages.

Two servers of the contract may be one broker, so the streams of all servers at the same address count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.topic_index import topic_index
from gateway.core.undescribed import UndescribedTopics
from gateway.errors import Finding
from gateway.installation import broker_of, subscriptions
from gateway.mqtt.probe import EVERYTHING, BrokerProbe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.core.model import MqttServer
    from gateway.installation import Installation
    from gateway.signals import Stopping

SHOWN_GROUPS = 10


def compare(installation: Installation, server: MqttServer, seconds: float, stopping: Stopping) -> Iterator[Finding]:
    """Compare a broker with the contract; then listen to all topics for some seconds, or not at all with 0."""
    broker = broker_of(server, installation.settings)
    with BrokerProbe(broker, server.session_expiry) as probe:
        version = f"MQTT {server.version}, {'TLS' if broker.tls else 'plain'}"
        yield Finding.at(server.name, "connection", "ok", broker.address, expected=version)
        if filters := _filters(installation, server):
            granted = probe.subscribe(filters)
            probe.unsubscribe(filters)
            yield from (_grant(server.name, one, qos, granted[one]) for one, qos in filters.items())
        if seconds and not stopping.is_set():
            yield from _messages(installation, server, probe, seconds, stopping)


def _filters(installation: Installation, server: MqttServer) -> dict[str, int]:
    settings, contract = installation.settings, installation.contract
    planned = subscriptions(contract, settings.is_enabled, server.name)
    return {each: max(map(settings.qos_of, streams)) for each, streams in planned.items()}


def _grant(peer: str, topic_filter: str, qos: int, reason: ReasonCode) -> Finding:
    what, wanted = f"subscription {topic_filter}", f"QoS {qos}"
    if reason.is_failure:
        return Finding.at(peer, what, "error", f"denied: {reason}", "Grant read in the broker's ACL.", expected=wanted)
    if reason.value < qos:
        fix = f"Let the broker grant QoS {qos}; with less, readings can be lost on the way."
        return Finding.at(peer, what, "error", f"QoS {reason.value} only", fix, expected=wanted)
    return Finding.at(peer, what, "ok", f"QoS {reason.value}", expected=wanted)


def _messages(
    installation: Installation, server: MqttServer, probe: BrokerProbe, seconds: float, stopping: Stopping
) -> Iterator[Finding]:
    reason = probe.subscribe({EVERYTHING: 0})[EVERYTHING]
    expected = "a stream for each"
    if reason.is_failure:
        text = f"the broker denies the subscription to {EVERYTHING}: {reason}"
        yield Finding.at(server.name, "messages", "unknown", text, expected=expected)
        return
    topics = UndescribedTopics(topic_index(installation.contract.addresses(_servers_at(installation, server))))
    listened = probe.listen(lambda topic, _payload: topics.take(topic), seconds, stopping)
    text = f"{topics.described:,} described, {topics.undescribed:,} not, in {listened:.1f} s"
    yield Finding.at(server.name, "messages", "ok" if topics.described else "unknown", text, expected=expected)
    fix = "Add a stream for them, an operation with x-ignored, or stop their publisher."
    for group in topics.groups(SHOWN_GROUPS):
        what, text = f"topics {group.name}", f"{group.messages:,} messages"
        yield Finding.at(server.name, what, "error", text, fix, expected="no stream")


def _servers_at(installation: Installation, server: MqttServer) -> set[str]:
    """All servers that are at the same address."""
    settings, contract = installation.settings, installation.contract
    places = {name: settings.server(name).host or one.host for name, one in contract.mqtt_servers.items()}
    return {name for name, place in places.items() if place == places[server.name]}
