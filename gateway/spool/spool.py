"""The spool: one ordered log of every reading that is not safe yet, memory first, disk when Kafka is slower.

Every reading gets an offset when it arrives. It is *safe* when Kafka has acknowledged its record or its dead letter,
or when the disk has it after a completed fsync (`disk.py`). Acknowledgements to MQTT go out for the log's safe prefix
only, so in arrival order [MQTT-4.6.0-2], and an acknowledgement travels with its reading: the reading knows the
connection it came over.

When the log is written to disk:

    when: outage   as soon as its oldest reading is older than `after` seconds, or memory reaches its bound, or at the
                   end of the process: then all of it at once, in one commit. On a healthy link nothing is written.
    when: always   in every turn: the batch is whatever arrived during the last fsync

When memory reaches its bound, readings that the disk has leave it; each lane reads its own back in order. There is no
second path: a reading read back goes the same way as one that just arrived, behind all that are older in its lane.
Dead letters too leave it while their topic is away, or they would fill it and stop their neighbours; the file does
not say which they are, so what is read back is judged again. What Kafka refused stays in memory: only Kafka knows.

When the disk has no room, or its own limit is reached and `on_full` is `block`, memory fills up and reading from MQTT
stops. With `drop_oldest` the oldest readings go, counted and named.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gateway.core.entry import ENTRY_BYTES, Entry
from gateway.errors import SpoolBrokenError
from gateway.spool.file import DiskBrokenError, DiskFullError, SpoolFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.core.ledger import Ledger
    from gateway.core.reading import Reading
    from gateway.spool.lane import Lane

log = logging.getLogger(__name__)

READ_BACK_BYTES = 2**20  # payload that a lane takes from disk at once
DELETE_SECONDS = 0.5  # settled rows are deleted so often, or when so many have gathered:
DELETE_ROWS = 5_000
DISK_FULL_SECONDS = 5.0  # until the next try
BROKEN_TIMES, BROKEN_SECONDS = 3, 60.0  # a disk that fails so often in so many seconds ends the process
DROP_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Policy:
    """When readings go to disk, and how many.

    Args:
        memory_bytes: what memory holds at most.
        always: True to write every reading before it is acknowledged.
        after_seconds: how old an unsafe reading may become in memory only.
        limit_bytes: of the file.
        on_full: what to do when the file has reached its limit.
    """

    memory_bytes: int
    always: bool = False
    after_seconds: float = 5.0
    limit_bytes: int = 2**31
    on_full: Literal["block", "drop_oldest"] = "block"


class Spool:
    """The ordered log. Only the bridge's loop calls it, but for `oldest` and `room_bytes`.

    Args:
        policy: when readings go to disk.
        ledger: the books; the spool moves readings between `in_flight` and `spooled`, and books what it drops.
        file: the disk, or None to hold readings in memory only.
    """

    def __init__(self, policy: Policy, ledger: Ledger, file: SpoolFile | None = None) -> None:
        self.bytes_held = 0
        self.payload_bytes = 0  # of all that came since the start, properties included
        self.disk_bytes = file.used_bytes if file else 0
        self.blocked_reason = ""  # why the disk does not take readings, for the operator
        self._policy = policy
        self._read_back_bytes = min(READ_BACK_BYTES, policy.memory_bytes // 8)
        self._ledger = ledger
        self._file = file
        self._log: deque[Entry] = deque()
        self._next_offset = file.next_offset if file else 0
        self._arrivals: deque[tuple[int, float]] = deque()  # last offset of each batch, and when it came (monotonic)
        self._stored: dict[int, Entry] = {}  # in memory and on disk, by offset
        self._settled_rows: list[int] = []
        self._next_delete = 0.0
        self._retry_at = 0.0
        self._failures: deque[float] = deque(maxlen=BROKEN_TIMES)
        self._lanes: Sequence[Lane] = ()
        self._dead_lanes: Sequence[Lane] = ()

    @property
    def has_room(self) -> bool:
        """False when reading from MQTT must stop."""
        return self.bytes_held < self._policy.memory_bytes

    def attach(self, lanes: Sequence[Lane], dead_lanes: Sequence[Lane] = ()) -> None:
        """Learn the streams' lanes, and give each the readings that an earlier process left on disk.

        Args:
            lanes: one a stream. Readings of streams that the contract no longer has stay on disk.
            dead_lanes: of their dead letters. What an earlier process found to be one is judged again.
        """
        self._lanes, self._dead_lanes = lanes, dead_lanes
        if not self._file:
            return
        backlogs = self._file.backlogs
        self._ledger.restore(self._file.ledger, {stream: backlog.rows for stream, backlog in backlogs.items()})
        by_name = {lane.name: lane for lane in lanes}
        for stream, backlog in backlogs.items():
            log.info("readings on disk", extra={"stream": stream, "count": backlog.rows})
            if lane := by_name.get(stream):
                lane.disk_next, lane.disk_until, lane.disk_since = backlog.first, backlog.last + 1, backlog.since
            else:
                log.error("the contract no longer has this stream: its readings stay", extra={"stream": stream})

    # --- in and out ----------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry], now: float) -> None:
        """Give each entry its offset and hold it until it is safe.

        Args:
            entries: in the order they arrived.
            now: monotonic seconds.
        """
        held = self.bytes_held
        for offset, entry in enumerate(entries, self._next_offset):
            entry.offset = offset
            reading = entry.reading
            size = len(reading.payload) + ENTRY_BYTES
            if reading.properties:
                size += len(reading.properties)
            entry.size = size
            held += size
        self._log.extend(entries)
        self._next_offset += len(entries)
        self._arrivals.append((self._next_offset - 1, now))
        self.payload_bytes += held - self.bytes_held - ENTRY_BYTES * len(entries)
        self.bytes_held = held

    def settle(self, entries: Iterable[Entry]) -> int:
        """Note that Kafka has acknowledged readings; tell how many of them the disk has."""
        stored = 0
        for entry in entries:
            entry.is_settled = True
            if entry.is_stored:
                stored += 1
                self._settled_rows.append(entry.offset)
                self._stored.pop(entry.offset, None)
                if entry.is_released:
                    self.bytes_held -= entry.size
        return stored

    def acknowledge_safe(self) -> None:
        """Acknowledge the log's safe prefix to MQTT and let it go."""
        log, held, safe = self._log, self.bytes_held, 0
        for entry in log:
            if entry.is_settled:
                held -= entry.size
            elif entry.is_stored:
                entry.is_released = True
            else:
                break
            if entry.packet_id and entry.connection:
                entry.connection.acknowledge(entry.packet_id)
            safe += 1
        self.bytes_held = held
        for _ in range(safe):
            log.popleft()
        first = log[0].offset if log else self._next_offset
        while self._arrivals and self._arrivals[0][0] < first:
            self._arrivals.popleft()

    def oldest(self) -> dict[str, int]:
        """Tell when each stream's oldest reading came that Kafka has not acknowledged; any thread may ask.

        What is moved from memory to disk meanwhile is met in one of the two, because memory is copied first.

        Returns:
            Stream -> milliseconds since 1970; only streams of which readings wait.
        """
        held = [*self._log, *self._stored.values()]  # either copy is one step for the loop's thread
        times = [(entry.reading.stream, entry.reading.received_at) for entry in held if not entry.is_settled]
        times += [(lane.stream, lane.disk_since) for lane in (*self._lanes, *self._dead_lanes) if lane.has_backlog]
        found: dict[str, int] = {}
        for stream, at in times:
            found[stream] = min(found.get(stream, at), at)
        return found

    def room_bytes(self) -> int:
        """Tell how much the disk may still take, by its limit and by what is free there; any thread may ask."""
        if not self._file:
            return 0
        left = max(0, self._policy.limit_bytes - self.disk_bytes)
        with suppress(OSError):  # it may be gone; then the limit is all that is known
            system = os.statvfs(self._file.path.parent)
            left = min(left, system.f_bavail * system.f_frsize)
        return left

    def unsettled(self) -> list[Entry]:
        """List what is neither on disk nor acknowledged by Kafka, in arrival order."""
        return [entry for entry in self._log if not entry.is_settled and not entry.is_stored]

    # --- disk ----------------------------------------------------------------------------------------------------

    def persist_due(self, now: float) -> None:
        """Write to disk what is due, and forget there what is settled; nothing on a healthy link.

        Args:
            now: monotonic seconds.

        Raises:
            SpoolBrokenError: the disk failed again and again.
        """
        if not self._file or now < self._retry_at:
            return
        if self._is_tight:
            self._relieve_memory()
        is_old = bool(self._arrivals) and now - self._arrivals[0][1] >= self._policy.after_seconds
        is_due = bool(self._log) and (self._policy.always or self._is_tight or is_old)
        if is_due and self._may_grow(now):
            self.persist(now)
            if self._is_tight:
                self._relieve_memory()
        elif self._settled_rows and (now >= self._next_delete or len(self._settled_rows) >= DELETE_ROWS):
            self._write([], now)

    @property
    def _is_tight(self) -> bool:
        return self.bytes_held >= self._policy.memory_bytes

    def persist(self, now: float) -> bool:
        """Write all that is unsafe to disk in one commit.

        Returns:
            True when everything in the log is safe now.
        """
        return self._file is not None and self._write(self.unsettled(), now)

    def load(self, lane: Lane, now: float, belongs: Callable[[Entry], bool] | None = None) -> None:
        """Read the next readings of a hungry lane back from disk.

        Between the first and the last of its backlog there may be readings of its stream that are not of this lane:
        those that memory holds as well, those that are settled and not yet deleted, and those of the other lane.

        Args:
            lane: has a backlog and nothing waiting.
            now: monotonic seconds.
            belongs: tells a reading of this lane from one of the other; None when that will show.

        Raises:
            SpoolBrokenError: the disk failed again and again.
        """
        assert self._file, "without a disk there is no backlog"
        try:
            rows, next_offset = self._file.read(lane.stream, lane.disk_next, lane.disk_until, self._read_back_bytes)
        except DiskBrokenError as error:
            self._renew(str(error), now)
            return
        settled = set(self._settled_rows)
        found = [_from_disk(*row) for row in rows if row[0] not in self._stored and row[0] not in settled]
        entries = found if belongs is None else list(filter(belongs, found))
        self._stored.update((entry.offset, entry) for entry in entries)
        self.bytes_held += sum(entry.size for entry in entries)
        lane.take_from_disk(entries, next_offset)

    def evict(self, entry: Entry) -> None:
        """Let a reading that the disk has leave memory; another lane will read it back."""
        del self._stored[entry.offset]
        self.bytes_held -= entry.size

    def _write(self, entries: list[Entry], now: float) -> bool:
        """Write rows, deletions and books in one transaction."""
        assert self._file, "only called with a disk"
        moved = Counter(entry.reading.stream for entry in entries)
        self._move_books(moved, 1)
        rows = [(entry.offset, entry.reading) for entry in entries]
        try:
            used = self._file.write(rows, self._settled_rows, self._ledger.saved(), self._next_offset)
        except DiskFullError as error:
            self._move_books(moved, -1)
            self._retry_at = now + DISK_FULL_SECONDS
            self._complain(f"the disk is full or read-only ({error}): readings wait in memory, then at the broker")
            return False
        except DiskBrokenError as error:
            self._move_books(moved, -1)
            self._renew(str(error), now)
            return False
        for entry in entries:
            entry.is_stored = True
            self._stored[entry.offset] = entry
        self._settled_rows.clear()
        self.disk_bytes = used
        self._next_delete = now + DELETE_SECONDS
        self.blocked_reason = ""
        return True

    def _move_books(self, moved: Counter[str], sign: int) -> None:
        for stream, count in moved.items():
            books = self._ledger.books[stream]
            books.in_flight -= sign * count
            books.spooled += sign * count

    def _may_grow(self, now: float) -> bool:
        """Tell whether the file may take more; with `drop_oldest` make it so."""
        assert self._file, "only called with a disk"
        if self.disk_bytes < self._policy.limit_bytes:
            return True
        if self._policy.on_full == "drop_oldest":
            try:
                if self._drop_oldest():
                    return True
            except DiskBrokenError as error:
                self._renew(str(error), now)
                return False
        self._complain("the spool has reached spool.limit: readings wait in memory, then at the broker")
        return False

    def _drop_oldest(self) -> bool:
        assert self._file, "only called with a disk"
        backlog = {lane.name: lane for lane in self._lanes if lane.has_backlog}
        dropped: Counter[str] = Counter()
        settled = set(self._settled_rows)
        first = last = -1
        for offset, stream, received_at in self._file.oldest(DROP_ROWS):
            lane = backlog.get(stream)
            if lane and lane.has_on_disk(offset) and offset not in settled and offset not in self._stored:
                lane.disk_next, lane.disk_since = offset + 1, received_at
                dropped[stream] += 1
                self._settled_rows.append(offset)
                first, last = (first if first >= 0 else offset), offset
        for stream, count in dropped.items():
            self._ledger.books[stream].spooled -= count
            self._ledger.books[stream].dropped["spool_full"] += count
        if dropped:
            extra = {"count": dropped.total(), "first": first, "last": last}
            log.error("dropped the oldest readings: the spool is full", extra=extra)
        return bool(dropped)

    def _relieve_memory(self) -> None:
        """Let what the disk has leave memory."""
        self.acknowledge_safe()
        for lane in (*self._lanes, *self._dead_lanes):
            for entry in lane.leave_to_disk():
                self.evict(entry)

    def _renew(self, why: str, now: float) -> None:
        """Set a failing file aside and go on with a new one that holds all that could be read."""
        assert self._file, "only called with a disk"
        self._failures.append(now)
        if len(self._failures) == BROKEN_TIMES and now - self._failures[0] < BROKEN_SECONDS:
            raise SpoolBrokenError(f"The disk under {self._file.path} fails: {why}.", "Replace it.")
        self._complain(f"the disk failed ({why}); its file was set aside")
        try:
            self._file.replace_file(why, self._is_unsettled)
            rows = [(offset, entry.reading) for offset, entry in self._stored.items()]
            self._file.write(rows, self._settled_rows, self._ledger.saved(), self._next_offset)
            self._settled_rows.clear()
            self._book_losses(self._file.counts())
        except (OSError, sqlite3.DatabaseError, DiskFullError, DiskBrokenError) as error:
            raise SpoolBrokenError(f"{self._file.path} takes no new file: {error}.", "Replace the disk.") from error

    def _is_unsettled(self, offset: int, stream: str) -> bool:
        """Tell whether a row that was found in a damaged file is still owed; of an unknown stream every row is."""
        own = [lane for lane in (*self._lanes, *self._dead_lanes) if lane.stream == stream]
        return not own or offset in self._stored or any(lane.has_on_disk(offset) for lane in own)

    def _book_losses(self, rows: dict[str, int]) -> None:
        """Close the books over what could not be saved from a damaged file."""
        for stream, books in self._ledger.books.items():
            lost = books.spooled - rows.get(stream, 0)
            books.spooled -= lost
            books.dropped["lost_on_disk"] += max(0, lost)
            books.received += max(0, -lost)  # deleted rows that came back: they are sent again

    def _complain(self, trouble: str) -> None:
        self.blocked_reason = trouble
        log.error("spool", extra={"detail": trouble})

    def close(self, now: float) -> None:
        """Write what is unsafe, delete what is settled, keep the books, close the file."""
        if self._file:
            self.persist(now)
            self._file.close()


def _from_disk(offset: int, reading: Reading) -> Entry:
    size = len(reading.payload) + len(reading.properties) + ENTRY_BYTES
    return Entry(reading, None, 0, offset, size, is_stored=True, is_released=True)
