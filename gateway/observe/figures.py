"""Figures of a gateway, read back from its metrics, and their rates.

The status page takes the metrics from its own process, `gateway status` and `gateway top` from `/metrics` of another
one; the rest is the same. Nothing is counted for them: a rate is the difference between two snapshots.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.ledger import Books
from gateway.core.reading import Reason
from gateway.observe.metrics import BY_REASON, BY_STREAM, CONTINUITY, COUNTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

TRIES = 5
WINDOW_SECONDS = 60.0
# Bytes that a reading takes on disk: ROW_BYTES + ROW_FILL * its payload. Measured with payloads of 50 B to 3 kB, this
# is up to a fifth too much.
ROW_BYTES, ROW_FILL = 130, 1.35

PLAIN: Final = {name: figure for _, figure, name, _ in BY_STREAM}  # metric -> figure of the books
_BY_REASON: Final = {name: figure for figure, name, _ in BY_REASON}
_CONTINUITY: Final = {name: figure for figure, name, _ in CONTINUITY}
_COUNTERS: Final = {(name, rule): figure for figure, name, rule, _ in COUNTERS}
_GAUGES: Final = {
    "gateway_oldest_unsettled_seconds": "lag_seconds",
    "gateway_received_bytes": "received_bytes",
    "gateway_spool_disk_bytes": "spool_disk_bytes",
    "gateway_spool_memory_bytes": "spool_memory_bytes",
    "gateway_spool_room_bytes": "spool_room_bytes",
    "gateway_last_commit_timestamp_seconds": "last_commit_at",
}
TRANSACTIONS: Final = ("transactions_committed", "transactions_aborted", "last_commit_at")  # gauges with exactly_once
_REASONS: Final = frozenset(Reason)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures of one moment."""

    books: dict[str, Books] = field(default_factory=dict)  # by stream
    lags: dict[str, float] = field(default_factory=dict)  # stream -> age of its oldest waiting reading in seconds, or 0
    gauges: dict[str, float] = field(default_factory=dict)  # of no stream, such as `lag_seconds`
    contract: dict[str, str] = field(default_factory=dict)  # `version` and `digest` of the one in use

    @property
    def missing(self) -> int:
        """Readings that the books do not explain, over all streams."""
        return sum(abs(book.missing) for book in self.books.values())

    @property
    def delivers_once(self) -> bool:
        """True with `delivery: exactly_once`."""
        return "transactions_committed" in self.gauges


NOTHING: Final = Snapshot()


def figures(families: Iterable[Metric]) -> Snapshot:
    """Read a snapshot from metrics; those of other programs are ignored. ValueError if none is of the gateway."""
    snapshot = Snapshot()
    for family in families:
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in _GAUGES:
                snapshot.gauges[_GAUGES[name]] = sample.value
            elif name == "gateway_transactions":
                snapshot.gauges[f"transactions_{sample.labels['outcome']}"] = sample.value
            elif name == "gateway_contract_info":
                snapshot.contract.update(sample.labels)
            elif stream := sample.labels.get("stream"):
                label = sample.labels.get("reason", sample.labels.get("rule", ""))
                _enter(snapshot, stream, name, label, sample.value)
    if not snapshot.gauges:
        raise ValueError("it has no metrics of the gateway")
    return snapshot


def _enter(snapshot: Snapshot, stream: str, name: str, reason: str, value: float) -> None:
    book = snapshot.books.setdefault(stream, Books())
    if name in PLAIN:
        setattr(book, PLAIN[name], int(value))
    elif name in _CONTINUITY:
        book.continuity[_CONTINUITY[name]] = int(value)
    elif figure := _COUNTERS.get((name, reason)):
        book.counters[figure] = int(value)
    elif name in _BY_REASON:
        getattr(book, _BY_REASON[name])[reason] = int(value)
    elif name == "gateway_lag_seconds":
        snapshot.lags[stream] = value
    elif name == "gateway_last_reading_timestamp_seconds":
        book.last_reading_at = round(value * 1000)
    elif name == "gateway_last_dead_letter_timestamp_seconds" and reason in _REASONS:
        book.last_dead_letter_at[Reason(reason)] = round(value * 1000)


def settled(take: Callable[[], Snapshot], pause_seconds: float) -> Snapshot:
    """Take snapshots until the books of one balance, at most a few: the loop keeps counting while one is taken."""
    snapshot = take()
    for _ in range(TRIES - 1):
        if not snapshot.missing:
            break
        time.sleep(pause_seconds)
        snapshot = take()
    return snapshot


class Rates(NamedTuple):
    """Rates of arrival."""

    seconds: float = 0.0  # between the two snapshots; 0 if there is only one, and then no rate is known
    readings: dict[str, float] = {}  # noqa: RUF012 - never written; by stream, per second
    disk_bytes: float = 0.0  # growth of the spool per second if Kafka takes nothing
    delivered: float = 0.0  # readings that Kafka took per second, over all streams


def hours_left(gauges: dict[str, float], rates: Rates) -> float | None:
    """How long the spool lasts if Kafka takes nothing; None when no readings arrive, or no rate is known."""
    if not rates.disk_bytes or "spool_room_bytes" not in gauges:
        return None
    return gauges["spool_room_bytes"] / rates.disk_bytes / 3600


class RateTracker:
    """Computes rates from snapshots: over the last minute, or since the previous snapshot if that is older."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, dict[str, int], float, int]] = deque()

    def __call__(self, snapshot: Snapshot, now: float) -> Rates:
        """Add a snapshot, taken at `now` in monotonic seconds, and compute the rates."""
        counts = {name: book.received for name, book in snapshot.books.items()}
        size = snapshot.gauges.get("received_bytes", 0.0)
        if self._counts and size < self._counts[-1][2]:  # the gateway was restarted
            self._counts.clear()
        delivered = sum(book.delivered for book in snapshot.books.values())
        self._counts.append((now, counts, size, delivered))
        while len(self._counts) > 1 and now - self._counts[1][0] >= WINDOW_SECONDS:
            self._counts.popleft()
        first_at, first_counts, first_size, first_delivered = self._counts[0]
        if now <= first_at:
            return Rates()
        seconds = now - first_at
        readings = {name: max(0, count - first_counts.get(name, 0)) / seconds for name, count in counts.items()}
        disk_bytes = ROW_FILL * (size - first_size) / seconds + ROW_BYTES * sum(readings.values())
        return Rates(seconds, readings, disk_bytes, max(0, delivered - first_delivered) / seconds)
