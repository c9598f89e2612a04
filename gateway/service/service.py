"""The service: builds the parts, starts them, runs the loop, and stops the parts from the MQTT end.

Nothing here waits for a peer. If Kafka, registry and brokers are all down, the gateway still starts. `/readyz` says
what is missing, and readings are received as soon as a broker answers.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

from gateway import __version__
from gateway.bridge.bridge import Bridge, Rules
from gateway.bridge.pacing import Pacing
from gateway.core.committed_session import CommittedSession
from gateway.core.counters import CounterMonitor, has_counters
from gateway.core.ledger import Ledger
from gateway.core.retained import RetainedMessages
from gateway.core.sequence import SequenceMonitor
from gateway.core.session import Session
from gateway.core.telegram_lines import TelegramLines
from gateway.core.topic_index import UNMAPPED
from gateway.errors import GatewayError
from gateway.installation import (
    broker_of,
    connection_properties,
    kafka_credentials,
    registry_of,
    topics_at,
    transactional_id,
)
from gateway.kafka.distance import max_in_flight
from gateway.kafka.sink import RECORD_OVERHEAD, KafkaSink
from gateway.kafka.state_topic import STATE_TOPIC
from gateway.kafka.transactional_sink import TransactionalSink
from gateway.mqtt.reader import Intake
from gateway.mqtt.source import MqttSource, Subscriptions
from gateway.mqtt.subscriptions import FILE_NAME, SubscriptionFile
from gateway.observe.health import HealthCheck
from gateway.observe.http import HttpServer, Pages
from gateway.observe.metrics import GatewayCollector, exposition
from gateway.observe.status_page import StatusPage
from gateway.service import memory
from gateway.service.credentials import KafkaCredentials
from gateway.service.machine_clock import MachineClock
from gateway.service.record_times import RecordTimes
from gateway.service.schema_ids import SchemaIdResolver
from gateway.service.systemd import Notifier
from gateway.settings.producer_properties import take_linger
from gateway.settings.values import split_hosts
from gateway.signals import stop_on_signals
from gateway.spool.committed_state import CommittedState
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.model import Contract, MqttServer, Stream
    from gateway.page.html import Page
    from gateway.settings.settings import Settings
    from gateway.signals import StopFlag

log = logging.getLogger(__name__)

MOST_IN_FLIGHT = 32_768  # at MQTT 3.1.1, which has no limit; packet ids are reused after 65,535
RECEIVE_MAXIMUM = 8_192  # unacknowledged readings that a broker may send ahead
MANY_STREAMS = 50  # more streams need twice as many, or the batches of each stream become too small
DRAIN_SECONDS = 5.0
DISCONNECT_SECONDS = 1.0


@dataclass
class Service:
    """The parts of a running gateway that are started, run or stopped."""

    sources: list[MqttSource]
    bridge: Bridge
    ledger: Ledger
    record_times: RecordTimes
    schema_ids: SchemaIdResolver
    credentials: KafkaCredentials
    clock: MachineClock
    http: HttpServer | None  # metrics and health; None if switched off
    notifier: Notifier

    def run(self) -> None:
        """Start, run until SIGTERM or SIGINT, stop. GatewayError if the disk under the spool fails."""
        stopping = stop_on_signals()
        memory.release_unused()
        self._start()
        self._loop(stopping)
        self._stop()

    def _start(self) -> None:
        if self.http:
            self.http.start()
        self.record_times.start(self.bridge.new_transforms.put)
        self.schema_ids.start()
        self.credentials.start()
        self.clock.start()
        self.notifier("READY=1\nSTATUS=running; see /readyz for the state of every peer")
        log.info("The gateway has started.", extra={"version": __version__, "streams": len(self.bridge.lanes) - 1})

    def _loop(self, stopping: StopFlag) -> None:
        beat_seconds = self.notifier.watchdog_seconds / 3
        next_beat = 0.0
        while not stopping.is_set():
            self.bridge.run_once()
            if beat_seconds and self.bridge.turned_at >= next_beat:
                self.notifier("WATCHDOG=1")
                next_beat = self.bridge.turned_at + beat_seconds

    def _stop(self) -> None:
        """Stop in an order that acknowledges everything that can still become safe, and nothing else."""
        self.notifier("STOPPING=1")
        self.schema_ids.stop()
        self.record_times.stop()
        self.credentials.stop()
        self.clock.stop()
        self.bridge.is_reading = False  # 1. receive nothing new
        until = time.monotonic() + DRAIN_SECONDS
        # 2. let Kafka acknowledge what it can
        while not self.bridge.is_idle and not self.clock.is_waiting and time.monotonic() < until:
            self.bridge.run_once()
        run_each(
            self.bridge.store,  # 3. write the rest to disk, and acknowledge it to the brokers
            # 4. disconnect; the broker keeps the session and what was not acknowledged
            *(partial(source.close, DISCONNECT_SECONDS) for source in self.sources),
            self.bridge.close,  # 5. close the ledger and the spool's file
            *([self.http.stop] if self.http else []),
            lambda: log.info("ledger", extra=self.ledger.totals()),
        )


def run_each(*steps: Callable[[], None]) -> None:
    """Run all steps in order, also after one that failed; then raise the first GatewayError, if there was one."""
    failed: GatewayError | None = None
    for step in steps:
        try:
            step()
        except GatewayError as error:
            failed = failed or error
        except Exception:
            log.exception("A step of the stop failed. The next steps are done all the same.")
    if failed:
        raise failed


def build(
    contract: Contract,
    settings: Settings,
    environ: Mapping[str, str],
    filters: Mapping[str, Mapping[str, int]],
    documentation: Page,
) -> Service:
    """Build a gateway that is not started, from settings that are consistent with the contract.

    `filters` are those to subscribe with, by server, and their QoS (`split.py`).
    ConfigurationError if a secret or certificate cannot be used, GatewayError if the spool or the HTTP port is taken.
    """
    streams = [stream for stream in contract.streams.values() if settings.is_enabled(stream.name)]
    dead_letter_topics = _dead_letter_topics(streams)
    sink, linger_seconds = _sink(contract, settings)
    payload_limit = sink.record_limit - RECORD_OVERHEAD

    ledger = Ledger([*dead_letter_topics, *contract.ignored])
    clock = MachineClock(settings.clock.wait)
    sources = _sources(contract, settings, filters, payload_limit, clock.now)
    retained = RetainedMessages(settings.mqtt.retained)
    monitors = {} if settings.workers.split == "shared" else _sequence_monitors(streams, ledger)
    record_times = RecordTimes(streams, partial(_properties, contract, settings))
    overdue_seconds = 0.02 if settings.delivery == "at_least_once" else 0.1  # for a report, or for a commit
    pacing, ignored = Pacing(linger_seconds, overdue_seconds=overdue_seconds), frozenset(contract.ignored)
    lines = {stream.name: TelegramLines(stream.lines) for stream in streams if stream.lines}
    counters = {one.name: CounterMonitor(one, ledger.books[one.name].counters) for one in streams if has_counters(one)}
    rules = Rules(
        dead_letter_topics, payload_limit, retained, monitors, pacing, record_times, ignored, clock, lines, counters
    )
    schema_ids = SchemaIdResolver(partial(registry_of, contract, settings), streams, record_times, payload_limit)
    kafka = contract.kafka.name
    credentials = KafkaCredentials(kafka, partial(kafka_credentials, settings.server(kafka), settings), sink)
    topics = {route.topic.name for stream in streams for route in stream.routes} | set(dead_letter_topics.values())
    topics |= {STATE_TOPIC} if settings.delivery == "exactly_once" else set()

    # Opened last, and closed if the HTTP port is taken: a start that fails must not look like a crash to the next one.
    with ExitStack() as on_failure:
        file = on_failure.enter_context(SpoolFile(settings.resolve(settings.spool.path), clock=clock))
        spool = Spool(_policy(settings), ledger, file)
        bridge = Bridge(sources, spool, sink, ledger, rules)
        health = HealthCheck(bridge, sources, sink, spool, schema_ids.states, topics, settings.file, clock)
        collector = GatewayCollector(ledger, sources, spool, time.time, health, clock, sink)
        http = None
        if settings.http.listen:
            status = StatusPage(contract.title, health, collector.collect)
            http = HttpServer(settings.http.listen, Pages(status, exposition(collector), health, documentation))
        if isinstance(sink, TransactionalSink):
            sessions = {each.session_key: cast("CommittedSession", each.session) for each in sources}
            sink.begin(CommittedState(spool, sessions, sink.transactional_id, token_hex(8)))
        on_failure.pop_all()
    return Service(sources, bridge, ledger, record_times, schema_ids, credentials, clock, http, Notifier(environ))


def _dead_letter_topics(streams: list[Stream]) -> dict[str, str]:
    topics = {stream.name: stream.dead_letters.topic.name for stream in streams}
    first = next(iter(topics.values()), "")
    return topics | {UNMAPPED: first}


def _properties(contract: Contract, settings: Settings) -> dict[str, Any]:
    return connection_properties(contract.kafka, settings.server(contract.kafka.name), settings)


def _sink(contract: Contract, settings: Settings) -> tuple[KafkaSink, float]:
    """The sink, and the linger time in seconds, which the bridge applies instead of librdkafka."""
    properties = _properties(contract, settings)
    linger_seconds = take_linger(properties)
    in_flight = {"max.in.flight": max_in_flight(*split_hosts(properties["bootstrap.servers"])[0])}
    window_bytes = settings.spool.memory // 2
    if settings.delivery == "at_least_once":
        return KafkaSink(in_flight | properties, window_bytes), linger_seconds
    return TransactionalSink(in_flight | properties, transactional_id(contract), window_bytes), linger_seconds


def _policy(settings: Settings) -> Policy:
    given = settings.spool
    return Policy(given.memory, given.when == "always", given.after, given.limit, given.on_full)


def _sequence_monitors(streams: list[Stream], ledger: Ledger) -> dict[str, SequenceMonitor]:
    return {
        stream.name: SequenceMonitor(
            ledger.books[stream.name].continuity, stream.silent_after, is_numbered=stream.sequence is not None
        )
        for stream in streams
        if stream.is_watched
    }


def _sources(
    contract: Contract,
    settings: Settings,
    filters: Mapping[str, Mapping[str, int]],
    payload_limit: int,
    now: Callable[[], int],
) -> list[MqttSource]:
    """One source per broker of the streams, and per broker that may hold subscriptions of a previous run."""
    file = SubscriptionFile(settings.resolve(settings.spool.path).with_name(FILE_NAME))
    sources = []
    streams = [stream for stream in contract.streams.values() if settings.is_enabled(stream.name)]
    for server in contract.mqtt_servers.values():
        served = [stream for stream in streams if server.name in stream.servers]
        if served or file.filters(server.name, server.client_id):
            intake = replace(_intake(contract, settings, server, served, payload_limit), now=now)
            subscriptions = _subscriptions(server, settings, filters.get(server.name, {}), file)
            sources.append(MqttSource(server, partial(broker_of, server, settings), subscriptions, intake))
    return sources


def _subscriptions(
    server: MqttServer, settings: Settings, filters: Mapping[str, int], file: SubscriptionFile
) -> Subscriptions:
    return Subscriptions(
        filters=filters,
        retained=settings.mqtt.retained,
        known_filters=file.filters(server.name, server.client_id),
        on_filters_changed=lambda changed: file.write(server.name, server.client_id, changed),
    )


def _intake(
    contract: Contract, settings: Settings, server: MqttServer, streams: list[Stream], payload_limit: int
) -> Intake:
    ahead = RECEIVE_MAXIMUM if len(streams) <= MANY_STREAMS else 2 * RECEIVE_MAXIMUM
    maximum = settings.server(server.name).receive_maximum or ahead
    window = maximum if server.version == "5.0" else MOST_IN_FLIGHT
    return Intake(
        stream_of=topics_at(contract, settings, [server.name]),
        payload_limit=min(payload_limit, server.maximum_packet_size or payload_limit),
        property_streams=frozenset(each.name for each in streams if each.keeps_properties),
        receive_maximum=maximum,
        is_fast=settings.mqtt.reader == "fast",
        make_session=Session if settings.delivery == "at_least_once" else partial(CommittedSession, window),
    )
