"""The parts of a page, as values: `html.py`, `markdown.py` and `gateway top` write them.

All text is raw; each writer escapes it for its own format. msgspec makes these classes in a fiftieth of the time that
dataclasses take, which the start of a gateway would wait for.
"""

from __future__ import annotations

from msgspec import Struct


class Code(Struct, frozen=True):
    """Literal text: a name, a pointer, a value."""

    text: str


class Strong(Struct, frozen=True):
    """Emphasized text."""

    text: str


class Link(Struct, frozen=True):
    """A link to `#anchor` on the same page, or to a URL whose scheme is known to be safe."""

    text: str
    target: str
    is_code: bool = False


Inline = str | Code | Strong | Link
Phrase = tuple[Inline, ...]


def plain(phrase: Phrase) -> str:
    """Give a phrase's text."""
    return "".join(part if isinstance(part, str) else part.text for part in phrase)


class Heading(Struct, frozen=True):
    """A heading of plain text."""

    level: int  # 1 is the title of the page; 2 and 3 have an anchor and are in the table of contents
    text: str
    anchor: str = ""  # link target
    is_code: bool = False  # the text is a name


class Paragraph(Struct, frozen=True):
    """Running text."""

    phrase: Phrase


class Bullets(Struct, frozen=True):
    """A bullet list."""

    items: tuple[Phrase, ...]


class Facts(Struct, frozen=True):
    """Terms with their values or descriptions."""

    rows: tuple[tuple[str, Phrase], ...]


class Table(Struct, frozen=True):
    """A table; the first cell of a row is its header."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Phrase, ...], ...]


class Listing(Struct, frozen=True):
    """Preformatted text, such as an example."""

    caption: str
    text: str


class Box(Struct, frozen=True):
    """A source or a target in the diagram: its name, and a note below it."""

    name: str
    note: str


class Flow(Struct, frozen=True):
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
