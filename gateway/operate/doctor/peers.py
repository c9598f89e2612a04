"""The peers: each broker, Kafka and the registry as `drift/` sees them, and what only a doctor asks for.

A broker is asked whether it keeps sessions, with a client id of its own, whose session is removed afterwards. Whether
sessions survive a restart of the broker is not visible from outside, nor are Mosquitto's limits; the counters under
`$SYS` show the damage.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.certificate import UNDER_SERVERS
from gateway.errors import Finding
from gateway.installation import broker_of, lock_path_of
from gateway.kafka.sink import DEFAULTS
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.drift import broker, kafka, registry
from gateway.operate.schemas.review import schemas
from gateway.operate.topics import MISSING, Cluster, wanted
from gateway.registry.lock_file import read_lock
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.model import MqttServer, Topic
    from gateway.installation import Installation
    from gateway.signals import Stopping

VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"
LISTEN_SECONDS = 3.0
MINIMUM = "min.insync.replicas"
COMPRESSION = ("compression.type", "compression.codec")  # two names of one property
EVENT_HUBS = ".servicebus."
KEPT_FIX = "Let the broker keep sessions: Mosquitto needs `persistence true` and `per_listener_settings false`."
DROPPED_FIX = "Set max_queued_messages 0, max_queued_bytes 0 and per_listener_settings false in mosquitto.conf."


def examine_broker(installation: Installation, server: MqttServer, stopping: Stopping) -> Iterator[Finding]:
    """Check a broker; `stopping` ends listening early."""
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


def examine_kafka(installation: Installation) -> Iterator[Finding]:
    """Check the cluster."""
    yield check_compression(installation.contract.kafka.name, installation.kafka(producing=True))
    for finding in kafka.compare(installation):
        # Without its topic no reading is delivered; all other differences concern order, retention or joins.
        is_topic = len(finding.path.split()) == 2  # `topic doors`, not one of its settings
        yield finding if is_topic and finding.message == MISSING else _as_warning(finding)
    cluster, peer = Cluster(installation.kafka(producing=False)), installation.contract.kafka.name
    for topic in cluster.topics(list(wanted(installation.contract))).values():
        yield check_replicas(peer, topic)


def check_compression(peer: str, properties: Mapping[str, Any]) -> Finding:
    """Check whether the cluster is known to refuse the producer's compression."""
    kind = next((str(properties[name]) for name in COMPRESSION if name in properties), DEFAULTS[COMPRESSION[0]])
    if EVENT_HUBS not in properties["bootstrap.servers"] or kind in {"gzip", "none"}:
        return Finding.at(peer, "compression", "ok", str(kind))
    fix = f"Set producer: {{compression.type: gzip}} {UNDER_SERVERS}, or none below the premium tier."
    return Finding.at(peer, "compression", "error", f"Azure Event Hubs does not accept {kind}", fix)


def check_replicas(peer: str, topic: Topic) -> Finding:
    """Check whether a topic of the cluster can be written to, now and with one broker less."""
    what, replicas = f"topic {topic.name} in-sync replicas", topic.replicas or 1
    minimum = int(topic.configuration.get(MINIMUM, "1"))
    text = f"{MINIMUM} {minimum} of {replicas}"
    if minimum > replicas:
        fix = f"Lower {MINIMUM}, or add replicas: until then Kafka rejects every record."
        return Finding.at(peer, what, "error", text, fix)
    if minimum == replicas > 1:
        fix = f"Set {MINIMUM} to {replicas - 1}: now one stopped broker blocks all writes."
        return Finding.at(peer, what, "warning", text, fix)
    return Finding.at(peer, what, "ok", text)


def examine_registry(installation: Installation) -> Iterator[Finding]:
    """Check the lock file and the registry; a difference is only a warning, because the gateway runs with it."""
    yield _pinned(installation)
    yield from map(_as_warning, registry.compare(installation))


def _pinned(installation: Installation) -> Finding:
    expected, pins = schemas(installation.contract), read_lock(lock_path_of(installation.settings))
    pinned = [name for name, schema in expected.items() if name in pins and pins[name].holds_for(schema)]
    text = f"{len(pinned)} of {len(expected)} schemas"
    if len(pinned) == len(expected):
        return Finding.at(registry.PEER, "pinned ids", "ok", text)
    return Finding.at(registry.PEER, "pinned ids", "warning", f"{text}: a start needs the registry", registry.LOCK)


def _as_warning(difference: Finding) -> Finding:
    return replace(difference, severity="warning") if difference.severity == "error" else difference
