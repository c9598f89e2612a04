"""`gateway top`: what the status page shows, in a terminal, until Ctrl-C.

It asks as `gateway status` does. On a terminal the screen is written over in place, cut to its size; what stands in the
way of the shell's own lines is put away at the end. Elsewhere it writes once, whole.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

from gateway.observe.figures import RateTracker
from gateway.observe.status_page import overview
from gateway.operate.table import table
from gateway.page.blocks import Block, Code, Facts, Heading, Paragraph, Phrase, Strong, Table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.operate.status import Status
    from gateway.signals import Stopping

FIRST_LOOK_SECONDS = 1.0  # between two looks, where only what the second finds is written
_OTHER_SCREEN, _OWN_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def follow(ask: Callable[[], Status], stopping: Stopping, interval_seconds: float, screen: TextIO) -> None:
    """Write over and over how a gateway does.

    Args:
        ask: gives its status.
        stopping: ends it.
        interval_seconds: between two askings.
        screen: a terminal.

    Raises:
        GatewayError: when something else answers, or the spool cannot be read.
    """
    pace = RateTracker()
    screen.write(_OTHER_SCREEN)
    try:
        while not stopping.is_set():
            size = shutil.get_terminal_size()
            lines = [line[: size.columns] for line in _look(ask(), pace).split("\n")][: size.lines - 1]
            screen.write(_HOME + "".join(f"{line}{_END_OF_LINE}\n" for line in lines) + _END_OF_SCREEN)
            screen.flush()
            stopping.wait(interval_seconds)
    finally:
        screen.write(_OWN_SCREEN)
        screen.flush()


def once(ask: Callable[[], Status], stopping: Stopping) -> tuple[str, int]:
    """Tell how a gateway does, after a second look that gives the rates.

    Args:
        ask: gives its status.
        stopping: lets it not wait for the second.

    Returns:
        Lines, and the exit code of `gateway status`.

    Raises:
        GatewayError: when something else answers, or the spool cannot be read.
    """
    pace = RateTracker()
    _look(ask(), pace)
    stopping.wait(FIRST_LOOK_SECONDS)
    told = ask()
    return _look(told, pace), told.exit_code


def _look(told: Status, pace: RateTracker) -> str:
    return write(overview(told.told, told.peers, told.figures, pace(told.figures, time.monotonic()), time.time()))


def write(blocks: Sequence[Block]) -> str:
    """Write blocks for a terminal.

    Args:
        blocks: of an overview; what else a page may hold is left out.

    Returns:
        Lines in which nothing is left that a terminal would obey.
    """
    return "\n\n".join(text for block in blocks if (text := _block(block)))


def _block(block: Block) -> str:
    match block:
        case Heading(text=text):
            return printable(text)
        case Paragraph(phrase):
            return printable(_text(phrase))
        case Facts(rows):
            return "\n".join(f"{printable(term)}: {printable(_text(phrase))}" for term, phrase in rows)
        case Table(_, heads, rows) if rows:
            return table(heads, [tuple(map(_text, row)) for row in rows])
        case _:
            return ""


def _text(phrase: Phrase) -> str:
    return "".join(one.text if isinstance(one, Code | Strong) else str(one) for one in phrase)
