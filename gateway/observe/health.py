"""Health for `/livez` and `/readyz`: the state of every peer, with the next step.

Alive: the loop runs. Ready: every broker is connected and grants its subscriptions, Kafka answers and has the topics,
transactions go on, the leaders of the topics' partitions answer, every stream has its schema id, of the lock file at
least, the disk works, and no lane is blocked.

This code runs in the HTTP server's threads, so it only reads single values. Asking Kafka blocks; therefore a thread of
its own asks, and its answer is kept for a few seconds.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gateway.core.gateway_clock import GatewayClock
from gateway.mqtt.source import Link
from gateway.observe.peer_state import Health, PeerState
from gateway.text import with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gateway.bridge.bridge import Bridge
    from gateway.kafka.sink import KafkaSink
    from gateway.mqtt.source import MqttSource
    from gateway.spool.spool import Spool

WAITS_FOR_KAFKA = "not connected yet: the gateway waits for its first transaction; see `transactions`"
HUNG_SECONDS = 30.0  # without a turn of the loop
TIMEOUT_SECONDS = 2.0  # of a request to Kafka
KEPT_SECONDS = 3.0
KEPT_BLOCKED_SECONDS = 10.0  # a request makes librdkafka connect at once, without its back-off
PATIENCE_SECONDS = 0.5  # a health check must not wait for Kafka's timeouts


@dataclass
class HealthCheck:
    """Checks a running gateway."""

    bridge: Bridge
    sources: Sequence[MqttSource]
    sink: KafkaSink
    spool: Spool
    registry: Callable[[], Sequence[PeerState]]
    topics: set[str]  # Kafka topics that must exist
    config: Path | None = None  # the gateway.yaml that commands name
    clock: GatewayClock = field(default_factory=GatewayClock)
    _kafka: PeerState = field(default=PeerState("kafka", "unknown", "not asked yet"), init=False)
    _asked_at: float = field(default=float("-inf"), init=False)
    _thread: threading.Thread = field(default_factory=threading.Thread, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)  # HTTP and the published status ask

    def __call__(self) -> Health:
        """Give the present health."""
        with self._lock:
            kafka = self._kafka_state()
        peers = (*map(self._mqtt_state, self.sources), kafka, *self.registry())
        states = (*peers, *_clock_states(self.clock), *_spool_states(self.spool), *_lane_states(self.bridge))
        if reason := self.sink.waiting_reason:
            states += (PeerState("transactions", "waiting", reason),)
        states = tuple(replace(state, detail=with_config(state.detail, self.config)) for state in states)
        is_alive = time.monotonic() - self.bridge.turned_at < HUNG_SECONDS
        return Health(is_alive, is_alive and all(state.is_fine for state in states), states)

    def _mqtt_state(self, source: MqttSource) -> PeerState:
        if source.link != Link.UP:
            return PeerState(source.name, str(source.link), source.detail if self.sink.is_ready else WAITS_FOR_KAFKA)
        if source.denied:
            return PeerState(source.name, "denied", source.detail)
        return PeerState(source.name, "ok")

    def _kafka_state(self) -> PeerState:
        """Give Kafka's state, at most a few seconds old unless Kafka takes longer to answer."""
        kept_seconds = KEPT_BLOCKED_SECONDS if self.sink.blocked_reason else KEPT_SECONDS
        if time.monotonic() - self._asked_at > kept_seconds and not self._thread.is_alive():
            self.ask()
            self._thread.join(PATIENCE_SECONDS)
        return self._kafka

    def ask(self) -> None:
        """Ask Kafka, without waiting for its answer, so that the first check has it."""
        self._asked_at = time.monotonic()
        self._thread = threading.Thread(target=self._ask, name="kafka health", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            missing = self.sink.missing_topics(self.topics, TIMEOUT_SECONDS)
        except ConnectionError as error:
            waiting = "readings wait in the spool" if self.sink.is_ready else "messages wait at the brokers"
            detail = f"{error}; {waiting} until Kafka is back"
            self._kafka = PeerState("kafka", "unreachable", detail)
            return
        names = ", ".join(sorted(missing))
        detail = f"no such topics, or no right to describe them: {names}; run `gateway topics apply -c FILE`"
        self._kafka = PeerState("kafka", "topic_missing", detail) if missing else PeerState("kafka", "ok")


def _clock_states(clock: GatewayClock) -> list[PeerState]:
    who = f"not synchronised, according to {clock.asked}" if clock.asked else "no time service answers"
    detail = f"{who}; readings wait in the spool for the right time, {clock.wait / 1000:g} s at most"
    return [PeerState("clock", "waiting", detail)] if clock.is_waiting else []


def _spool_states(spool: Spool) -> list[PeerState]:
    return [PeerState("spool", "waiting", spool.blocked_reason)] if spool.blocked_reason else []


def _lane_states(bridge: Bridge) -> list[PeerState]:
    waiting = [(lane.name, lane.blocked_reason) for lane in bridge.all_lanes() if lane.blocked_reason]
    return [PeerState(f"lane {name}", "waiting", reason) for name, reason in dict.fromkeys(waiting)]
