"""A reading as a row of the spool's file, with a checksum over all of it.

SQLite does not notice a flipped bit inside a value. `crc` is the CRC-32 of all other columns, the offset included, so a
row is valid or invalid as a whole, whether it was read through SQLite or from the raw bytes of a damaged file.

flags: QoS in the lowest two bits, 4 retain, 8 DUP, 16 when the clock was not synchronised at the arrival.

The checksum of format 1 covered topic and payload only. Format 2 had no properties, and format 3 neither `boot` nor
`uptime` (`core/gateway_clock.py`); a row without them has the same checksum as there, so no row is rewritten. New
columns are the last ones, because SQLite adds columns at the end; older rows are shorter, and SQLite fills them in.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from gateway.core.reading import Reading

Row = tuple[Any, ...]  # in the order of COLUMNS; values from a damaged file may be of any type

COLUMNS = ("offset", "stream", "topic", "payload", "received_at", "flags", "size", "sha256", "crc", "properties",
           "boot", "uptime")  # fmt: skip
TYPES = (int, str, bytes, bytes, int, int, int, bytes, int, bytes, bytes, int)
CRC = COLUMNS.index("crc")
ADDED = (b"", b"", 0)  # what rows of older formats have of the columns after the checksum
RETAIN, DUP, UNSYNCHRONISED = 4, 8, 16


def to_row(offset: int, reading: Reading, boot: bytes = b"", uptime: int = 0, is_unsynchronised: bool = False) -> Row:  # noqa: FBT001, FBT002 - a tuple of `GatewayClock.stamp`
    """Convert a reading to a row, with the boot and the milliseconds since then at which it arrived."""
    flags = reading.qos | RETAIN * reading.retain | DUP * reading.dup
    flags |= UNSYNCHRONISED * (is_unsynchronised or reading.is_unsynchronised)
    values = (offset, reading.stream, reading.topic, reading.payload, reading.received_at, flags, reading.size,
              reading.sha256)  # fmt: skip
    added = (reading.properties, boot, uptime)
    return (*values, checksum(*values, *added), *added)


def to_reading(row: Row) -> Reading | None:
    """Convert a row to its reading; None when the row is damaged."""
    if not is_whole(row):
        return None
    _, stream, topic, payload, received_at, flags, size, digest, _, properties, _, _ = row
    return Reading(
        stream, topic, payload, received_at, flags & 3, bool(flags & RETAIN), bool(flags & DUP), size, digest,
        properties, bool(flags & UNSYNCHRONISED),
    )  # fmt: skip


def is_whole(row: Row) -> bool:
    """Return True when every value is as it was written."""
    return _is_of_types(row) and checksum(*row[:CRC], *row[CRC + 1 :]) == row[CRC]


def salvaged(row: Row) -> Row | None:
    """Convert a row of any format, from a damaged file, to today's format; None when it is damaged."""
    row = (*row, *ADDED[len(row) - CRC - 1 :]) if len(row) > CRC else row
    if is_whole(row):
        return row
    if not _is_of_types(row) or row[CRC + 1 :] != ADDED:
        return None
    # A topic is never empty [MQTT-4.7.3-1]; the checksum of nothing is 0, as in a page of zeros.
    is_of_format_1 = row[2] and format_1_checksum(row[2], row[3]) == row[CRC]
    return (*row[:CRC], checksum(*row[:CRC]), *ADDED) if is_of_format_1 else None


def _is_of_types(row: Row) -> bool:
    return len(row) == len(TYPES) and all(map(isinstance, row, TYPES))


def format_1_checksum(topic: bytes, payload: bytes) -> int:
    """Compute `crc` as in format 1."""
    return crc32(payload, crc32(topic))


def checksum(  # noqa: PLR0913, PLR0917 - one a column, as SQL calls it
    offset: int, stream: str, topic: bytes, payload: bytes, received_at: int, flags: int, size: int, sha256: bytes,
    properties: bytes = b"", boot: bytes = b"", uptime: int = 0,
) -> int:  # fmt: skip
    """Compute `crc`; it includes lengths, so that no byte can move from one column to the next."""
    lengths = f"{len(topic)} {len(properties)}" if properties else f"{len(topic)}"
    lengths += f" {boot.hex()} {uptime}" if boot or uptime else ""
    numbers = f"{offset} {stream} {lengths} {received_at} {flags} {size} ".encode("utf-8", "surrogatepass")
    return crc32(payload, crc32(properties, crc32(topic, crc32(sha256, crc32(numbers)))))
