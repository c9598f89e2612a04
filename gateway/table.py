"""Tables for a terminal: columns as wide as their cells, and nothing in a cell that a terminal would obey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.log import cut, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

MAXIMUM_CELL_BYTES = 120


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table.

    Args:
        heads: one a column.
        rows: cells; numbers stand to the right, and what comes from outside may hold anything.

    Returns:
        Lines without trailing spaces, the heads first.
    """
    texts = [list(heads), *([_cell(value) for value in row] for row in rows)]
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


def _cell(value: object) -> str:
    return printable(cut(value if isinstance(value, str) else str(value), MAXIMUM_CELL_BYTES))
