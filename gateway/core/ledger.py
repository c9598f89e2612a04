"""The books: received = delivered + dead-lettered + spooled + in flight + dropped, by stream, and exact at rest.

Double entry: a reading that arrives is added to `received` and `in_flight`; when Kafka acknowledges it, it moves from
`in_flight` to `delivered` or `dead_lettered`. The spool moves readings between `in_flight` and `spooled`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.counters import CounterFigure
    from gateway.core.sequence import Figure

# Members of the saved ledger, which are part of the spool's format.
_NUMBERS = ("received", "in_flight", "spooled", "delivered", "repeated", "last_reading_at")
BY_NAME = {  # attribute -> member, type of its names
    "dead_lettered": ("dead_lettered", Reason),
    "dropped": ("dropped", str),
    "continuity": ("continuity", str),
    "counters": ("counters", str),
    "last_dead_letter_at": ("last_letter_at", Reason),
}


@dataclass(slots=True)
class Books:
    """One stream's account, in readings. Times are milliseconds since 1970."""

    received: int = 0  # read from MQTT
    in_flight: int = 0  # in memory only, not acknowledged by Kafka
    spooled: int = 0  # on disk, not acknowledged by Kafka
    delivered: int = 0  # their records are in Kafka
    dead_lettered: Counter[Reason] = field(default_factory=Counter)  # their dead letters are in Kafka
    dropped: Counter[str] = field(default_factory=Counter)  # given up, by reason
    repeated: int = 0  # received readings that the broker marked as sent before (DUP)
    continuity: Counter[Figure] = field(default_factory=Counter)  # sequence anomalies; empty without a monitor
    counters: Counter[CounterFigure] = field(default_factory=Counter)  # what was found; empty without x-counter
    silent_keys: int | None = None  # keys without a reading for too long; None without a monitor; not saved
    last_reading_at: int = 0  # arrival of the newest reading; 0 before the first
    last_dead_letter_at: dict[Reason, int] = field(default_factory=dict)  # arrival of the newest dead-lettered reading

    @property
    def missing(self) -> int:
        """Readings that the books cannot account for; anything but 0 is a bug."""
        explained = self.delivered + self.dead_lettered.total() + self.spooled + self.in_flight + self.dropped.total()
        return self.received - explained

    def book(self, outcome: str) -> None:
        """Book a settled reading: nothing for delivered, else `dead_lettered/REASON` or `dropped/REASON`."""
        kind, _, reason = outcome.partition("/")
        if kind == "dead_lettered":
            self.dead_lettered[Reason(reason)] += 1
        elif kind:
            self.dropped[reason] += 1
        else:
            self.delivered += 1


class Ledger:
    """The books of all streams. Only the bridge's loop writes them; other threads may read single figures."""

    def __init__(self, streams: Iterable[str]) -> None:
        self.books = {name: Books() for name in streams}

    def open(self, streams: Iterable[str]) -> dict[str, Books]:
        """Open the books of streams that have none, and give all; a new dict, because other threads read it."""
        self.books = {**self.books, **{name: Books() for name in streams if name not in self.books}}
        return self.books

    def totals(self) -> dict[str, Any]:
        """Add up the figures of the identity over all streams; `balanced` says whether it holds for each."""
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

    def saved(self) -> dict[str, Any]:
        """Return the books as JSON values, for the next process."""
        return {
            stream: {name: getattr(book, name) for name in _NUMBERS}
            | {member: dict(getattr(book, name)) for name, (member, _) in BY_NAME.items()}
            for stream, book in self.books.items()
        }

    def restore(self, saved: dict[str, Any], spooled: dict[str, int]) -> None:
        """Continue the books that `saved` returned in the previous process, corrected by `spooled`, which is on disk.

        Readings in flight at the last save had not been acknowledged to MQTT: they are dropped as `interrupted`. Rows
        missing on disk are dropped as `lost_on_disk`; rows that the books do not know were received after the save.
        """
        for stream in {*saved, *spooled}:
            book, values = self.books.setdefault(stream, Books()), saved.get(stream, {})
            for name in _NUMBERS:
                setattr(book, name, values.get(name, 0))
            for name, (member, type_of_name) in BY_NAME.items():  # in place: a sequence monitor counts into one
                getattr(book, name).update({type_of_name(key): n for key, n in values.get(member, {}).items()})
            lost = book.spooled - spooled.get(stream, 0)
            book.dropped.update(interrupted=book.in_flight, lost_on_disk=max(0, lost))
            book.in_flight = 0
            book.spooled -= lost
            book.received += max(0, -lost)
            book.dropped = +book.dropped
