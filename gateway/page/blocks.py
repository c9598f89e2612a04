"""The parts of a page, as values: `html.py`, `markdown.py` and `gateway top` write them.

All text is raw; each writer escapes it for its own format.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Literal text: a name, a pointer, a value."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Emphasized text."""

    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link to `#anchor` on the same page, or to a URL whose scheme is known to be safe."""

    text: str
    target: str
    is_code: bool = False


Inline = str | Code | Strong | Link
Phrase = tuple[Inline, ...]


def plain(phrase: Phrase) -> str:
    """Give a phrase's text."""
    return "".join(part if isinstance(part, str) else part.text for part in phrase)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of plain text."""

    level: int  # 1 is the title of the page; 2 and 3 have an anchor and are in the table of contents
    text: str
    anchor: str = ""  # link target
    is_code: bool = False  # the text is a name


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    phrase: Phrase


@dataclass(frozen=True, slots=True)
class Bullets:
    """A bullet list."""

    items: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms with their values or descriptions."""

    rows: tuple[tuple[str, Phrase], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of a row is its header."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Phrase, ...], ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Preformatted text, such as an example."""

    caption: str
    text: str


@dataclass(frozen=True, slots=True)
class Box:
    """A source or a target in the diagram: its name, and a note below it."""

    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Flow:
    """The routes from MQTT to Kafka, as a diagram."""

    sources: tuple[Box, ...]  # MQTT channels
    targets: tuple[Box, ...]  # Kafka topics, dead-letter topics last
    routes: tuple[tuple[int, int, str | None], ...]  # source, target, schema; None for dead letters


Block = Heading | Paragraph | Bullets | Facts | Table | Listing | Flow


def joined(phrases: list[Phrase], between: str = ", ") -> Phrase:
    """Concatenate phrases, with a separator between two of them."""
    parts: list[Inline] = []
    for phrase in phrases:
        parts += [between, *phrase] if parts else phrase
    return tuple(parts)
