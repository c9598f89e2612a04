"""A reading in the gateway, with what is needed to acknowledge it; and the loops over the entries of a turn.

A turn of the loop has thousands of entries, more than the processor's caches hold, so each pass over them costs.
`Batch` therefore says what the reader knows of all of them, and the other passes are in C where the module is there.
"""

from __future__ import annotations

from itertools import takewhile
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gateway.core.native import ENTRY, MODULE, show_class
from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.reading import DeadLetter, Reading, Record


ENTRY_BYTES = 400  # memory of an entry without its payload and properties, measured on CPython 3.11


class Acknowledger(Protocol):
    """The connection that delivered a reading. Once closed it sends no acknowledgements: packet ids are reused."""

    @property
    def session(self) -> object:
        """The session whose packet ids they are."""

    @property
    def acknowledge(self) -> Callable[[Iterable[Entry]], None]:
        """Acknowledge QoS 1 or 2 messages."""


class Entry(Struct, gc=False):
    """A reading, its place in the log and what has happened to it."""

    reading: Reading
    connection: Acknowledger | None  # delivered it; None when it was read back from disk
    packet_id: int  # to acknowledge it with; 0 for QoS 0, and when the broker no longer has the session
    offset: int = -1  # its place in the log, assigned by the spool
    size: int = 0  # memory it takes, bytes; computed by the spool
    dead_letter: DeadLetter | None = None  # set once the reading is known to be one
    is_cut: bool = False  # Kafka refused the complete dead letter, so only the beginning of the payload is sent
    is_dated_now: bool = False  # Kafka refused the timestamp of its record, so that is the time of sending
    is_stored: bool = False  # it is on disk
    is_earlier: bool = False  # of an earlier boot of the machine: steps of the clock do not change its time
    is_settled: bool = False  # Kafka has committed its record or dead letter, or it was dropped
    is_released: bool = False  # it has left the log, because it is on disk

    @property
    def is_refused(self) -> bool:
        """True when Kafka refused its record: only memory knows that, the file does not."""
        return self.dead_letter is not None and self.dead_letter.reason is Reason.REFUSED

    @property
    def outcome(self) -> str:
        """What its settlement means for the books (`Books.book`): Kafka has its record, or its dead letter."""
        return f"dead_lettered/{self.dead_letter.reason}" if self.dead_letter else ""


class Batch(list[Entry]):
    """Entries in the order of arrival, their streams, and whether any was retained or marked as sent before."""

    __slots__ = ("has_flags", "streams")

    def __init__(self) -> None:
        super().__init__()
        self.streams: set[str] = set()
        self.has_flags = False

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        self.append(entry)
        self.streams.add(entry.reading.stream)
        self.has_flags |= entry.reading.dup or entry.reading.retain


# Three times as fast to set: msgspec's own setattr serves the garbage collector, which does not see entries, and the
# interpreter specialises object's only. In the body of the class, msgspec would replace them.
Entry.__setattr__, Entry.__delattr__ = object.__setattr__, object.__delattr__  # type: ignore[method-assign]


# --- loops over the entries of a turn, as in `native/entries.c` --------------------------------------------------

show_class(ENTRY, Entry, "reading", "connection", "packet_id", "offset", "size", "is_stored", "is_settled")
_IS_SETTLED = attrgetter("is_settled")


def number(entries: list[Entry], first: int) -> int:
    """Give entries their sizes, and offsets from the first on; return the sum of the sizes."""
    if MODULE:
        return int(MODULE.number(entries, first, ENTRY_BYTES))
    for offset, entry in enumerate(entries, first):
        entry.offset = offset
        entry.size = len(entry.reading.payload) + len(entry.reading.properties) + ENTRY_BYTES
    return sum([entry.size for entry in entries])


def measure(entries: list[Entry]) -> tuple[int, int]:
    """Return the sum of the sizes, and the largest."""
    if MODULE:
        total, largest = MODULE.measure(entries)
        return total, largest
    sizes = [entry.size for entry in entries]
    return sum(sizes), max(sizes, default=0)


def settle(entries: list[Entry]) -> bool:
    """Mark entries as settled; return whether any is stored."""
    if MODULE:
        return bool(MODULE.settle(entries))
    for entry in entries:
        entry.is_settled = True
    return any(entry.is_stored for entry in entries)


def take_settled(log: Iterable[Entry]) -> tuple[list[Entry], int, Acknowledger | None]:
    """Return the entries before the first that is not settled, the sum of their sizes, and their connection.

    It is None unless all have come on one connection, with a packet id.
    """
    if MODULE:
        taken, size, connection = MODULE.take_settled(iter(log))
        return taken, size, connection
    taken = [*takewhile(_IS_SETTLED, log)]
    connections = {entry.connection if entry.packet_id else None for entry in taken}
    return taken, measure(taken)[0], connections.pop() if len(connections) == 1 else None


def split(
    records: list[Record], entries: list[Entry], known: dict[bytes, int], others: int
) -> dict[int, tuple[list[Record], list[Entry]]]:
    """Split records and their entries by partition: those that are known of the keys, and one for all others."""
    runs: dict[int, tuple[list[Record], list[Entry]]] = MODULE.split(records, entries, known, others) if MODULE else {}
    for record, entry in () if MODULE else zip(records, entries, strict=True):
        run, its = runs.setdefault(known.get(record.key, others), ([], []))
        run.append(record)
        its.append(entry)
    return runs
