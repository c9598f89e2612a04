"""The spool's file: SQLite, because its authors test power cuts better than we could.

Invariants:

    1. A row is there from the commit that wrote it until the commit that deletes it; a commit is an fsync (WAL,
       synchronous=FULL). `write` returns only after it.
    2. Rows, deletions and the ledger change in one transaction, so the books on disk fit the rows on disk.
    3. Deleting may lag behind Kafka's acknowledgement: after a crash a reading may be sent twice, never lost.
    4. After any failure but a full disk the file is set aside and what can be read of it is written anew. An fsync that
       failed is never tried again: the kernel forgets the pages it could not write, a second fsync would lie.
    5. Nothing is deleted that was not settled. A damaged file stays beside the new one as `.bad-1`, `.bad-2` ...

Table `readings`: offset (the log's, the primary key), stream, topic, payload, received_at, flags (QoS, 4 retain,
8 DUP), size and sha256 of a cut payload, crc (CRC-32 of topic and payload, because SQLite does not notice a flipped bit
inside a value). Table `facts`: format version, next offset, ledger.

One process a file: an advisory lock on `PATH.lock`, which holds the owner's process id for people.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import sqlite3
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from zlib import crc32

from gateway.core.reading import Reading
from gateway.errors import ConfigurationError, Finding, SpoolTakenError
from gateway.lane import ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

FORMAT = 1
TAKES_NOTHING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})  # it may take more later
RETAIN, DUP = 4, 8
_NOT_OURS = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})

_TABLES = """
CREATE TABLE IF NOT EXISTS readings (
  offset INTEGER PRIMARY KEY, stream TEXT NOT NULL, topic BLOB NOT NULL, payload BLOB NOT NULL,
  received_at INTEGER NOT NULL, flags INTEGER NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
  crc INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_stream ON readings (stream, offset);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_COLUMNS = "offset, stream, topic, payload, received_at, flags, size, sha256, crc"
_INSERT = f"INSERT OR REPLACE INTO readings ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"  # noqa: S608 - our own constant
_SELECT = f"SELECT {_COLUMNS} FROM readings"  # noqa: S608 - our own constant


class DiskFullError(Exception):
    """The disk has no room, or may only be read; what was to be written is not there, and may be written later."""


class DiskBrokenError(Exception):
    """The file failed in another way; it must be set aside (`SpoolFile.renew`)."""


class Backlog(NamedTuple):
    """What one stream has on disk.

    Args:
        first: offset of its oldest row.
        last: offset of its newest row.
        rows: their number.
    """

    first: int
    last: int
    rows: int


class SpoolFile:
    """The file, opened and locked. Only the bridge's loop calls it.

    Args:
        path: of the database.

    Attributes:
        next_offset: of the log, as it was when the file was opened.
        ledger: the books as the last write left them; empty in a new file.
        backlogs: what every stream had on disk when the file was opened or renewed.
        used_bytes: size of the pages that held something then.

    Raises:
        SpoolTakenError: another process holds it.
        ConfigurationError: its folder cannot be written, or a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _take_lock(path)
        self.next_offset = 0
        self.ledger: dict[str, Any] = {}
        self.backlogs: dict[str, Backlog] = {}
        self.used_bytes = 0
        self._database: sqlite3.Connection | None = None
        try:
            self._connect()
            self._check_format()
            self._load()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _NOT_OURS:
                message, fix = (
                    f"The spool cannot be opened: {error}.",
                    "Give the file and its folder to the gateway's user.",
                )
                raise ConfigurationError([Finding(str(path), 0, "spool.path", message, fix)]) from None
            self._set_aside_and_salvage(str(error))

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
        with self._guarded() as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_INSERT, map(_row, entries))
            database.executemany("DELETE FROM readings WHERE offset = ?", ((offset,) for offset in deleted))
            database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
            return _used_bytes(database)

    def read(
        self, stream: str, first: int, until: int, most_bytes: int
    ) -> tuple[list[tuple[int, Reading | None]], int]:
        """Read rows of a stream, oldest first.

        Args:
            stream: its name.
            first: smallest offset.
            until: offset to stop before.
            most_bytes: of payload, after which reading stops.

        Returns:
            Offset and reading, None in place of a reading that the disk has damaged; and where to go on, `until` when
            there is no more.

        Raises:
            DiskBrokenError: the file cannot be read.
        """
        query = f"{_SELECT} WHERE stream = ? AND offset >= ? AND offset < ? ORDER BY offset"
        rows: list[tuple[int, Reading | None]] = []
        with self._guarded() as database:
            for row in database.execute(query, (stream, first, until)):
                rows.append((row[0], _reading(row)))
                most_bytes -= len(row[3]) + ENTRY_BYTES
                if most_bytes <= 0:
                    return rows, row[0] + 1
        return rows, until

    def oldest(self, most: int) -> list[tuple[int, str]]:
        """List offset and stream of the oldest rows."""
        query = "SELECT offset, stream FROM readings ORDER BY offset LIMIT ?"
        with self._guarded() as database:
            return list(database.execute(query, (most,)))

    def counts(self) -> dict[str, int]:
        """Count the rows of every stream."""
        with self._guarded() as database:
            return dict(database.execute("SELECT stream, count(*) FROM readings GROUP BY stream"))

    def close(self) -> None:
        """Close the file and give the lock back."""
        if self._database:
            self._database.close()
            self._database = None
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- opening -------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._database = sqlite3.connect(self.path, isolation_level=None)
        os.chmod(self.path, 0o600)  # noqa: PTH101 - the same call on a path that SQLite has just made
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)

    def _load(self) -> None:
        """Read what the log must know; the index is walked, so damage to it shows now and not in the middle of work."""
        assert self._database, "just connected"
        query = "SELECT stream, min(offset), max(offset), count(*) FROM readings GROUP BY stream"
        self.backlogs = {stream: Backlog(*figures) for stream, *figures in self._database.execute(query)}
        self.used_bytes = _used_bytes(self._database)
        facts = dict(self._database.execute("SELECT name, value FROM facts"))
        newest = max((backlog.last for backlog in self.backlogs.values()), default=-1)
        try:
            self.next_offset = max(int(facts.get("next_offset", "0")), newest + 1)
            self.ledger = dict(json.loads(facts.get("ledger", "{}")))
        except ValueError as error:
            self.next_offset, self.ledger = newest + 1, {}
            log.warning("the spool's books were damaged and begin anew", extra={"detail": str(error)})

    def _check_format(self) -> None:
        assert self._database, "just connected"
        told = self._database.execute("SELECT value FROM facts WHERE name = 'format'").fetchone()
        if told is None:
            self._database.execute("INSERT INTO facts VALUES ('format', ?)", (str(FORMAT),))
        elif int(told[0]) > FORMAT:
            self.close()
            message = f"A newer version of the gateway wrote this spool (format {told[0]}, this one knows {FORMAT})."
            raise ConfigurationError([Finding(str(self.path), 0, "", message, "Install that version again.")])

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """Turn SQLite's errors into ours."""
        assert self._database, "the file is open"
        try:
            yield self._database
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in TAKES_NOTHING or self._is_read_only():
                raise DiskFullError(str(error)) from error
            raise DiskBrokenError(str(error)) from error

    def _is_read_only(self) -> bool:
        """True when the kernel has made the file system read-only, as it does after errors of the card."""
        return bool(os.statvfs(self.path.parent).f_flag & os.ST_RDONLY)

    # --- when it is damaged --------------------------------------------------------------------------------------

    def renew(self, why: str) -> None:
        """Set the file aside after a failure and write what can be read of it anew.

        Args:
            why: for the alarm.

        Raises:
            sqlite3.DatabaseError: the disk does not take a new file either.
        """
        self._set_aside_and_salvage(why)

    def _set_aside_and_salvage(self, why: str) -> None:
        if self._database:
            self._database.close()
            self._database = None
        aside = next(
            name for number in range(1, 1_000_000) if not (name := _beside(self.path, f".bad-{number}")).exists()
        )
        for suffix in ("", "-wal", "-shm"):
            if (file := _beside(self.path, suffix)).exists():
                file.rename(_beside(aside, suffix))
        self._connect()
        self._check_format()
        found, facts = _salvage(aside)
        assert self._database, "just connected"
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(_INSERT, found)
            self._database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts)
        self._load()
        log.error("the spool was damaged", extra={"detail": why, "saved": len(found), "kept_as": aside.name})


def _used_bytes(database: sqlite3.Connection) -> int:
    size, pages, free = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _salvage(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[str, str]]]:
    """Read what can be read: forwards from the oldest row, backwards from the newest, then one by one between."""
    rows: dict[int, tuple[Any, ...]] = {}
    facts: list[tuple[str, str]] = []
    try:
        database = sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None)
    except sqlite3.DatabaseError:
        return [], []
    try:
        facts = [row for row in database.execute("SELECT name, value FROM facts") if row[0] != "format"]
    except sqlite3.DatabaseError:
        log.warning("the damaged spool's books cannot be read")
    # NOT INDEXED: a damaged index must not hide rows that the table still has.
    for order in ("ASC", "DESC"):
        try:
            for row in database.execute(f"{_SELECT} NOT INDEXED ORDER BY offset {order}"):
                if row[0] in rows:
                    break
                rows[row[0]] = row
        except (sqlite3.DatabaseError, OverflowError):
            continue
    rows |= _between(database, rows)
    database.close()
    whole = [row for row in rows.values() if _is_whole(row)]
    return sorted(whole), facts


MOST_SINGLE_READS = 20_000  # rows looked up one by one in the gap that the damage leaves


def _between(database: sqlite3.Connection, rows: dict[int, tuple[Any, ...]]) -> dict[int, tuple[Any, ...]]:
    offsets = sorted(rows)
    gaps = [(a, b) for a, b in pairwise(offsets) if b - a > 1]
    found: dict[int, tuple[Any, ...]] = {}
    tries = 0
    for after, before in gaps:
        for offset in range(after + 1, before):
            tries += 1
            if tries > MOST_SINGLE_READS:
                return found
            try:
                query = f"{_SELECT} NOT INDEXED WHERE offset = ?"
                if row := database.execute(query, (offset,)).fetchone():
                    found[offset] = row
            except (sqlite3.DatabaseError, OverflowError):
                continue
    return found


def _is_whole(row: tuple[Any, ...]) -> bool:
    types = (int, str, bytes, bytes, int, int, int, bytes, int)
    return all(map(isinstance, row, types)) and crc32(row[3], crc32(row[2])) == row[8]


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _row(entry: tuple[int, Reading]) -> tuple[Any, ...]:
    offset, reading = entry
    flags = reading.qos | RETAIN * reading.retain | DUP * reading.dup
    checksum = crc32(reading.payload, crc32(reading.topic))
    return (offset, reading.stream, reading.topic, reading.payload, reading.received_at, flags, reading.size,
            reading.sha256, checksum)  # fmt: skip


def _reading(row: tuple[Any, ...]) -> Reading | None:
    _, stream, topic, payload, received_at, flags, size, digest, checksum = row
    if crc32(payload, crc32(topic)) != checksum:
        return None
    return Reading(
        stream, topic, payload, received_at, flags & 3, bool(flags & RETAIN), bool(flags & DUP), size, digest
    )


def _take_lock(path: Path) -> int:
    """Hold the file's lock until the process ends, however it ends."""
    try:
        lock = os.open(_beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        user = os.geteuid()
        message = f"The spool's folder {path.parent} cannot be written by user {user}: {error.strerror}."
        fix = f"Make it and give it away: install -d -m 700 -o {user} {path.parent}"
        raise ConfigurationError([Finding(str(path), 0, "spool.path", message, fix)]) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            raise
        message = f"Process {holder or 'unknown'} holds the spool {path}."
        raise SpoolTakenError(message, "Stop it, or give this gateway a spool.path of its own.") from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock
