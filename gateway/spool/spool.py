"""The spool: one ordered log of every reading that is not safe yet, in memory first, on disk when Kafka is slower.

A reading gets its offset when it arrives. It is *safe* when Kafka has acknowledged its record or dead letter, or when
it is on disk after a completed fsync (`file.py`). Only the safe prefix of the log is acknowledged to MQTT, so in
arrival order [MQTT-4.6.0-2], each reading on the connection that delivered it.

When the log is written to disk:

    when: outage   as soon as its oldest reading is older than `after` seconds, or memory is full, or at the end of the
                   process: then all of it in one commit. On a healthy link nothing is written.
    when: always   in every turn: the commit holds the readings that arrived during the last fsync

When memory is full, readings that are on disk leave it, and each lane reads its own back in order. From there they take
the same path as readings that just arrived, behind all older ones of their lane. Dead letters leave memory as well
while their topic is unavailable, else they would fill it and block other lanes. The file does not say which readings
are dead letters, so those are transformed again. A reading that Kafka refused stays in memory, because only Kafka knows
that.

When the disk is full, or `limit` is reached with `on_full: block`, memory fills up and reading from MQTT stops. With
`drop_oldest` the oldest readings are dropped, counted and logged.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from base64 import b64decode, b64encode
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from gateway.core.entry import ENTRY_BYTES, Entry, measure, number, settle, take_settled
from gateway.errors import SpoolBrokenError
from gateway.spool.file import DiskBrokenError, DiskFullError, SpoolFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from gateway.core.ledger import Ledger
    from gateway.core.reading import Reading
    from gateway.core.session import Session
    from gateway.spool.lane import Lane

log = logging.getLogger(__name__)

READ_BACK_BYTES = 2**20  # the most that a lane reads from disk at once
DELETE_SECONDS = 0.5  # settled rows are deleted this often,
DELETE_ROWS = 5_000  # or as soon as there are this many
DISK_FULL_SECONDS = 5.0  # from a write that found the disk full to the next one
BROKEN_TIMES, BROKEN_SECONDS = 3, 60.0  # three failures of the disk within a minute end the process
DROP_ROWS = 1_000
Settled = tuple[str, int, int]  # an outcome (`Books.book`), and the first and last offset of the readings that had it
DELIVERY, AT_LEAST_ONCE = "delivery/mode", "at_least_once"
BUCKETS = "buckets/"  # begins the names of notes: of a session and a number


@dataclass(frozen=True, slots=True)
class Policy:
    """When readings go to disk, and how many."""

    memory_bytes: int  # the most that readings in memory may take
    always: bool = False  # write every reading before it is acknowledged
    after_seconds: float = 5.0  # write when the oldest reading that is not safe is older
    limit_bytes: int = 2**31  # the largest size of the file
    on_full: Literal["block", "drop_oldest"] = "block"  # when the file has reached its limit


class Spool:
    """The ordered log. Only the bridge's loop calls it, except `oldest` and `room_bytes`.

    All methods that take `now` (monotonic seconds) raise SpoolBrokenError when the disk fails again and again. Without
    a file the spool holds readings in memory only. It moves readings between `in_flight` and `spooled` of the ledger,
    and books what it drops.
    """

    def __init__(self, policy: Policy, ledger: Ledger, file: SpoolFile | None = None) -> None:
        self.bytes_held = 0
        self.payload_bytes = 0  # received since the start, properties included
        self.disk_bytes = file.used_bytes if file else 0
        self.blocked_reason = ""  # why the disk takes no readings, for the operator
        self._policy = policy
        self._read_back_bytes = min(READ_BACK_BYTES, policy.memory_bytes // 8)
        self._ledger = ledger
        self._file = file
        self._log: deque[Entry] = deque()
        self._next_offset = file.next_offset if file else 0
        self._arrivals: deque[tuple[int, float]] = deque()  # last offset of each batch, and its arrival (monotonic)
        self._stored: dict[int, Entry] = {}  # in memory and on disk, by offset
        self._settled_rows: dict[int, str] = {}  # rows to delete: offset -> outcome
        self._notes: dict[str, str | None] = {}  # to be written
        self._next_delete = 0.0
        self._retry_at = 0.0
        self._failures: deque[float] = deque(maxlen=BROKEN_TIMES)
        self._lanes: Sequence[Lane] = ()
        self._dead_lanes: Sequence[Lane] = ()
        self._sessions: dict[str, Session] = {}
        self.version = 0  # of the state that is saved: each save has the next one
        self.versions: dict[str, int] = {}  # of the sessions, as the file had them at the start
        self.owners: dict[str, str] = {}  # the processes that have written them to Kafka last, as far as this one knows
        self.must_delete = False  # settled rows, before others are read back
        self.is_uncertain = False  # whether Kafka has committed a transaction is not known
        self.was_at_least_once = self.notes.get(DELIVERY) == AT_LEAST_ONCE  # in the last run

    @property
    def may_load(self) -> bool:
        """False when no rows may be read back, as settled ones cannot be deleted."""
        return not (self.must_delete and self.blocked_reason)

    @property
    def has_room(self) -> bool:
        """False when reading from MQTT must stop."""
        return self.bytes_held < self._policy.memory_bytes

    @property
    def unacknowledged(self) -> int:
        """How many readings are received and not acknowledged yet."""
        return len(self._log)

    def attach(self, lanes: Sequence[Lane], dead_lanes: Sequence[Lane] = ()) -> None:
        """Set the lanes, and give each new one the readings of its stream that an earlier process left on disk."""
        is_start, known = not self._lanes, set(self._lanes)
        new = {lane.name: lane for lane in lanes if lane not in known}
        self._lanes, self._dead_lanes = lanes, dead_lanes
        if not self._file:
            return
        backlogs = self._file.backlogs
        if is_start:
            self._ledger.restore(self._file.ledger, {stream: backlog.rows for stream, backlog in backlogs.items()})
        for stream, backlog in list(backlogs.items()):
            lane = new.get(stream)
            if lane or is_start:
                log.info("Found readings of an earlier run on disk.", extra={"stream": stream, "count": backlog.rows})
            if lane:
                lane.disk_next, lane.disk_until, lane.disk_since = backlog.first, backlog.last + 1, backlog.since
                del backlogs[stream]
            elif is_start:
                text = "Readings stay on disk, because the contract no longer has their stream. Add it to deliver them."
                log.error(text, extra={"stream": stream})

    # --- sessions ------------------------------------------------------------------------------------------------

    def restore_session(self, key: str, session: Session) -> None:
        """Continue a session as the file has it, and keep it there from now on."""
        self._sessions[key] = session
        if self._file and self.was_at_least_once != (session.delivery == AT_LEAST_ONCE):
            if self._file.sessions:
                log.warning("`delivery` has changed: messages whose acknowledgement the broker lacks may come twice.")
            self._file.sessions.clear()  # of the other mode
            if not self.was_at_least_once:
                self.note_delivery(session.delivery)
        if self._file and (saved := self._file.sessions.get(key)):
            with suppress(AttributeError, KeyError, TypeError, ValueError):  # damaged: messages may be stored twice
                session.restore(saved | {"buckets": self._buckets_of(key)})
                self.versions[key], self.owners[key] = saved["version"], saved["owner"]
                self.version = max(self.version, saved["version"])

    def _buckets_of(self, key: str) -> dict[int, bytes]:
        prefix, notes = f"{BUCKETS}{key}/", self.notes
        return {int(name[len(prefix) :]): b64decode(notes.pop(name)) for name in list(notes) if name.startswith(prefix)}

    def note_delivery(self, name: str) -> None:
        """Write the mode: what an earlier run of the other mode has left in the file or Kafka is void from now on."""
        self.note(DELIVERY, name)
        if self._file:
            self._write(self._file, [], time.monotonic(), saves_sessions=True)

    def resume_session(self, session: Session, now: float, *, is_present: bool) -> None:
        """Note that a client has connected; if the broker no longer has its session, forget it, on disk as well."""
        own = of_session(self._log, session)
        if is_present:
            session.resume(own, self._next_offset)
            return
        for entry in own:
            entry.packet_id = 0
        session.clear()
        if session.is_outdated and self._file:
            self._write_changes(self._file, now)

    # --- what Kafka has, with `delivery: exactly_once` ---------------------------------------------------------------

    @property
    def id(self) -> str:
        """The id of the file."""
        return self._file.id if self._file else ""

    @property
    def next_offset(self) -> int:
        """The offset of the next reading."""
        return self._next_offset

    @property
    def settled_rows(self) -> Mapping[int, str]:
        """Rows that are not deleted yet, though nothing is left to do for them: offset and outcome (`Books.book`)."""
        return self._settled_rows

    def drop_settled(self, settled: Iterable[Settled], next_offset: int) -> None:
        """Drop the rows that an earlier process settled, and give no offset of it again."""
        self._next_offset = max(self._next_offset, next_offset)
        for outcome, first, last in settled:
            for offset, stream in self._file.streams(first, last) if self._file else ():
                if offset not in self._settled_rows:
                    self._settled_rows[offset] = outcome
                    self._ledger.books[stream].spooled -= 1
                    self._ledger.books[stream].book(outcome)

    # --- in and out ----------------------------------------------------------------------------------------------

    def append(self, entries: list[Entry], now: float) -> None:
        """Give each entry its offset, and hold it until it is safe."""
        size = number(entries, self._next_offset)
        self._log.extend(entries)
        self._next_offset += len(entries)
        self._arrivals.append((self._next_offset - 1, now))
        self.payload_bytes += size - ENTRY_BYTES * len(entries)
        self.bytes_held += size

    def settle(self, entries: list[Entry], outcome: str = "") -> int:
        """Mark readings as settled, with another outcome than Kafka's; return how many of them are on disk."""
        stored = [entry for entry in entries if entry.is_stored] if settle(entries) else []
        for entry in stored:
            self._settled_rows[entry.offset] = outcome or entry.outcome
            self._stored.pop(entry.offset, None)
            if entry.is_released:
                self.bytes_held -= entry.size
        return len(stored)

    def acknowledge_safe(self) -> None:
        """Acknowledge the safe prefix of the log to MQTT, and remove it."""
        log = self._log
        safe, size, only = take_settled(log)  # nearly always all that are safe, and of one connection
        if len(safe) < len(log) and log[len(safe)].is_stored:
            safe = [*takewhile(_is_safe, log)]
            for entry in safe:
                entry.is_released = not entry.is_settled
            size, only = measure([entry for entry in safe if entry.is_settled])[0], None
        self.bytes_held -= size
        if only is not None:
            only.acknowledge(safe)
        else:
            for connection in filter(None, {entry.connection for entry in safe}):
                connection.acknowledge([each for each in safe if each.packet_id and each.connection is connection])
        for _ in safe:
            log.popleft()
        first = self.first_unsafe
        while self._arrivals and self._arrivals[0][0] < first:
            self._arrivals.popleft()

    def oldest(self) -> dict[str, int]:
        """Return, for each stream with unsettled readings, the arrival of the oldest, milliseconds since 1970.

        Any thread may call this. A reading that moves from memory to disk meanwhile is seen in one of them at least,
        because memory is copied first.
        """
        held = [*self._log, *self._stored.values()]  # either copy is one step for the loop's thread
        times = [(entry.reading.stream, entry.reading.received_at) for entry in held if not entry.is_settled]
        times += [(lane.stream, lane.disk_since) for lane in (*self._lanes, *self._dead_lanes) if lane.has_backlog]
        oldest: dict[str, int] = {}
        for stream, at in times:
            oldest[stream] = min(oldest.get(stream, at), at)
        return oldest

    def room_bytes(self) -> int:
        """Return how much the file may grow, by its limit and the free space of its disk. Any thread may call this."""
        if not self._file:
            return 0
        left = max(0, self._policy.limit_bytes - self.disk_bytes)
        with suppress(OSError):  # the disk may be gone; then only the limit is known
            system = os.statvfs(self._file.path.parent)
            left = min(left, system.f_bavail * system.f_frsize)
        return left

    def redate(self, step: int) -> int:
        """Move the time of all readings of this boot by milliseconds; return how many of them are in memory."""
        held = {entry.offset: entry for entry in (*self._log, *self._stored.values())}
        moved = [entry for entry in held.values() if not entry.is_settled and not entry.is_earlier]
        for entry in moved:
            entry.reading = structs.replace(entry.reading, received_at=entry.reading.received_at + step)
        for lane in (*self._lanes, *self._dead_lanes):
            lane.disk_since += step
        return len(moved)

    def unsettled(self) -> list[Entry]:
        """List the readings that are neither on disk nor acknowledged by Kafka, in arrival order."""
        return [entry for entry in self._log if not entry.is_settled and not entry.is_stored]

    # --- disk ----------------------------------------------------------------------------------------------------

    def persist_due(self, now: float, *, saves_sessions: bool = True) -> None:
        """Write to disk if it is time, and delete settled rows; on a healthy link nothing is written.

        Without `saves_sessions`, Kafka saves what the sessions must forget.
        """
        if not self._file or now < self._retry_at:
            return
        if not self.has_room:
            self._relieve_memory()
        is_old = bool(self._arrivals) and now - self._arrivals[0][1] >= self._policy.after_seconds
        is_due = bool(self._log) and (self._policy.always or is_old or not self.has_room)
        if is_due and self._may_grow(self._file, now):
            self.persist(now)
            if not self.has_room:
                self._relieve_memory()
        elif self._may_delete(now) or (saves_sessions and self._must_forget):
            self._write_changes(self._file, now)

    def _write_changes(self, file: SpoolFile, now: float) -> None:
        """Delete settled rows, and save the sessions if they must forget something."""
        is_all = self.is_uncertain and self._must_forget  # `committed_state.py` says why
        self._write(file, self.unsettled() if is_all else [], now, is_all=is_all, saves_sessions=self._must_forget)

    @property
    def _must_forget(self) -> bool:
        return any(session.is_outdated for session in self._sessions.values())

    def _may_delete(self, now: float) -> bool:
        return bool(self._settled_rows) and (now >= self._next_delete or len(self._settled_rows) >= DELETE_ROWS)

    def persist(self, now: float) -> bool:
        """Write all unsafe readings to disk in one commit; return True when all are safe now."""
        return self._file is not None and self._write(self._file, self.unsettled(), now, is_all=True)

    @property
    def notes(self) -> dict[str, str]:
        """What was noted in the file when it was opened, by name."""
        return self._file.notes if self._file else {}

    @property
    def first_unsafe(self) -> int:
        """The offset of the oldest reading that is not safe, or of the next one to come."""
        return self._log[0].offset if self._log else self._next_offset

    def has_row(self, offset: int) -> bool:
        """Tell whether the file has a reading at an offset."""
        return self._file is not None and self._file.reading_at(offset) is not None

    def note(self, name: str, text: str | None) -> None:
        """Keep a text in the file under a name with a slash, or delete it (None), with the next write."""
        if self._file:
            self._notes[name] = text

    def write_notes(self, now: float) -> None:
        """Write what was noted; a full disk leaves it for the next write."""
        if self._file and self._notes and now >= self._retry_at:
            self._write(self._file, [], now)

    def load(self, lane: Lane, now: float, belongs: Callable[[Entry], bool] | None = None) -> None:
        """Read the next readings of a lane back from disk; it has a backlog, and nothing waiting.

        The range of its backlog also has rows of its stream that are in memory, or settled and not yet deleted, or of
        the stream's other lane: `belongs` selects the entries of this lane; without it the transform decides.
        """
        assert self._file, "without a disk there is no backlog"
        try:
            rows, next_offset = self._file.read(lane.stream, lane.disk_next, lane.disk_until, self._read_back_bytes)
        except DiskBrokenError as error:
            self._replace_file(self._file, str(error), now)
            return
        settled = self._settled_rows
        entries = [_from_disk(*row) for row in rows if row[0] not in self._stored and row[0] not in settled]
        if belongs:
            entries = list(filter(belongs, entries))
        self._stored.update((entry.offset, entry) for entry in entries)
        self.bytes_held += sum(entry.size for entry in entries)
        lane.take_from_disk(entries, next_offset)

    def evict(self, entry: Entry) -> None:
        """Remove a reading from memory that is on disk; another lane will read it back."""
        del self._stored[entry.offset]
        self.bytes_held -= entry.size

    def _write(
        self,
        file: SpoolFile,
        entries: list[Entry],
        now: float,
        *,
        is_all: bool = False,
        saves_sessions: bool = False,
    ) -> bool:
        """Write readings, delete settled rows, save the ledger; with `is_all` the whole log, and so the sessions."""
        moved = Counter(entry.reading.stream for entry in entries)
        self._move_books(moved, 1)
        rows = [(entry.offset, entry.reading) for entry in entries]
        states = self._states(is_all=is_all) if is_all or saves_sessions else {}
        try:
            ledger = self._ledger.saved()
            sessions, notes = self._as_facts(states)
            used = file.write(rows, self._settled_rows, ledger, self._next_offset, (), sessions, notes)
        except DiskFullError as error:
            self._move_books(moved, -1)
            self._retry_at = now + DISK_FULL_SECONDS
            self._block(f"the disk is full or read-only ({error}): readings wait in memory, then at the broker")
            return False
        except DiskBrokenError as error:
            self._move_books(moved, -1)
            self._replace_file(file, str(error), now)
            return False
        for entry in entries:
            entry.is_stored = True
            self._stored[entry.offset] = entry
        self._note_saved(states)
        self._settled_rows.clear()
        self._notes.clear()
        self.disk_bytes = used
        self._next_delete = now + DELETE_SECONDS
        self.blocked_reason = ""
        return True

    def _states(self, *, is_all: bool) -> dict[str, dict[str, Any]]:
        """Make what is saved of the sessions."""
        self.version += 1
        return {
            key: session.to_save(of_session(self._log, session) if is_all else None)
            | {"version": self.version, "owner": self.owners.get(key, "")}
            for key, session in self._sessions.items()
        }

    def _as_facts(self, states: Mapping[str, dict[str, Any]]) -> tuple[dict[str, Any] | None, dict[str, str | None]]:
        """Write states as the file has them: each bucket is a note. Sessions that the contract has no more stay."""
        if not states:
            return None, self._notes
        former = self._file.sessions if self._file else {}
        facts, notes = {key: saved | {"unread": {}} for key, saved in former.items()}, dict(self._notes)
        for key, state in states.items():
            buckets = state.get("buckets", {})
            notes |= {f"{BUCKETS}{key}/{number}": b64encode(bucket).decode() for number, bucket in buckets.items()}
            facts[key] = {name: each for name, each in state.items() if name != "buckets"}
        return facts, notes

    def _note_saved(self, states: Mapping[str, Any]) -> None:
        for key, state in states.items():
            self._sessions[key].note_saved(state)

    def _move_books(self, moved: Counter[str], sign: int) -> None:
        for stream, count in moved.items():
            books = self._ledger.books[stream]
            books.in_flight -= sign * count
            books.spooled += sign * count

    def _may_grow(self, file: SpoolFile, now: float) -> bool:
        """Return True when the file may grow, with `drop_oldest` after rows were dropped."""
        if self.disk_bytes < self._policy.limit_bytes:
            return True
        try:
            if self._policy.on_full == "drop_oldest" and self._drop_oldest(file):
                return True
        except DiskBrokenError as error:
            self._replace_file(file, str(error), now)
            return False
        self._block("the spool has reached spool.limit: readings wait in memory, then at the broker")
        return False

    def _drop_oldest(self, file: SpoolFile) -> bool:
        backlog = {lane.name: lane for lane in self._lanes if lane.has_backlog}
        dropped: Counter[str] = Counter()
        settled = self._settled_rows
        offsets = []
        for offset, stream, received_at in file.oldest(DROP_ROWS):
            lane = backlog.get(stream)
            if lane and lane.has_on_disk(offset) and offset not in settled and offset not in self._stored:
                lane.disk_next, lane.disk_since = offset + 1, received_at
                dropped[stream] += 1
                offsets.append(offset)
        self._settled_rows |= dict.fromkeys(offsets, "dropped/spool_full")
        for stream, count in dropped.items():
            self._ledger.books[stream].spooled -= count
            self._ledger.books[stream].dropped["spool_full"] += count
        if offsets:
            extra = {"count": len(offsets), "first": offsets[0], "last": offsets[-1]}
            log.error("The spool is full: the oldest readings were dropped.", extra=extra)
        return bool(offsets)

    def _relieve_memory(self) -> None:
        self.acknowledge_safe()
        for lane in (*self._lanes, *self._dead_lanes):
            for entry in lane.leave_to_disk():
                self.evict(entry)

    def _replace_file(self, file: SpoolFile, why: str, now: float) -> None:
        """Set a failing file aside, and continue with a new one that has all readable rows."""
        self._failures.append(now)
        if len(self._failures) == BROKEN_TIMES and now - self._failures[0] < BROKEN_SECONDS:
            raise SpoolBrokenError(f"The disk under {file.path} fails: {why}.", "Replace it.")
        self._block(f"the disk failed ({why}); its file was set aside")
        try:
            file.replace_file(why, self._is_unsettled)
            rows: dict[bool, list[tuple[int, Reading]]] = {False: [], True: []}
            for offset, entry in self._stored.items():
                rows[entry.is_earlier].append((offset, entry.reading))
            for session in self._sessions.values():  # a message whose row is lost is wanted again
                session.forget()
            states = self._states(is_all=False)
            sessions, notes = self._as_facts(states)
            counted = self._ledger.saved()
            file.write(rows[False], self._settled_rows, counted, self._next_offset, rows[True], sessions, notes)
            self._note_saved(states)
            self._settled_rows.clear()
            self._notes.clear()
            self._book_losses(file.counts())
        except (OSError, sqlite3.DatabaseError, DiskFullError, DiskBrokenError) as error:
            fix = "Free space on its disk, or replace the disk."
            raise SpoolBrokenError(f"{file.path} cannot be replaced by a new file: {error}.", fix) from error

    def _is_unsettled(self, offset: int, stream: str) -> bool:
        """Return True when a row of a damaged file must be kept; all rows of an unknown stream are."""
        own = [lane for lane in (*self._lanes, *self._dead_lanes) if lane.stream == stream]
        return not own or offset in self._stored or any(lane.has_on_disk(offset) for lane in own)

    def _book_losses(self, rows: dict[str, int]) -> None:
        for stream, books in self._ledger.books.items():
            lost = books.spooled - rows.get(stream, 0)
            books.spooled -= lost
            books.dropped["lost_on_disk"] += max(0, lost)
            books.received += max(0, -lost)  # deleted rows that came back: they are sent again

    def _block(self, reason: str) -> None:
        self.blocked_reason = reason
        log.error("The spool cannot store readings on disk.", extra={"detail": reason})

    def close(self, now: float) -> None:
        """Write unsafe readings, delete settled rows, save the ledger, close the file."""
        if self._file:
            self.persist(now)
            self._file.close()


def _is_safe(entry: Entry) -> bool:
    return entry.is_settled or entry.is_stored


def of_session(entries: Collection[Entry], session: Session) -> list[Entry]:
    """Select the readings that a connection of this session delivered and that have a packet id."""
    return [each for each in entries if each.packet_id and each.connection and each.connection.session is session]


def _from_disk(offset: int, reading: Reading, is_earlier: bool) -> Entry:  # noqa: FBT001 - a row as the file gives it
    size = len(reading.payload) + len(reading.properties) + ENTRY_BYTES
    return Entry(reading, None, 0, offset, size, is_stored=True, is_earlier=is_earlier, is_released=True)
