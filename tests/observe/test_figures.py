"""Snapshot out of metrics, and their pace."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.ledger import Books, Ledger
from gateway.core.reading import Reading, Reason
from gateway.observe.figures import ROW_BYTES, ROW_FILL, RateTracker, Snapshot, figures, settled
from gateway.observe.metrics import GatewayCollector
from gateway.observe.peer_state import Health
from gateway.spool.file import SpoolFile
from gateway.spool.spool import Policy, Spool

if TYPE_CHECKING:
    from pathlib import Path


def looked(received: int, size: float) -> Snapshot:
    """Snapshot of one stream."""
    return Snapshot({"doors": Books(received=received, delivered=received)}, {}, {"received_bytes": size})


def test_figures_of_a_collector_are_those_of_its_page() -> None:
    """What goes into the metrics comes out of them, in this process as from another one's page."""
    ledger = Ledger(["doors"])
    ledger.books["doors"] = book = Books(
        received=9, in_flight=1, spooled=2, delivered=3, dead_lettered=Counter({Reason.EMPTY: 2}),
        dropped=Counter(retained=1), repeated=1, continuity=Counter({"gaps": 1}), silent_keys=0,
        last_reading_at=1_791_547_200_123, last_dead_letter_at={Reason.EMPTY: 1_791_547_199_456},
    )  # fmt: skip
    collector = GatewayCollector(
        ledger, [], Spool(Policy(2**20), ledger), lambda: 0.0, lambda: Health(alive=True, ready=True)
    )
    found = figures(collector.collect())
    assert (found.books, found.lags, found.missing) == ({"doors": book}, {"doors": 0.0}, 0)
    assert found.gauges.keys() >= {"lag_seconds", "received_bytes", "spool_disk_bytes", "spool_room_bytes"}


def test_figures_of_another_program_are_refused() -> None:
    page = 'other_total{stream="a"} 1\ngateway_last_dead_letter_timestamp_seconds{stream="a",reason="new"} 1\n'
    with pytest.raises(ValueError, match="it has no metrics of the gateway"):
        figures(text_string_to_metric_families(page))


def test_books_that_do_not_balance_are_looked_at_again() -> None:
    """A snapshot may fall between two entries of the loop; one that stays wrong is returned as it is."""
    wrong, right = Snapshot({"doors": Books(received=1)}), looked(1, 0.0)
    looks = iter([wrong, wrong, right, wrong])
    assert settled(lambda: next(looks), 0.0) is right
    assert settled(lambda: wrong, 0.0) is wrong


def test_pace_of_one_look_is_unknown() -> None:
    assert RateTracker()(looked(5, 500.0), 10.0).seconds == 0


def test_pace_is_the_difference_of_two_looks() -> None:
    pace = RateTracker()
    pace(looked(5, 500.0), 10.0)
    assert pace(looked(25, 2500.0), 20.0) == (10.0, {"doors": 2.0}, ROW_FILL * 200.0 + ROW_BYTES * 2.0, 2.0)


def test_pace_forgets_what_is_older_than_a_minute_when_it_may() -> None:
    """Who looks once an hour gets the hour's rate, who looks often the last minute's."""
    pace = RateTracker()
    pace(looked(0, 0.0), 0.0)
    assert pace(looked(3_600, 0.0), 3_600.0).readings == {"doors": 1.0}
    assert pace(looked(3_660, 0.0), 3_630.0).seconds == 3_630
    rates = pace(looked(3_780, 0.0), 3_660.0)
    assert (rates.seconds, rates.readings) == (60, {"doors": 3.0})


def test_pace_begins_anew_with_the_gateway() -> None:
    """The bytes are counted from the process's start: fewer than before are another process's."""
    pace = RateTracker()
    pace(looked(100, 900.0), 0.0)
    assert pace(looked(3, 30.0), 10.0).seconds == 0
    assert pace(looked(13, 40.0), 20.0).readings == {"doors": 1.0}


@pytest.mark.parametrize("size", [50, 150, 1_000, 3_000])
def test_what_a_reading_takes_on_disk_is_known_within_a_third(tmp_path: Path, size: int) -> None:
    """The estimate of hours without Kafka depends on it and is never too long."""
    topic, count = b"factory/machine-12/temperature", 2_000
    rows = [(number, Reading("receiveFactorySensors", topic, b"x" * size, 0)) for number in range(count)]
    with SpoolFile(tmp_path / "spool.db") as file:
        empty = file.used_bytes
        taken = (file.write(rows, [], {}, count) - empty) / count
    assert taken <= ROW_FILL * size + ROW_BYTES <= 1.34 * taken
