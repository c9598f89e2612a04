"""The figures of a gateway out of its metrics, and how fast they move.

The status page takes the metrics from its own process, `gateway status` and `gateway top` from another one's
`/metrics`; from here on there is no difference. Nothing is counted for their sake: a rate is the difference between two
looks, and who does not look costs nothing.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.ledger import Books
from gateway.core.reading import Reason
from gateway.observe.metrics import CONTINUITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Metric

TRIES = 5
WINDOW_SECONDS = 60.0
ROW_BYTES, ROW_FILL = 130, 1.35  # what a reading takes on disk: so much, and so much for a byte of its payload;
# measured with 50 B to 3 kB, where it is up to a fifth too much

PLAIN: Final = {  # metric -> figure of the books
    "gateway_received": "received",
    "gateway_delivered": "delivered",
    "gateway_repeated": "repeated",
    "gateway_in_flight": "in_flight",
    "gateway_spooled": "spooled",
    "gateway_silent_keys": "silent_keys",
}
_CONTINUITY: Final = {name: figure for figure, (name, _) in CONTINUITY.items()}
_BY_REASON: Final = {"gateway_dead_lettered": "dead_lettered", "gateway_dropped": "dropped"}
_GAUGES: Final = {
    "gateway_oldest_unsettled_seconds": "lag_seconds",
    "gateway_received_bytes": "received_bytes",
    "gateway_spool_disk_bytes": "spool_disk_bytes",
    "gateway_spool_memory_bytes": "spool_memory_bytes",
    "gateway_spool_room_bytes": "spool_room_bytes",
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look found.

    Args:
        books: by stream.
        lags: stream -> age of its oldest reading that waits, seconds; 0 when none does.
        gauges: `lag_seconds`, `spool_disk_bytes` and others of no stream.
    """

    books: dict[str, Books] = field(default_factory=dict)
    lags: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Readings that the books cannot explain, over all streams."""
        return sum(abs(book.missing) for book in self.books.values())


NOTHING: Final = Snapshot()


def figures(families: Iterable[Metric]) -> Snapshot:
    """Read the figures from metrics.

    Args:
        families: of a collector, or of a page of `/metrics` taken apart.

    Returns:
        The figures; what is no metric of ours is passed over.

    Raises:
        ValueError: when none of them is ours.
    """
    found = Snapshot()
    for family in families:
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in _GAUGES:
                found.gauges[_GAUGES[name]] = sample.value
            elif stream := sample.labels.get("stream"):
                _enter(found, stream, name, sample.labels.get("reason", ""), sample.value)
    if not found.gauges:
        raise ValueError("these metrics are none of ours")
    return found


def _enter(found: Snapshot, stream: str, name: str, reason: str, value: float) -> None:
    book = found.books.setdefault(stream, Books())
    if name in PLAIN:
        setattr(book, PLAIN[name], int(value))
    elif name in _CONTINUITY:
        book.continuity[_CONTINUITY[name]] = int(value)
    elif name in _BY_REASON:
        getattr(book, _BY_REASON[name])[reason] = int(value)
    elif name == "gateway_lag_seconds":
        found.lags[stream] = value
    elif name == "gateway_last_reading_timestamp_seconds":
        book.last_reading_at = round(value * 1000)
    elif name == "gateway_last_dead_letter_timestamp_seconds" and reason in _REASONS:
        book.last_dead_letter_at[Reason(reason)] = round(value * 1000)


_REASONS: Final = frozenset(Reason)


def settled(look: Callable[[], Snapshot], pause_seconds: float) -> Snapshot:
    """Look again while the books do not balance: the loop goes on meanwhile, only what stands still can be wrong.

    Args:
        look: gives the figures of its moment.
        pause_seconds: between two looks.

    Returns:
        The first figures that balance, or the last of a few.
    """
    found = look()
    for _ in range(TRIES - 1):
        if not found.missing:
            break
        time.sleep(pause_seconds)
        found = look()
    return found


class Rates(NamedTuple):
    """How fast readings come.

    Args:
        seconds: over what time; 0 when there was one look only, and then nothing is known.
        readings: stream -> readings per second.
        disk_bytes: by how much the spool would grow in a second if nothing left it.
    """

    seconds: float = 0.0
    readings: dict[str, float] = {}  # noqa: RUF012 - nobody writes to it
    disk_bytes: float = 0.0


class RateTracker:
    """Makes rates of what it is shown: over the last minute, or the time since the look before that."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int], float]] = deque()

    def __call__(self, found: Snapshot, now: float) -> Rates:
        """Take a look in.

        Args:
            found: its figures.
            now: monotonic seconds.

        Returns:
            The rates up to now.
        """
        counts = {name: book.received for name, book in found.books.items()}
        size = found.gauges.get("received_bytes", 0.0)
        if self._looks and size < self._looks[-1][2]:  # a gateway that was started anew
            self._looks.clear()
        self._looks.append((now, counts, size))
        while len(self._looks) > 1 and now - self._looks[1][0] >= WINDOW_SECONDS:
            self._looks.popleft()
        then, former, former_size = self._looks[0]
        if now <= then:
            return Rates()
        seconds = now - then
        readings = {name: max(0, count - former.get(name, 0)) / seconds for name, count in counts.items()}
        disk_bytes = ROW_FILL * (size - former_size) / seconds + ROW_BYTES * sum(readings.values())
        return Rates(seconds, readings, disk_bytes)
