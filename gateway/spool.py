"""The spool: one ordered log of every reading that is not safe yet, and the lanes that take readings from it.

Every reading gets an offset when it arrives. It stays in the log until it is *safe*: Kafka has acknowledged its record
or its dead letter. Acknowledgements to MQTT go out for the log's safe prefix only, so in arrival order [MQTT-4.6.0-2].

Two cursors, kept per lane because a lane may have to wait while others flow:

    sent       everything before `lane.waiting` has been handed to Kafka
    settled    Kafka has acknowledged it

A lane is one stream's way to its topic, or the dead letters' way to theirs. Within a lane readings are sent in offset
order, also after a failure: the lane first waits until nothing of it is in flight, then starts again at the oldest
reading that failed. That keeps the order per key. Dead letters have lanes of their own: a missing dead-letter topic
does not hold up good readings, and a bad reading does not hold up its neighbours.

Memory is the bound: when the readings held here reach `memory` bytes, `has_room` turns False and the bridge stops
reading from MQTT.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.reading import DeadLetter, Reading

ENTRY_BYTES = 400  # what an entry costs beside payload and topic, measured on CPython 3.11
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0


class Acknowledger(Protocol):
    """The connection a reading came over; it drops acknowledgements once it is closed (packet ids are reused)."""

    @property
    def acknowledge(self) -> Callable[[int], None]:
        """Acknowledge one QoS 1 message, by its packet id."""


class Entry(Struct, gc=False):
    """A reading on its way, with the means to acknowledge it.

    Args:
        reading: as it arrived.
        connection: what it came over.
        packet_id: to acknowledge it with; 0 for QoS 0.
        offset: its place in the log, given by the spool.
        letter: set once it is known to be a dead letter.
        is_cut: True when Kafka refused the whole dead letter, so that only its beginning is sent.
        settled: True when Kafka has acknowledged it.
    """

    reading: Reading
    connection: Acknowledger
    packet_id: int
    offset: int = -1
    letter: DeadLetter | None = None
    is_cut: bool = False
    settled: bool = False


class Lane:
    """One way to one Kafka topic, in order.

    Args:
        name: the stream's name, or the dead-letter topic's.
    """

    __slots__ = ("_careful_until", "_failed", "_pause_seconds", "alone", "in_flight", "name", "retry_at", "trouble",
                 "waiting")  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Entry] = deque()
        self.in_flight = 0
        self.alone: Entry | None = None  # sent by itself, to find out whether it is the culprit
        self.retry_at = 0.0
        self.trouble = ""  # why it waits, for the operator; empty when it does not
        self._failed: list[Entry] = []
        self._careful_until = -1
        self._pause_seconds = 0.0

    @property
    def is_careful(self) -> bool:
        """True while the next reading must be sent by itself, because Kafka refused a batch it was in."""
        return bool(self.waiting) and self.waiting[0].offset <= self._careful_until

    @property
    def held(self) -> int:
        """How many readings this lane holds that Kafka has not acknowledged."""
        return len(self.waiting) + self.in_flight + len(self._failed)

    def room(self, now: float) -> int:
        """Tell how many readings may be sent now."""
        if self._failed or now < self.retry_at:
            return 0
        if self.is_careful:
            return 0 if self.in_flight else 1
        return len(self.waiting)

    def settle(self) -> None:
        """Note that Kafka has acknowledged one reading."""
        self.in_flight -= 1
        self._pause_seconds = 0.0
        self.trouble = ""

    def fail(self, entry: Entry, trouble: str, now: float) -> None:
        """Take back a reading because Kafka cannot take any now; the lane pauses, longer each time.

        Args:
            entry: the reading.
            trouble: why, for the operator.
            now: monotonic seconds.
        """
        self._take_back(entry, trouble)
        if now >= self.retry_at:
            self._pause_seconds = min(max(FIRST_RETRY_SECONDS, 2 * self._pause_seconds), LONGEST_RETRY_SECONDS)
            self.retry_at = now + self._pause_seconds

    def suspect(self, entry: Entry, trouble: str) -> None:
        """Take back a reading because Kafka refused it or one sent with it: everything up to it goes alone now."""
        self._take_back(entry, trouble)
        self._careful_until = max(self._careful_until, entry.offset)

    def recover(self) -> None:
        """Put what was taken back in front again, oldest first, once nothing is in flight."""
        if self._failed and not self.in_flight:
            self._failed.sort(key=_offset, reverse=True)
            self.waiting.extendleft(self._failed)
            self._failed.clear()

    def _take_back(self, entry: Entry, trouble: str) -> None:
        self.in_flight -= 1
        self.alone = None
        self.trouble = trouble
        self._failed.append(entry)


def _offset(entry: Entry) -> int:
    return entry.offset


class Spool:
    """The ordered log.

    Args:
        memory_bytes: how much it holds before `has_room` turns False.
    """

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._next_offset = 0
        self._log: deque[Entry] = deque()
        self.bytes_held = 0

    @property
    def has_room(self) -> bool:
        """False when reading from MQTT must stop."""
        return self.bytes_held < self._memory_bytes

    def append(self, entries: Iterable[Entry]) -> None:
        """Give each entry its offset and hold it until it is safe."""
        offset, held = self._next_offset, self.bytes_held
        for entry in entries:
            entry.offset = offset
            offset += 1
            held += len(entry.reading.payload) + ENTRY_BYTES
        self._log.extend(entries)
        self._next_offset, self.bytes_held = offset, held

    def acknowledge_safe(self) -> int:
        """Acknowledge the log's safe prefix to MQTT and let it go.

        Returns:
            How many readings left the log.
        """
        log, released, held = self._log, 0, self.bytes_held
        while log and log[0].settled:
            entry = log.popleft()
            released += 1
            held -= len(entry.reading.payload) + ENTRY_BYTES
            if entry.packet_id:
                entry.connection.acknowledge(entry.packet_id)
        self.bytes_held = held
        return released

    def oldest_age_seconds(self, now: float) -> float:
        """Tell how long the oldest unsafe reading has been here; any thread may ask.

        Args:
            now: seconds since 1970.
        """
        try:
            return max(0.0, now - self._log[0].reading.received_at / 1000)
        except IndexError:
            return 0.0

    def unsettled(self) -> list[Entry]:
        """List what Kafka has not acknowledged, in arrival order."""
        return [entry for entry in self._log if not entry.settled]
