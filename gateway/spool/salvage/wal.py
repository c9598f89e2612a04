"""SQLite's write-ahead log, read without SQLite: bytes in, pages out [sqlite.org/fileformat2.html, 4].

    header, 32 bytes   magic, version, page size, checkpoint number, two salts, two checksums
    frame, 24 bytes    page number, size of the database (only in the last frame of a commit), two salts, two checksums
           and a page

A log is written again from its beginning once all of it has been checkpointed; frames with other salts than the
header's are left over from before. SQLite takes frames up to the first whose checksum does not fit and forgets the rest
without a word: right after a power cut, when they were never durable, wrong after a damaged byte in the middle.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.salvage.pages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct(">6I8s")  # magic, version, page size, checkpoint number, salts; checksums
FRAME = struct.Struct(">II8s8s")  # page number, size after a commit, salts; checksums
FRAME_BYTES = FRAME.size + PAGE_BYTES
MAGIC = 0x377F0682  # its lowest bit tells in which byte order the checksums are computed


class Frame(NamedTuple):
    """One page as some commit left it.

    Args:
        number: of the page.
        is_commit: True for the last one of its commit.
        salts: of the round in which it was written.
        image: the page.
        is_whole: True when SQLite takes it: its checksum, which covers all before it, is right.
    """

    number: int
    is_commit: bool
    salts: bytes
    image: bytes
    is_whole: bool


def frames(wal: bytes) -> Iterator[Frame]:
    """Give all frames of a log.

    Args:
        wal: the file.
    """
    sums, order = _checked_header(wal)
    for start in range(HEADER.size, len(wal) - FRAME_BYTES + 1, FRAME_BYTES):
        number, size, salts, told = FRAME.unpack_from(wal, start)
        image = wal[start + FRAME.size : start + FRAME_BYTES]
        if sums:
            sums = _checksum(wal[start : start + 8] + image, sums, order)
        if sums and (_told(sums) != told or salts != wal[16:24]):
            sums = None
        yield Frame(number, size > 0, salts, image, sums is not None)


def is_damaged(wal: bytes) -> bool:
    """Tell whether SQLite would forget commits that were durable.

    A commit was durable, surely, when another frame follows it: SQLite begins no frame before the fsync of the last.

    Args:
        wal: the file.
    """
    if len(wal) < HEADER.size + FRAME_BYTES:
        return False
    is_readable = _checked_header(wal)[0] is not None
    present = [(each.is_commit, each.is_whole) for each in frames(wal) if each.salts == wal[16:24] or not is_readable]
    durable = [is_whole for is_commit, is_whole in present[:-1] if is_commit]
    return bool(durable) and not durable[-1]


def _checked_header(wal: bytes) -> tuple[tuple[int, int] | None, str]:
    if len(wal) < HEADER.size:
        return None, "<"
    magic, *_, told = HEADER.unpack_from(wal)
    order = ">" if magic & 1 else "<"
    sums = _checksum(wal[:24], (0, 0), order)
    return (sums if magic | 1 == MAGIC | 1 and _told(sums) == told else None), order


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """Compute the checksum of [4.2], going on from the one before."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for even, odd in zip(words, words, strict=True):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second


def _told(sums: tuple[int, int]) -> bytes:
    return struct.pack(">II", *sums)
