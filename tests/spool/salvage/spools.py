"""Spools whose files the tests of salvage damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.reading import Reading
from gateway.spool.file import SpoolFile

if TYPE_CHECKING:
    from pathlib import Path


def reading(number: int, size: int = 10) -> Reading:
    return Reading("a", b"t/%d" % number, b"x" * size, 1_700_000_000_000, 1, properties=b"y" * (number % 3))


def written(path: Path, rows: dict[int, Reading], deleted: tuple[int, ...] = ()) -> bytes:
    """Give the main file of a closed spool."""
    with SpoolFile(path) as file:
        file.write(rows.items(), (), {}, 0)
        file.write((), deleted, {}, 0)
    return path.read_bytes()
