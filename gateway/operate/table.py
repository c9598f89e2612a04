"""Tables for people, laid out by rich, whose own markup is off: text from outside is escaped and cut.

On a terminal a table is as wide as the terminal, and long cells are wrapped; in a pipe each row is one line.
"""

from __future__ import annotations

import io
import shutil
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

UNLIMITED_COLUMNS = 10_000
MAXIMUM_CELL_BYTES = 120
MAXIMUM_SENTENCE_BYTES = 400  # in the cells of a finding, and in the last column of any table


def grid(heads: Sequence[str], rows: Iterable[Sequence[object]], limit: int = MAXIMUM_CELL_BYTES) -> Table:
    """Lay out a table without lines; `limit` is bytes of a cell, except in the last column.

    Cells are text from anywhere, numbers, which are aligned to the right, or rich's `Text`.
    """
    rows, last = list(rows), len(heads) - 1
    laid_out = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        is_number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        laid_out.add_column(head, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        limits = [*[limit] * last, MAXIMUM_SENTENCE_BYTES]
        laid_out.add_row(*map(_cell, row, limits))
    return laid_out


def _cell(value: object, limit: int) -> Text:
    style = value.style if isinstance(value, Text) else ""
    return Text(printable(cut(str(value), limit)), style)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], limit: int = MAXIMUM_CELL_BYTES) -> str:
    """Write a table: lines without trailing blanks, the heads first."""
    return plain(grid(heads, rows, limit))


def plain(*parts: RenderableType) -> str:
    """Write parts of rich as text without styles."""
    out = io.StringIO()
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED_COLUMNS
    console = Console(file=out, width=width, color_system=None, markup=False, highlight=False, emoji=False)
    console.print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))
