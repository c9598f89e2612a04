"""Received messages, in a file of the spool's format: `gateway record` writes one, and `gateway learn` its own.

So everything that reads one reads the other, and the spool of a gateway as well. The file has payloads, so only its
owner may read it. It ends at a number of messages, at a size, or when the disk is full.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Self

from gateway.errors import DiskError, GatewayError
from gateway.spool.file import DiskFullError, SpoolFile
from gateway.spool.row import COLUMNS, to_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.core.reading import Reading

STREAM = "heard"  # of messages whose stream is not known
BATCH = 2_000  # messages that are written at once
BATCH_SECONDS = 1.0
MAX_MESSAGES = 5_000_000
MAX_BYTES = 2 * 2**30
NOTE = "recording/format"  # tells a recording from a gateway's spool


class Recording:
    """The file, open for writing."""

    def __init__(self, path: Path) -> None:
        self._file = SpoolFile(path)
        self._batch: list[tuple[int, Reading]] = []
        self._written_at = time.monotonic()
        self.next = self._file.next_offset
        self.bytes = self._file.used_bytes
        self.lost = 0  # messages that the disk did not take
        self.end = ""  # why no more is recorded; empty while there is room

    def add(self, reading: Reading) -> None:
        """Add a message; it is on disk within about a second."""
        self._batch.append((self.next, reading))
        self.next += 1
        if len(self._batch) >= BATCH or time.monotonic() > self._written_at + BATCH_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was added; when the disk does not take it, it is lost, and what was written before is kept."""
        try:
            self.bytes = self._file.write(self._batch, (), {}, self.next, notes={NOTE: "1"})
            if self.next >= MAX_MESSAGES or self.bytes >= MAX_BYTES:
                self.end = "The recording is full"
        except DiskError as error:
            self.next -= len(self._batch)
            self.lost += len(self._batch)
            self.end = "The disk is full" if isinstance(error, DiskFullError) else f"The disk fails: {error}"
        self._batch.clear()
        self._written_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()
        self._file.close()


def readings(path: Path) -> Iterator[Reading]:
    """Read a recording, or the spool of a gateway, oldest first; it is not changed. GatewayError when it cannot be."""
    query = f"SELECT {', '.join(COLUMNS)} FROM readings ORDER BY offset"  # noqa: S608 - our own constants
    try:
        with closing(_connect(path)) as database:
            for row in database.execute(query):
                if reading := to_reading(row):
                    yield reading
    except sqlite3.DatabaseError as error:
        message = f"{path} is not a recording or a spool that can be read: {error}."
        raise GatewayError(message, "Name a file that `gateway record` or a gateway wrote.") from None


def is_recording(path: Path) -> bool:
    """Tell whether a file is a recording, and no spool of a gateway."""
    try:
        with closing(_connect(path)) as database:
            return bool(database.execute("SELECT 1 FROM facts WHERE name = ?", (NOTE,)).fetchone())
    except sqlite3.DatabaseError:
        return False


def _connect(path: Path) -> sqlite3.Connection:
    # A file that no process has open has no -wal file, and gets none.
    options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)
