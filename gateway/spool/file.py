"""The spool's file: SQLite, because its authors test power cuts better than we could.

Invariants:

    1. A row is there from the commit that wrote it until the commit that deletes it; a commit is an fsync (WAL,
       synchronous=FULL). `write` returns only after it.
    2. Rows, deletions and the ledger change in one transaction, so the books on disk fit the rows on disk.
    3. Deleting may lag behind Kafka's acknowledgement: after a crash a reading may be sent twice, never lost.
    4. After any failure but a full disk the file is set aside and what can be read of it is written anew. An fsync that
       failed is never tried again: the kernel forgets the pages it could not write, a second fsync would lie.
    5. Nothing is deleted that was not settled. A damaged file stays beside the new one as `.bad-1`, `.bad-2` ...

Table `readings`: a row a reading (`row.py`), by the log's offset. Table `facts`: format version, next offset, ledger.

A file of an older format is upgraded when it is opened, in one transaction, after a copy of it was made as
`PATH.format-N.bak`; a new format is a function in `UPGRADES`.

One process a file: an advisory lock on `PATH.lock`. In it stand the owner's process id, 0 after a clean end, and the
next offset at the owner's beginning or end. So the next process can tell when the file was exchanged for an older copy,
or its -wal file was taken away: neither shows in the file itself. It cannot tell when the lock file was copied as well.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import starmap
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from gateway.core.entry import ENTRY_BYTES
from gateway.errors import ConfigurationError, DiskError, Finding, SpoolTakenError
from gateway.spool import salvage
from gateway.spool.row import COLUMNS, CRC, checksum, format_1_checksum, to_reading, to_row
from gateway.spool.salvage.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from gateway.core.reading import Reading

log = logging.getLogger(__name__)

FORMAT = 3
# It may take more later.
TAKES_NOTHING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_FIXES = {  # what keeps a sound file from being opened, and what to do
    sqlite3.SQLITE_CANTOPEN: "Give the file and its folder to the gateway's user.",
    sqlite3.SQLITE_READONLY: "Give the file and its folder to the gateway's user, on a disk that may be written.",
    sqlite3.SQLITE_PERM: "Give the file and its folder to the gateway's user.",
    sqlite3.SQLITE_FULL: "Make room on its disk.",
    sqlite3.SQLITE_BUSY: "Close the other program that works on the file.",
}

_TABLES = """
CREATE TABLE IF NOT EXISTS readings (
  offset INTEGER PRIMARY KEY, stream TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  received_at INTEGER NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
  crc INTEGER NOT NULL, properties BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE INDEX IF NOT EXISTS by_stream ON readings (stream, offset);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_NAMES = ", ".join(COLUMNS)
_INTO = f"INTO readings ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"
_SELECT = f"SELECT {_NAMES} FROM readings"  # noqa: S608 - our own constant


class DiskFullError(DiskError):
    """The disk has no room, or may only be read; what was to be written is not there, and may be written later."""


class DiskBrokenError(DiskError):
    """The file failed in another way; it must be set aside (`SpoolFile.renew`)."""


class Backlog(NamedTuple):
    """What one stream has on disk.

    Args:
        first: offset of its oldest row.
        last: offset of its newest row.
        rows: their number.
        since: when the oldest came, milliseconds since 1970.
    """

    first: int
    last: int
    rows: int
    since: int = 0


class SpoolFile:
    """The file, opened and locked. Only the bridge's loop calls it.

    Args:
        path: of the database.

    Attributes:
        next_offset: of the log, as the last write left it.
        ledger: the books as the last write left them; empty in a new file.
        backlogs: what every stream had on disk when the file was opened or renewed.
        used_bytes: size of the pages that held something then.

    Raises:
        SpoolTakenError: another process holds it.
        ConfigurationError: its folder cannot be written, or a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, was_left_open, mark = _take_lock(path)
        self.next_offset = 0
        self.ledger: dict[str, Any] = {}
        self.backlogs: dict[str, Backlog] = {}
        self.used_bytes = 0
        self._database: sqlite3.Connection | None = None
        try:
            self._open(is_wal_missing=was_left_open and not _beside(path, "-wal").exists())
        except BaseException:
            self._release()
            raise
        if self.next_offset < mark:
            log.error("an older copy of the spool was put in its place: readings since then are missing or sent again",
                      extra={"first": self.next_offset, "last": mark - 1})  # fmt: skip
            self.next_offset = mark
        _write_owner(self._lock, os.getpid(), self.next_offset)

    # --- reading and writing -------------------------------------------------------------------------------------

    def write(
        self, entries: Iterable[tuple[int, Reading]], deleted: Iterable[int], ledger: dict[str, Any], next_offset: int
    ) -> int:
        """Write rows, delete rows and keep the books, in one transaction; durable when this returns.

        Args:
            entries: offset and reading of new rows.
            deleted: offsets of rows that are settled.
            ledger: the books as they are after this write.
            next_offset: of the log, never to be given twice.

        Returns:
            Size of the pages that hold something, bytes.

        Raises:
            DiskFullError: nothing was written, and it may be tried again.
            DiskBrokenError: nothing may be taken as written.
        """
        facts = [("ledger", json.dumps(ledger)), ("next_offset", str(next_offset))]
        with self._guarded(is_writing=True) as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(f"INSERT OR REPLACE {_INTO}", starmap(to_row, entries))
            database.executemany("DELETE FROM readings WHERE offset = ?", ((offset,) for offset in deleted))
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
            self.next_offset = next_offset
            return _used_bytes(database)

    def read(self, stream: str, first: int, until: int, most_bytes: int) -> tuple[list[tuple[int, Reading]], int]:
        """Read rows of a stream, oldest first.

        Args:
            stream: its name.
            first: smallest offset.
            until: offset to stop before.
            most_bytes: of payload and properties, after which reading stops.

        Returns:
            Offset and reading; and where to go on, `until` when there is no more.

        Raises:
            DiskBrokenError: the file cannot be read, or a row in it is damaged.
        """
        query = f"{_SELECT} WHERE stream = ? AND offset >= ? AND offset < ? ORDER BY offset"
        rows: list[tuple[int, Reading]] = []
        with self._guarded() as database:
            for row in database.execute(query, (stream, first, until)):
                if not (reading := to_reading(row)):
                    raise DiskBrokenError(f"the reading at offset {row[0]} was damaged")
                rows.append((row[0], reading))
                most_bytes -= len(reading.payload) + len(reading.properties) + ENTRY_BYTES
                if most_bytes <= 0:
                    return rows, row[0] + 1
        return rows, until

    def oldest(self, most: int) -> list[tuple[int, str, int]]:
        """List offset, stream and time of the oldest rows."""
        query = "SELECT offset, stream, received_at FROM readings ORDER BY offset LIMIT ?"
        with self._guarded() as database:
            return list(database.execute(query, (most,)))

    def counts(self) -> dict[str, int]:
        """Count the rows of every stream."""
        with self._guarded() as database:
            return dict(database.execute("SELECT stream, count(*) FROM readings GROUP BY stream"))

    def close(self) -> None:
        """Close the file and give the lock back."""
        _write_owner(self._lock, 0, self.next_offset)  # before SQLite takes the -wal file away
        self._release()

    def _release(self) -> None:
        if self._database:
            self._database.close()
            self._database = None
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- opening -------------------------------------------------------------------------------------------------

    def _open(self, *, is_wal_missing: bool) -> None:
        try:
            if wrong := salvage.what_is_wrong(self.path):
                self._set_aside_and_salvage(wrong)
                return
            if is_wal_missing and self.path.exists():
                log.error("the spool's -wal file is missing: the last readings written may be lost",
                          extra={"detail": self.path.name})  # fmt: skip
            self._connect()
            self._load()
        except DiskBrokenError as error:
            self._close_untouched()
            self._set_aside_and_salvage(str(error))
        except sqlite3.DatabaseError as error:
            if fix := _FIXES.get(_code(error)):
                message = f"The spool cannot be opened: {error}."
                raise ConfigurationError([Finding(str(self.path), 0, "spool.path", message, fix)]) from None
            self._close_untouched()
            self._set_aside_and_salvage(str(error))

    def _close_untouched(self) -> None:
        """Close a file that was found damaged before anything was written to it."""
        with salvage.kept_as_it_is(self.path):
            if self._database:
                self._database.close()
                self._database = None

    def _connect(self) -> None:
        self._database = sqlite3.connect(self.path, isolation_level=None)
        os.chmod(self.path, 0o600)  # noqa: PTH101 - the same call on a path that SQLite has just made
        self._database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)
        self._check_format(self._database)

    def _load(self) -> None:
        """Read what the log must know; the index is walked, so damage to it shows now and not in the middle of work."""
        assert self._database, "just connected"
        query = "SELECT stream, min(offset), max(offset), count(*) FROM readings GROUP BY stream"
        self.backlogs = {stream: Backlog(*figures) for stream, *figures in self._database.execute(query)}
        self.used_bytes = _used_bytes(self._database)
        for stream, backlog in self.backlogs.items():
            found, _ = self.read(stream, backlog.first, backlog.first + 1, 1)  # a damaged index makes streams up
            self.backlogs[stream] = backlog._replace(since=found[0][1].received_at if found else 0)
        facts = dict(self._database.execute("SELECT name, value FROM facts"))
        newest = max((backlog.last for backlog in self.backlogs.values()), default=-1)
        try:
            self.next_offset = max(int(facts.get("next_offset", "0")), newest + 1)
            self.ledger = dict(json.loads(facts.get("ledger", "{}")))
        except ValueError as error:
            self.next_offset, self.ledger = newest + 1, {}
            log.warning("the spool's books were damaged and begin anew", extra={"detail": str(error)})

    def _check_format(self, database: sqlite3.Connection) -> None:
        database.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (str(FORMAT),))
        (told,) = database.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        if not told.isdecimal():
            raise sqlite3.DatabaseError(f"the format is {told!r}")
        if int(told) > FORMAT:
            message = f"A newer version of the gateway wrote this spool (format {told}, this one knows {FORMAT})."
            raise ConfigurationError([Finding(str(self.path), 0, "", message, "Install that version again.")])
        if int(told) < FORMAT:
            self._upgrade(database, int(told))

    def _upgrade(self, database: sqlite3.Connection, told: int) -> None:
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):  # nothing is written into a damaged file
            raise sqlite3.DatabaseError("its pages are damaged")
        backup = _beside(self.path, f".format-{told}.bak")
        os.close(os.open(backup, os.O_WRONLY | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(backup)) as copy:
            database.backup(copy)  # one transaction: a copy that was cut off is rolled back and made again
        with database:
            database.execute("BEGIN IMMEDIATE")
            for number in range(told, FORMAT):
                UPGRADES[number](database)
            database.execute("UPDATE facts SET value = ? WHERE name = 'format'", (str(FORMAT),))
        log.info("the spool was upgraded", extra={"detail": f"format {told} to {FORMAT}", "kept_as": backup.name})

    @contextmanager
    def _guarded(self, *, is_writing: bool = False) -> Iterator[sqlite3.Connection]:
        """Turn SQLite's errors into ours."""
        assert self._database, "the file is open"
        try:
            yield self._database
        except sqlite3.DatabaseError as error:
            if is_writing and (_code(error) in TAKES_NOTHING or self._is_read_only()):
                raise DiskFullError(str(error)) from error
            raise DiskBrokenError(str(error)) from error

    def _is_read_only(self) -> bool:
        """True when the kernel has made the file system read-only, as it does after errors of the card."""
        return bool(os.statvfs(self.path.parent).f_flag & os.ST_RDONLY)

    # --- when it is damaged --------------------------------------------------------------------------------------

    def replace_file(self, why: str, is_wanted: Callable[[int, str], bool] = lambda _offset, _stream: True) -> None:
        """Set the file aside after a failure and write what can be read of it anew.

        Args:
            why: for the alarm.
            is_wanted: tells by offset and stream what is not settled; a damaged file may give back what is.

        Raises:
            OSError, sqlite3.DatabaseError: the disk does not take a new file either.
        """
        self._set_aside_and_salvage(why, is_wanted)

    def _set_aside_and_salvage(
        self, why: str, is_wanted: Callable[[int, str], bool] = lambda _offset, _stream: True
    ) -> None:
        aside = self._set_aside()
        self._connect()
        assert self._database, "just connected"
        facts = [fact for fact in salvage.facts(aside) if fact[0] != "format"]
        found = (row for row in salvage.rows(aside) if is_wanted(row[0], row[1]))
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(f"INSERT OR IGNORE {_INTO}", found)
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
        self._load()
        saved = sum(backlog.rows for backlog in self.backlogs.values())
        log.error("the spool was damaged", extra={"detail": why, "saved": saved, "kept_as": aside.name})

    def _set_aside(self) -> Path:
        if self._database:  # closed first: it knows which commit failed, and leaves it out
            self._database.close()
            self._database = None
        names = (_beside(self.path, f".bad-{number}") for number in range(1, 1_000_000))
        suffixes = ("", "-wal", "-shm")  # a -wal may be all there is
        aside = next(name for name in names if not any(_beside(name, suffix).exists() for suffix in suffixes))
        for suffix in suffixes:
            if (file := _beside(self.path, suffix)).exists():
                file.rename(_beside(aside, suffix))
        return aside


def _upgrade_1(database: sqlite3.Connection) -> None:
    """The checksum covers the whole row, not topic and payload only; a row that was damaged stays so."""
    database.create_function("checksum", 8, checksum, deterministic=True)
    database.create_function("format_1_checksum", 2, format_1_checksum, deterministic=True)
    values = ", ".join(COLUMNS[:CRC])
    database.execute(f"UPDATE readings SET crc = checksum({values}) WHERE crc = format_1_checksum(topic, payload)")  # noqa: S608 - our own constants


def _upgrade_2(database: sqlite3.Connection) -> None:
    """Readings may have properties; those that are there have none, and their checksum is right as it is."""
    database.execute("ALTER TABLE readings ADD COLUMN properties BLOB NOT NULL DEFAULT x''")


# From each format to the next.
UPGRADES: dict[int, Callable[[sqlite3.Connection], None]] = {1: _upgrade_1, 2: _upgrade_2}


def _code(error: sqlite3.Error) -> int:
    """Give SQLite's primary result code; 0 when Python found the fault, in a text that is not UTF-8."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _used_bytes(database: sqlite3.Connection) -> int:
    size, pages, free = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _take_lock(path: Path) -> tuple[int, bool, int]:
    """Hold the file's lock until the process ends, however it ends.

    Returns:
        The lock's descriptor; True when the last owner did not end cleanly; the next offset that it noted.
    """
    try:
        lock = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        user = os.geteuid()
        message = f"The spool's folder {path.parent} cannot be written by user {user}: {error.strerror}."
        fix = f"Make it and give it away: install -d -m 700 -o {user} {path.parent}"
        raise ConfigurationError([Finding(str(path), 0, "spool.path", message, fix)]) from None
    holder, mark = _read_owner(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            raise
        message = f"Process {holder or 'unknown'} holds the spool {path}."
        raise SpoolTakenError(message, "Stop it, or give this gateway a spool.path of its own.") from None
    return lock, holder > 0, mark


def _read_owner(lock: int) -> tuple[int, int]:
    fields = os.pread(lock, 64, 0).split()
    return (int(fields[0]), int(fields[1])) if len(fields) == 2 and b"".join(fields).isdigit() else (0, 0)


def _write_owner(lock: int, process: int, next_offset: int) -> None:
    """Note who holds the lock and how far the log is; of one length, so that a full disk takes it too."""
    with suppress(OSError):  # it is for people and alarms only
        os.pwrite(lock, b"%10d %20d\n" % (process, next_offset), 0)
        os.fsync(lock)
