"""Rows out of the pages of a damaged SQLite file, without SQLite: bytes in, rows out.

The format is sqlite.org/fileformat2.html, as far as the table `readings` needs it. Sections in brackets below.

    page           4,096 bytes, as the spool sets it; nothing is asked of the file's header, which may be gone
    leaf [1.6]     type 0x0D, number of cells at 3, pointers to the cells from 8 on
    cell [1.6]     length of the record, row id, record; of a long record the rest in a chain of overflow pages
    record [2.1]   length of its header, a type for each value, then the values

A leaf is read by its pointers: what was deleted has none, so it stays deleted. Only in a page whose pointers are
damaged are cells looked for everywhere, and then a deleted row may come back: a row twice beats a row lost. Never in
overflow pages of a row that was found: a device wrote what stands there, and might have written what looks like a row.

No row counts unless its checksum holds, so a wrong turn costs time and nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.row import COLUMNS, Row, salvaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    PageReader = Callable[[int], bytes]  # gives a page by its number, from 1 on; b"" when there is none

PAGE_BYTES = 4096
LEAF = 0x0D
MAGIC = b"SQLite format 3\0"
INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type [2.1]
LONGEST_LOCAL = PAGE_BYTES - 35
SHORTEST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
OVERFLOW_BYTES = PAGE_BYTES - 4
# How every record of `readings` begins: the length of its header, then NULL, because the row id stands for `offset`.
RECORD = re.compile(rb"(?=[\x0A-\x29]\x00)")
LONGEST_PREFIX = 18  # two varints stand before the record


class Cell(NamedTuple):
    """A cell whose row is whole.

    Args:
        row: what it holds.
        end: where its part of this page ends.
        overflow: numbers of the pages that hold the rest of it.
    """

    row: Row
    end: int
    overflow: list[int]


def rows(numbers: Iterable[int], page: PageReader) -> Iterator[Row]:
    """Find every whole row in these pages.

    Args:
        numbers: of the pages to look at.
        page: gives these pages and those that they lead to.
    """
    overflow: set[int] = set()
    doubtful = []
    for number in numbers:
        image = page(number)
        cells, is_sound = _leaf(image, page)
        for cell in cells:
            yield cell.row
            overflow.update(cell.overflow)
        if not is_sound and RECORD.search(image):
            doubtful.append(number)
    for number in doubtful:
        if number not in overflow:
            yield from _anywhere(page(number), page)


def free_pages(page: PageReader) -> set[int]:
    """List the pages that hold nothing any more [1.5].

    Args:
        page: gives the file's pages.

    Returns:
        Their numbers; none when the list is damaged: a row twice beats a row lost.
    """
    head = page(1)
    if not head.startswith(MAGIC):
        return set()
    trunk, count = _number(head, 32), _number(head, 36)
    free: set[int] = set()
    while trunk and trunk not in free and len(image := page(trunk)) == PAGE_BYTES:
        leaves = min(_number(image, 4), PAGE_BYTES // 4 - 2)
        free |= {trunk, *(_number(image, 8 + 4 * place) for place in range(leaves))}
        trunk = _number(image, 0)
    return free if len(free) == count else set()


def _leaf(image: bytes, page: PageReader) -> tuple[list[Cell], bool]:
    """Read a leaf by its pointers; tell also whether there was nothing wrong with it."""
    if len(image) < 8 or image[0] != LEAF:
        return [], False
    count = int.from_bytes(image[3:5])
    places = [int.from_bytes(image[at : at + 2]) for at in range(8, 8 + 2 * count, 2)]
    cells = [cell for place in places if (cell := _cell(image, place, page))]
    return cells, len(cells) == count


def _anywhere(image: bytes, page: PageReader) -> Iterator[Row]:
    """Look for cells at every place of a page, but not inside of one that was found."""
    end = 0
    for record in RECORD.finditer(image):
        for start in range(max(end, record.start() - LONGEST_PREFIX), record.start() - 1):
            if cell := _cell(image, start, page):
                yield cell.row
                end = cell.end
                break


def _cell(image: bytes, start: int, page: PageReader) -> Cell | None:
    try:
        length, at = _varint(image, start)
        row_id, at = _varint(image, at)
        if not RECORD.match(image, at):
            return None
        local = _local_bytes(length)
        record = image[at : at + local]
        overflow: list[int] = []
        if local < length:
            rest, overflow = _chain(_number(image, at + local), length - local, page)
            record += rest
        row = salvaged((row_id - (row_id >> 63 << 64), *_record(record)[1:]))
    except (IndexError, ValueError):  # it leads outside the page, or to what no reading has
        return None
    return Cell(row, at + local, overflow) if row else None


def _local_bytes(length: int) -> int:
    """Tell how much of a record stands in its cell [1.6]."""
    if length <= LONGEST_LOCAL:
        return length
    local = SHORTEST_LOCAL + (length - SHORTEST_LOCAL) % OVERFLOW_BYTES
    return local if local <= LONGEST_LOCAL else SHORTEST_LOCAL


def _chain(number: int, length: int, page: PageReader) -> tuple[bytes, list[int]]:
    """Follow a chain of overflow pages [1.6]."""
    numbers: dict[int, bytes] = {}
    while number not in numbers and len(numbers) * OVERFLOW_BYTES < length:
        image = page(number)
        numbers[number] = image[4:]
        number = _number(image, 0)
    return b"".join(numbers.values())[:length], list(numbers)


def _record(record: bytes) -> list[int | str | bytes | None]:
    header_end, at = _varint(record, 0)
    types: list[int] = []
    while at < header_end and len(types) < len(COLUMNS):
        serial_type, at = _varint(record, at)
        types.append(serial_type)
    values = []
    for serial_type in types:
        value, at = _value(record, at, serial_type)
        values.append(value)
    return values


def _value(record: bytes, at: int, serial_type: int) -> tuple[int | str | bytes | None, int]:
    if serial_type == 0:
        return None, at
    if serial_type in {8, 9}:
        return serial_type - 8, at
    if serial_type < len(INTEGER_BYTES):
        end = at + INTEGER_BYTES[serial_type]
        return int.from_bytes(record[at:end], signed=True), end
    if serial_type < 12:
        raise ValueError(serial_type)
    end = at + (serial_type - 12) // 2
    value = record[at:end]
    return (value.decode() if serial_type % 2 else value), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of one to nine bytes [1.6]; give it and where the next byte is."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def _number(image: bytes, at: int) -> int:
    if len(image) < at + 4:
        raise IndexError(at)
    return int.from_bytes(image[at : at + 4])
