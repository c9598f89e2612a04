"""Pages from the write-ahead log, and whether SQLite would ignore some."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.spool.file import SpoolFile
from gateway.spool.salvage import wal
from tests.spool.salvage.spools import reading

if TYPE_CHECKING:
    from pathlib import Path


@settings(deadline=None)
@given(st.binary(max_size=9_000))
def test_frames_takes_any_bytes(data: bytes) -> None:
    """A log of garbage is read to its end."""
    assert len(list(wal.frames(data))) == max(0, len(data) - wal.HEADER.size) // wal.FRAME_BYTES
    wal.is_damaged(data)


def test_frames_agrees_with_sqlite(tmp_path: Path) -> None:
    """The frames that SQLite takes are whole, and damage is reported only before the last commit."""
    with SpoolFile(tmp_path / "spool.db") as file:
        for number in range(10):
            file.write([(number, reading(number))], (), {}, number + 1)
        data = bytearray((tmp_path / "spool.db-wal").read_bytes())
        with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
            _, count, _ = database.execute("PRAGMA wal_checkpoint").fetchone()
    assert [frame.is_whole for frame in wal.frames(bytes(data))] == [True] * count
    assert not wal.is_damaged(bytes(data))
    assert not wal.is_damaged(bytes(data[:-100])), "as after a power cut"
    data[wal.HEADER.size + 50] ^= 1
    assert wal.is_damaged(bytes(data))
