"""The service: build the parts, start from the Kafka end, run the loop, stop from the MQTT end.

Nothing here waits for a peer. With Kafka, registry and brokers all away the gateway is up, says what is missing in
`/readyz`, and takes readings in as soon as a broker answers.
"""

from __future__ import annotations

import gc
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.bridge.bridge import Bridge, Rules
from gateway.bridge.pacing import Pacing
from gateway.core.ledger import Ledger
from gateway.core.retained import RetainedMessages
from gateway.core.sequence import SequenceMonitor
from gateway.core.topic_index import UNMAPPED, routes
from gateway.installation import connection_properties, registry_of
from gateway.kafka.distance import max_in_flight
from gateway.kafka.sink import RECORD_OVERHEAD, KafkaSink
from gateway.mqtt.source import MqttSource
from gateway.mqtt.subscriptions import FILE_NAME, SubscriptionFile
from gateway.observe.health import HealthCheck
from gateway.observe.http import HttpServer
from gateway.observe.metrics import GatewayCollector, exposition
from gateway.observe.status_page import StatusPage
from gateway.service.schema_ids import SchemaIdResolver
from gateway.service.systemd import Notifier
from gateway.settings.producer_properties import take_linger
from gateway.settings.tls import tls_context
from gateway.settings.values import split_hosts
from gateway.signals import stop_on_signals
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.model import Contract, MqttServer, Stream
    from gateway.page.page import Page
    from gateway.settings.settings import Settings, SpoolSettings
    from gateway.signals import StopFlag

log = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 8_192  # unacknowledged readings that a broker may send ahead; doubled for
MANY_STREAMS = 50  # or too few of each would go to Kafka at once
DRAIN_SECONDS = 5.0
DISCONNECT_SECONDS = 1.0


@dataclass
class Service:
    """The parts of a running gateway, in the order of the flow.

    Args:
        sources: the MQTT brokers.
        spool: every reading that is not safe yet.
        bridge: the loop.
        sink: Kafka.
        ledger: the books.
        preparation: finds the schema ids.
        http: metrics and health, or None when switched off.
        notifier: systemd.
    """

    sources: list[MqttSource]
    spool: Spool
    bridge: Bridge
    sink: KafkaSink
    ledger: Ledger
    preparation: SchemaIdResolver
    http: HttpServer | None
    notifier: Notifier

    def run(self) -> None:
        """Start, run until SIGTERM or SIGINT, stop.

        Raises:
            GatewayError: when the HTTP port is taken, or the disk under the spool fails.
        """
        stopping = stop_on_signals()
        _tune_gc()
        self._start()
        self._loop(stopping)
        self._stop()

    def _start(self) -> None:
        if self.http:
            self.http.start()
        self.preparation.start()
        self.notifier("READY=1\nSTATUS=running; see /readyz for the state of every peer")
        log.info("started", extra={"version": __version__, "streams": len(self.bridge.lanes) - 1})

    def _loop(self, stopping: StopFlag) -> None:
        beat_seconds = self.notifier.watchdog_seconds / 3
        next_beat = 0.0
        while not stopping.is_set():
            self.bridge.run_once()
            if beat_seconds and self.bridge.turned_at >= next_beat:
                self.notifier("WATCHDOG=1")
                next_beat = self.bridge.turned_at + beat_seconds

    def _stop(self) -> None:
        """StopFlag in an order that acknowledges all that can still become safe, and nothing else."""
        self.notifier("STOPPING=1")
        self.preparation.stop()
        self.bridge.is_reading = False  # 1. take nothing new
        until = time.monotonic() + DRAIN_SECONDS
        while not self.bridge.is_idle and time.monotonic() < until:  # 2. let Kafka take what it can
            self.bridge.run_once()
        self.bridge.store()  # 3. leave the rest to the disk, and acknowledge what that made safe
        for source in self.sources:  # 4. goodbye; the broker keeps the session and what we did not acknowledge
            source.close(DISCONNECT_SECONDS)
        self.bridge.close()  # 5. the books, and the spool's file
        if self.http:
            self.http.stop()
        log.info("ledger", extra=self.ledger.totals())


def _tune_gc() -> None:
    """Let the garbage collector look rarely, and never at what lives as long as the process.

    Readings, records and entries are no business of its own. What is, the callbacks of records in flight, comes and
    goes by the ten thousand: with CPython's thresholds a tenth of the loop's time went into looking at them in vain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def build(
    contract: Contract,
    settings: Settings,
    environ: Mapping[str, str],
    filters: Mapping[str, str],
    documentation: Page,
) -> Service:
    """Build a gateway.

    Args:
        contract: what the streams are.
        settings: what this installation adds; reconciled with the contract.
        environ: the process's environment, for systemd.
        filters: name of each stream to subscribe to, and the filter to do it with (`split.py`).
        documentation: the contract for people, served at /docs.

    Returns:
        A service that is not started.

    Raises:
        ConfigurationError: when a secret or certificate cannot be used.
    """
    streams = [stream for stream in contract.streams.values() if settings.is_enabled(stream.name)]
    kafka_settings = settings.server(contract.kafka.name)
    properties = connection_properties(contract.kafka, kafka_settings, settings)
    linger_seconds = take_linger(properties)
    pace = {"max.in.flight": max_in_flight(*split_hosts(properties["bootstrap.servers"])[0])}
    sink = KafkaSink(pace | properties, settings.spool.memory // 2)
    payload_limit = sink.record_limit - RECORD_OVERHEAD
    dead_letter_topics = _dead_letter_topics(streams)
    ledger = Ledger(dead_letter_topics)
    spool = Spool(_policy(settings.spool), ledger, SpoolFile(settings.resolve(settings.spool.path)))
    file = SubscriptionFile(settings.resolve(settings.spool.path).with_name(FILE_NAME))
    sources = []
    for server in contract.mqtt_servers.values():
        subscribed = [stream for stream in streams if server.name in stream.servers]
        if subscribed or file.filters(server.name, server.client_id):  # the latter must still be unsubscribed
            source = _source(server, settings, subscribed, filters=filters, payload_limit=payload_limit, file=file)
            sources.append(source)
    retained = RetainedMessages(settings.mqtt.retained)
    continuities = {} if settings.workers.split == "shared" else _continuities(streams, ledger)
    rules = Rules(dead_letter_topics, payload_limit, retained, continuities, Pacing(linger_seconds))
    bridge = Bridge(sources, spool, sink, ledger, rules)
    registry = registry_of(contract, settings)
    preparation = SchemaIdResolver(registry, streams, bridge, payload_limit)
    topics = {route.topic.name for stream in streams for route in stream.routes} | set(dead_letter_topics.values())
    health = HealthCheck(bridge, sources, sink, spool, preparation.refusals, topics)
    collector = GatewayCollector(ledger, sources, spool, time.time, health)
    listen = settings.http.listen
    http = None
    if listen:
        page = StatusPage(contract.title, health, collector.collect)
        http = HttpServer(listen, page=page, metrics=exposition(collector), health=health, documentation=documentation)
    return Service(sources, spool, bridge, sink, ledger, preparation, http, Notifier(environ))


def _policy(given: SpoolSettings) -> Policy:
    return Policy(given.memory, given.when == "always", given.after, given.limit, given.on_full)


def _dead_letter_topics(streams: list[Stream]) -> dict[str, str]:
    topics = {stream.name: stream.dead_letters.topic.name for stream in streams}
    first = next(iter(topics.values()), "")
    return topics | {UNMAPPED: first}


def _continuities(streams: list[Stream], ledger: Ledger) -> dict[str, SequenceMonitor]:
    return {
        stream.name: SequenceMonitor(stream.sequence, stream.silent_after, ledger.books[stream.name].continuity)
        for stream in streams
        if stream.is_watched
    }


def _source(  # noqa: PLR0913 - what the source is made of, the last three by name
    server: MqttServer,
    settings: Settings,
    streams: list[Stream],
    *,
    filters: Mapping[str, str],
    payload_limit: int,
    file: SubscriptionFile,
) -> MqttSource:
    given = settings.server(server.name)
    ((host, port),) = split_hosts(given.host or server.host)
    ahead = RECEIVE_MAXIMUM if len(streams) <= MANY_STREAMS else 2 * RECEIVE_MAXIMUM
    encrypted = server.tls or given.tls is not None
    credentials = None
    if given.username:
        secret = settings.secret(given.password_file).get_secret_value() if given.password_file else None
        credentials = (given.username, secret)
    return MqttSource(
        server,
        address=(host, port or (8883 if encrypted else 1883)),
        subscriptions={filters[each.name]: settings.qos_of(each) for each in streams if each.name in filters},
        stream_of=routes((stream.name, stream.address) for stream in streams),
        payload_limit=min(payload_limit, server.maximum_packet_size or payload_limit),
        receive_maximum=given.receive_maximum or ahead,
        property_streams=frozenset(each.name for each in streams if each.keeps_properties),
        credentials=credentials,
        tls=tls_context(given.tls, settings) if encrypted else None,
        former=file.filters(server.name, server.client_id),
        note=lambda filters: file.note(server.name, server.client_id, filters),
        retained=settings.mqtt.retained,
        is_fast=settings.mqtt.reader == "fast",
    )
