"""An MQTT broker against the contract: whether it takes us, what it grants, and what arrives that no stream describes.

The filters of the contract are subscribed to as the gateway does, and left at once: the answer is what counts. Shared
subscriptions are not tried: we would take messages away from the workers that share. Then, where the broker permits
it, everything that is published is listened to for a while, at QoS 0.

Not every broker tells what it denies: Mosquitto's `acl_file` grants each subscription, and withholds the messages.

Two servers of the contract may be one broker: what a stream of either describes is described.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.topic_index import routes
from gateway.core.undescribed import UndescribedTopics
from gateway.installation import broker_of
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.drift.observation import Observation, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.core.model import MqttServer, Stream
    from gateway.installation import Installation
    from gateway.signals import Stopping

EVERYTHING = "#"
SHOWN_GROUPS = 10


def compare(
    installation: Installation, server: MqttServer, seconds: float, stopping: Stopping
) -> Iterator[Observation]:
    """Compare a broker with the contract.

    Args:
        installation: its files.
        server: of the contract.
        seconds: how long to listen to everything; 0 for not at all.
        stopping: ends listening before its time.

    Yields:
        What was seen.

    Raises:
        GatewayError: when the broker cannot be asked.
    """
    broker = broker_of(server, installation.settings)
    with BrokerProbe(broker, server.session_expiry) as visit:
        version = f"MQTT {server.version}, {'TLS' if broker.tls else 'plain'}"
        yield Observation(server.name, "connection", version, f"{broker.host}:{broker.port}", Verdict.AGREES)
        if filters := _filters(installation, server):
            granted = visit.subscribe(filters)
            visit.unsubscribe(filters)
            yield from (_grant(server.name, one, qos, granted[one]) for one, qos in filters.items())
        if seconds and not stopping.is_set():
            yield from _arriving(installation, server, visit, seconds, stopping)


def _filters(installation: Installation, server: MqttServer) -> dict[str, int]:
    settings = installation.settings
    return {
        stream.address.filter: settings.qos_of(stream)
        for stream in installation.contract.streams.values()
        if server.name in stream.servers and settings.is_enabled(stream.name)
    }


def _grant(peer: str, name: str, qos: int, reason: ReasonCode) -> Observation:
    what, wanted = f"subscription {name}", f"QoS {qos}"
    if reason.is_failure:
        return Observation(peer, what, wanted, f"denied: {reason}", Verdict.DRIFT, "Grant read in the broker's ACL.")
    if reason.value < qos:
        step = "Let the broker grant QoS 1, or readings can be lost on the way."
        return Observation(peer, what, wanted, f"QoS {reason.value} only", Verdict.DRIFT, step)
    return Observation(peer, what, wanted, f"QoS {reason.value}", Verdict.AGREES)


def _arriving(
    installation: Installation, server: MqttServer, visit: BrokerProbe, seconds: float, stopping: Stopping
) -> Iterator[Observation]:
    reason = visit.subscribe({EVERYTHING: 0})[EVERYTHING]
    if reason.is_failure:
        told = f"the broker does not let us listen to {EVERYTHING}: {reason}"
        yield Observation(server.name, "messages", "a stream for each", told, Verdict.UNSEEN)
        return
    undescribed = UndescribedTopics(
        routes((stream.name, stream.address) for stream in _streams_at(installation, server))
    )
    heard_seconds = visit.listen(lambda topic, _payload: undescribed.take(topic), seconds, stopping)
    described = f"{undescribed.described:,} described, {undescribed.undescribed:,} not, in {heard_seconds:.1f} s"
    verdict = Verdict.AGREES if undescribed.described else Verdict.UNSEEN
    yield Observation(server.name, "messages", "a stream for each", described, verdict)
    for group in undescribed.groups(SHOWN_GROUPS):
        told = f"{group.messages:,} messages"
        step = "Add a stream for them, or let nobody publish them."
        yield Observation(server.name, f"topics {group.name}", "no stream", told, Verdict.DRIFT, step)


def _streams_at(installation: Installation, server: MqttServer) -> list[Stream]:
    """The streams of all servers that are at the same address."""
    settings, contract = installation.settings, installation.contract
    places = {name: settings.server(name).host or one.host for name, one in contract.mqtt_servers.items()}
    here = {name for name, place in places.items() if place == places[server.name]}
    return [stream for stream in contract.streams.values() if here & set(stream.servers)]
