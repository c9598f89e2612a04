"""The peers: each broker, Kafka and the registry as `drift/` sees them, and what only a doctor asks for.

A broker is asked whether it keeps sessions, with a client id of its own, whose session is removed afterwards. Whether
sessions survive a restart of the broker is not visible from outside, nor are Mosquitto's limits; the counters under
`$SYS` show the damage.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.certificate import UNDER_SERVERS
from gateway.errors import Finding
from gateway.installation import broker_of, lock_path_of
from gateway.kafka.sink import DEFAULTS
from gateway.kafka.state_topic import STATE_TOPIC
from gateway.mqtt.probe import BrokerProbe
from gateway.operate.doctor import limits, transactions
from gateway.operate.drift import broker, kafka, registry
from gateway.operate.schemas.review import schemas
from gateway.operate.schemas.subject_status import FOREIGN, IS_NEW, UNREGISTERED
from gateway.operate.topics import MISSING, Cluster, wanted
from gateway.registry.lock_file import LOCK_FIX, load_lock
from gateway.text import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.core.model import MqttServer, Topic
    from gateway.installation import Installation
    from gateway.signals import Stopping

VERSION, DROPPED = "$SYS/broker/version", "$SYS/broker/publish/messages/dropped"
LISTEN_SECONDS = 3.0
MINIMUM = "min.insync.replicas"
LARGEST, TIMESTAMP = "max.message.bytes", "message.timestamp.type"
STATE_POLICY = f"topic {STATE_TOPIC} cleanup.policy"  # else Kafka deletes what the gateway must remember
KEPT_FIX = "Let the broker keep sessions: Mosquitto needs `persistence true` and `per_listener_settings false`."
DAY = 86_400.0
RENEW_FIX = "Write a new one into registry.token_file, or set registry.oauth, which gets one whenever it needs it."
EXPIRY_FIX = "Raise the broker's limit, or write it in sessionExpiryInterval: a longer stop loses messages."
DROPPED_FIX = "Set max_queued_messages 0, max_queued_bytes 0 and per_listener_settings false in mosquitto.conf."


def examine_broker(installation: Installation, server: MqttServer, stopping: Stopping) -> Iterator[Finding]:
    """Check a broker; `stopping` ends listening early."""
    yield from limits.check_broker(installation, server)
    yield from broker.compare(installation, server, 0, stopping)
    reached = broker_of(server, installation.settings)
    with BrokerProbe(reached, server.session_expiry) as probe:
        if reached.alpn:
            yield _alpn(server.name, reached.alpn, probe.selected_alpn)
        yield _session(server, probe)
        yield from _counters(server, _retained(probe, stopping))


def _alpn(peer: str, offered: tuple[str, ...], selected: str | None) -> Finding:
    if selected:
        return Finding.at(peer, "ALPN", "ok", selected)
    text, fix = f"the broker selects none of {', '.join(offered)}", f"Correct or remove tls.alpn {UNDER_SERVERS}."
    return Finding.at(peer, "ALPN", "warning", text, fix)


def _session(server: MqttServer, probe: BrokerProbe) -> Finding:
    if server.clean_session:
        fix = "Set cleanSession: false in the contract, or readings are lost while the gateway is stopped."
        return Finding.at(server.name, "session", "warning", "the contract asks for a clean session", fix)
    if probe.is_session_kept():
        return check_expiry(server, probe.granted_expiry)
    return Finding.at(server.name, "session", "error", "dropped at the disconnect", KEPT_FIX)


def check_expiry(server: MqttServer, granted: int | None) -> Finding:
    """Check for how long the broker says that it keeps a session; None when it does not, as MQTT 3.1.1 has it."""
    if granted is None or granted >= server.session_expiry:
        return Finding.at(server.name, "session", "ok", "kept over a disconnect")
    text = f"kept for {granted} s, not for the {server.session_expiry} s of the contract"
    return Finding.at(server.name, "session", "warning", text, EXPIRY_FIX)


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
    peer, properties = installation.contract.kafka.name, installation.kafka(producing=True)
    yield from limits.check_kafka(peer, properties, delivers_once=installation.delivers_once)
    for finding in kafka.compare(installation):
        # Without its topic no reading is delivered; all other differences concern order, retention or joins.
        is_topic = len(finding.path.split()) == 2  # `topic doors`, not one of its settings
        is_fatal = is_topic and finding.message == MISSING
        yield finding if is_fatal or finding.path == STATE_POLICY else _as_warning(finding)
    yield from _examine_topics(installation)
    if installation.delivers_once:
        yield from transactions.examine(installation)


def _examine_topics(installation: Installation) -> Iterator[Finding]:
    contract, producing = installation.contract, installation.kafka(producing=True)
    peer, limit = contract.kafka.name, int((DEFAULTS | producing)["message.max.bytes"])
    topics = wanted(contract, delivers_once=installation.delivers_once)
    dated = {route.topic.name for stream in contract.streams.values() for route in stream.routes if route.timestamp}
    dead_letters = {stream.dead_letters.topic.name for stream in contract.streams.values()}
    for name, topic in Cluster(installation.kafka(producing=False)).topics(list(topics), {}).items():
        if topic.configuration:
            stated = topics[name].configuration
            yield check_replicas(peer, topic)
            yield check_kept(peer, topic, stated, is_dated=name in dated, holds_dead_letters=name in dead_letters)
            yield check_size(peer, topic, limit)


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


def check_kept(
    peer: str, topic: Topic, stated: Mapping[str, str], *, is_dated: bool, holds_dead_letters: bool
) -> Finding:
    """Check how long Kafka keeps the records of a topic, where the contract does not state it."""
    what, kept = f"topic {topic.name} retention", topic.configuration.get("retention.ms", "-1")
    text = f"{int(kept) // 3_600_000} h" if int(kept) >= 0 else "without limit"
    if (most := topic.configuration.get("retention.bytes", "-1")) != "-1":
        text += f", at most {most} bytes a partition"
    if topic.is_compacted and "cleanup.policy" not in stated:
        fix = "Set cleanup.policy of the topic to delete, or state cleanup.policy in the contract."
        text = "Kafka keeps only the newest record of each key"
        return Finding.at(peer, what, "error" if holds_dead_letters else "warning", text, fix)
    if is_dated and topic.configuration.get(TIMESTAMP) == "LogAppendTime" != stated.get(TIMESTAMP):
        fix = f"Set {TIMESTAMP} of the topic to CreateTime."
        return Finding.at(peer, what, "warning", f"{TIMESTAMP} LogAppendTime: x-timestamp has no effect", fix)
    if is_dated and "retention.ms" not in stated and int(kept) >= 0 and not topic.is_compacted:
        text = f"{text}, which the contract does not state; records with an older x-timestamp get the time of arrival"
        fix = f"State retention.ms: {kept} in topicConfiguration, or a longer time."
        return Finding.at(peer, what, "warning", text, fix)
    if topic.configuration.get("cleanup.policy") == "compact":
        text = "the newest record of each key"
    return Finding.at(peer, what, "ok", text)


def check_size(peer: str, topic: Topic, limit: int) -> Finding:
    """Check whether a topic takes records as large as the gateway sends them."""
    what, most = f"topic {topic.name} {LARGEST}", int(topic.configuration.get(LARGEST, limit))
    if most >= limit:
        return Finding.at(peer, what, "ok", str(most))
    text = f"{most} bytes, and the gateway sends up to {limit}: larger batches are refused and sent one by one"
    fix = f"Raise {LARGEST} of the topic, or set producer: {{message.max.bytes: {most}}} {UNDER_SERVERS}."
    return Finding.at(peer, what, "warning", text, fix)


def examine_registry(installation: Installation) -> Iterator[Finding]:
    """Check the lock file and the registry; most differences are only warnings, because the gateway runs with them."""
    yield _pinned(installation)
    kafka_server = installation.settings.server(installation.contract.kafka.name)
    if file := kafka_server.registry.token_file:
        yield check_token(installation.settings.secret(file).get_secret_value(), time.time())
    fatal = () if kafka_server.registry.register else (IS_NEW, UNREGISTERED)
    for finding in registry.compare(installation):
        yield finding if FOREIGN in finding.message or finding.message in fatal else _as_warning(finding)


def _pinned(installation: Installation) -> Finding:
    expected, lock = schemas(installation.contract), load_lock(lock_path_of(installation.settings))
    pinned = [name for name, schema in expected.items() if lock.pin(name, schema)]
    text = f"{len(pinned)} of {len(expected)} schemas"
    if len(pinned) == len(expected):
        return Finding.at(registry.PEER, "pinned ids", "ok", text)
    return Finding.at(registry.PEER, "pinned ids", "warning", f"{text}: a start needs the registry", LOCK_FIX)


def check_token(token: str, now: float) -> Finding:
    """Check when the registry's token expires, if it is a JWT."""
    try:
        left = json.loads(urlsafe_b64decode(f"{token.split('.')[1]}=="))["exp"] - now
    except (LookupError, TypeError, ValueError):
        return Finding.at(registry.PEER, "token", "unknown", "it does not say when it expires")
    if left <= 0:
        return Finding.at(registry.PEER, "token", "error", f"expired {-left:,.0f} s ago", RENEW_FIX)
    return Finding.at(registry.PEER, "token", "ok" if left > DAY else "warning", f"expires in {left:,.0f} s", RENEW_FIX)


def _as_warning(difference: Finding) -> Finding:
    return replace(difference, severity="warning") if difference.severity == "error" else difference
