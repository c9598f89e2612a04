"""Tables for a terminal: columns as wide as their cells, and nothing in a cell that a terminal would obey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAXIMUM_CELL_BYTES = 120
MAXIMUM_LAST_CELL_BYTES = 400  # a sentence with its next step; nothing stands to the right of it


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Args:
        heads: one a column.
        rows: cells; numbers stand to the right, and what comes from outside may hold anything.

    Returns:
        Lines without trailing spaces, the heads first.
    """
    limits = [*[MAXIMUM_CELL_BYTES] * (len(heads) - 1), MAXIMUM_LAST_CELL_BYTES]
    texts = [list(heads), *(list(map(_cell, row, limits)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    is_number = [bool(rows) and all(isinstance(row[index], int | float) for row in rows) for index in range(len(heads))]
    lines = (
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, is_number, strict=True)
        )
        for line in texts
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object, limit: int) -> str:
    return printable(cut(value if isinstance(value, str) else str(value), limit))
