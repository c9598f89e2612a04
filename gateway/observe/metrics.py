"""The metrics, declared once: names, labels and help for the operator.

The loop counts in the ledger and does not know this module; values are read when they are scraped. Labels are limited
by the contract: streams, servers and reasons, never a topic or a machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

from gateway import __version__
from gateway.core.gateway_clock import GatewayClock
from gateway.mqtt.source import Link
from gateway.observe.contract_in_use import ContractInUse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.core import Metric

    from gateway.core.counters import CounterFigure
    from gateway.core.ledger import Ledger
    from gateway.core.sequence import Figure
    from gateway.kafka.sink import KafkaSink
    from gateway.mqtt.source import MqttSource
    from gateway.observe.peer_state import Health
    from gateway.spool.spool import Spool

Samples = Iterable[tuple[list[str], float]]  # label values, value


def _gauge(name: str, text: str, labels: list[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def _counter(name: str, text: str, labels: list[str], samples: Samples) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), samples)


def _filled(metric: CounterMetricFamily | GaugeMetricFamily, samples: Samples) -> Metric:
    for values, value in samples:
        metric.add_metric(values, value)
    return metric


# Type, figure of the books, metric, help. Labels: stream.
BY_STREAM: Final = (
    (_counter, "received", "gateway_received", "Readings received over MQTT."),
    (_counter, "delivered", "gateway_delivered", "Readings whose records Kafka has acknowledged."),
    (_counter, "repeated", "gateway_repeated", "Received readings that the broker marked as duplicates."),
    (_gauge, "in_flight", "gateway_in_flight", "Readings in memory that Kafka has not acknowledged."),
    (_gauge, "spooled", "gateway_spooled", "Readings on disk that wait for Kafka."),
    (_gauge, "silent_keys", "gateway_silent_keys", "Keys without a reading for x-silent-after seconds."),
)
# Labels: stream, reason.
BY_REASON: Final = (
    ("dead_lettered", "gateway_dead_lettered", "Dead letters that Kafka acknowledged."),
    ("dropped", "gateway_dropped", "Readings that were dropped, by reason."),
)
# Labels: stream. Only of streams with x-sequence.
CONTINUITY: Final[tuple[tuple[Figure, str, str], ...]] = (
    ("gaps", "gateway_sequence_gaps", "Times that the sequence number of a key jumped ahead (x-sequence)."),
    ("missing", "gateway_sequence_missing", "Numbers that had not arrived when a later one of their key did."),
    ("out_of_order", "gateway_sequence_out_of_order", "Missing numbers that arrived after a later one."),
    ("repeated", "gateway_sequence_repeated", "Records whose number had arrived before."),
    ("restarts", "gateway_sequence_restarts", "Times that the numbers of a key restarted."),
    ("forgotten", "gateway_sequence_forgotten_keys", "Keys that were evicted because there were too many."),
)

# Labels: stream, and rule where there is one. Only of streams with x-counter.
COUNTERS: Final[tuple[tuple[CounterFigure, str, str, str], ...]] = (
    ("fell", "gateway_quarantined", "fell", "Readings that became dead letters because of a counter, by rule."),
    ("jumped", "gateway_quarantined", "jumped", ""),
    ("resets", "gateway_meter_resets", "", "Times that readings in a row confirmed a new start of a key's counters."),
    ("swaps", "gateway_meter_swaps", "", "Times that a meter with another number took the place of one."),
    ("forgotten", "gateway_meter_forgotten_keys", "", "Keys that were evicted because there were too many."),
)


@dataclass(frozen=True, eq=False)  # Prometheus's registry hashes it
class GatewayCollector:
    """Reads the metrics of a running gateway; `now` gives seconds since 1970."""

    ledger: Ledger
    sources: Sequence[MqttSource]
    spool: Spool
    now: Callable[[], float]
    health: Callable[[], Health]
    clock: GatewayClock = field(default_factory=GatewayClock)
    sink: KafkaSink | None = None
    contract: ContractInUse = field(default_factory=ContractInUse)

    def collect(self) -> Iterable[Metric]:
        """Read all metrics."""
        yield from self._states()
        yield from self._books()
        yield from self._times()
        yield from self._links()
        yield from self._lag()
        yield from self._sizes()
        yield from self._transactions()
        text = "1 while the machine's clock counts as synchronised; 0: readings wait, or are marked."
        yield GaugeMetricFamily("gateway_clock_synchronised", text, value=self.clock.is_synchronised)
        text = "Times that the machine's clock was set while the gateway ran."
        yield CounterMetricFamily("gateway_clock_steps", text, value=self.clock.steps)
        yield _gauge("gateway_build_info", "The running version; always 1.", ["version"], [([__version__], 1)])
        yield from self._contract()

    def _contract(self) -> Iterable[Metric]:
        contract = self.contract
        text, names = "The contract in use, with the digest of its files; always 1.", ["version", "digest"]
        yield _gauge("gateway_contract_info", text, names, [([contract.version, contract.digest], 1)])
        reloads = (([outcome], count) for outcome, count in contract.reloads.items())
        yield _counter("gateway_reloads", "Reloads of contract and settings.", ["outcome"], reloads)
        text = "End of the last reload; 0 before the first."
        yield GaugeMetricFamily("gateway_last_reload_timestamp_seconds", text, value=contract.reloaded_at)

    def _states(self) -> Iterable[Metric]:
        health = self.health()
        yield GaugeMetricFamily("gateway_ready", "1 while the gateway is ready, as in /readyz.", value=health.ready)
        names = [*(source.name for source in self.sources), "kafka", "registry"]  # not lanes: they come and go
        failing = {state.peer for state in health.states if not state.is_fine}
        ready = (([name], name not in failing) for name in names)
        yield _gauge("gateway_peer_ready", "1 while the peer has no problem.", ["peer"], ready)

    def _books(self) -> Iterable[Metric]:
        books = self.ledger.books.items()
        for make, figure, name, text in BY_STREAM:
            values = (([stream], getattr(book, figure)) for stream, book in books)
            yield make(name, text, ["stream"], (sample for sample in values if sample[1] is not None))
        for figure, name, text in BY_REASON:
            counts = (
                ([stream, reason], count)
                for stream, book in books
                for reason, count in list(getattr(book, figure).items())
            )
            yield _counter(name, text, ["stream", "reason"], counts)
        for key, name, text in CONTINUITY:
            counts = (([stream], book.continuity[key]) for stream, book in books if key in book.continuity)
            yield _counter(name, text, ["stream"], counts)
        yield from self._counters()

    def _counters(self) -> Iterable[Metric]:
        counting = [(stream, book.counters) for stream, book in self.ledger.books.items() if book.counters]
        for name in dict.fromkeys(name for _, name, _, _ in COUNTERS):
            parts = [(figure, rule, text) for figure, own, rule, text in COUNTERS if own == name]
            labels = ["stream", "rule"] if parts[0][1] else ["stream"]
            counts = (
                ([stream, rule][: len(labels)], book[figure]) for stream, book in counting for figure, rule, _ in parts
            )
            yield _counter(name, parts[0][2], labels, counts)

    def _times(self) -> Iterable[Metric]:
        books = self.ledger.books.items()
        times = (([stream], book.last_reading_at / 1000) for stream, book in books if book.last_reading_at)
        name = "gateway_last_reading_timestamp_seconds"
        yield _gauge(name, "Arrival of the newest reading.", ["stream"], times)
        last = ((stream, list(book.last_dead_letter_at.items())) for stream, book in books)
        times = (([stream, reason], at / 1000) for stream, moments in last for reason, at in moments)
        name, text = "gateway_last_dead_letter_timestamp_seconds", "Arrival of the newest dead-lettered reading."
        yield _gauge(name, text, ["stream", "reason"], times)

    def _links(self) -> Iterable[Metric]:
        label, sources = ["server"], self.sources
        up = (([source.name], source.link == Link.UP) for source in sources)
        yield _gauge("gateway_mqtt_connected", "1 while connected to the broker.", label, up)
        connects = (([source.name], source.connects) for source in sources)
        yield _counter("gateway_mqtt_connects", "Connections made.", label, connects)
        lost = (([source.name], source.sessions_lost) for source in sources)
        yield _counter("gateway_mqtt_sessions_lost", "Times that the broker had lost the session.", label, lost)

    def _lag(self) -> Iterable[Metric]:
        now, oldest = self.now(), self.spool.oldest()
        lags = {stream: max(0.0, now - oldest.get(stream, 1000 * now) / 1000) for stream in self.ledger.books}
        text = "Age of the stream's oldest reading that waits for Kafka, or 0 when none waits."
        yield _gauge("gateway_lag_seconds", text, ["stream"], (([stream], lag) for stream, lag in lags.items()))
        text = "Lag: age of the oldest reading that Kafka has not acknowledged, or 0 when there is none."
        yield GaugeMetricFamily("gateway_oldest_unsettled_seconds", text, value=max(lags.values(), default=0.0))

    def _transactions(self) -> Iterable[Metric]:
        counts = self.sink.transactions if self.sink else {}
        outcomes = (([outcome], count) for outcome, count in counts.items())
        yield _counter("gateway_transactions", "Kafka transactions, with exactly_once.", ["outcome"], outcomes)
        if self.sink and self.sink.committed_at:
            text = "The last commit of a Kafka transaction, with exactly_once."
            yield GaugeMetricFamily("gateway_last_commit_timestamp_seconds", text, value=self.sink.committed_at)

    def _sizes(self) -> Iterable[Metric]:
        spool = self.spool
        text = "Payload, with the MQTT 5 properties that are kept, of the readings received since the start."
        yield CounterMetricFamily("gateway_received_bytes", text, value=spool.payload_bytes)
        text = "Memory held by readings that are not yet safe."
        yield GaugeMetricFamily("gateway_spool_memory_bytes", text, value=spool.bytes_held)
        text = "Size of the contents of the spool's file."
        yield GaugeMetricFamily("gateway_spool_disk_bytes", text, value=spool.disk_bytes)
        text = "How much the spool's file may grow: up to spool.limit, or to the free space of its disk."
        yield GaugeMetricFamily("gateway_spool_room_bytes", text, value=spool.room_bytes())


def exposition(collector: GatewayCollector) -> Callable[[], bytes]:
    """Make the function that returns the body of `/metrics`, in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
