"""The books: received = delivered + dead-lettered + spooled + in flight + dropped, by stream, and exact at rest.

Double entry: what arrives is written to `received` and to `in_flight`; what Kafka acknowledges moves from `in_flight`
to `delivered` or `dead_lettered`. The audit compares `in_flight` with what the spool really holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.sequence import Figure


@dataclass(slots=True)
class Books:
    """One stream's account, in readings.

    Args:
        received: read from MQTT.
        in_flight: in memory, Kafka has not acknowledged them.
        spooled: safe on disk, Kafka has not acknowledged them.
        delivered: Kafka has their records.
        dead_lettered: Kafka has their dead letters, by reason.
        dropped: given up, by reason.
        repeated: of the received, those the broker marked as sent before (DUP).
        continuity: what the numbers in the readings told (`core/continuity.py`); empty where nobody asks.
        silent_keys: keys that have not been heard for too long; None where nobody asks. Not kept over a restart.
        last_reading_at: when the newest came, milliseconds since 1970; 0 before the first.
        last_letter_at: when the newest reading of each reason came that is a dead letter now, likewise.
    """

    received: int = 0
    in_flight: int = 0
    spooled: int = 0
    delivered: int = 0
    dead_lettered: Counter[Reason] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    continuity: Counter[Figure] = field(default_factory=Counter)
    silent_keys: int | None = None
    last_reading_at: int = 0
    last_letter_at: dict[Reason, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """What the books cannot explain: 0, or there is a bug."""
        explained = self.delivered + self.dead_lettered.total() + self.spooled + self.in_flight + self.dropped.total()
        return self.received - explained


class Ledger:
    """The books of all streams. Only the bridge's loop writes; others may read single figures at any time.

    Args:
        streams: names of the streams.
    """

    def __init__(self, streams: Iterable[str]) -> None:
        self.books = {name: Books() for name in streams}

    def totals(self) -> dict[str, Any]:
        """Add the books up.

        Returns:
            The figures of the identity over all streams, and whether they balance.
        """
        books = list(self.books.values())
        return {
            "received": sum(book.received for book in books),
            "delivered": sum(book.delivered for book in books),
            "dead_lettered": sum(book.dead_lettered.total() for book in books),
            "spooled": sum(book.spooled for book in books),
            "in_flight": sum(book.in_flight for book in books),
            "dropped": sum(book.dropped.total() for book in books),
            "balanced": all(book.missing == 0 for book in books),
        }

    def audit(self, held: int) -> bool:
        """Compare the books with what the spool really holds.

        Args:
            held: readings in the spool that Kafka has not acknowledged.

        Returns:
            True when every stream's identity holds and the in-flight figures are the spool's.
        """
        totals = self.totals()
        return bool(totals["balanced"]) and totals["in_flight"] + totals["spooled"] == held

    def saved(self) -> dict[str, Any]:
        """Write the books as JSON values, for the next process."""
        return {
            name: {
                "received": book.received,
                "in_flight": book.in_flight,
                "spooled": book.spooled,
                "delivered": book.delivered,
                "dead_lettered": dict(book.dead_lettered),
                "dropped": dict(book.dropped),
                "repeated": book.repeated,
                "continuity": dict(book.continuity),
                "last_reading_at": book.last_reading_at,
                "last_letter_at": dict(book.last_letter_at),
            }
            for name, book in self.books.items()
        }

    def restore(self, saved: dict[str, Any], spooled: dict[str, int]) -> None:
        """Go on with the books of the process before.

        What was in flight when it wrote them last was not acknowledged to MQTT then: it is closed as `interrupted`.
        What the disk should hold and does not is closed as `lost_on_disk`; what it holds beyond the books was received.

        Args:
            saved: what `saved` gave, or empty.
            spooled: stream -> readings that the disk really holds.
        """
        for name in {*saved, *spooled}:
            told = saved.get(name, {})
            book = self.books.setdefault(name, Books())
            book.received = told.get("received", 0)
            book.delivered = told.get("delivered", 0)
            book.repeated = told.get("repeated", 0)
            book.dead_lettered = Counter({Reason(reason): n for reason, n in told.get("dead_lettered", {}).items()})
            book.dropped = Counter(told.get("dropped", {}))
            book.continuity = Counter(told.get("continuity", {}))
            book.last_reading_at = told.get("last_reading_at", 0)
            book.last_letter_at = {Reason(reason): at for reason, at in told.get("last_letter_at", {}).items()}
            book.dropped["interrupted"] += told.get("in_flight", 0)
            book.spooled = spooled.get(name, 0)
            difference = told.get("spooled", 0) - book.spooled
            book.dropped["lost_on_disk"] += max(0, difference)
            book.received += max(0, -difference)
            book.dropped = +book.dropped
