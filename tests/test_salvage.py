"""Salvage: rows out of pages, pages out of the write-ahead log, and damaged spools of every kind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.reading import Reading
from gateway.spool import salvage
from gateway.spool.file import SpoolFile
from gateway.spool.row import Row, to_row
from gateway.spool.salvage import pages, wal
from tests.faults import damage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = [0, 1, 100, 3_900, 4_061, 4_062, 4_100, 9_000, 100_000]


def reading(number: int, size: int = 10) -> Reading:
    return Reading("a", b"t/%d" % number, b"x" * size, 1_700_000_000_000, 1, properties=b"y" * (number % 3))


def written(path: Path, rows: dict[int, Reading], deleted: tuple[int, ...] = ()) -> bytes:
    """Give the main file of a closed spool."""
    with SpoolFile(path) as file:
        file.write(rows.items(), (), {}, 0)
        file.write((), deleted, {}, 0)
    return path.read_bytes()


def reader(data: bytes) -> Callable[[int], bytes]:
    return lambda number: data[(number - 1) * pages.PAGE_BYTES : number * pages.PAGE_BYTES] if number else b""


def raw(data: bytes) -> list[Row]:
    return sorted(pages.rows(range(1, -(-len(data) // pages.PAGE_BYTES) + 1), reader(data)))


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.sampled_from(SIZES), max_size=30))
def test_rows_gives_what_sqlite_wrote(tmp_path_factory: object, sizes: dict[int, int]) -> None:
    """Whatever SQLite wrote, small or over many pages, is read the same without it."""
    rows = {offset: reading(offset, size) for offset, size in sizes.items()}
    path = tmp_path_factory.mktemp("pages") / "spool.db"  # type: ignore[attr-defined] # pytest names its class privately
    assert raw(written(path, rows)) == sorted(to_row(*row) for row in rows.items())


def test_rows_does_not_bring_back_deleted_cells(tmp_path: Path) -> None:
    """A deleted cell has no pointer."""
    data = written(tmp_path / "spool.db", {number: reading(number) for number in range(20)}, (3, 4, 5))
    assert [row[0] for row in raw(data)] == [0, 1, 2, *range(6, 20)]


def test_rows_finds_cells_in_a_page_without_its_header(tmp_path: Path) -> None:
    """Where the pointers are gone, cells are found by their shape and their checksum."""
    data = bytearray(written(tmp_path / "spool.db", {number: reading(number) for number in range(200)}))
    for start in range(0, len(data), pages.PAGE_BYTES):
        data[start : start + 10] = bytes(10)
    assert [row[0] for row in raw(bytes(data))] == list(range(200))


def test_rows_takes_nothing_out_of_a_payload(tmp_path: Path) -> None:
    """A device that publishes what looks like a page of rows makes no reading of another stream."""
    forged = Reading("other", b"t/1", b"forged", 1_700_000_000_000)
    (cell,) = damage.cell_bytes(7, forged)
    rows = {0: Reading("a", b"t", cell * 1_000, 1), 1: Reading("a", b"t", cell, 1)}
    assert [row[0] for row in raw(written(tmp_path / "spool.db", rows))] == [0, 1]


def test_free_pages_agrees_with_sqlite(tmp_path: Path) -> None:
    """The pages that SQLite counts as free are listed; with a damaged list, none."""
    rows = {number: reading(number, 1_000) for number in range(2_000)}
    data = bytearray(written(tmp_path / "spool.db", rows, tuple(range(1_900))))
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        (count,) = database.execute("PRAGMA freelist_count").fetchone()
    assert len(pages.free_pages(reader(bytes(data)))) == count > 400
    data[39] ^= 1
    assert pages.free_pages(reader(bytes(data))) == set()


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, pages.PAGE_BYTES))
def test_rows_gives_nothing_for_garbage(piece: bytes, at: int) -> None:
    """No bytes whatever make it fail."""
    page = (b"\x0d" + bytes(at) + piece) + b"\x0a\x00" * pages.PAGE_BYTES
    assert raw(page) == []


@settings(deadline=None)
@given(st.binary(max_size=9_000))
def test_frames_takes_any_bytes(data: bytes) -> None:
    """A log of garbage is read to its end."""
    assert len(list(wal.frames(data))) == max(0, len(data) - wal.HEADER.size) // wal.FRAME_BYTES
    wal.is_damaged(data)


def test_frames_agrees_with_sqlite(tmp_path: Path) -> None:
    """The frames that SQLite takes are whole, and damage is told before the last commit only."""
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


def test_rows_leaves_the_damaged_files_as_they_are(tmp_path: Path) -> None:
    """Somebody may want to look at them."""
    path = tmp_path / "spool.db"
    data = bytearray(written(path, {number: reading(number) for number in range(500)}))
    data[pages.PAGE_BYTES * 3 :][:500] = bytes(500)
    data[:50] = bytes(50)
    path.write_bytes(data)
    assert {row[0] for row in salvage.rows(path)} == set(range(500))
    assert path.read_bytes() == data


def test_open_leaves_the_log_of_a_damaged_file_as_it_is(tmp_path: Path) -> None:
    """Closed by SQLite in the usual way it would be copied over pages that hold more than it does."""
    damage.build(tmp_path / "sound.db", 1, is_live=True)
    (tmp_path / "damaged").mkdir()
    verdict = damage.try_one(tmp_path / "damaged", 0, tmp_path / "sound.db", "killed 1", "first pages destroyed")
    assert verdict.was_set_aside
    assert verdict.is_clean, verdict


def test_open_gives_back_whatever_is_readable_of_a_damaged_spool(tmp_path: Path) -> None:
    """Rows 43 and 44, one of every kind; `python -m tests.faults.damage` tries five hundred."""
    verdicts = list(damage.run(tmp_path, len(damage.WAYS), seed=3, copies=len(damage.WAYS)))
    assert [verdict for verdict in verdicts if not verdict.is_clean] == []
    assert any(verdict.was_set_aside for verdict in verdicts)
