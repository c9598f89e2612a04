"""The spool's file: an SQLite database, because its authors test power cuts better than we could.

Invariants:

    1. A row exists from the commit that wrote it until the commit that deletes it. A commit includes an fsync (WAL,
       synchronous=FULL), and `write` returns only after it.
    2. Rows, deletions and the ledger change in one transaction, so the ledger on disk matches the rows on disk.
    3. Deletion may lag behind Kafka's acknowledgement: after a crash a reading may be sent twice, but is never lost.
    4. After any failure except a full disk, the file is set aside and its readable rows are written to a new one. A
       failed fsync is never repeated: the kernel forgets the pages it could not write, so a second fsync would
       succeed without them.
    5. Only settled rows are deleted. A damaged file is kept beside the new one as `.bad-1`, `.bad-2` ...

Table `readings`: one row per reading (`row.py`), by offset. Table `facts`: format version, next offset, ledger, the
clock of the last boots of the machine, what is known of the sessions at the brokers (`core/session.py`), and notes,
which have a slash in their names: of the bridge, and the buckets of a session of `delivery: exactly_once`.

A file of an older format is upgraded when it is opened, in one transaction, after a copy was written to
`PATH.format-N.bak`. A new format needs a function in `UPGRADES`.

One process per file: an advisory lock on `PATH.lock`. The lock file contains the owner's process id, 0 after a clean
end, and the next offset at the start or end of the owner. From these the next process detects that the file was
replaced by an older copy, or that its -wal file is missing: neither shows in the database. It cannot detect this when
the lock file was replaced as well.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shlex
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import chain
from secrets import token_hex
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from gateway.core.entry import ENTRY_BYTES
from gateway.core.gateway_clock import GatewayClock
from gateway.errors import ConfigurationError, DiskError, Finding, SpoolTakenError
from gateway.spool import salvage
from gateway.spool.row import COLUMNS, CRC, checksum, format_1_checksum, to_reading, to_row
from gateway.spool.salvage.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from gateway.core.reading import Reading

log = logging.getLogger(__name__)

FORMAT = 6
NO_NOTES: Mapping[str, str | None] = MappingProxyType({})
# A write that failed with one of these may be repeated.
TAKES_NOTHING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_GIVE = "Make the gateway's user the owner of the file and its folder"
_FIXES = {  # the errors of an intact file that cannot be opened
    sqlite3.SQLITE_CANTOPEN: f"{_GIVE}.",
    sqlite3.SQLITE_READONLY: f"{_GIVE}, on a writable disk.",
    sqlite3.SQLITE_PERM: f"{_GIVE}.",
    sqlite3.SQLITE_FULL: "Free space on its disk.",
    sqlite3.SQLITE_BUSY: "Stop the other program that uses the file.",
}

_TABLES = """
CREATE TABLE IF NOT EXISTS readings (
  offset INTEGER PRIMARY KEY, stream TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  received_at INTEGER NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
  crc INTEGER NOT NULL, properties BLOB NOT NULL DEFAULT x'', boot BLOB NOT NULL DEFAULT x'',
  uptime INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS by_stream ON readings (stream, offset);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_NAMES = ", ".join(COLUMNS)
_INTO = f"INTO readings ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"
_SELECT = f"SELECT {_NAMES} FROM readings"  # noqa: S608 - our own constant


class DiskFullError(DiskError):
    """The disk is full or read-only. Nothing was written, and the write may be repeated later."""


class DiskBrokenError(DiskError):
    """Any other failure; the file must be set aside (`SpoolFile.replace_file`)."""


Stored = tuple[int, "Reading", bool]  # offset, reading, and whether it is of an earlier boot


class Backlog(NamedTuple):
    """The rows of one stream."""

    first: int  # offset of the oldest
    last: int  # offset of the newest
    rows: int
    since: int = 0  # arrival of the oldest, milliseconds since 1970


def _upgrade_1(database: sqlite3.Connection) -> None:
    """Extend the checksum from topic and payload to the whole row; a damaged row keeps its wrong one."""
    database.create_function("checksum", 8, checksum, deterministic=True)
    database.create_function("format_1_checksum", 2, format_1_checksum, deterministic=True)
    values = ", ".join(COLUMNS[:CRC])
    database.execute(f"UPDATE readings SET crc = checksum({values}) WHERE crc = format_1_checksum(topic, payload)")  # noqa: S608 - our own constants


def _upgrade_2(database: sqlite3.Connection) -> None:
    """Add the properties; the checksum of a row without any is the same as before."""
    database.execute("ALTER TABLE readings ADD COLUMN properties BLOB NOT NULL DEFAULT x''")


def _upgrade_3(database: sqlite3.Connection) -> None:
    """Add boot and uptime; the checksum of a row without them is the same as before."""
    database.execute("ALTER TABLE readings ADD COLUMN boot BLOB NOT NULL DEFAULT x''")
    database.execute("ALTER TABLE readings ADD COLUMN uptime INTEGER NOT NULL DEFAULT 0")


def _upgrade_4(_database: sqlite3.Connection) -> None:
    """Only the number changes: an older version would keep the sessions, and they would be wrong after it ran."""


def _upgrade_5(_database: sqlite3.Connection) -> None:
    """Only the number changes: an older version would not find the packet ids, and would leave old ones in the file."""


# From each format to the next.
UPGRADES: Mapping[int, Callable[[sqlite3.Connection], None]] = {
    1: _upgrade_1,
    2: _upgrade_2,
    3: _upgrade_3,
    4: _upgrade_4,
    5: _upgrade_5,
}


class SpoolFile:
    """The file, opened and locked. Only the bridge's loop calls it. `clock` dates the readings that are read back.

    SpoolTakenError if another process holds it; ConfigurationError if its folder is not writable or its format newer.
    """

    def __init__(
        self,
        path: Path,
        upgrades: Mapping[int, Callable[[sqlite3.Connection], None]] = UPGRADES,
        clock: GatewayClock | None = None,
    ) -> None:
        self.path = path
        self.next_offset = 0  # of the log, as of the last write
        self.ledger: dict[str, Any] = {}  # as of the last write; empty in a new file
        self.sessions: dict[str, Any] = {}  # likewise
        self.id = ""  # random; a new file has another
        self.backlogs: dict[str, Backlog] = {}  # by stream, when the file was opened or replaced
        self.used_bytes = 0  # size of the pages in use then
        self.notes: dict[str, str] = {}  # likewise
        self._upgrades = upgrades
        self._clock = clock or GatewayClock()
        self._database: sqlite3.Connection | None = None
        self._lock, was_left_open, noted_offset = _take_lock(path)
        try:
            self._open(is_wal_missing=was_left_open and not _beside(path, "-wal").exists())
        except BaseException:
            self._release()
            raise
        if self.next_offset < noted_offset:
            log.error("The spool file was replaced by an older copy: later readings are missing, or are sent again.",
                      extra={"first": self.next_offset, "last": noted_offset - 1})  # fmt: skip
            self.next_offset, self.sessions = noted_offset, {}
        _write_owner(self._lock, os.getpid(), self.next_offset)

    # --- reading and writing -------------------------------------------------------------------------------------

    def write(  # noqa: PLR0913, PLR0917 - all that one commit has
        self,
        entries: Iterable[tuple[int, Reading]],
        deleted: Iterable[int],
        ledger: dict[str, Any],
        next_offset: int,
        earlier: Iterable[tuple[int, Reading]] = (),
        sessions: Mapping[str, Any] | None = None,
        notes: Mapping[str, str | None] = NO_NOTES,
    ) -> int:
        """Write rows, delete rows by offset, save ledger and sessions in one transaction; durable when this returns.

        `earlier` are further readings, of earlier boots; a note of None is deleted. Returns the size of the pages in
        use, in bytes. After DiskFullError nothing was written and the call may be repeated; after DiskBrokenError what
        was written is unknown.
        """
        stamp, clock = self._clock.stamp, json.dumps(self._clock.saved())
        facts = [("ledger", json.dumps(ledger)), ("next_offset", str(next_offset)), ("clock", clock)]
        facts += [("sessions", json.dumps(sessions))] if sessions is not None else []
        facts += [(name, text) for name, text in notes.items() if text is not None]
        gone = ((name,) for name, text in notes.items() if text is None)
        rows = chain(
            (to_row(offset, reading, *stamp(reading)) for offset, reading in entries),
            (to_row(offset, reading, *stamp(reading, is_earlier=True)) for offset, reading in earlier),
        )
        with self._guarded(is_writing=True) as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(f"INSERT OR REPLACE {_INTO}", rows)
            database.executemany("DELETE FROM readings WHERE offset = ?", ((offset,) for offset in deleted))
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
            database.executemany("DELETE FROM facts WHERE name = ?", gone)
            self.next_offset = next_offset
            return _used_bytes(database)

    def read(self, stream: str, first: int, until: int, most_bytes: int) -> tuple[list[Stored], int]:
        """Read the rows of a stream with offsets from `first` to before `until`, oldest first.

        Returns readings, until they take `most_bytes` of memory, and the offset to continue at.
        DiskBrokenError if the file cannot be read, or a row is damaged.
        """
        query = f"{_SELECT} WHERE stream = ? AND offset >= ? AND offset < ? ORDER BY offset"
        rows: list[Stored] = []
        with self._guarded() as database:
            for row in database.execute(query, (stream, first, until)):
                if not (reading := to_reading(row)):
                    raise DiskBrokenError(f"the reading at offset {row[0]} was damaged")
                rows.append((row[0], *self._clock.dated(reading, *row[-2:])))
                most_bytes -= len(reading.payload) + len(reading.properties) + ENTRY_BYTES
                if most_bytes <= 0:
                    return rows, row[0] + 1
        return rows, until

    def streams(self, first: int, last: int) -> list[tuple[int, str]]:
        """List offset and stream of the rows in a range of offsets, both ends included."""
        with self._guarded() as database:
            return list(
                database.execute("SELECT offset, stream FROM readings WHERE offset BETWEEN ? AND ?", (first, last))
            )

    def reading_at(self, offset: int) -> Reading | None:
        """Read one reading; None when its row is gone or damaged."""
        with self._guarded() as database:
            row = database.execute(f"{_SELECT} WHERE offset = ?", (offset,)).fetchone()
        return to_reading(row) if row else None

    def oldest(self, most: int) -> list[tuple[int, str, int]]:
        """List offset, stream and arrival of the oldest rows."""
        query = "SELECT offset, stream, received_at FROM readings ORDER BY offset LIMIT ?"
        with self._guarded() as database:
            return list(database.execute(query, (most,)))

    def counts(self) -> dict[str, int]:
        """Count the rows of every stream."""
        with self._guarded() as database:
            return dict(database.execute("SELECT stream, count(*) FROM readings GROUP BY stream"))

    @contextmanager
    def _guarded(self, *, is_writing: bool = False) -> Iterator[sqlite3.Connection]:
        assert self._database, "the file is open"
        try:
            yield self._database
        except sqlite3.DatabaseError as error:
            # The kernel makes a file system read-only after errors of an SD card.
            is_read_only = os.statvfs(self.path.parent).f_flag & os.ST_RDONLY
            if is_writing and (is_read_only or _code(error) in TAKES_NOTHING):
                raise DiskFullError(str(error)) from error
            raise DiskBrokenError(str(error)) from error

    def close(self) -> None:
        """Close the file and release the lock."""
        _write_owner(self._lock, 0, self.next_offset)  # before SQLite deletes the -wal file
        self._release()

    def _release(self) -> None:
        self._disconnect()
        os.close(self._lock)

    def _disconnect(self) -> None:
        if self._database:
            self._database.close()
            self._database = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- opening -------------------------------------------------------------------------------------------------

    def _open(self, *, is_wal_missing: bool) -> None:
        try:
            # Before SQLite opens the file: it would silently drop the rows behind a damaged frame of the -wal file.
            if damage := salvage.what_is_wrong(self.path):
                self.replace_file(damage)
                return
            if is_wal_missing and self.path.exists() and not _is_unused(self.path):
                log.error(
                    "The spool's -wal file is missing: it was deleted, or only the main file was copied. "
                    "The last readings written may be lost. Copy both files together.",
                    extra={"detail": self.path.name},
                )
            self._connect()
            self._load()
        except (DiskBrokenError, sqlite3.DatabaseError) as error:
            # The file is intact, and the operator can make it accessible.
            if fix := _FIXES.get(_code(error)):
                message = f"The spool cannot be opened: {error}."
                raise ConfigurationError([Finding(str(self.path), 0, "spool.path", message, fix)]) from None
            # It is damaged. SQLite must not write the -wal file into it before the rows are salvaged from both.
            with salvage.kept_as_it_is(self.path):
                self._disconnect()
            self.replace_file(str(error))

    def _connect(self) -> None:
        self._database = sqlite3.connect(self.path, isolation_level=None)
        os.chmod(self.path, 0o600)  # noqa: PTH101 - the same call on a path that SQLite has just made
        self._database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)
        self._check_format(self._database)

    def _load(self) -> None:
        """Read backlogs, next offset and ledger. This walks the whole index, so that damage to it shows now."""
        assert self._database, "just connected"
        facts = dict(self._database.execute("SELECT name, value FROM facts"))
        with suppress(ValueError, TypeError, AttributeError):  # without it readings keep the time they have
            self._clock.restore(json.loads(facts.get("clock", "{}")))
        query = "SELECT stream, min(offset), max(offset), count(*) FROM readings GROUP BY stream"
        self.backlogs = {stream: Backlog(*figures) for stream, *figures in self._database.execute(query)}
        self.used_bytes = _used_bytes(self._database)
        for stream, backlog in self.backlogs.items():
            rows, _ = self.read(stream, backlog.first, backlog.first + 1, 1)  # none: a damaged index invents streams
            self.backlogs[stream] = backlog._replace(since=rows[0][1].received_at if rows else 0)
        self._database.execute("INSERT OR IGNORE INTO facts VALUES ('id', ?)", (token_hex(8),))
        (self.id,) = self._database.execute("SELECT value FROM facts WHERE name = 'id'").fetchone()
        with suppress(ValueError):  # damaged: messages may be stored twice
            self.sessions = dict(json.loads(facts.get("sessions", "{}")))
        self.notes = {name: text for name, text in facts.items() if "/" in name}
        newest = max((backlog.last for backlog in self.backlogs.values()), default=-1)
        try:
            self.next_offset = max(int(facts.get("next_offset", "0")), newest + 1)
            self.ledger = dict(json.loads(facts.get("ledger", "{}")))
        except ValueError as error:
            self.next_offset, self.ledger = newest + 1, {}
            log.warning(
                "The ledger in the spool file was damaged and starts again at zero.", extra={"detail": str(error)}
            )

    def _check_format(self, database: sqlite3.Connection) -> None:
        database.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (str(FORMAT),))
        (version,) = database.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        if not version.isdecimal():
            raise sqlite3.DatabaseError(f"the format is {version!r}")
        if int(version) > FORMAT:
            message = f"A newer version of the gateway wrote this spool (format {version}, this one knows {FORMAT})."
            raise ConfigurationError([Finding(str(self.path), 0, "", message, "Install that version again.")])
        if int(version) < FORMAT:
            self._upgrade(database, int(version))

    def _upgrade(self, database: sqlite3.Connection, version: int) -> None:
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):  # nothing is written to a damaged file
            raise sqlite3.DatabaseError("its pages are damaged")
        backup = _beside(self.path, f".format-{version}.bak")
        os.close(os.open(backup, os.O_WRONLY | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(backup)) as copy:
            database.backup(copy)  # one transaction: an interrupted copy is rolled back and repeated
        with database:
            database.execute("BEGIN IMMEDIATE")
            for number in range(version, FORMAT):
                self._upgrades[number](database)
            database.execute("UPDATE facts SET value = ? WHERE name = 'format'", (str(FORMAT),))
        log.info(
            "The spool file was upgraded to the format of this version.",
            extra={"detail": f"format {version} to {FORMAT}", "kept_as": backup.name},
        )

    # --- damage --------------------------------------------------------------------------------------------------

    def replace_file(self, why: str, is_wanted: Callable[[int, str], bool] = lambda _offset, _stream: True) -> None:
        """Set the file aside and write the rows that can be read from it to a new one.

        A damaged file may contain deleted rows; `is_wanted` says by offset and stream whether a row is unsettled.
        OSError or sqlite3.DatabaseError if the disk does not take a new file.
        """
        aside = self._set_aside()
        self._connect()
        assert self._database, "just connected"
        facts = [fact for fact in salvage.facts(aside) if fact[0] != "format"]
        rows = (row for row in salvage.rows(aside) if is_wanted(row[0], row[1]))
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(f"INSERT OR IGNORE {_INTO}", rows)
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
        self._load()
        saved = sum(backlog.rows for backlog in self.backlogs.values())
        log.error(
            "The spool file was damaged. A new one has all readings that could be read.",
            extra={"detail": why, "saved": saved, "kept_as": aside.name},
        )

    def _set_aside(self) -> Path:
        self._disconnect()  # before it is renamed: SQLite knows which commit failed, and leaves it out
        names = (_beside(self.path, f".bad-{number}") for number in range(1, 1_000_000))
        suffixes = ("", "-wal", "-shm")  # the -wal file may exist alone
        aside = next(name for name in names if not any(_beside(name, suffix).exists() for suffix in suffixes))
        for suffix in suffixes:
            if (file := _beside(self.path, suffix)).exists():
                file.rename(_beside(aside, suffix))
        return aside


def _code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 when Python raised the error, for text that is not UTF-8."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _used_bytes(database: sqlite3.Connection) -> int:
    size, pages, free = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _is_unused(path: Path) -> bool:
    """Return True when a file was made and closed in order before anything was written: no reading can be lost."""
    try:
        with closing(sqlite3.connect(path)) as database:
            return not database.execute("SELECT count(*) FROM facts WHERE name NOT IN ('format', 'id')").fetchone()[0]
    except sqlite3.DatabaseError:
        return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _take_lock(path: Path) -> tuple[int, bool, int]:
    """Lock the file until the process ends; also return whether the last owner ended uncleanly, and its next offset."""
    try:
        lock = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        user = os.geteuid()
        message = f"The spool's folder {path.parent} cannot be written by user {user}: {error.strerror}."
        fix = f"Create it for that user: install -d -m 700 -o {user} {shlex.quote(str(path.parent))}"
        raise ConfigurationError([Finding(str(path), 0, "spool.path", message, fix)]) from None
    owner, noted_offset = _read_owner(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            raise
        message = f"Process {owner or 'unknown'} holds the spool {path}."
        raise SpoolTakenError(message, "Stop it, or set another spool.path for this gateway.") from None
    return lock, owner > 0, noted_offset


def _read_owner(lock: int) -> tuple[int, int]:
    fields = os.pread(lock, 64, 0).split()
    return (int(fields[0]), int(fields[1])) if len(fields) == 2 and b"".join(fields).isdigit() else (0, 0)


def _write_owner(lock: int, process: int, next_offset: int) -> None:
    """Note the owner and the next offset, always in as many bytes, so that a full disk takes it as well."""
    with suppress(OSError):  # only messages and alarms depend on it
        os.pwrite(lock, b"%10d %20d\n" % (process, next_offset), 0)
        os.fsync(lock)
