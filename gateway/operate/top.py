"""`gateway top`: the status page in a terminal, until Ctrl-C.

It queries the gateway as `gateway status` does. A terminal's alternate screen is used, so that the shell's own lines
are back at the end. Without a terminal the page is written once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gateway.observe.figures import RateTracker
from gateway.observe.status_page import overview
from gateway.operate.table import grid, plain
from gateway.page.blocks import Block, Code, Facts, Heading, Paragraph, Phrase, Strong, Table
from gateway.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from gateway.errors import ExitCode
    from gateway.operate.status import Status
    from gateway.signals import Stopping

FIRST_LOOK_SECONDS = 1.0  # between the two queries that give a rate


def follow(query: Callable[[], Status], stopping: Stopping, interval_seconds: float, screen: TextIO) -> None:
    """Show the status on a terminal again and again, until stopped."""
    rates = RateTracker()
    console = Console(file=screen, markup=False, highlight=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stopping.is_set():
            live.update(render(_blocks(query(), rates)), refresh=True)
            stopping.wait(interval_seconds)


def once(query: Callable[[], Status], stopping: Stopping) -> tuple[str, ExitCode]:
    """Query twice, because that gives rates; return the page and the exit code of `gateway status`."""
    rates = RateTracker()
    _blocks(query(), rates)
    stopping.wait(FIRST_LOOK_SECONDS)
    status = query()
    return write(_blocks(status, rates)), status.exit_code


def _blocks(status: Status, rates: RateTracker) -> list[Block]:
    figures = status.figures
    return overview(status.text, status.peers, figures, rates(figures, time.monotonic()), time.time())


def write(blocks: Sequence[Block]) -> str:
    """Write blocks of an overview as text; all control characters are escaped."""
    return plain(render(blocks))


def render(blocks: Sequence[Block]) -> Group:
    """Lay out blocks of an overview, with a blank line between them; what has a style is in trouble."""
    parts: list[RenderableType] = []
    for part in (part for block in blocks for part in _parts(block)):
        parts += ["", part] if parts else [part]
    return Group(*parts)


def _parts(block: Block) -> Iterator[RenderableType]:
    match block:
        case Heading(text=text):
            yield Text(printable(text))
        case Paragraph(phrase):
            yield _text(phrase)
        case Facts(rows):
            yield Text("\n").join(Text.assemble(f"{printable(term)}: ", _text(phrase)) for term, phrase in rows)
        case Table(_, heads, rows) if rows:
            yield grid(heads, [tuple(map(_text, row)) for row in rows])


def _text(phrase: Phrase) -> Text:
    text = "".join(one.text if isinstance(one, Code | Strong) else str(one) for one in phrase)
    return Text(printable(text), "bold red" if any(isinstance(one, Strong) for one in phrase) else "")
