"""A reading as a row of the spool's file, with a checksum over all of it.

SQLite does not notice a bit that flips inside a value. `crc` is the CRC-32 of every other column, the offset included,
so a row is taken or refused as a whole, wherever it was found: through SQLite, or in the raw bytes of a damaged file.

flags: QoS in the lowest two bits, 4 retain, 8 DUP.

Format 1 had a checksum over topic and payload only. Format 2 had no properties; a row without any has the checksum
that it had there, so none is written anew. `properties` is the last column, because that is where SQLite adds one; a
row that was written before is one value shorter, and SQLite itself fills it up.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from gateway.core.reading import Reading

Row = tuple[Any, ...]  # in the order of COLUMNS; what a damaged file gives may be of any type

COLUMNS = ("offset", "stream", "topic", "payload", "received_at", "flags", "size", "sha256", "crc", "properties")
TYPES = (int, str, bytes, bytes, int, int, int, bytes, int, bytes)
CRC = COLUMNS.index("crc")
RETAIN, DUP = 4, 8


def to_row(offset: int, reading: Reading) -> Row:
    """Write a reading as a row.

    Args:
        offset: its place in the log.
        reading: as it arrived.
    """
    flags = reading.qos | RETAIN * reading.retain | DUP * reading.dup
    values = (offset, reading.stream, reading.topic, reading.payload, reading.received_at, flags, reading.size,
              reading.sha256)  # fmt: skip
    return (*values, checksum(*values, reading.properties), reading.properties)


def to_reading(row: Row) -> Reading | None:
    """Read a row that SQLite gave.

    Returns:
        The reading; None when the disk has damaged it.
    """
    if not is_whole(row):
        return None
    _, stream, topic, payload, received_at, flags, size, digest, _, properties = row
    return Reading(
        stream, topic, payload, received_at, flags & 3, bool(flags & RETAIN), bool(flags & DUP), size, digest,
        properties,
    )  # fmt: skip


def is_whole(row: Row) -> bool:
    """True when every value is the one that was written."""
    return _is_of_types(row) and checksum(*row[:CRC], *row[CRC + 1 :]) == row[CRC]


def salvaged(row: Row) -> Row | None:
    """Give a row out of a damaged file of any format its place in a new one; None when it is not whole."""
    is_short = len(row) == CRC + 1  # written before there were properties
    row = (*row, b"") if is_short else row
    if is_whole(row):
        return row
    if not _is_of_types(row) or row[-1]:
        return None
    # A topic is never empty [MQTT-4.7.3-1]; the checksum of nothing is 0, as in a page of zeros.
    is_of_format_1 = row[2] and format_1_checksum(row[2], row[3]) == row[CRC]
    return (*row[:CRC], checksum(*row[:CRC]), b"") if is_of_format_1 else None


def _is_of_types(row: Row) -> bool:
    return len(row) == len(TYPES) and all(map(isinstance, row, TYPES))


def format_1_checksum(topic: bytes, payload: bytes) -> int:
    """Compute what format 1 kept as `crc`."""
    return crc32(payload, crc32(topic))


def checksum(  # noqa: PLR0913, PLR0917 - one a column, as SQL calls it
    offset: int, stream: str, topic: bytes, payload: bytes, received_at: int, flags: int, size: int, sha256: bytes,
    properties: bytes = b"",
) -> int:  # fmt: skip
    """Compute `crc`: lengths are part of it, so that no byte can change from one column into the next."""
    lengths = f"{len(topic)} {len(properties)}" if properties else f"{len(topic)}"
    numbers = f"{offset} {stream} {lengths} {received_at} {flags} {size} ".encode("utf-8", "surrogatepass")
    return crc32(payload, crc32(properties, crc32(topic, crc32(sha256, crc32(numbers)))))
