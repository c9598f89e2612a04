"""Rows from the pages of a damaged SQLite file, without SQLite: bytes in, rows out.

The format is sqlite.org/fileformat2.html, as far as the table `readings` needs it. Its sections are in brackets.

    page           4,096 bytes, as the spool sets it; the file's header, which may be lost, is not needed
    leaf [1.6]     type 0x0D, number of cells at 3, pointers to the cells from 8 on
    cell [1.6]     length of the record, row id, record; the rest of a long record is in a chain of overflow pages
    record [2.1]   length of its header, a type for each value, then the values

A leaf is read by its pointers: a deleted cell has none, so it stays deleted. Only where pointers are damaged is the
page searched for cells, and a deleted row may return: a duplicate is better than a loss. Overflow pages of an intact
row are never searched: their content comes from a device, and may look like a row.

A row counts only if its checksum is right, so a wrong guess costs time and nothing else. That time is bounded: each
position of a page is tried once as a pointer says and once in the search, and overflow pages are read only as far as
the types in the record's header ask for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.row import COLUMNS, Row, salvaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    PageReader = Callable[[int], bytes]  # page number, from 1 on, to page; b"" when there is none

PAGE_BYTES = 4096
LEAF = 0x0D
MAGIC = b"SQLite format 3\0"
INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type [2.1]
LONGEST_LOCAL = PAGE_BYTES - 35
SHORTEST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
OVERFLOW_BYTES = PAGE_BYTES - 4
# The beginning of every record of `readings`: the length of its header, then NULL, because `offset` is the row id.
RECORD = re.compile(rb"(?=[\x0A-\x31]\x00)")
LONGEST_PREFIX = 18  # two varints precede the record


class Cell(NamedTuple):
    """A cell with an intact row."""

    row: Row
    end: int  # of its part of this page
    overflow: list[int]  # numbers of the pages with the rest of it


def rows(numbers: Iterable[int], page: PageReader) -> Iterator[Row]:
    """Find every intact row in the pages with these numbers."""
    overflow: set[int] = set()
    doubtful = []  # searched last, when all overflow pages of intact rows are known
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
    """List the numbers of unused pages [1.5]; none when the list is damaged, so that all pages are read."""
    head = page(1)
    if len(head) < PAGE_BYTES or not head.startswith(MAGIC):
        return set()
    trunk, count = _number(head, 32), _number(head, 36)
    free: set[int] = set()
    while trunk and trunk not in free and len(image := page(trunk)) == PAGE_BYTES:
        leaves = min(_number(image, 4), PAGE_BYTES // 4 - 2)
        free |= {trunk, *(_number(image, 8 + 4 * place) for place in range(leaves))}
        trunk = _number(image, 0)
    return free if len(free) == count else set()


def _leaf(image: bytes, page: PageReader) -> tuple[list[Cell], bool]:
    """Read a leaf by its pointers; the flag is True when all its cells are intact."""
    if len(image) < 8 or image[0] != LEAF:
        return [], False
    count = int.from_bytes(image[3:5])
    places = {int.from_bytes(image[at : at + 2]) for at in range(8, min(8 + 2 * count, len(image)), 2)}
    cells = [cell for place in sorted(places) if (cell := _cell(image, place, page))]
    return cells, len(cells) == count


def _anywhere(image: bytes, page: PageReader) -> Iterator[Row]:
    """Look for cells at every position of a page, except inside of one that was found."""
    untried = 0
    for record in RECORD.finditer(image):
        for start in range(max(untried, record.start() - LONGEST_PREFIX), record.start() - 1):
            untried = start + 1
            if cell := _cell(image, start, page):
                yield cell.row
                untried = cell.end
                break


def _cell(image: bytes, start: int, page: PageReader) -> Cell | None:
    try:
        length, at = _varint(image, start)
        row_id, at = _varint(image, at)
        if not RECORD.match(image, at):
            return None
        types, values_at = _types(image, at)
        size = values_at - at + sum(map(_value_bytes, types))
        if size > length:
            return None
        local = _local_bytes(length)
        record = image[at : at + local]
        overflow: list[int] = []
        if local < size:
            rest, overflow = _chain(_number(image, at + local), size - local, page)
            record += rest
        row = salvaged((row_id - (row_id >> 63 << 64), *_values(record, values_at - at, types)[1:]))
    except (IndexError, ValueError):  # a position outside the page, or a type that no reading has
        return None
    return Cell(row, at + local, overflow) if row else None


def _local_bytes(length: int) -> int:
    """Return how many bytes of a record are in its cell [1.6]."""
    if length <= LONGEST_LOCAL:
        return length
    local = SHORTEST_LOCAL + (length - SHORTEST_LOCAL) % OVERFLOW_BYTES
    return local if local <= LONGEST_LOCAL else SHORTEST_LOCAL


def _chain(number: int, length: int, page: PageReader) -> tuple[bytes, list[int]]:
    """Follow a chain of overflow pages [1.6]; return the bytes and the page numbers."""
    numbers: dict[int, bytes] = {}
    while number not in numbers and len(numbers) * OVERFLOW_BYTES < length:
        image = page(number)
        numbers[number] = image[4:]
        number = _number(image, 0)
    return b"".join(numbers.values())[:length], list(numbers)


def _types(image: bytes, start: int) -> tuple[list[int], int]:
    """Read the header of a record [2.1]; return the types of its values and the position of the first value."""
    header_bytes, at = _varint(image, start)
    types: list[int] = []
    while at < start + header_bytes and len(types) < len(COLUMNS):
        serial_type, at = _varint(image, at)
        types.append(serial_type)
    return types, at


def _value_bytes(serial_type: int) -> int:
    if serial_type >= 12:
        return (serial_type - 12) // 2
    if serial_type in {8, 9}:
        return 0
    if serial_type >= len(INTEGER_BYTES):
        raise ValueError(serial_type)
    return INTEGER_BYTES[serial_type]


def _values(record: bytes, at: int, types: list[int]) -> list[int | str | bytes | None]:
    """Decode the values of a record [2.1]."""
    values = []
    for serial_type in types:
        end = at + _value_bytes(serial_type)
        values.append(_value(record[at:end], serial_type))
        at = end
    return values


def _value(data: bytes, serial_type: int) -> int | str | bytes | None:
    if serial_type == 0:
        return None
    if serial_type in {8, 9}:
        return serial_type - 8
    if serial_type < 12:
        return int.from_bytes(data, signed=True)
    return data.decode() if serial_type % 2 else data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of one to nine bytes [1.6]; return it and the position after it."""
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
