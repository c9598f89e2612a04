"""The metrics, declared once: names, labels and help for the operator.

The loop counts in the ledger and does not know this module; values are read when they are scraped. Labels are limited
by the contract: streams, servers and reasons, never a topic or a machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

from gateway import __version__
from gateway.mqtt.source import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.core import Metric

    from gateway.core.ledger import Ledger
    from gateway.core.sequence import Figure
    from gateway.mqtt.source import MqttSource
    from gateway.observe.peer_state import Health
    from gateway.spool.spool import Spool

Family = type[CounterMetricFamily] | type[GaugeMetricFamily]

# Figure of the books, metric, help. Labels: stream.
BY_STREAM: Final[tuple[tuple[Family, str, str, str], ...]] = (
    (CounterMetricFamily, "received", "gateway_received", "Readings received over MQTT."),
    (CounterMetricFamily, "delivered", "gateway_delivered", "Records that Kafka acknowledged."),
    (CounterMetricFamily, "repeated", "gateway_repeated", "Received readings that the broker marked as duplicates."),
    (GaugeMetricFamily, "in_flight", "gateway_in_flight", "Readings in memory that Kafka has not acknowledged."),
    (GaugeMetricFamily, "spooled", "gateway_spooled", "Readings on disk that wait for Kafka."),
    (GaugeMetricFamily, "silent_keys", "gateway_silent_keys", "Keys without a reading for x-silent-after seconds."),
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


class GatewayCollector:
    """Reads the metrics of a running gateway.

    Args:
        ledger: the books.
        sources: the MQTT brokers.
        spool: for lag and size.
        now: seconds since 1970.
        health: as for `/readyz`.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: Sequence[MqttSource],
        spool: Spool,
        now: Callable[[], float],
        health: Callable[[], Health],
    ) -> None:
        self._ledger = ledger
        self._sources = sources
        self._spool = spool
        self._now = now
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Read all metrics."""
        yield from self._states()
        yield from self._books()
        yield from self._times()
        yield from self._links()
        yield from self._lag()
        yield from self._sizes()
        info = GaugeMetricFamily("gateway_build_info", "The running version; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info

    def _states(self) -> Iterable[Metric]:
        health = self._health()
        yield GaugeMetricFamily("gateway_ready", "1 while the gateway is ready, as in /readyz.", value=health.ready)
        ready = GaugeMetricFamily("gateway_peer_ready", "1 while the peer has no problem.", labels=["peer"])
        names = [*(source.name for source in self._sources), "kafka", "registry"]  # not lanes: they come and go
        failing = {state.peer for state in health.states if state.state != "ok"}
        for name in names:
            ready.add_metric([name], name not in failing)
        yield ready

    def _books(self) -> Iterable[Metric]:
        books = self._ledger.books.items()
        for family, figure, name, text in BY_STREAM:
            metric = family(name, text, labels=["stream"])
            for stream, book in books:
                if (value := getattr(book, figure)) is not None:
                    metric.add_metric([stream], value)
            yield metric
        for figure, name, text in BY_REASON:
            metric = CounterMetricFamily(name, text, labels=["stream", "reason"])
            for stream, book in books:
                for reason, count in list(getattr(book, figure).items()):
                    metric.add_metric([stream, reason], count)
            yield metric
        for figure, name, text in CONTINUITY:
            metric = CounterMetricFamily(name, text, labels=["stream"])
            for stream, book in books:
                if figure in book.continuity:
                    metric.add_metric([stream], book.continuity[figure])
            yield metric

    def _times(self) -> Iterable[Metric]:
        reading = GaugeMetricFamily(
            "gateway_last_reading_timestamp_seconds", "Arrival of the newest reading.", labels=["stream"]
        )
        dead_letter = GaugeMetricFamily(
            "gateway_last_dead_letter_timestamp_seconds",
            "Arrival of the newest reading that became a dead letter.",
            labels=["stream", "reason"],
        )
        for stream, book in self._ledger.books.items():
            if book.last_reading_at:
                reading.add_metric([stream], book.last_reading_at / 1000)
            for reason, at in list(book.last_dead_letter_at.items()):
                dead_letter.add_metric([stream, reason], at / 1000)
        yield from (reading, dead_letter)

    def _links(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("gateway_mqtt_connected", "1 while connected to the broker.", labels=["server"])
        connects = CounterMetricFamily("gateway_mqtt_connects", "Connections made.", labels=["server"])
        lost = CounterMetricFamily(
            "gateway_mqtt_sessions_lost", "Times that the broker had lost the session.", labels=["server"]
        )
        for source in self._sources:
            up.add_metric([source.name], source.link == Link.UP)
            connects.add_metric([source.name], source.connects)
            lost.add_metric([source.name], source.sessions_lost)
        yield from (up, connects, lost)

    def _lag(self) -> Iterable[Metric]:
        now, oldest = self._now(), self._spool.oldest()
        lags = {stream: max(0.0, now - oldest.get(stream, 1000 * now) / 1000) for stream in self._ledger.books}
        lag = GaugeMetricFamily(
            "gateway_lag_seconds", "Age of the stream's oldest reading that waits for Kafka; or 0.", labels=["stream"]
        )
        for stream, seconds in lags.items():
            lag.add_metric([stream], seconds)
        yield lag
        yield GaugeMetricFamily(
            "gateway_oldest_unsettled_seconds",
            "Lag: age of the oldest reading that Kafka has not acknowledged; or 0.",
            value=max(lags.values(), default=0.0),
        )

    def _sizes(self) -> Iterable[Metric]:
        spool = self._spool
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
