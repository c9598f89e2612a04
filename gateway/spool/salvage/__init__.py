"""What can be read of a damaged spool: every row whose bytes are still there, first through SQLite, then without it.

    pages.py   rows out of raw pages
    wal.py     pages out of the write-ahead log

SQLite's word counts where it reads the whole table and finds nothing wrong: what it does not give was deleted. Where it
stumbles, the pages that it cannot reach any more (because a page above them is gone, or the header) are read as well:

- of the main file every page that is not on the list of free pages; when that list is damaged, those too;
- of the write-ahead log every page, also those that a later one replaces, those of a commit that did not end, and
  those that are left over from before.

So rows that were settled, and deleted not long ago, may come back and be sent twice; if the file's header is gone, all
that were ever deleted and not written over since, unless SQLite was built to overwrite (Debian's is). That was chosen:
at least once allows a row twice and never a row lost. A row that was not written as it is found never comes: each has a
checksum over all its values.

The damaged files are only read.
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

    from gateway.spool.salvage.pages import PageReader

log = logging.getLogger(__name__)

UNREADABLE = (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError)  # the last two: values that no spool holds


def what_is_wrong(path: Path) -> str:
    """Look for damage that SQLite would pass over in silence, and lose rows; before it opens the file.

    Args:
        path: of the database.

    Returns:
        A clause for the alarm; empty when there is none.
    """
    log_bytes = _read_all(_wal_of(path))
    if log_bytes and not _size(path):
        return "its main file is missing or empty"
    return "its -wal file is damaged" if wal.is_damaged(log_bytes) or (log_bytes and _goes_back(path)) else ""


def _goes_back(path: Path) -> bool:
    """Tell whether the log would take the file back in time: it was cut after a part of it had been checkpointed."""
    query = "SELECT CAST(value AS INTEGER) FROM facts WHERE name = 'next_offset'"
    with suppress(TypeError, *UNREADABLE), closing(_open(path)) as whole, closing(_open(path, "&immutable=1")) as main:
        return bool(main.execute(query).fetchone()[0] > whole.execute(query).fetchone()[0])
    return False


@contextmanager
def kept_as_it_is(path: Path) -> Iterator[None]:
    """Keep SQLite from copying the log over the main file when a damaged database is closed in here.

    The last connection does so, over pages that hold rows which the log, where it is damaged, does not. One that may
    only read never does.

    Args:
        path: of the database.
    """
    with ExitStack() as stack:
        with suppress(*UNREADABLE):
            database = stack.enter_context(closing(_open(path)))
            database.execute("SELECT count(*) FROM sqlite_master")
        yield


def facts(path: Path) -> list[tuple[str, str]]:
    """Read the table `facts` of a damaged file, as far as SQLite can."""
    with suppress(*UNREADABLE), closing(_open(path)) as database:
        return list(database.execute("SELECT name, value FROM facts NOT INDEXED"))
    log.warning("the damaged spool's books cannot be read")
    return []


def rows(path: Path) -> Iterator[Row]:
    """Read all rows that are whole; one offset may come more than once, and then SQLite's row is the first.

    Args:
        path: of the database; nobody may write it meanwhile.
    """
    try:
        with closing(_open(path)) as database:
            # NOT INDEXED: a damaged index must not hide rows that the table still has.
            # All columns there are: files of older formats have fewer.
            query = "SELECT * FROM readings NOT INDEXED ORDER BY offset"
            is_sound = not what_is_wrong(path)
            for found in map(salvaged, database.execute(query)):
                if found:
                    yield found
                is_sound = is_sound and found is not None
            if is_sound and database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
                return
    except UNREADABLE:
        pass  # that is why the pages are read
    yield from _raw_rows(path)


def _raw_rows(path: Path) -> Iterator[Row]:
    """Read the main file's pages, then commit by commit those of the log, each over what was there before."""
    descriptor = os.open(path, os.O_RDONLY) if path.exists() else os.open(os.devnull, os.O_RDONLY)
    newer: dict[int, bytes] = {}
    try:

        def page(number: int) -> bytes:
            return newer.get(number) or _page(descriptor, number)

        count = -(-_size(path) // pages.PAGE_BYTES)
        free = _free_pages(page)
        yield from pages.rows((number for number in range(1, count + 1) if number not in free), page)
        for commit in _commits(_read_all(_wal_of(path))):
            newer |= commit
            yield from pages.rows(commit, page)
    finally:
        os.close(descriptor)


def _free_pages(page: PageReader) -> set[int]:
    with suppress(IndexError):
        return pages.free_pages(page)
    return set()


def _commits(log_bytes: bytes) -> Iterator[dict[int, bytes]]:
    """Give the pages of each commit, the one that did not end included."""
    commit: dict[int, bytes] = {}
    for frame in wal.frames(log_bytes):
        if frame.number in commit:  # its number is damaged, or the other's
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
    except (OSError, OverflowError):  # a bad sector, or a number that leads nowhere
        return b""


def _open(path: Path, options: str = "") -> sqlite3.Connection:
    """Open read-only: closing does not checkpoint, so nothing is written; as immutable, without the -wal file."""
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
