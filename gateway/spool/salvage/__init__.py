"""Reads all intact rows of a damaged spool, first through SQLite, then from the raw bytes.

When SQLite reads the whole table and finds no fault, its result is complete: all other rows were deleted. Otherwise the
pages that SQLite cannot reach (the page above them or the header is damaged) are read as well:

- of the main file all pages that are not in the list of free pages; if that list is damaged, those too;
- of the write-ahead log all pages: also those that a later one replaces, of a commit that did not end, and of the round
  before.

So recently deleted rows may return and be sent twice. If the header is lost, all deleted rows that were not overwritten
may return, unless SQLite is built to overwrite them (Debian's is). This is intended: at-least-once allows a duplicate,
but no loss. A row that was never written cannot appear, because each has a checksum over all its values.

The damaged files are opened read-only.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING

from gateway.spool.row import Row, salvaged
from gateway.spool.salvage import pages, wal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)

UNREADABLE = (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError)  # the last two: values that no spool has


def what_is_wrong(path: Path) -> str:
    """Describe damage that makes SQLite lose rows silently, in a clause for the log; "" if there is none.

    Call this before SQLite opens the database for writing.
    """
    log_bytes = _read_all(_wal_of(path))
    if log_bytes and not _size(path):
        return "its main file is missing or empty"
    return "its -wal file is damaged" if wal.is_damaged(log_bytes) or (log_bytes and _goes_back(path)) else ""


def _goes_back(path: Path) -> bool:
    """Return True when the log would revert the file: it was cut, after its later part had been checkpointed."""
    query = "SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'next_offset'"
    with suppress(TypeError, *UNREADABLE), closing(_open(path)) as whole, closing(_open(path, "&immutable=1")) as main:
        return bool(main.execute(query).fetchone()[0] > whole.execute(query).fetchone()[0])
    return False


@contextmanager
def kept_as_it_is(path: Path) -> Iterator[None]:
    """Close a damaged database inside this context, and SQLite does not copy its log into the main file.

    The last connection to close does that, over pages whose rows a damaged log may not have. A read-only connection
    never does, so one is kept open meanwhile.
    """
    with ExitStack() as stack:
        with suppress(*UNREADABLE):
            database = stack.enter_context(closing(_open(path)))
            database.execute("SELECT count(*) FROM sqlite_master")
        yield


def facts(path: Path) -> list[tuple[str, str]]:
    """Read the table `facts` of a damaged file, if SQLite can."""
    with suppress(*UNREADABLE), closing(_open(path)) as database:
        return list(database.execute("SELECT name, value FROM facts NOT INDEXED"))
    log.warning(
        "Ledger and sessions in the damaged spool file cannot be read: counts may begin anew, and messages that "
        "the broker sends again may be stored twice. The readings are read separately."
    )
    return []


def rows(path: Path) -> Iterator[Row]:
    """Read all intact rows; an offset may occur twice, SQLite's row first. Nothing may write the files meanwhile."""
    try:
        with closing(_open(path)) as database:
            # NOT INDEXED: a damaged index must not hide rows of the table. `*`: older formats have fewer columns.
            query = "SELECT * FROM readings NOT INDEXED ORDER BY offset"
            is_sound = not what_is_wrong(path)
            for row in map(salvaged, database.execute(query)):
                if row:
                    yield row
                is_sound = is_sound and row is not None
            if is_sound and database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                return
    except UNREADABLE:
        pass  # the raw pages may still have rows
    yield from _raw_rows(path)


def _raw_rows(path: Path) -> Iterator[Row]:
    """Read the pages of the main file, then the log commit by commit, each on top of what was there before."""
    descriptor = os.open(path, os.O_RDONLY) if path.exists() else os.open(os.devnull, os.O_RDONLY)
    newer: dict[int, bytes] = {}
    try:

        def page(number: int) -> bytes:
            return newer.get(number) or _page(descriptor, number)

        count = -(-_size(path) // pages.PAGE_BYTES)
        free = pages.free_pages(page)
        yield from pages.rows((number for number in range(1, count + 1) if number not in free), page)
        for commit in _commits(_read_all(_wal_of(path))):
            newer |= commit
            yield from pages.rows(commit, page)
    finally:
        os.close(descriptor)


def _commits(log_bytes: bytes) -> Iterator[dict[int, bytes]]:
    """Yield the pages of each commit by number, also of one that did not end."""
    commit: dict[int, bytes] = {}
    for frame in wal.frames(log_bytes):
        if frame.number in commit:  # a commit has each page once, so one of the numbers is damaged
            yield commit
            commit = {}
        commit[frame.number] = frame.image
        if frame.is_commit:
            yield commit
            commit = {}
    yield commit


def _page(descriptor: int, number: int) -> bytes:
    try:
        return os.pread(descriptor, pages.PAGE_BYTES, (number - 1) * pages.PAGE_BYTES)
    except (OSError, OverflowError):  # a bad sector, or a damaged page number
        return b""


def _open(path: Path, options: str = "") -> sqlite3.Connection:
    """Open read-only, so that closing does not checkpoint; with `immutable` SQLite ignores the -wal file."""
    if not _size(path):
        raise sqlite3.DatabaseError("empty: SQLite would delete the -wal file beside it")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{options}", uri=True, isolation_level=None)


def _wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_all(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
