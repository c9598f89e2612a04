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
from typing import TYPE_CHECKING, cast

from gateway import __version__
from gateway.bridge.bridge import Bridge, Rules
from gateway.bridge.pacing import Pacing
from gateway.core.committed_session import CommittedSession
from gateway.core.ledger import Ledger
from gateway.core.native import RUNS
from gateway.core.retained import RetainedMessages
from gateway.core.session import Session
from gateway.errors import GatewayError
from gateway.installation import broker_of, kafka_credentials, transactional_id
from gateway.kafka.distance import FAR, max_in_flight
from gateway.kafka.sink import RECORD_OVERHEAD, KafkaSink
from gateway.kafka.transactional_sink import MOST_UNACKNOWLEDGED, TransactionalSink
from gateway.log import write_due
from gateway.mqtt.reader import Intake
from gateway.mqtt.source import MqttSource, Subscriptions
from gateway.mqtt.subscriptions import FILE_NAME, SubscriptionFile
from gateway.observe.contract_in_use import ContractInUse
from gateway.observe.health import HealthCheck
from gateway.observe.http import HttpServer, Pages
from gateway.observe.metrics import GatewayCollector, exposition
from gateway.observe.status_page import StatusPage
from gateway.service import memory
from gateway.service.credentials import KafkaCredentials
from gateway.service.machine_clock import MachineClock
from gateway.service.parts import kafka_properties, parts_of, rules_of
from gateway.service.reload import Reloader, Running
from gateway.service.status_publisher import StatusPublisher, status_publisher
from gateway.service.systemd import Notifier
from gateway.settings.producer_properties import take_linger
from gateway.settings.values import split_hosts
from gateway.signals import stop_on_signals
from gateway.spool.committed_state import CommittedState
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.model import MqttServer
    from gateway.mqtt.routing import Routing
    from gateway.page.html import Page
    from gateway.service.new_files import NewFiles
    from gateway.service.parts import Parts
    from gateway.service.split import Worker
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

    running: Running  # what a reload changes
    sources: list[MqttSource]
    bridge: Bridge
    ledger: Ledger
    credentials: KafkaCredentials
    clock: MachineClock
    http: HttpServer | None  # metrics and health; None if switched off
    status: StatusPublisher
    notifier: Notifier
    reloader: Reloader
    delivery: str

    def run(self) -> None:
        """Start, run until SIGTERM or SIGINT, stop. GatewayError if the disk under the spool fails."""
        stopping = stop_on_signals()
        memory.release_unused()
        self._start()
        self._loop(stopping)
        self._stop()

    def _start(self) -> None:
        self.running.health.ask()  # before anyone asks it
        if self.http:
            self.http.start()
        self.running.parts.start()
        self.credentials.start()
        self.clock.start()
        self.status.start()
        self.notifier("READY=1\nSTATUS=running; see /readyz for the state of every peer")
        facts = {
            "version": __version__,
            "hot_path": RUNS,
            "streams": len(self.bridge.lanes) - 1,
            "delivery": self.delivery,
        }
        log.info("The gateway has started.", extra=facts)
        self.reloader.start()

    def _loop(self, stopping: StopFlag) -> None:
        beat_seconds = self.notifier.watchdog_seconds / 3
        next_beat = next_look = 0.0
        while not stopping.is_set():
            self.bridge.run_once()
            self.reloader.adopt_due()
            if self.bridge.turned_at >= next_look:
                next_look = self.bridge.turned_at + 1.0
                write_due()
            if beat_seconds and self.bridge.turned_at >= next_beat:
                self.notifier("WATCHDOG=1")
                next_beat = self.bridge.turned_at + beat_seconds

    def _stop(self) -> None:
        """Stop in an order that acknowledges everything that can still become safe, and nothing else."""
        self.notifier("STOPPING=1")
        self.running.parts.stop()
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
            partial(self.status.stop, DISCONNECT_SECONDS),
            self.bridge.close,  # 5. close the ledger and the spool's file
            *([self.http.stop] if self.http else []),
            lambda: log.info("ledger", extra=self.ledger.totals() | self.running.in_use.named()),
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


def build(own: Worker, environ: Mapping[str, str], documentation: Page, read_new: Callable[[], NewFiles]) -> Service:
    """Build a gateway that is not started, from settings that are consistent with the contract.

    `read_new` reads the files for a reload. ConfigurationError if a secret or certificate cannot be used, GatewayError
    if the spool or the HTTP port is taken.
    """
    contract, settings = own.contract, own.settings
    sink, linger_seconds = _sink(own)
    payload_limit = sink.record_limit - RECORD_OVERHEAD
    parts = parts_of(own, payload_limit)
    ledger, clock = Ledger([]), MachineClock(settings.clock.wait)
    overdue_seconds = 0.02 if settings.delivery == "at_least_once" else 0.5  # for a report, or for a commit
    pacing = Pacing(linger_seconds=linger_seconds, overdue_seconds=overdue_seconds)
    common = Rules({}, payload_limit, RetainedMessages(settings.mqtt.retained), pacing=pacing, clock=clock)
    rules = rules_of(parts, ledger, common)
    sources = _sources(parts, payload_limit, clock.now)
    kafka = contract.kafka.name
    credentials = KafkaCredentials(kafka, partial(kafka_credentials, settings.server(kafka), settings), sink)
    in_use, notifier, http = ContractInUse(contract.version, contract.digest), Notifier(environ), None

    # Opened last, and closed if the HTTP port is taken: a start that fails must not look like a crash to the next one.
    with ExitStack() as on_failure:
        file = on_failure.enter_context(SpoolFile(settings.resolve(settings.spool.path), clock=clock))
        spool = Spool(_policy(settings), ledger, file)
        bridge = Bridge(sources, spool, sink, ledger, rules)
        bridge.new_transforms = parts.transforms
        health = HealthCheck(bridge, sources, sink, spool, parts.schema_ids.states, parts.topics, settings.file, clock)
        collector = GatewayCollector(ledger, sources, spool, time.time, health, clock, sink, in_use)
        publisher = status_publisher(contract, settings, sources, health, collector.collect)
        status = StatusPage(contract.title, health, collector.collect, ledger.books)
        pages = Pages(status, exposition(collector), health, documentation)
        if settings.http.listen:
            http = HttpServer(settings.http.listen, pages)
        if isinstance(sink, TransactionalSink):
            sessions = {each.session_key: cast("CommittedSession", each.session) for each in sources}
            sink.begin(CommittedState(spool, sessions, sink.transactional_id, token_hex(8)))
        on_failure.pop_all()
    running = Running(parts, payload_limit, ledger, bridge, sources, credentials, in_use, health, status, pages)
    reloader = Reloader(running, read_new, notifier)
    delivery = settings.delivery
    return Service(running, sources, bridge, ledger, credentials, clock, http, publisher, notifier, reloader, delivery)


def _sink(own: Worker) -> tuple[KafkaSink, float | None]:
    """The sink, and the linger time in seconds, if any, which the bridge applies instead of librdkafka."""
    settings, properties = own.settings, kafka_properties(own)
    linger_seconds = take_linger(properties)
    is_far = all(each.version != "5.0" for each in own.contract.mqtt_servers.values())  # or as good as
    near = partial(max_in_flight, *split_hosts(properties["bootstrap.servers"])[0])
    in_flight = {"max.in.flight": FAR if is_far else near()}
    window_bytes = settings.spool.memory // 2
    if settings.delivery == "at_least_once":
        return KafkaSink(in_flight | properties, window_bytes), linger_seconds
    return TransactionalSink(in_flight | properties, transactional_id(own.contract), window_bytes), linger_seconds


def _policy(settings: Settings) -> Policy:
    given = settings.spool
    return Policy(given.memory, given.when == "always", given.after, given.limit, given.on_full)


def _sources(parts: Parts, payload_limit: int, now: Callable[[], int]) -> list[MqttSource]:
    """One source per broker of the streams, and per broker that may hold subscriptions of a previous run."""
    settings = parts.own.settings
    file = SubscriptionFile(settings.resolve(settings.spool.path).with_name(FILE_NAME))
    sources = []
    for server in parts.own.contract.mqtt_servers.values():
        served = [stream for stream in parts.streams if server.name in stream.servers]
        if served or file.filters(server.name, server.client_id):
            routing = parts.routing(server.name)
            intake = replace(_intake(settings, server, len(served), payload_limit, routing), now=now)
            subscriptions = _subscriptions(server, settings, routing.filters, file)
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


def _intake(settings: Settings, server: MqttServer, streams: int, payload_limit: int, routing: Routing) -> Intake:
    ahead = RECEIVE_MAXIMUM if streams <= MANY_STREAMS else 2 * RECEIVE_MAXIMUM
    if settings.delivery == "exactly_once":
        ahead = MOST_UNACKNOWLEDGED  # what arrives during a commit is in the next transaction
    maximum = settings.server(server.name).receive_maximum or ahead
    window = maximum if server.version == "5.0" else MOST_IN_FLIGHT
    return Intake(
        stream_of=routing.stream_of,
        payload_limit=min(payload_limit, server.maximum_packet_size or payload_limit),
        property_streams=routing.property_streams,
        receive_maximum=maximum,
        is_fast=settings.mqtt.reader == "fast",
        make_session=Session if settings.delivery == "at_least_once" else partial(CommittedSession, window),
    )
