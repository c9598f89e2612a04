"""A lane: one stream's way to its topic, or its dead letters' way to theirs, in order.

A lane may have to wait while others flow: its topic is missing, its schema id is not known, Kafka refuses its records.
Within a lane readings are sent in offset order, also after a failure: the lane first waits until nothing of it is in
flight, then starts again at the oldest reading that failed. That keeps the order per key. It also knows how long few
readings are worth waiting for more; whether there is cause to wait at all, the loop decides (`bridge.py`).

Its readings, oldest first:

    in flight    Kafka has them, or not: no report yet
    failed       Kafka did not take them; they go back in front of `waiting`
    waiting      in memory, to be sent
    on disk      from `disk_next` up to `disk_until`, only on disk, read back when `waiting` is empty
    behind       in memory, arrived while older ones were on disk only
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.core.reading import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.core.entry import Entry


FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0
STALL_SECONDS = 30.0
FEW_READINGS = 64  # hardly worth a request
GATHER_SECONDS = 0.2  # at most, from one time that it sends to the next


class Lane:
    """One way to one Kafka topic.

    Args:
        name: the stream's name, or the dead-letter topic's.
        stream: whose readings these are, when its name is another.
    """

    __slots__ = (
        "_failed",
        "_isolate_until",
        "_moved_at",
        "_pause_seconds",
        "_sent_at",
        "blocked_reason",
        "disk_next",
        "disk_since",
        "disk_until",
        "in_flight",
        "name",
        "newer",
        "probe",
        "retry_at",
        "stream",
        "waiting",
    )  # fmt: skip

    def __init__(self, name: str, stream: str = "") -> None:
        self.name = name
        self.stream = stream or name
        self.waiting: deque[Entry] = deque()
        self.newer: deque[Entry] = deque()
        self.disk_next = 0
        self.disk_until = 0
        self.disk_since = 0  # when the oldest of them came, or the one before it; milliseconds since 1970
        self.in_flight = 0
        self.probe: Entry | None = None  # sent by itself, to find out whether it is the culprit
        self.retry_at = 0.0
        self.blocked_reason = ""  # why it waits, for the operator; empty when it does not
        self._failed: list[Entry] = []
        self._isolate_until = -1
        self._pause_seconds = 0.0
        self._sent_at = 0.0
        self._moved_at = 0.0  # when Kafka last acknowledged a reading, or the first came into an empty lane

    @property
    def has_backlog(self) -> bool:
        """True while some of its readings are on disk only."""
        return self.disk_next < self.disk_until

    def has_on_disk(self, offset: int) -> bool:
        """Tell whether it is this lane that will read a reading back, if the disk has it."""
        return self.disk_next <= offset < self.disk_until

    @property
    def has_waiting(self) -> bool:
        """True while some of its readings have not been sent, or must be sent again."""
        return bool(self.waiting or self._failed) or self.has_backlog

    @property
    def held(self) -> int:
        """How many readings this lane holds in memory that Kafka has not acknowledged."""
        return len(self.waiting) + len(self.newer) + self.in_flight + len(self._failed)

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """Take the newest readings, in order.

        Args:
            entries: the readings.
            now: monotonic seconds.
        """
        if not self.held and not self.has_backlog:
            self._moved_at = now
        (self.newer if self.has_backlog else self.waiting).extend(entries)

    def take(self, count: int) -> list[Entry]:
        """Take the oldest readings out, to be sent; `room` has told that there are so many."""
        if count == len(self.waiting):
            every = list(self.waiting)
            self.waiting.clear()
            return every
        popleft = self.waiting.popleft
        return [popleft() for _ in range(count)]

    def sent(self, entries: Sequence[Entry], left: Sequence[Entry], now: float) -> None:
        """Note what became of readings that were taken to be sent.

        Args:
            entries: by offset.
            left: those of them that were not; they wait in front again. The others are in flight now.
            now: monotonic seconds.
        """
        if len(entries) > len(left) and entries[0].offset <= self._isolate_until:
            self.probe = entries[0]
        self._sent_at = now
        self.in_flight += len(entries) - len(left)
        self.waiting.extendleft(reversed(left))

    def sendable(self, now: float) -> int:
        """Tell how many readings may be sent now; none may share a batch with the one that is tried probe."""
        if self._failed or self.probe or now < self.retry_at:
            return 0
        if self._is_isolating:
            return 0 if self.in_flight else 1
        return len(self.waiting)

    def gather_seconds(self, now: float) -> float:
        """Tell how long what waits in memory may still wait for more to go with it; 0 when it has no need of it."""
        if not 0 < len(self.waiting) < FEW_READINGS or self._is_isolating:
            return 0.0
        return max(0.0, self._sent_at + GATHER_SECONDS - now)

    def needs_refill(self, now: float) -> bool:
        """True when it could send and its next readings are on disk."""
        return self.has_backlog and not self.waiting and not self._failed and now >= self.retry_at

    @property
    def _is_isolating(self) -> bool:
        """True when Kafka refused a batch that the next reading was in."""
        return bool(self.waiting) and self.waiting[0].offset <= self._isolate_until

    # --- outcomes ------------------------------------------------------------------------------------------------

    def settle(self, count: int, now: float) -> None:
        """Note that Kafka has acknowledged readings.

        Args:
            count: how many.
            now: monotonic seconds.
        """
        self.in_flight -= count
        self._moved_at = now
        if self.probe and self.probe.is_settled:
            self.probe = None
        self._pause_seconds = 0.0
        self.blocked_reason = ""

    def begin(self, now: float) -> None:
        """Note that the lane may send from now on."""
        self._moved_at = now

    def has_stalled(self, now: float) -> bool:
        """Tell whether readings wait, nothing moves, and nobody has said why; once it has, that is its trouble."""
        has_work = self.has_backlog or self.held
        if not has_work or self.blocked_reason or now - self._moved_at < STALL_SECONDS:
            return False
        self.blocked_reason = f"readings wait, and Kafka has acknowledged none for {STALL_SECONDS:g} s"
        return True

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

    def requeue(self, entry: Entry) -> None:
        """Take back a reading that only stood behind one that failed: no pause."""
        self._take_back(entry, self.blocked_reason)

    def isolate(self, entry: Entry, trouble: str) -> None:
        """Take back a reading because Kafka refused it or one sent with it: everything up to it goes probe now."""
        self._take_back(entry, trouble)
        self._isolate_until = max(self._isolate_until, entry.offset)

    def recover(self) -> None:
        """Put what was taken back in front again, oldest first, once nothing is in flight."""
        if self._failed and not self.in_flight:
            # Sorted with the rest: of several partitions some that are older were not even taken.
            self.waiting = deque(sorted([*self._failed, *self.waiting], key=attrgetter("offset")))
            self._failed.clear()

    def _take_back(self, entry: Entry, trouble: str) -> None:
        self.in_flight -= 1
        self.probe = None
        self.blocked_reason = trouble
        self._failed.append(entry)

    # --- memory and disk -----------------------------------------------------------------------------------------

    def leave_to_disk(self) -> list[Entry]:
        """Let go of the readings that the disk has and that are not sent yet; what is newer waits behind them.

        Returns:
            What left memory.
        """
        source, left = self.newer if self.has_backlog else self.waiting, []
        while source and _may_leave(source[0]):
            left.append(source.popleft())
        if left:
            if not self.has_backlog:
                self.disk_next, self.disk_since = left[0].offset, left[0].reading.received_at
                self.newer.extend(self.waiting)
                self.waiting.clear()
            self.disk_until = left[-1].offset + 1
        return left

    def take_from_disk(self, entries: list[Entry], next_offset: int) -> None:
        """Take readings back, in order.

        Args:
            entries: the next of the backlog.
            next_offset: where the rest of it begins; `disk_until` when there is none.
        """
        self.waiting.extend(entries)
        self.disk_next = next_offset
        if entries:
            self.disk_since = entries[-1].reading.received_at
        if not self.has_backlog:
            self.waiting.extend(self.newer)
            self.newer.clear()


def _may_leave(entry: Entry) -> bool:
    """Tell whether the disk gives back all there is to a reading; what Kafka said of it is known here only."""
    was_refused = entry.letter is not None and entry.letter.reason is Reason.REFUSED
    return entry.is_stored and entry.is_released and not was_refused
