"""The metrics, declared once: names, labels and help for the operator.

The loop counts in the ledger and knows nothing of this; the figures are read when somebody scrapes. Labels are closed
by the contract: streams, servers and reasons, never a topic or a machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


CONTINUITY: dict[Figure, tuple[str, str]] = {
    "gaps": ("gateway_sequence_gaps", "Places where a key's numbers jumped ahead (x-sequence)."),
    "missing": ("gateway_sequence_missing", "Numbers that had not come when a later one of their key did."),
    "out_of_order": ("gateway_sequence_out_of_order", "Numbers that came after a later one; of the missing, found."),
    "repeated": ("gateway_sequence_repeated", "Records whose number had come before."),
    "restarts": ("gateway_sequence_restarts", "Times that a key's numbers began anew."),
    "forgotten": ("gateway_sequence_forgotten_keys", "Keys forgotten because too many came after them."),
}


class GatewayCollector:
    """Reads the figures of a running gateway.

    Args:
        ledger: the books.
        sources: the MQTT brokers.
        spool: for lag and size.
        now: seconds since 1970.
        health: judges the gateway, as for `/readyz`.
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
        """Make the metrics of this moment."""
        yield from self._states()
        yield from self._books()
        yield from self._times()
        yield from self._continuity()
        yield from self._links()
        yield from self._lag()
        yield CounterMetricFamily(
            "gateway_received_bytes",
            "Payload of the readings that came since the start, and MQTT 5 properties kept.",
            value=self._spool.payload_bytes,
        )
        yield GaugeMetricFamily(
            "gateway_spool_memory_bytes", "Memory held by readings that are not safe yet.", value=self._spool.bytes_held
        )
        yield GaugeMetricFamily(
            "gateway_spool_disk_bytes", "Size of what the spool's file holds.", value=self._spool.disk_bytes
        )
        yield GaugeMetricFamily(
            "gateway_spool_room_bytes",
            "What the spool's file may grow by: up to spool.limit, or to what is free on its disk.",
            value=self._spool.room_bytes(),
        )
        info = GaugeMetricFamily("gateway_build_info", "The running version; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info

    def _states(self) -> Iterable[Metric]:
        health = self._health()
        yield GaugeMetricFamily("gateway_ready", "1 while readings get through, as /readyz tells.", value=health.ready)
        up = GaugeMetricFamily("gateway_peer_ready", "1 while nothing is wrong with the peer.", labels=["peer"])
        names = [*(source.name for source in self._sources), "kafka", "registry"]  # not lanes: they come and go
        wrong = {state.peer for state in health.states if state.state != "ok"}
        for name in names:
            up.add_metric([name], name not in wrong)
        yield up

    def _books(self) -> Iterable[Metric]:
        received = CounterMetricFamily("gateway_received", "Readings read from MQTT.", labels=["stream"])
        delivered = CounterMetricFamily("gateway_delivered", "Records that Kafka acknowledged.", labels=["stream"])
        letters = CounterMetricFamily(
            "gateway_dead_lettered", "Dead letters that Kafka acknowledged.", labels=["stream", "reason"]
        )
        dropped = CounterMetricFamily("gateway_dropped", "Readings given up, by reason.", labels=["stream", "reason"])
        repeated = CounterMetricFamily(
            "gateway_repeated", "Of the received, those the broker marked as sent before.", labels=["stream"]
        )
        flight = GaugeMetricFamily(
            "gateway_in_flight", "Readings in memory that Kafka has not acknowledged.", labels=["stream"]
        )
        spooled = GaugeMetricFamily("gateway_spooled", "Readings on disk that wait for Kafka.", labels=["stream"])
        for stream, book in self._ledger.books.items():
            received.add_metric([stream], book.received)
            delivered.add_metric([stream], book.delivered)
            repeated.add_metric([stream], book.repeated)
            flight.add_metric([stream], book.in_flight)
            spooled.add_metric([stream], book.spooled)
            for reason, count in list(book.dead_lettered.items()):
                letters.add_metric([stream, reason], count)
            for cause, count in list(book.dropped.items()):
                dropped.add_metric([stream, cause], count)
        yield from (received, delivered, letters, dropped, repeated, flight, spooled)

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
            "Lag: age of the oldest reading that Kafka has not acknowledged; 0 when there is none.",
            value=max(lags.values(), default=0.0),
        )

    def _times(self) -> Iterable[Metric]:
        reading = GaugeMetricFamily(
            "gateway_last_reading_timestamp_seconds", "When the newest reading came.", labels=["stream"]
        )
        letter = GaugeMetricFamily(
            "gateway_last_dead_letter_timestamp_seconds",
            "When the newest reading came that is a dead letter now.",
            labels=["stream", "reason"],
        )
        for stream, book in self._ledger.books.items():
            if book.last_reading_at:
                reading.add_metric([stream], book.last_reading_at / 1000)
            for reason, at in list(book.last_dead_letter_at.items()):
                letter.add_metric([stream, reason], at / 1000)
        yield from (reading, letter)

    def _continuity(self) -> Iterable[Metric]:
        families = {figure: CounterMetricFamily(*told, labels=["stream"]) for figure, told in CONTINUITY.items()}
        silent = GaugeMetricFamily(
            "gateway_silent_keys", "Keys from which nothing has come for x-silent-after seconds.", labels=["stream"]
        )
        for stream, book in self._ledger.books.items():
            for figure, count in list(book.continuity.items()):
                families[figure].add_metric([stream], count)
            if book.silent_keys is not None:
                silent.add_metric([stream], book.silent_keys)
        yield from (*families.values(), silent)

    def _links(self) -> Iterable[Metric]:
        up = GaugeMetricFamily("gateway_mqtt_connected", "1 while connected to the broker.", labels=["server"])
        connects = CounterMetricFamily("gateway_mqtt_connects", "Connections made.", labels=["server"])
        lost = CounterMetricFamily(
            "gateway_mqtt_sessions_lost", "Times the broker had forgotten our session.", labels=["server"]
        )
        for source in self._sources:
            up.add_metric([source.name], source.link == Link.UP)
            connects.add_metric([source.name], source.connects)
            lost.add_metric([source.name], source.sessions_lost)
        yield from (up, connects, lost)


def exposition(collector: GatewayCollector) -> Callable[[], bytes]:
    """Make the function that `/metrics` calls.

    Args:
        collector: of the running gateway.

    Returns:
        A function that gives the metrics in Prometheus's text format.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
