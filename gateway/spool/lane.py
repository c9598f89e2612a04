"""A lane: the queue of one stream's readings to its Kafka topic, or of its dead letters to theirs, in order.

Lanes wait independently of each other: a topic may be missing, a schema id unknown, records refused. A lane sends in
offset order, also after a failure: it waits until none of its readings is in flight, then starts again at the oldest
that failed. This keeps the order per key.

Its readings, oldest first:

    in flight    handed to librdkafka, no delivery report yet
    failed       not taken by Kafka; they return to the front of `waiting`
    waiting      in memory, to be sent
    on disk      from `disk_next` up to `disk_until`, on disk only; read back when `waiting` is empty
    newer        in memory, arrived while older ones were on disk only
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.entry import Entry


FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
STALL_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Lane:
    """A queue to one Kafka topic. `now` is monotonic seconds in all methods."""

    name: str  # the stream, or the topic of the dead letters
    stream: str = ""  # whose dead letters these are; "" for a lane of readings, and then it becomes the name
    holds_dead_letters: bool = field(init=False)
    waiting: deque[Entry] = field(default_factory=deque)
    newer: deque[Entry] = field(default_factory=deque)
    disk_next: int = 0
    disk_until: int = 0
    disk_since: int = 0  # arrival of its oldest reading on disk, or of the one before; milliseconds since 1970
    in_flight: int = 0
    probe: Entry | None = None  # in flight alone, to find out whether Kafka refuses it or one of its neighbours
    retry_at: float = 0.0
    sent_at: float = 0.0
    blocked_reason: str = ""  # why the lane waits, for the operator
    _failed: list[Entry] = field(default_factory=list)
    _isolate_until: int = -1
    _pause_seconds: float = 0.0
    _moved_at: float = 0.0  # last acknowledgement, or first reading of an empty lane

    def __post_init__(self) -> None:
        self.holds_dead_letters = bool(self.stream)
        self.stream = self.stream or self.name

    @property
    def has_backlog(self) -> bool:
        """True while some readings are on disk only."""
        return self.disk_next < self.disk_until

    def has_on_disk(self, offset: int) -> bool:
        """Return True when the lane will read back the row at this offset, if there is one."""
        return self.disk_next <= offset < self.disk_until

    @property
    def has_waiting(self) -> bool:
        """True while some readings have not been sent, or must be sent again."""
        return bool(self.waiting or self._failed) or self.has_backlog

    def needs_refill(self, now: float) -> bool:
        """Return True when the lane could send and its next readings are on disk."""
        return self.has_backlog and not self.waiting and not self._failed and now >= self.retry_at

    @property
    def held(self) -> int:
        """Readings in memory that Kafka has not acknowledged."""
        return len(self.waiting) + len(self.newer) + self.in_flight + len(self._failed)

    @property
    def is_isolating(self) -> bool:
        """True when Kafka refused a batch that contained the next reading, so readings are sent one by one."""
        return bool(self.waiting) and self.waiting[0].offset <= self._isolate_until

    def begin(self, now: float) -> None:
        """Note that the lane may send from now on."""
        self._moved_at = now

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """Append the newest readings, in order."""
        if not self.held and not self.has_backlog:
            self._moved_at = now
        (self.newer if self.has_backlog else self.waiting).extend(entries)

    def sendable(self, now: float) -> int:
        """Return how many readings may be sent now; a probe is sent alone."""
        if self._failed or self.probe or now < self.retry_at:
            return 0
        if self.is_isolating:
            return 0 if self.in_flight else 1
        return len(self.waiting)

    def take(self, count: int) -> list[Entry]:
        """Remove the oldest readings, to send them; at most as many as are `sendable`."""
        if count == len(self.waiting):
            every = list(self.waiting)
            self.waiting.clear()
            return every
        popleft = self.waiting.popleft
        return [popleft() for _ in range(count)]

    def sent(self, entries: Sequence[Entry], left: Sequence[Entry], now: float) -> None:
        """Note that the taken readings are in flight; those in `left` were not sent and return to the front."""
        if len(entries) > len(left) and entries[0].offset <= self._isolate_until:
            self.probe = entries[0]
        self.sent_at = now
        self.in_flight += len(entries) - len(left)
        self.waiting.extendleft(reversed(left))

    # --- outcomes ------------------------------------------------------------------------------------------------

    def settle(self, count: int, now: float) -> None:
        """Note that Kafka has acknowledged so many readings."""
        self.in_flight -= count
        self._moved_at = now
        if self.probe and self.probe.is_settled:
            self.probe = None
        self._pause_seconds = 0.0
        self.blocked_reason = ""

    def has_stalled(self, now: float) -> bool:
        """Return True, once, when readings wait, none is acknowledged for long and no reason is known."""
        has_work = self.has_backlog or self.held
        if not has_work or self.blocked_reason or now - self._moved_at < STALL_SECONDS:
            return False
        self.blocked_reason = f"readings wait, and Kafka has acknowledged none for {STALL_SECONDS:g} s"
        return True

    def fail(self, entry: Entry, reason: str, now: float) -> None:
        """Take back a reading because Kafka cannot store it at present; pause, longer each time."""
        self._take_back(entry, reason)
        if now >= self.retry_at:
            self._pause_seconds = min(max(FIRST_RETRY_SECONDS, 2 * self._pause_seconds), LONGEST_RETRY_SECONDS)
            self.retry_at = now + self._pause_seconds

    def requeue(self, entry: Entry) -> None:
        """Take back a reading that failed only because one before it did; no pause."""
        self._take_back(entry, self.blocked_reason)

    def isolate(self, entry: Entry, reason: str) -> None:
        """Take back a reading because Kafka refused its batch; all readings up to it are then sent one by one."""
        self._take_back(entry, reason)
        self._isolate_until = max(self._isolate_until, entry.offset)

    def recover(self) -> None:
        """Return failed readings to the front, oldest first, once none is in flight."""
        if self._failed and not self.in_flight:
            # Readings of another partition may be older and still waiting, so all are sorted.
            self.waiting = deque(sorted([*self._failed, *self.waiting], key=attrgetter("offset")))
            self._failed.clear()

    def _take_back(self, entry: Entry, reason: str) -> None:
        self.in_flight -= 1
        self.probe = None
        self.blocked_reason = reason
        self._failed.append(entry)

    # --- memory and disk -----------------------------------------------------------------------------------------

    def leave_to_disk(self) -> list[Entry]:
        """Remove from memory, and return, unsent readings that are on disk; later ones queue behind them in `newer`."""
        source = self.newer if self.has_backlog else self.waiting
        left: list[Entry] = []
        passed = self.disk_next if self.has_backlog else -1  # what is before it is not read back
        while source and _may_leave(source[0]) and source[0].offset >= passed:
            left.append(source.popleft())
        if left:
            # A dead letter that a new contract calls good comes late, so the last one may not have the highest offset.
            offsets = [entry.offset for entry in left]
            if not self.has_backlog:
                self.disk_next, self.disk_until = min(offsets), 0
                self.disk_since = left[0].reading.received_at
                self.newer.extend(self.waiting)
                self.waiting.clear()
            self.disk_until = max(self.disk_until, max(offsets) + 1)
        return left

    def take_from_disk(self, entries: list[Entry], next_offset: int) -> None:
        """Append the oldest readings of the backlog, the rest of which begins at `next_offset`."""
        self.waiting.extend(entries)
        self.disk_next = next_offset
        if entries:
            self.disk_since = entries[-1].reading.received_at
        if not self.has_backlog:
            self.waiting.extend(self.newer)
            self.newer.clear()


def _may_leave(entry: Entry) -> bool:
    """Return True when the row on disk is complete."""
    return entry.is_stored and entry.is_released and not entry.is_refused
