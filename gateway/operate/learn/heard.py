"""The messages that were heard: one file in the format of the spool, which is the only state.

So `gateway learn` can go on after an interruption, reads a spool or a recording as its own file, and transforms each
message at the end exactly once. The file has payloads, so only its owner may read it.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Self

from gateway.core.reading import Reading
from gateway.errors import GatewayError
from gateway.spool.file import SpoolFile
from gateway.spool.row import COLUMNS, to_reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "heard.db"
STATE = frozenset({FILE, f"{FILE}.lock", f"{FILE}-wal", f"{FILE}-shm"})
STREAM = "heard"
BATCH = 2_000  # messages that are written at once
BATCH_SECONDS = 1.0
MAX_MESSAGES = 5_000_000
MAX_BYTES = 2 * 2**30


class Recording:
    """The file, open for writing."""

    def __init__(self, folder: Path) -> None:
        self._file = SpoolFile(folder / FILE)
        self._batch: list[tuple[int, Reading]] = []
        self._written_at = time.monotonic()
        self.next = self._file.next_offset
        self.bytes = self._file.used_bytes

    @property
    def is_full(self) -> bool:
        """Tell whether no more is recorded."""
        return self.next >= MAX_MESSAGES or self.bytes >= MAX_BYTES

    def add(self, topic: bytes, payload: bytes, received_at: int, *, retain: bool) -> None:
        """Add a message; it is on disk within about a second."""
        self._batch.append((self.next, Reading(STREAM, topic, payload, received_at, 0, retain)))
        self.next += 1
        if len(self._batch) >= BATCH or time.monotonic() > self._written_at + BATCH_SECONDS:
            self.write()

    def write(self) -> None:
        """Write what was added."""
        self.bytes = self._file.write(self._batch, (), {}, self.next)
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
    # A file that no process has open has no -wal file, and gets none.
    options = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True)) as database:
            for row in database.execute(query):
                if reading := to_reading(row):
                    yield reading
    except sqlite3.DatabaseError as error:
        message = f"{path} is not a recording or a spool that can be read: {error}."
        raise GatewayError(message, "Name a file that `gateway learn` or a gateway wrote.") from None
