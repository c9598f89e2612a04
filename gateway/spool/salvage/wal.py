"""SQLite's write-ahead log, read without SQLite: bytes in, pages out [sqlite.org/fileformat2.html, 4].

    header, 32 bytes   magic, version, page size, checkpoint number, two salts, two checksums
    frame, 24 bytes    page number, size of the database (only in the last frame of a commit), two salts, two checksums
           and a page

Once it is checkpointed, the log is written again from its beginning; frames with other salts than the header's are from
the round before. SQLite takes the frames up to the first wrong checksum and silently ignores the rest. That is right
after a power cut, when those were not durable, and wrong after damage in the middle.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.salvage.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct(">6I8s")  # magic, version, page size, checkpoint number, salts; checksums
FRAME = struct.Struct(">II8s8s")  # page number, size after a commit, salts; checksums
SUMS = struct.Struct(">II")
FRAME_BYTES = FRAME.size + PAGE_BYTES
MAGIC = 0x377F0682  # the lowest bit is the byte order of the checksums


class Frame(NamedTuple):
    """One page as a commit left it."""

    number: int
    is_commit: bool  # it is the last frame of its commit
    salts: bytes  # of its round
    image: bytes  # the page
    is_whole: bool  # SQLite takes it: its checksum, which covers all frames before it too, is right


def frames(wal: bytes) -> Iterator[Frame]:
    """Yield all frames of a log."""
    sums, order = _checked_header(wal)
    for start in range(HEADER.size, len(wal) - FRAME_BYTES + 1, FRAME_BYTES):
        number, size, salts, checksums = FRAME.unpack_from(wal, start)
        image = wal[start + FRAME.size : start + FRAME_BYTES]
        if sums:
            sums = _checksum(wal[start : start + 8] + image, sums, order)
        if sums and (SUMS.pack(*sums) != checksums or salts != wal[16:24]):
            sums = None
        yield Frame(number, size > 0, salts, image, sums is not None)


def is_damaged(wal: bytes) -> bool:
    """Return True when SQLite would ignore durable commits.

    A commit is certainly durable when another frame follows it: SQLite writes no frame before the fsync of the last.
    """
    if len(wal) < HEADER.size + FRAME_BYTES:
        return False
    is_readable = _checked_header(wal)[0] is not None
    present = [(each.is_commit, each.is_whole) for each in frames(wal) if each.salts == wal[16:24] or not is_readable]
    durable = [is_whole for is_commit, is_whole in present[:-1] if is_commit]
    return bool(durable) and not durable[-1]


def _checked_header(wal: bytes) -> tuple[tuple[int, int] | None, str]:
    """Return the header's checksums, None when they are wrong, and the byte order."""
    if len(wal) < HEADER.size:
        return None, "<"
    magic, *_, checksums = HEADER.unpack_from(wal)
    order = ">" if magic & 1 else "<"
    sums = _checksum(wal[:24], (0, 0), order)
    return (sums if magic | 1 == MAGIC | 1 and SUMS.pack(*sums) == checksums else None), order


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """Compute the checksum of [4.2], continuing from the one before."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second
