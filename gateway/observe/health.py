"""Health for `/livez` and `/readyz`: every peer with its state, and a sentence that says what to do.

Alive: the loop turns. Ready: every broker is connected and grants its subscriptions, Kafka answers and has the topics,
every stream knows its schema id, the disk takes what it is given, no lane waits or stands still. Runs in the HTTP
server's threads, so it only reads single figures; asking Kafka blocks, therefore a thread does it and the answer is
kept for a few seconds.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from gateway.mqtt.source import Link
from gateway.observe.peer_state import Health, PeerState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.bridge.bridge import Bridge
    from gateway.kafka.sink import KafkaSink
    from gateway.mqtt.source import MqttSource
    from gateway.spool.spool import Spool

HUNG_SECONDS = 30.0
ASK_SECONDS = 2.0
KEPT_SECONDS = 3.0
KEPT_TROUBLED_SECONDS = 10.0  # asking makes librdkafka connect at once, past its back-off
PATIENCE_SECONDS = 0.5  # a probe of ours must not wait for Kafka's time-outs


class HealthCheck:
    """Judges a running gateway.

    Args:
        bridge: the loop.
        sources: the MQTT brokers.
        sink: Kafka.
        spool: whose disk may be in trouble.
        refusals: stream -> why it has no schema id; empty when all have.
        topics: the Kafka topics that must be there.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - everything that can be in the way
        self,
        bridge: Bridge,
        sources: Sequence[MqttSource],
        sink: KafkaSink,
        spool: Spool,
        refusals: Mapping[str, str],
        topics: set[str],
    ) -> None:
        self._bridge = bridge
        self._sources = sources
        self._sink = sink
        self._spool = spool
        self._refusals = refusals
        self._topics = topics
        self._kafka = PeerState("kafka", "unknown", "not asked yet")
        self._asked_at = float("-inf")
        self._asker = threading.Thread()

    def __call__(self) -> Health:
        """Judge now."""
        peers = (*map(_mqtt_state, self._sources), self._kafka_state(), *self._registry_states())
        states = (*peers, *self._spool_states(), *self._lane_states())
        is_alive = time.monotonic() - self._bridge.turned_at < HUNG_SECONDS
        return Health(is_alive, is_alive and all(state.state == "ok" for state in states), states)

    def _kafka_state(self) -> PeerState:
        """Give Kafka's state, not older than a few seconds unless Kafka itself takes that long to answer."""
        kept_seconds = KEPT_TROUBLED_SECONDS if self._sink.blocked_reason else KEPT_SECONDS
        if time.monotonic() - self._asked_at > kept_seconds and not self._asker.is_alive():
            self._asked_at = time.monotonic()
            self._asker = threading.Thread(target=self._ask, name="ask kafka", daemon=True)
            self._asker.start()
            self._asker.join(PATIENCE_SECONDS)
        return self._kafka

    def _ask(self) -> None:
        self._kafka = self._ask_kafka()

    def _ask_kafka(self) -> PeerState:
        try:
            missing = self._sink.missing_topics(self._topics, ASK_SECONDS)
        except ConnectionError as error:
            return PeerState("kafka", "unreachable", f"{error}; readings wait here until it is back")
        if missing:
            names = ", ".join(sorted(missing))
            detail = (
                f"these topics do not exist, or this user may not see them: {names}; create them as the contract says"
            )
            return PeerState("kafka", "topic_missing", detail)
        return PeerState("kafka", "ok", "")

    def _registry_states(self) -> list[PeerState]:
        waiting = defaultdict[str, list[str]](list)
        for stream, reason in list(self._refusals.items()):
            waiting[reason].append(stream)
        if not waiting:
            return [PeerState("registry", "ok", "")]
        told = [f"{reason} Waiting: {', '.join(streams)}." for reason, streams in waiting.items()]
        return [PeerState("registry", "no_schema_id", detail) for detail in told]

    def _spool_states(self) -> list[PeerState]:
        return [PeerState("spool", "waiting", self._spool.blocked_reason)] if self._spool.blocked_reason else []

    def _lane_states(self) -> list[PeerState]:
        waiting = [(lane.name, lane.blocked_reason) for lane in self._bridge.all_lanes() if lane.blocked_reason]
        return [PeerState(f"lane {name}", "waiting", trouble) for name, trouble in dict.fromkeys(waiting)]


def _mqtt_state(source: MqttSource) -> PeerState:
    if source.link != Link.UP:
        return PeerState(source.name, str(source.link), source.detail)
    if source.denied:
        return PeerState(source.name, "denied", source.detail)
    return PeerState(source.name, "ok", "")
