"""What a page is made of: a closed set of values that both writers know.

All text is raw; the writers escape it, each for its own format.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be taken letter by letter: names, pointers, values."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Text that stands out."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go to.

    Args:
        text: what is shown.
        target: `#anchor` on this page, or an address of the web.
        is_code: the text is a name.
    """

    text: str
    target: str
    is_code: bool = False


Inline = str | Code | Strong | Link
Phrase = tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading.

    Args:
        level: 1 for the page, 2 for a chapter, 3 for an entry of the table of contents, 4 within one.
        text: without mark-up.
        anchor: to link to; levels 2 and 3 have one.
        is_code: the text is a name.
    """

    level: int
    text: str
    anchor: str = ""
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    phrase: Phrase


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list."""

    items: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms, each with what is to be said of it."""

    rows: tuple[tuple[str, Phrase], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        heads: one a column.
        rows: as many cells each.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Phrase, ...], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """An example.

    Args:
        caption: what it is.
        text: its lines.
    """

    caption: str
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """A station of the flow.

    Args:
        name: short, shown first.
        note: shown below it.
        anchor: where the page tells more.
    """

    name: str
    note: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Flow:
    """The ways of the readings, from MQTT to Kafka.

    Args:
        sources: MQTT channels.
        targets: Kafka topics, those of dead letters last.
        ways: index of source, index of target, the schema that is checked; None for the way of dead letters.
    """

    sources: tuple[Box, ...]
    targets: tuple[Box, ...]
    ways: tuple[tuple[int, int, str | None], ...]


Block = Heading | Paragraph | Bullets | Facts | Table | Listing | Flow


def joined(phrases: list[Phrase], between: str = ", ") -> Phrase:
    """Put phrases in a row."""
    parts: list[Inline] = []
    for phrase in phrases:
        parts += [between, *phrase] if parts else phrase
    return tuple(parts)
