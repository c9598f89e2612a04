"""The metrics: names and labels are a promise, each tells the operator what it is, and none grows with topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.core.entry import Entry
from gateway.core.ledger import Ledger
from gateway.core.reading import Reading, Reason
from gateway.core.topic_index import UNMAPPED, topic_index
from gateway.mqtt.broker import Broker
from gateway.mqtt.reader import Intake
from gateway.mqtt.source import MqttSource, Subscriptions
from gateway.observe.metrics import GatewayCollector, exposition
from gateway.observe.peer_state import Health, PeerState
from gateway.spool.spool import Policy, Spool
from tests.contract_values import mqtt_server

if TYPE_CHECKING:
    from prometheus_client import Metric

# Dashboards and alarms hang on these. Removing or renaming one is an incompatible change.
PROMISED = {
    "gateway_received": {"stream"},
    "gateway_delivered": {"stream"},
    "gateway_dead_lettered": {"stream", "reason"},
    "gateway_dropped": {"stream", "reason"},
    "gateway_repeated": {"stream"},
    "gateway_in_flight": {"stream"},
    "gateway_spooled": {"stream"},
    "gateway_sequence_gaps": {"stream"},
    "gateway_sequence_missing": {"stream"},
    "gateway_sequence_out_of_order": {"stream"},
    "gateway_sequence_repeated": {"stream"},
    "gateway_sequence_restarts": {"stream"},
    "gateway_sequence_forgotten_keys": {"stream"},
    "gateway_silent_keys": {"stream"},
    "gateway_oldest_unsettled_seconds": set(),
    "gateway_spool_memory_bytes": set(),
    "gateway_spool_disk_bytes": set(),
    "gateway_spool_room_bytes": set(),
    "gateway_received_bytes": set(),
    "gateway_lag_seconds": {"stream"},
    "gateway_last_reading_timestamp_seconds": {"stream"},
    "gateway_last_dead_letter_timestamp_seconds": {"stream", "reason"},
    "gateway_mqtt_connected": {"server"},
    "gateway_mqtt_connects": {"server"},
    "gateway_mqtt_sessions_lost": {"server"},
    "gateway_build_info": {"version"},
    "gateway_contract_info": {"version", "digest"},
    "gateway_reloads": {"outcome"},
    "gateway_last_reload_timestamp_seconds": set(),
    "gateway_clock_synchronised": set(),
    "gateway_clock_steps": set(),
    "gateway_ready": set(),
    "gateway_peer_ready": {"peer"},
}
NOW = 1_791_547_200.0
HEALTH = Health(
    alive=True,
    ready=False,
    states=(PeerState("kafka", "unreachable", "secret-machine"), PeerState("lane x", "waiting")),
)


@pytest.fixture
def ledger() -> Ledger:
    """Make books with something on every account."""
    made = Ledger(["doors", UNMAPPED])
    books = made.books["doors"]
    books.received, books.delivered, books.in_flight, books.spooled, books.repeated = 20, 10, 3, 2, 1
    books.dead_lettered.update({Reason.NOT_JSON: 3, Reason.REFUSED: 1})
    books.dropped["spool_full"] = 1
    books.continuity.update(gaps=2, missing=7, repeated=3, out_of_order=1, restarts=1, forgotten=0)
    books.silent_keys = 4
    books.last_reading_at = int(NOW * 1000) - 2_500
    books.last_dead_letter_at = {Reason.NOT_JSON: int(NOW * 1000) - 60_000}
    return made


@pytest.fixture
def spool(ledger: Ledger) -> Spool:
    """Make a spool that holds one reading, which is five seconds old."""
    made = Spool(Policy(2**20), ledger)
    made.append([Entry(Reading("doors", b"doors/secret-machine", b"x" * 100, int(NOW * 1000) - 5_000), None, 0)], 0.0)
    return made


@pytest.fixture
def families(ledger: Ledger, spool: Spool) -> dict[str, Metric]:
    """Scrape the metrics, as Prometheus does."""
    broker = Broker("factoryBroker", "127.0.0.1", 1)
    source = MqttSource(mqtt_server("factoryBroker"), lambda: broker, Subscriptions({}), Intake(topic_index([]), 1_000))
    text = exposition(GatewayCollector(ledger, [source], spool, lambda: NOW, lambda: HEALTH))().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def ours(families: dict[str, Metric]) -> dict[str, Metric]:
    return {name: family for name, family in families.items() if name.startswith("gateway_")}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    (found,) = [sample.value for sample in families[name].samples if sample.labels == labels]
    return float(found)


def test_every_promised_metric_is_there(families: dict[str, Metric]) -> None:
    """Names and labels are those that were promised; there may be more."""
    found = {name: {label for sample in family.samples for label in sample.labels} for name, family in families.items()}
    assert {name: found.get(name) for name in PROMISED} == PROMISED


def test_every_metric_has_help(families: dict[str, Metric]) -> None:
    """Each metric tells in a sentence what it counts, and is a counter or a gauge."""
    for name, family in ours(families).items():
        assert family.documentation.endswith("."), name
        assert len(family.documentation) > 15, name
        assert family.type in {"counter", "gauge"}, name


def test_labels_are_closed_by_the_contract(families: dict[str, Metric]) -> None:
    """Labels are streams, servers, reasons, outcomes and versions: no topic, machine or client ever is one."""
    labels = {pair for family in ours(families).values() for sample in family.samples for pair in sample.labels.items()}
    assert {name for name, _ in labels} == {
        "stream", "reason", "server", "version", "peer", "digest", "outcome",
    }  # fmt: skip
    assert {text for name, text in labels if name == "stream"} == {"doors", UNMAPPED}
    assert {text for name, text in labels if name == "server"} == {"factoryBroker"}
    assert not any("secret-machine" in text for _, text in labels)


def test_figures_are_those_of_the_books(families: dict[str, Metric]) -> None:
    """Every account of the ledger is a metric with its figure."""
    assert value(families, "gateway_received", stream="doors") == 20
    assert value(families, "gateway_delivered", stream="doors") == 10
    assert value(families, "gateway_in_flight", stream="doors") == 3
    assert value(families, "gateway_spooled", stream="doors") == 2
    assert value(families, "gateway_repeated", stream="doors") == 1
    assert value(families, "gateway_dead_lettered", stream="doors", reason="not_json") == 3
    assert value(families, "gateway_dead_lettered", stream="doors", reason="refused") == 1
    assert value(families, "gateway_dropped", stream="doors", reason="spool_full") == 1
    assert value(families, "gateway_received", stream=UNMAPPED) == 0
    assert value(families, "gateway_last_reading_timestamp_seconds", stream="doors") == NOW - 2.5
    assert value(families, "gateway_last_dead_letter_timestamp_seconds", stream="doors", reason="not_json") == NOW - 60
    assert value(families, "gateway_sequence_missing", stream="doors") == 7
    assert value(families, "gateway_sequence_forgotten_keys", stream="doors") == 0
    assert value(families, "gateway_silent_keys", stream="doors") == 4


def test_streams_that_nobody_watches_have_no_figures_of_it(families: dict[str, Metric]) -> None:
    for name in ("gateway_sequence_gaps", "gateway_silent_keys"):
        assert {sample.labels["stream"] for sample in families[name].samples} == {"doors"}


def test_figures_are_those_of_spool_and_broker(families: dict[str, Metric]) -> None:
    """Lag is the age of the oldest reading that waits; a broker that was never reached counts nothing."""
    assert value(families, "gateway_lag_seconds", stream="doors") == 5
    assert value(families, "gateway_lag_seconds", stream=UNMAPPED) == 0
    assert value(families, "gateway_received_bytes") == 100
    assert value(families, "gateway_oldest_unsettled_seconds") == 5
    assert value(families, "gateway_spool_memory_bytes") >= 100
    assert value(families, "gateway_mqtt_connected", server="factoryBroker") == 0
    assert value(families, "gateway_mqtt_connects", server="factoryBroker") == 0
    assert value(families, "gateway_mqtt_sessions_lost", server="factoryBroker") == 0
    assert value(families, "gateway_build_info", version=__version__) == 1


def test_peers_are_those_of_readyz(families: dict[str, Metric]) -> None:
    """Those of the contract, Kafka and the registry; what is wrong with a topic is no label."""
    assert value(families, "gateway_ready") == 0
    states = {sample.labels["peer"]: sample.value for sample in families["gateway_peer_ready"].samples}
    assert states == {"factoryBroker": 1, "kafka": 0, "registry": 1}


def test_metrics_of_the_process_are_included(families: dict[str, Metric]) -> None:
    """Memory, processor time and file descriptors, under the names that every dashboard knows."""
    assert {"process_resident_memory_bytes", "process_cpu_seconds", "process_open_fds"} <= families.keys()


def test_a_scrape_reads_the_figures_of_its_moment(ledger: Ledger, spool: Spool) -> None:
    """The loop counts in the ledger alone; what is scraped is what stands there now."""
    scrape = exposition(GatewayCollector(ledger, [], spool, lambda: NOW, lambda: HEALTH))
    assert b'gateway_received_total{stream="doors"} 20.0' in scrape()
    ledger.books["doors"].received += 1
    assert b'gateway_received_total{stream="doors"} 21.0' in scrape()
