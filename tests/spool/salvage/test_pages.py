"""Rows from pages: the same as SQLite's, and none that was never written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.reading import Reading
from gateway.spool.row import Row, to_row
from gateway.spool.salvage import pages
from tests.faults import damage
from tests.spool.salvage.spools import reading, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = [0, 1, 100, 3_900, 4_061, 4_062, 4_100, 9_000, 100_000]


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
    """Where the pointers are damaged, cells are found by their shape and their checksum."""
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
    """It fails on no bytes."""
    page = (b"\x0d" + bytes(at) + piece) + b"\x0a\x00" * pages.PAGE_BYTES
    assert raw(page) == []


def test_rows_reads_overflow_pages_only_as_far_as_a_record_asks_for_them() -> None:
    """A page full of cells that claim to be long, though their headers do not: no chain of pages is followed."""
    claim = bytes([0x84, 0x80, 0x80, 0x80, 0x00, 1, 0x0A]) + bytes(9)  # 1 GiB, row id 1, ten values of no bytes
    count = (pages.PAGE_BYTES - 8) // (len(claim) + 2)
    places = [pages.PAGE_BYTES - len(claim) * number for number in range(1, count + 1)]
    head = b"\x0d\0\0" + count.to_bytes(2) + bytes(3) + b"".join(place.to_bytes(2) for place in places)
    page = head + bytes(pages.PAGE_BYTES - len(head) - count * len(claim)) + claim * count
    whole = page + (3).to_bytes(4) + bytes(2 * pages.PAGE_BYTES - 4)
    read: list[int] = []

    def counting(number: int) -> bytes:
        read.append(number)
        return reader(whole)(number)

    assert list(pages.rows(range(1, 4), counting)) == []
    assert sorted(read) == [1, 1, 2, 3], "each page once, and once more to search the damaged one"


def test_rows_survives_a_damaged_length(tmp_path: Path) -> None:
    """The header of a record says how long its values are, so a row is whole even if its cell claims more."""
    data = bytearray(written(tmp_path / "spool.db", {7: reading(7)}))
    (cell,) = damage.cell_bytes(7, reading(7))
    at = data.index(cell)
    data[at] += 20
    assert [row[0] for row in raw(bytes(data))] == [7]
